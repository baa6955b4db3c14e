"""Frames of one session are delivered in order, over all shards (WAMP #ordering-guarantees)."""

import pytest
from gateway_harness import (
    FakeEncoder,
    RecordingSession,
    event,
    fence,
    invocation,
    links,
    realm,
    sent_on,
)
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import Audience, Fence, FencePassed, FenceQuery
from fox_shard.gateway.sessions.budget import DeliveryBudget
from fox_shard.gateway.sessions.ordering import MARKS_LIMIT, Ordering
from fox_shard.topics.pattern import Pattern

SENDER = 99


class OrderingHarness:
    """An Ordering with links to shards, which records what it delivers in `delivered`.

    An event is recorded as its publication id, an invocation as its negative number.
    """

    def __init__(self, shards=3):
        self.links = links(shards)
        self.delivered = []
        self.paused = []
        self.ordering = Ordering(
            "gateway-0",
            self.links,
            self._deliver,
            DeliveryBudget(),
            lambda connection, shard: self.paused.append((connection, shard)),
        )

    def _deliver(self, frame, shard):
        self.delivered.append(getattr(frame, "publication", None) or -frame.invocation)

    def arrive(self, number, shard=0, *, order=None, marks=(), sender=SENDER, call=False):
        """Let an event (or invocation) arrive; return whether it is held back."""
        order = number if order is None else order
        mark = fence(*marks) if marks else None
        if call:
            frame = invocation(number, session=sender, order=order, fence=mark)
        else:
            frame = event(number, session=sender, order=order, fence=mark)
        held = self.ordering.hold(frame, shard, sender, order, mark)
        if not held:
            self._deliver(frame, shard)
        return held

    def fence_passed(self, shard, seq, *, epoch=7, origin="gateway-1"):
        self.ordering.fence_passed(FencePassed(origin, epoch, seq), shard)

    def queried(self, shard):
        return [(frame.epoch, frame.seq) for frame in sent_on(self.links[shard])]


@pytest.fixture
def harness():
    return OrderingHarness()


# Outgoing frames


def session():
    return RecordingSession(realm(3), FakeEncoder(), 1)


def send(harness, session, shard):
    """Send a frame as the gateway does; return its fence."""
    out = None
    if session.last_shard != shard or session.unconfirmed is not None:
        out = harness.ordering.fence(session, shard)
    session.last_seq = harness.links[shard].send(event())
    return out


def test_a_session_that_stays_on_one_shard_needs_no_fence(harness):
    one = session()
    assert [send(harness, one, 1) for _ in range(5)] == [None] * 5


def test_a_frame_to_another_shard_names_the_frames_that_it_must_not_overtake(harness):
    one = session()
    send(harness, one, 0)
    send(harness, one, 0)
    assert send(harness, one, 1) == Fence("gateway-0", [(0, 100, 2)])
    assert send(harness, one, 2) == Fence("gateway-0", [(0, 100, 2), (1, 200, 1)])
    # The frames at the other shards are not confirmed yet, so the fence is still needed.
    assert send(harness, one, 2) == Fence("gateway-0", [(0, 100, 2), (1, 200, 1)])


def test_a_fence_does_not_name_delivered_frames(harness):
    one = session()
    send(harness, one, 0)
    harness.links[0].peer_delivered = 1
    assert send(harness, one, 1) is None
    assert one.unconfirmed is None
    send(harness, one, 2)
    harness.links[1].peer_delivered = 1
    assert send(harness, one, 2) is None


def test_a_fence_does_not_name_the_shard_that_its_frame_goes_to(harness):
    one = session()
    send(harness, one, 0)
    send(harness, one, 1)
    assert send(harness, one, 0) == Fence("gateway-0", [(1, 200, 1)])


def test_a_fence_names_the_first_batch_of_a_shard_that_is_down(harness):
    """All waiting frames will be in the first batch of the next pair; its frame 1 stands for it."""
    one = session()
    harness.links[0].open = False
    for _ in range(4):
        send(harness, one, 0)
    assert send(harness, one, 1) == Fence("gateway-0", [(0, 100, 1)])


def test_the_frames_of_a_session_are_renumbered_for_a_new_pair(harness):
    one = session()
    send(harness, one, 0)
    send(harness, one, 1)
    for shard in (0, 1):
        harness.links[shard].outbox.extend([event()] * 4)
    for shard in range(3):
        harness.ordering.renumber(one, shard)
    assert one.unconfirmed == {0: 5}
    assert (one.last_shard, one.last_seq) == (1, 5)
    assert send(harness, one, 2) == Fence("gateway-0", [(0, 100, 5), (1, 200, 5)])


# Incoming frames


def test_an_event_without_a_fence_is_not_held_back(harness):
    assert not harness.arrive(1)
    assert harness.ordering.idle


