"""What one session sent is delivered in order, over all shards (WAMP #ordering-guarantees)."""

import pytest
from gateway_harness import Flavour, Spy, event, fence, invocation, links, realm, taken
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import Ask, Fence, Reached
from fox_shard.gateway.sessions.ordering import MARKS_LIMIT, Order
from fox_shard.topics.pattern import Pattern

SENDER = 99


class Desk:
    """An order with links to shards; what it delivers is in `delivered`, by its number."""

    def __init__(self, shards=3):
        self.links = links(shards)
        self.delivered = []
        self.order = Order("gateway-0", self.links, self._deliver)

    def _deliver(self, frame, shard):
        self.delivered.append(getattr(frame, "publication", None) or -frame.invocation)

    def arrive(self, number, shard=0, *, order=None, marks=(), sender=SENDER, call=False):
        """An event (or invocation) comes; returns whether it is held back."""
        order = number if order is None else order
        mark = fence(*marks) if marks else None
        if call:
            frame = invocation(number, session=sender, order=order, fence=mark)
        else:
            frame = event(number, session=sender, order=order, fence=mark)
        held = self.order.hold(frame, shard, sender, order, mark)
        if not held:
            self._deliver(frame, shard)
        return held

    def reached(self, shard, seq, *, epoch=7, origin="gateway-1"):
        self.order.reached(Reached(origin, epoch, seq), shard)

    def asked(self, shard):
        return [(frame.epoch, frame.seq) for frame in taken(self.links[shard])]


@pytest.fixture
def desk():
    return Desk()


# Out.


def session():
    return Spy(realm(3), Flavour(), 1)


def send(desk, session, shard):
    """As the gateway does: returns the fence of the frame."""
    out = None
    if session.lane != shard or session.unpassed is not None:
        out = desk.order.fence(session, shard)
    session.lane_seq = desk.links[shard].send(event())
    return out


def test_a_session_that_stays_on_one_shard_never_pays(desk):
    one = session()
    assert [send(desk, one, 1) for _ in range(5)] == [None] * 5


def test_a_frame_to_another_shard_names_what_it_must_not_overtake(desk):
    one = session()
    send(desk, one, 0)
    send(desk, one, 0)
    assert send(desk, one, 1) == Fence("gateway-0", [(0, 100, 2)])
    assert send(desk, one, 2) == Fence("gateway-0", [(0, 100, 2), (1, 200, 1)])
    # Still to be feared, though it stays here now.
    assert send(desk, one, 2) == Fence("gateway-0", [(0, 100, 2), (1, 200, 1)])


def test_what_has_passed_is_not_named(desk):
    one = session()
    send(desk, one, 0)
    desk.links[0].peer_passed = 1
    assert send(desk, one, 1) is None
    assert one.unpassed is None
    send(desk, one, 2)
    desk.links[1].peer_passed = 1
    assert send(desk, one, 2) is None


def test_the_shard_it_goes_to_need_not_be_named(desk):
    one = session()
    send(desk, one, 0)
    send(desk, one, 1)
    assert send(desk, one, 0) == Fence("gateway-0", [(1, 200, 1)])


def test_of_a_shard_that_is_down_all_that_waits_is_meant(desk):
    """It will be in the first batch of a pair that has no numbers yet."""
    one = session()
    desk.links[0].open = False
    for _ in range(4):
        send(desk, one, 0)
    assert send(desk, one, 1) == Fence("gateway-0", [(0, 100, 1)])


def test_when_the_pair_is_new_the_numbers_are(desk):
    one = session()
    send(desk, one, 0)
    send(desk, one, 1)
    for shard in (0, 1):
        desk.links[shard].outbox.extend([event()] * 4)
    for shard in range(3):
        desk.order.renumber(one, shard)
    assert one.unpassed == {0: 5}
    assert (one.lane, one.lane_seq) == (1, 5)
    assert send(desk, one, 2) == Fence("gateway-0", [(0, 100, 5), (1, 200, 5)])


# In: holding back


def test_without_a_fence_nothing_is_held(desk):
    assert not desk.arrive(1)
    assert desk.order.idle


def test_an_event_waits_for_what_its_fence_names(desk):
    assert desk.arrive(2, 1, marks=[(0, 7, 10)])
    assert desk.asked(0) == [(7, 10)]
    assert desk.links[0].prompt
    desk.reached(0, 9)
    assert desk.delivered == []
    desk.reached(0, 10)
    assert desk.delivered == [2]
    assert desk.order.idle


def test_it_waits_for_all_that_its_fence_names(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10), (2, 8, 3)])
    assert (desk.asked(0), desk.asked(2)) == ([(7, 10)], [(8, 3)])
    desk.reached(0, 10)
    assert desk.delivered == []
    desk.reached(2, 3, epoch=8)
    assert desk.delivered == [2]


def test_what_was_reached_before_needs_no_question(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10)])
    desk.reached(0, 12)
    desk.asked(0)
    assert not desk.arrive(3, 1, marks=[(0, 7, 12)])
    assert desk.asked(0) == []


@pytest.mark.parametrize("other", [{"epoch": 8}, {"origin": "gateway-2"}])
def test_another_pair_has_reached_nothing(other, desk):
    desk.arrive(2, 1, marks=[(0, 7, 10)])
    desk.reached(0, 99, **other)
    assert desk.delivered == []


def test_what_comes_later_of_the_sender_waits_too(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10)])
    assert desk.arrive(3, 1)
    assert desk.arrive(4, 2, call=True)
    desk.reached(0, 10)
    assert desk.delivered == [2, 3, -4]


