"""Deliveries: a batch is delivered when all peers concerned have confirmed, and not before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import FencePassed, FenceQuery, Published, Registered
from fox_shard.backplane.link import Link
from fox_shard.backplane.terms import LinkSettings
from fox_shard.deadline import Deadline
from fox_shard.shard.links.deliveries import Deliveries
from fox_shard.topics.ids import MAX_ID


def peer(name, *, through_shards=False):
    link = Link(
        "shard-0",
        name,
        incarnation=1,
        settings=LinkSettings(shards=2),
        new_epoch=lambda: 1,
        deadline=Deadline(),
        connects=False,
        now=0.0,
    )
    link.open = True
    link.peer_epoch = 5
    return Deliveries(link, through_shards=through_shards)


def reply(number):
    return Published(1, [number], [number])


def ask(seq, epoch=5):
    return FenceQuery("gateway-0", epoch, seq)


@pytest.fixture
def origin():
    return peer("gateway-0")


@pytest.fixture
def destination():
    return peer("gateway-1")


@pytest.fixture
def shard():
    return peer("shard-1", through_shards=True)


def confirm(destination, number):
    """Let the destination confirm up to that number: handled, or delivered if it is a shard."""
    if destination.through_shards:
        destination.link.peer_delivered = number
    else:
        destination.link.handled = number
    destination.peer_confirmed()


# Confirmation


def test_a_batch_that_concerns_no_other_peer_is_delivered_at_once(origin):
    origin.batch_handled(3, 2, [reply(1)], [])
    assert (origin.link.delivered, origin.link.durable) == (3, 2)
    assert origin.link.outbox == [reply(1)]
    assert origin.idle


def test_an_acknowledgement_waits_for_the_gateway_that_must_deliver(origin, destination):
    origin.batch_handled(3, 2, [reply(1)], [(destination, 10)])
    for confirmed in (0, 9):
        confirm(destination, confirmed)
        assert origin.link.outbox == []
        assert (origin.link.delivered, origin.link.durable) == (0, 0)
    assert not origin.idle
    confirm(destination, 10)
    assert origin.link.outbox == [reply(1)]
    assert (origin.link.delivered, origin.link.durable) == (3, 2)
    assert origin.idle
    assert destination.idle


def test_an_acknowledgement_waits_for_all_destinations(origin, destination, shard):
    origin.batch_handled(3, 0, [reply(1)], [(destination, 10), (shard, 4)])
    confirm(destination, 99)
    assert origin.link.outbox == []
    confirm(shard, 4)
    assert origin.link.outbox == [reply(1)]


def test_a_shard_confirms_what_it_reports_as_delivered_not_what_it_has_handled(origin, shard):
    origin.batch_handled(3, 0, [reply(1)], [(shard, 4)])
    shard.link.handled = 4
    shard.peer_confirmed()
    assert origin.link.outbox == []
    confirm(shard, 4)
    assert origin.link.outbox == [reply(1)]


def test_batches_are_delivered_in_order_but_each_is_answered_as_soon_as_possible(
    origin, destination, shard
):
    origin.batch_handled(3, 1, [reply(1)], [(destination, 10)])
    origin.batch_handled(5, 2, [reply(2)], [(shard, 4)])
    origin.batch_handled(6, 3, [reply(3)], [])
    assert origin.link.outbox == [reply(3)]
    confirm(shard, 4)
    assert origin.link.outbox == [reply(3), reply(2)]
    assert (origin.link.delivered, origin.link.durable) == (0, 0)
    confirm(destination, 10)
    assert origin.link.outbox == [reply(3), reply(2), reply(1)]
    assert (origin.link.delivered, origin.link.durable) == (6, 3)


def test_the_durable_number_never_goes_back(origin):
    origin.batch_handled(3, 7, [], [])
    origin.batch_handled(4, 0, [], [])
    assert (origin.link.delivered, origin.link.durable) == (4, 7)


@pytest.mark.parametrize(
    ("replies", "from_shard", "prompt"),
    [([reply(1)], False, True), ([], False, False), ([], True, True)],
)
def test_a_prompt_confirmation_is_asked_for_only_if_somebody_waits(
    replies, from_shard, prompt, destination
):
    """A publisher waits for its acknowledgement, a shard for the delivery of forwarded frames."""
    origin = peer("shard-1" if from_shard else "gateway-0", through_shards=from_shard)
    origin.batch_handled(3, 0, replies, [(destination, 10)])
    assert destination.link.prompt is prompt


@pytest.mark.parametrize("from_shard", [False, True])
def test_only_a_shard_is_told_at_once_what_has_been_delivered(from_shard):
    origin = peer("shard-1", through_shards=from_shard)
    origin.batch_handled(3, 0, [], [])
    assert origin.link.urgent is from_shard


def test_a_confirmation_does_not_cover_later_frames(origin, destination):
    confirm(destination, 10)
    assert destination.idle
    origin.batch_handled(3, 0, [], [(destination, 11)])
    confirm(destination, 10)
    assert not origin.is_delivered


def test_a_destination_that_has_gone_is_not_waited_for(origin, destination):
    origin.batch_handled(3, 0, [reply(1)], [(destination, 10)])
    origin.batch_handled(4, 0, [reply(2)], [(destination, 11)])
    destination.peer_gone()
    assert origin.link.outbox == [reply(1), reply(2)]
    assert origin.link.delivered == 4
    assert origin.idle
    assert destination.idle


def test_an_origin_that_has_gone_gets_no_replies_and_does_not_affect_others(origin, destination):
    other = peer("gateway-2")
    origin.batch_handled(3, 2, [reply(1)], [(destination, 10)])
    other.batch_handled(8, 0, [reply(2)], [(destination, 11)])
    origin.peer_gone()
    confirm(destination, 11)
    assert origin.link.outbox == []
    assert (origin.link.delivered, origin.link.durable) == (0, 0)
    assert other.link.outbox == [reply(2)]
    assert origin.idle


def test_a_gateway_that_comes_back_still_gets_the_answers_to_its_publishes(origin, destination):
    """These answers are reliable; the end of the pair has answered all other requests."""
    other = Registered(1, 7, 7)
    origin.batch_handled(3, 1, [reply(1), other], [(destination, 10)])
    origin.batch_handled(5, 2, [reply(2)], [(destination, 11)])
    assert origin.link_broken() == []
    origin.link_opened()
    confirm(destination, 10)
    assert origin.link.outbox == [reply(1)]
    assert origin.link.reliable == [0]
    # The numbers of the ended pair mean nothing in the new one.
    assert (origin.link.delivered, origin.link.durable) == (0, 1)
    assert origin.link.urgent
    origin.batch_handled(1, 2, [reply(3)], [])
    assert origin.link.outbox == [reply(1), reply(3)]
    # The new batch is not delivered before the old one: its numbers would confirm both.
    assert (origin.link.delivered, origin.link.durable) == (0, 1)
    confirm(destination, 11)
    assert origin.link.outbox == [reply(1), reply(3), reply(2)]
    assert (origin.link.delivered, origin.link.durable) == (1, 2)
    assert origin.idle


def test_a_destination_that_comes_back_confirms_the_frames_sent_again(origin, destination):
    origin.batch_handled(3, 0, [reply(1)], [(destination, 10)])
    destination.link_broken()
    assert origin.link.outbox == []
    destination.link.outbox.extend([reply(8), reply(9)])  # as after Link.resume
    destination.link_opened()
    confirm(destination, 1)
    assert origin.link.outbox == []
    confirm(destination, 2)
    assert origin.link.outbox == [reply(1)]


def test_frames_for_a_lost_shard_are_not_waited_for(origin, shard):
    origin.batch_handled(3, 0, [reply(1)], [(shard, 10)])
    shard.link_broken()
    assert origin.link.outbox == [reply(1)]


def test_what_a_shard_received_before_the_pair_ended_is_waited_for(origin, destination, shard):
    """The shard may have started a forwarded call, whose invocation is still on its way."""
    origin.batch_handled(3, 0, [], [(shard, 9)])
    origin.batch_handled(4, 0, [], [(shard, 10)])
    shard.link.handled = 9
    shard.peer_confirmed()
    origin.ask(destination.link, ask(3))
    origin.ask(destination.link, ask(4))
    shard.link.break_off(0.0)
    for _ in range(2):  # when the connection is lost, and before the next pair
        shard.link_broken()
    shard.peer_confirmed()
    assert destination.link.outbox == []
    shard.link.sent = 5
    shard.link_opened()
    for confirmed in (0, 4):
        confirm(shard, confirmed)
        assert destination.link.outbox == []
    confirm(shard, 5)
    assert destination.link.outbox == [FencePassed("gateway-0", 5, 4)] * 2
    assert origin.idle


def test_what_a_shard_received_is_not_waited_for_if_the_shard_has_gone(origin, shard):
    origin.batch_handled(3, 0, [reply(1)], [(shard, 9)])
    shard.link.handled = 9
    shard.peer_confirmed()
    shard.link_broken()
    assert origin.link.outbox == []
    shard.peer_gone()
    assert origin.link.outbox == [reply(1)]


def test_is_delivered_tells_whether_all_handled_batches_are_delivered(origin, destination):
    assert origin.is_delivered
    origin.batch_handled(3, 0, [], [(destination, 10)])
    assert not origin.is_delivered
    confirm(destination, 10)
    assert origin.is_delivered


@given(st.lists(st.sets(st.sampled_from("abc")), max_size=12), st.randoms(use_true_random=False))
def test_any_order_of_confirmations_delivers_in_order_and_answers_the_batches_concerned(
    batches, rng
):
    origin = peer("gateway-0")
    others = {name: peer(f"gateway-{name}", through_shards=name == "c") for name in "abc"}
    sent = dict.fromkeys(others, 0)
    needs = []
    for number, touched in enumerate(batches, 1):
        marks = []
        for name in sorted(touched):
            sent[name] += 1
            marks.append((others[name], sent[name]))
        needs.append({name: sent[name] for name in touched})
        origin.batch_handled(number, number, [reply(number)], marks)
    confirmed = dict.fromkeys(others, 0)
    while confirmed != sent:
        name = rng.choice([name for name in others if confirmed[name] < sent[name]])
        confirmed[name] = rng.randint(confirmed[name] + 1, sent[name])
        confirm(others[name], confirmed[name])
        done = [all(confirmed[name] >= sent for name, sent in need.items()) for need in needs]
        assert origin.link.delivered == [*done, False].index(False)
        answered = [answer.requests[0] for answer in origin.link.outbox]
        assert sorted(answered) == [number for number, one in enumerate(done, 1) if one]
    assert origin.link.delivered == len(batches)
    assert origin.idle


# Fences (WAMP #ordering-guarantees)


def test_a_fence_query_is_answered_when_its_frames_have_been_handled(origin, destination):
    """The answer follows the events on the link, so their confirmation is not waited for."""
    asker = destination.link
    origin.ask(asker, ask(5))
    assert asker.outbox == []
    origin.batch_handled(4, 0, [], [(destination, 10)])
    assert asker.outbox == []
    origin.batch_handled(7, 0, [], [(destination, 11)])
    assert asker.outbox == [FencePassed("gateway-0", 5, 7)]
    assert not origin.idle


def test_a_fence_query_about_handled_frames_is_answered_at_once(origin, destination):
    origin.batch_handled(4, 0, [], [])
    origin.ask(destination.link, ask(4))
    origin.ask(destination.link, ask(2))
    assert destination.link.outbox == [FencePassed("gateway-0", 5, 4)] * 2
    assert origin.idle


def test_a_fence_query_about_a_forwarded_frame_waits_until_its_shard_has_delivered_it(
    origin, destination, shard
):
    """The invocation of a forwarded call comes from the other shard."""
    origin.batch_handled(3, 0, [], [])
    origin.batch_handled(4, 0, [], [(shard, 9)])
    origin.batch_handled(5, 0, [], [])
    origin.ask(destination.link, ask(3))
    origin.ask(destination.link, ask(5))
    assert destination.link.outbox == [FencePassed("gateway-0", 5, 3)]
    confirm(shard, 9)
    assert destination.link.outbox == [
        FencePassed("gateway-0", 5, 3),
        FencePassed("gateway-0", 5, 5),
    ]


@pytest.mark.parametrize(("seq", "answered"), [(3, True), (4, False), (6, False), (9, False)])
def test_a_fence_query_waits_if_any_frame_of_the_same_batch_is_forwarded(
    seq, answered, origin, destination, shard
):
    """The shard does not note which frame of a batch was forwarded."""
    origin.batch_handled(3, 0, [], [])
    origin.batch_handled(9, 0, [], [(shard, 9)])  # 4 to 9
    origin.ask(destination.link, ask(seq))
    assert destination.link.outbox == ([FencePassed("gateway-0", 5, 3)] if answered else [])
    confirm(shard, 9)
    assert origin.idle


def test_a_fence_query_about_another_pair_is_answered_with_everything(origin, destination):
    origin.ask(destination.link, ask(5, epoch=4))
    assert destination.link.outbox == [FencePassed("gateway-0", 4, MAX_ID)]
    assert origin.idle


@pytest.mark.parametrize(
    ("epoch", "to_come"),
    [(4, False), (5, False), (6, True), (5 + (1 << 19), True), (5 + (1 << 30), False)],
)
def test_higher_epochs_of_an_incarnation_are_yet_to_come(epoch, to_come, origin):
    assert origin.is_to_come(epoch) is to_come


def test_a_fence_query_about_an_earlier_pair_waits_for_its_forwarded_frames(
    origin, destination, shard
):
    origin.batch_handled(3, 0, [], [(shard, 9)])
    origin.link_broken()
    origin.link.peer_epoch = 6
    origin.ask(destination.link, ask(3))
    assert destination.link.outbox == []
    confirm(shard, 9)
    assert destination.link.outbox == [FencePassed("gateway-0", 5, MAX_ID)]


def test_fence_queries_are_given_back_when_the_pair_ends(origin, destination):
    origin.ask(destination.link, ask(5))
    assert origin.link_broken() == [(destination.link, ask(5))]
    assert origin.idle


def end(deliveries):
    """End the pair, as `Link.break_off` does."""
    deliveries.link.open = False
    deliveries.link.peer_epoch = 0


def test_fence_queries_about_an_origin_that_has_gone_are_answered_with_everything(
    origin, destination
):
    gone = peer("gateway-2")
    origin.ask(destination.link, ask(5))
    origin.ask(gone.link, ask(5))
    end(gone)
    end(origin)
    origin.peer_gone()
    assert destination.link.outbox == [FencePassed("gateway-0", 5, MAX_ID)]
    assert gone.link.outbox == []
    assert origin.idle


def test_a_fence_query_waits_for_the_effects_of_an_origin_that_has_gone(origin, destination):
    """The commit of its key may be under way; the events follow it, and the answer follows them."""
    entry = origin.batch_handled(3, 0, [], [], 1)
    origin.ask(destination.link, ask(3))
    end(origin)
    origin.peer_gone()
    assert destination.link.outbox == []
    destination.link.outbox.append(reply(9))
    origin.release(entry, [reply(1)], [(destination, 10)])
    assert destination.link.outbox == [reply(9), FencePassed("gateway-0", 5, MAX_ID)]
    confirm(destination, 10)
    assert origin.link.outbox == []
    assert origin.idle


# Parts of a batch that wait for a commit


def test_parts_that_wait_for_a_commit_are_answered_separately(origin, destination):
    entry = origin.batch_handled(3, 2, [reply(1)], [], 2)
    assert origin.link.outbox == [reply(1)]
    origin.release(entry, [reply(2)], [(destination, 10)])
    origin.release(entry, [reply(3)], [])
    assert origin.link.outbox == [reply(1), reply(3)]
    assert (origin.link.delivered, origin.link.durable) == (0, 0)
    confirm(destination, 10)
    assert origin.link.outbox == [reply(1), reply(3), reply(2)]
    assert (origin.link.delivered, origin.link.durable) == (3, 2)
    assert origin.idle


def test_a_part_that_waits_for_a_commit_holds_up_the_batches_behind_it(origin):
    entry = origin.batch_handled(3, 2, [], [], 1)
    origin.batch_handled(4, 3, [reply(1)], [])
    assert origin.link.outbox == [reply(1)]
    assert (origin.link.delivered, origin.link.durable) == (0, 0)
    origin.release(entry, [], [])
    assert (origin.link.delivered, origin.link.durable) == (4, 3)


def test_a_fence_query_waits_for_parts_that_wait_for_a_commit(origin, destination):
    origin.batch_handled(2, 0, [], [])
    entry = origin.batch_handled(4, 0, [], [], 1)
    origin.batch_handled(5, 0, [], [])
    for seq in (2, 3, 5):
        origin.ask(destination.link, ask(seq))
    assert destination.link.outbox == [FencePassed("gateway-0", 5, 2)]
    # The confirmation does not matter, because the answer follows the frames on the link.
    origin.release(entry, [], [(destination, 10)])
    assert destination.link.outbox == [FencePassed("gateway-0", 5, seq) for seq in (2, 5, 5)]


def test_a_fence_query_about_an_ended_pair_waits_for_its_uncommitted_parts(origin, destination):
    entry = origin.batch_handled(3, 0, [], [], 1)
    origin.link_broken()
    origin.link.peer_epoch = 6
    origin.ask(destination.link, ask(3))
    later = origin.batch_handled(1, 0, [], [], 1)
    assert destination.link.outbox == []
    origin.release(entry, [], [])
    assert destination.link.outbox == [FencePassed("gateway-0", 5, MAX_ID)]
    assert (origin.link.delivered, origin.idle) == (0, False)
    origin.release(later, [], [])
    assert origin.link.delivered == 1


def test_a_fence_query_about_an_ended_pair_waits_for_frames_that_were_sent_again(
    origin, destination
):
    """Those frames were handled in the new pair before the query came."""
    origin.batch_handled(3, 0, [], [], 1)
    origin.peer_gone()
    origin.link.peer_epoch = 6
    again = origin.batch_handled(1, 0, [], [], 1)
    origin.ask(destination.link, ask(3))
    first, *_ = origin._owed
    origin.release(first, [], [])
    assert destination.link.outbox == []
    origin.release(again, [], [])
    assert destination.link.outbox == [FencePassed("gateway-0", 5, MAX_ID)]


def test_batches_of_a_new_pair_are_not_delivered_before_those_of_the_old_one(
    origin, destination, shard
):
    origin.batch_handled(9, 3, [], [(destination, 10)])
    origin.link_broken()
    origin.batch_handled(1, 4, [], [(shard, 4)])
    confirm(shard, 4)
    assert (origin.link.delivered, origin.link.durable) == (0, 0)
    confirm(destination, 10)
    assert (origin.link.delivered, origin.link.durable) == (1, 4)


def test_late_effects_of_an_ended_pair_are_answered_if_they_end_a_publish(origin):
    """A registration is not answered, because its gateway replays it."""
    entry = origin.batch_handled(3, 2, [], [], 1)
    origin.link_broken()
    origin.release(entry, [Registered(1, 7, 7), reply(1)], [])
    assert origin.link.outbox == [reply(1)]
    assert origin.link.durable == 2


def test_an_asker_that_has_left_is_not_answered(origin, destination):
    origin.ask(destination.link, ask(5))
    destination.link.open = False
    origin.batch_handled(5, 0, [], [])
    assert destination.link.outbox == []
    assert origin.idle


def test_the_numbers_of_a_new_pair_begin_again(origin, destination):
    origin.batch_handled(9, 0, [], [])
    origin.peer_gone()
    origin.ask(destination.link, ask(1))
    assert destination.link.outbox == []
    origin.batch_handled(1, 0, [], [])
    assert destination.link.outbox == [FencePassed("gateway-0", 5, 1)]


# Grants, which belong to no batch


@pytest.fixture
def done():
    return []


def test_a_grant_is_answered_when_it_is_delivered(origin, destination, done):
    origin.batch_handled(3, 2, [], [])
    origin.add_grant([reply(1)], [(destination, 10)], lambda: done.append(origin.link.outbox[:]))
    assert (origin.link.outbox, done) == ([], [])
    assert not origin.idle
    confirm(destination, 10)
    assert done == [[reply(1)]]
    assert origin.link.reliable == [0]
    assert (origin.link.delivered, origin.link.durable) == (3, 2)
    assert origin.idle


def test_a_grant_that_concerns_no_peer_is_answered_at_once(origin, done):
    origin.batch_handled(3, 2, [], [])
    origin.add_grant([reply(1)], [], lambda: done.append(origin.link.outbox[:]))
    assert done == [[reply(1)]]
    assert origin.idle


def test_later_batches_are_delivered_after_a_grant(origin, destination, done):
    origin.batch_handled(3, 2, [], [])
    origin.add_grant([reply(1)], [(destination, 10)], lambda: done.append(1))
    origin.batch_handled(4, 3, [reply(2)], [])
    assert (origin.link.outbox, origin.link.delivered) == ([reply(2)], 3)
    confirm(destination, 10)
    assert origin.link.outbox == [reply(2), reply(1)]
    assert (origin.link.delivered, origin.link.durable) == (4, 3)


def test_the_answer_to_a_grant_outlives_the_pair(origin, destination, done):
    origin.batch_handled(3, 2, [], [])
    origin.add_grant([reply(1)], [(destination, 10)], lambda: done.append(1))
    origin.link_broken()
    origin.batch_handled(1, 1, [], [])
    assert origin.link.outbox == []
    confirm(destination, 10)
    assert (origin.link.outbox, done) == ([reply(1)], [1])
    assert (origin.link.delivered, origin.link.durable) == (1, 2)
    assert origin.idle


def test_a_peer_that_has_gone_is_not_answered(origin, destination, done):
    origin.add_grant([reply(1)], [(destination, 10)], lambda: done.append(1))
    origin.peer_gone()
    confirm(destination, 10)
    assert (origin.link.outbox, done) == ([], [1])
    assert origin.idle