def test_an_event_waits_for_the_frame_that_its_fence_names(harness):
    assert harness.arrive(2, 1, marks=[(0, 7, 10)])
    assert harness.queried(0) == [(7, 10)]
    assert harness.links[0].prompt
    harness.fence_passed(0, 9)
    assert harness.delivered == []
    harness.fence_passed(0, 10)
    assert harness.delivered == [2]
    assert harness.ordering.idle


def test_an_event_waits_for_all_frames_that_its_fence_names(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10), (2, 8, 3)])
    assert (harness.queried(0), harness.queried(2)) == ([(7, 10)], [(8, 3)])
    harness.fence_passed(0, 10)
    assert harness.delivered == []
    harness.fence_passed(2, 3, epoch=8)
    assert harness.delivered == [2]


def test_a_fence_that_was_passed_before_needs_no_query(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10)])
    harness.fence_passed(0, 12)
    harness.queried(0)
    assert not harness.arrive(3, 1, marks=[(0, 7, 12)])
    assert harness.queried(0) == []


@pytest.mark.parametrize("other", [{"epoch": 8}, {"origin": "gateway-2"}])
def test_an_answer_about_another_pair_releases_nothing(other, harness):
    harness.arrive(2, 1, marks=[(0, 7, 10)])
    harness.fence_passed(0, 99, **other)
    assert harness.delivered == []


def test_later_frames_of_the_sender_wait_too(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10)])
    assert harness.arrive(3, 1)
    assert harness.arrive(4, 2, call=True)
    harness.fence_passed(0, 10)
    assert harness.delivered == [2, 3, -4]


def test_frames_from_the_named_shard_go_first(harness):
    """The fence names those frames; their order is lower."""
    harness.arrive(5, 1, marks=[(0, 7, 10)])
    harness.arrive(4, 0)
    harness.arrive(3, 2)
    harness.fence_passed(0, 10)
    assert harness.delivered == [3, 4, 5]


def test_other_senders_do_not_wait(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10)])
    assert not harness.arrive(1, 1, sender=5)
    assert harness.delivered == [1]


def test_the_release_stops_at_the_next_fence(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10)])
    harness.arrive(3, 1)
    harness.arrive(4, 1, marks=[(2, 8, 5)])
    harness.arrive(5, 1)
    harness.fence_passed(0, 10)
    assert harness.delivered == [2, 3]
    harness.fence_passed(2, 5, epoch=8)
    assert harness.delivered == [2, 3, 4, 5]


def test_frames_of_the_same_order_stay_in_the_order_of_arrival(harness):
    """An event that a restarted shard sends again has the same order."""
    harness.arrive(21, 1, order=2, marks=[(0, 7, 10)])
    harness.arrive(22, 1, order=2, marks=[(0, 7, 10)])
    harness.fence_passed(0, 10)
    assert harness.delivered == [21, 22]


def test_there_is_one_query_at_a_time_about_a_pair(harness):
    for number in range(1, 6):
        harness.arrive(number, 1, marks=[(0, 7, number * 10)], sender=number)
    assert harness.queried(0) == [(7, 10)]
    harness.fence_passed(0, 10)
    # The next query names the highest number wanted by then.
    assert harness.queried(0) == [(7, 50)]
    harness.fence_passed(0, 50)
    assert harness.queried(0) == []
    assert harness.delivered == [1, 2, 3, 4, 5]
    assert harness.ordering.idle


def test_a_shard_that_is_down_is_asked_when_it_is_back(harness):
    harness.links[0].open = False
    harness.arrive(2, 1, marks=[(0, 7, 10)])
    assert harness.queried(0) == []
    harness.links[0].open = True
    harness.ordering.ask_again(0)
    assert harness.queried(0) == [(7, 10)]


def test_a_shard_is_asked_again_in_a_new_pair(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10), (2, 8, 3)])
    assert (harness.queried(0), harness.queried(2)) == ([(7, 10)], [(8, 3)])
    harness.ordering.ask_again(0)
    assert (harness.queried(0), harness.queried(2)) == ([(7, 10)], [])


def test_an_invocation_is_held_back_like_an_event(harness):
    assert harness.arrive(2, 1, marks=[(0, 7, 10)], call=True)
    harness.fence_passed(0, 10)
    assert harness.delivered == [-2]


def test_invocations_of_a_shard_that_is_gone_are_not_delivered(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10)], call=True)
    harness.arrive(3, 1)
    harness.arrive(4, 2, call=True)
    harness.ordering.link_broken(1)
    # None of the remaining frames waits for a fence.
    assert harness.delivered == [3, -4]
    assert harness.ordering.held_frames == {}
    harness.ordering.link_broken(1)