def test_what_comes_of_the_named_shard_goes_first(desk):
    """It is what the fence speaks of: its order is lower."""
    desk.arrive(5, 1, marks=[(0, 7, 10)])
    desk.arrive(4, 0)
    desk.arrive(3, 2)
    desk.reached(0, 10)
    assert desk.delivered == [3, 4, 5]


def test_other_senders_do_not_wait(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10)])
    assert not desk.arrive(1, 1, sender=5)
    assert desk.delivered == [1]


def test_what_is_released_stops_at_the_next_fence(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10)])
    desk.arrive(3, 1)
    desk.arrive(4, 1, marks=[(2, 8, 5)])
    desk.arrive(5, 1)
    desk.reached(0, 10)
    assert desk.delivered == [2, 3]
    desk.reached(2, 5, epoch=8)
    assert desk.delivered == [2, 3, 4, 5]


def test_what_came_twice_stays_in_the_order_of_arrival(desk):
    """An event that was sent again after a shard's restart has the same order."""
    desk.arrive(21, 1, order=2, marks=[(0, 7, 10)])
    desk.arrive(22, 1, order=2, marks=[(0, 7, 10)])
    desk.reached(0, 10)
    assert desk.delivered == [21, 22]


def test_there_is_one_question_at_a_time_about_a_pair(desk):
    for number in range(1, 6):
        desk.arrive(number, 1, marks=[(0, 7, number * 10)], sender=number)
    assert desk.asked(0) == [(7, 10)]
    desk.reached(0, 10)
    # The next one names all that is wanted by then.
    assert desk.asked(0) == [(7, 50)]
    desk.reached(0, 50)
    assert desk.asked(0) == []
    assert desk.delivered == [1, 2, 3, 4, 5]
    assert desk.order.idle


def test_a_shard_that_is_down_is_asked_when_it_is_back(desk):
    desk.links[0].open = False
    desk.arrive(2, 1, marks=[(0, 7, 10)])
    assert desk.asked(0) == []
    desk.links[0].open = True
    desk.order.ask_again(0)
    assert desk.asked(0) == [(7, 10)]


def test_a_new_pair_is_asked_again(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10), (2, 8, 3)])
    assert (desk.asked(0), desk.asked(2)) == ([(7, 10)], [(8, 3)])
    desk.order.ask_again(0)
    assert (desk.asked(0), desk.asked(2)) == ([(7, 10)], [])


def test_a_calls_invocation_is_held_like_an_event(desk):
    assert desk.arrive(2, 1, marks=[(0, 7, 10)], call=True)
    desk.reached(0, 10)
    assert desk.delivered == [-2]


def test_invocations_of_a_shard_that_went_are_not_delivered(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10)], call=True)
    desk.arrive(3, 1)
    desk.arrive(4, 2, call=True)
    desk.order.forget_invocations(1)
    # Nothing that is left waits for a fence.
    assert desk.delivered == [3, -4]
    assert desk.order.held == {}
    desk.order.forget_invocations(1)


def test_which_events_of_a_shard_are_held_back(desk):
    desk.arrive(2, 1, marks=[(0, 7, 10)])
    desk.arrive(3, 0)
    desk.arrive(4, 1, call=True)
    assert desk.order.held_events(1, Pattern.parse("*a.+")) == {2}
    assert desk.order.held_events(0, Pattern.parse("=a.b")) == {3}
    assert desk.order.held_events(1, Pattern.parse("=x")) == set()


def test_the_memory_of_pairs_is_bounded(desk):
    """What is forgotten is asked again."""
    for epoch in range(MARKS_LIMIT + 2):
        desk.reached(0, 5, epoch=epoch)
    assert desk.arrive(2, 1, marks=[(0, 3, 5)])
    assert desk.asked(0) == [(3, 5)]
    desk.reached(0, 5, epoch=3)
    assert desk.delivered == [2]


@given(
    shards=st.lists(st.integers(0, 2), min_size=1, max_size=25),
    rng=st.randoms(use_true_random=False),
)
def test_any_interleaving_of_shards_is_delivered_in_the_senders_order(shards, rng):
    """Three shards that keep their own order, and answer questions behind what they sent."""
    desk = Desk()
    sender = Desk()
    one = session()
    ways = [[], [], []]
    for number, shard in enumerate(shards, 1):
        mark = send(sender, one, shard)
        marks = [(s, epoch, seq) for s, epoch, seq in mark.marks] if mark else []
        ways[shard].append((number, marks))
    arrived = [0, 0, 0]
    questions = [[], [], []]
    while any(ways) or any(questions):
        shard = rng.choice([s for s in range(3) if ways[s] or questions[s]])
        due = [q for q in questions[shard] if q[1] <= arrived[shard]]
        if due and (not ways[shard] or rng.random() < 0.5):
            questions[shard].remove(due[0])
            desk.reached(shard, arrived[shard], epoch=due[0][0])
        elif ways[shard]:
            number, marks = ways[shard].pop(0)
            arrived[shard] += 1
            desk.arrive(number, shard, marks=marks)
        for other in range(3):
            questions[other].extend(desk.asked(other))
    assert desk.delivered == [*range(1, len(shards) + 1)]
    assert desk.order.idle


def test_a_question_is_for_the_shard_that_the_mark_names(desk):
    desk.arrive(2, 1, marks=[(2, 8, 3)])
    assert taken(desk.links[2]) == [Ask("gateway-1", 8, 3)]