def test_the_events_that_are_held_back_can_be_waited_for_until_they_are_delivered(harness):
    harness.arrive(2, 1, marks=[(0, 7, 10)])
    harness.arrive(4, 1, call=True)
    held = harness.ordering.held_events
    before = held.wait(1, 1, Pattern.parse("*a.+"), selective=False)
    assert before is not None
    assert before.has(2)
    assert held.wait(2, 0, Pattern.parse("*a.+"), selective=False) is None
    harness.fence_passed(0, 10)
    assert held.delivered(event(2, session=SENDER), 1) == [1]
    assert not before.has(2)


def test_an_answer_looks_only_at_the_senders_that_wait_for_it(harness, monkeypatch):
    """Clients decide how many senders wait and how many answers come."""
    for sender in range(1, 51):
        harness.arrive(sender, 1, marks=[(0, 7, 10 * sender)], sender=sender)
        harness.arrive(100 + sender, 1, marks=[(2, 8, 10 * sender)], sender=100 + sender)
    looks = []
    satisfied = Ordering._satisfied
    monkeypatch.setattr(
        Ordering,
        "_satisfied",
        lambda self, fence: looks.append(fence) or satisfied(self, fence),
    )
    for _ in range(20):
        harness.fence_passed(0, 0)
        harness.fence_passed(1, 0, epoch=3)
    looks_of_none = len(looks)
    harness.fence_passed(2, 500, epoch=8)
    assert looks_of_none == 20 * 50
    assert len(looks) - looks_of_none == 50
    assert harness.delivered == [*range(101, 151)]


def test_the_memory_of_pairs_is_bounded(harness):
    """A pair that was forgotten is queried about again."""
    for epoch in range(MARKS_LIMIT + 2):
        harness.fence_passed(0, 5, epoch=epoch)
    assert harness.arrive(2, 1, marks=[(0, 3, 5)])
    assert harness.queried(0) == [(3, 5)]
    harness.fence_passed(0, 5, epoch=3)
    assert harness.delivered == [2]


@given(
    shards=st.lists(st.integers(0, 2), min_size=1, max_size=25),
    rng=st.randoms(use_true_random=False),
)
@pytest.mark.cites("basic.ordering.1")
def test_any_interleaving_of_shards_is_delivered_in_the_senders_order(shards, rng):
    """The shards keep their own order, and answer queries after the frames they have sent."""
    harness = OrderingHarness()
    sender = OrderingHarness()
    one = session()
    ways = [[], [], []]
    for number, shard in enumerate(shards, 1):
        mark = send(sender, one, shard)
        marks = [(s, epoch, seq) for s, epoch, seq in mark.marks] if mark else []
        ways[shard].append((number, marks))
    arrived = [0, 0, 0]
    queries = [[], [], []]
    while any(ways) or any(queries):
        shard = rng.choice([s for s in range(3) if ways[s] or queries[s]])
        due = [q for q in queries[shard] if q[1] <= arrived[shard]]
        if due and (not ways[shard] or rng.random() < 0.5):
            queries[shard].remove(due[0])
            harness.fence_passed(shard, arrived[shard], epoch=due[0][0])
        elif ways[shard]:
            number, marks = ways[shard].pop(0)
            arrived[shard] += 1
            harness.arrive(number, shard, marks=marks)
        for other in range(3):
            queries[other].extend(harness.queried(other))
    assert harness.delivered == [*range(1, len(shards) + 1)]
    assert harness.ordering.idle


def test_a_query_goes_to_the_shard_that_the_mark_names(harness):
    harness.arrive(2, 1, marks=[(2, 8, 3)])
    assert sent_on(harness.links[2]) == [FenceQuery("gateway-1", 8, 3)]


# What is held back is bounded


def test_a_sender_is_not_read_while_a_fence_of_it_names_a_shard_that_is_down(harness):
    one = session()
    send(harness, one, 0)
    send(harness, one, 1)
    assert harness.paused == []
    harness.links[0].open = False
    send(harness, one, 1)
    assert harness.paused == [(one.connection, 0)]


def test_what_is_held_back_is_counted_in_bytes(harness):
    assert harness.ordering.held_bytes == 0
    assert harness.arrive(1, marks=[(1, 7, 5)])
    size = harness.ordering.held_bytes
    assert size > 1000
    assert harness.arrive(2)
    assert harness.arrive(3, 2, call=True)
    assert harness.ordering.held_bytes > 2 * size
    harness.ordering.link_broken(2)
    assert harness.ordering.held_bytes == 2 * size
    harness.fence_passed(1, 5)
    assert harness.delivered == [1, 2]
    assert harness.ordering.held_bytes == 0


@pytest.mark.parametrize(
    ("audience", "size"),
    [
        (Audience(eligible=[*range(1000)]), 50_000),
        (Audience(exclude_authid=["x" * 16] * 1000), 66_000),
    ],
)
def test_lists_of_receivers_are_counted(harness, audience, size):
    frame = event(1, fence=fence((1, 7, 5)), audience=audience)
    assert harness.ordering.hold(frame, 0, SENDER, 1, frame.publish.fence)
    assert harness.ordering.held_bytes > size
