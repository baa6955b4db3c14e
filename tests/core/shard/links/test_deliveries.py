"""What a peer sent has passed when everybody it concerned has confirmed it, and not before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import Ask, Published, Reached, Registered
from fox_shard.backplane.link import Link
from fox_shard.backplane.terms import LinkSettings
from fox_shard.deadline import Deadline
from fox_shard.shard.links.deliveries import EVERYTHING, Passing


def peer(name, *, through_shards=False):
    link = Link(
        "shard-0",
        name,
        incarnation=1,
        terms=LinkSettings(shards=2),
        new_epoch=lambda: 1,
        deadline=Deadline(),
        connects=False,
        now=0.0,
    )
    link.open = True
    link.peer_epoch = 5
    return Passing(link, through_shards=through_shards)


def reply(number):
    return Published(1, [number], [number])


def ask(seq, epoch=5):
    return Ask("gateway-0", epoch, seq)


@pytest.fixture
def origin():
    return peer("gateway-0")


@pytest.fixture
def there():
    return peer("gateway-1")


@pytest.fixture
def shard():
    return peer("shard-1", through_shards=True)


def confirm(destination, number):
    """The destination says that it has handled (a shard: passed) that."""
    if destination.through_shards:
        destination.link.peer_passed = number
    else:
        destination.link.handled = number
    destination.settle()


# Confirmation


def test_what_concerned_nobody_else_has_passed_at_once(origin):
    origin.close(3, 2, [reply(1)], [])
    assert (origin.link.passed, origin.link.durable) == (3, 2)
    assert origin.link.outbox == [reply(1)]
    assert origin.idle


def test_an_acknowledgement_waits_for_the_gateway_that_must_deliver(origin, there):
    origin.close(3, 2, [reply(1)], [(there, 10)])
    for confirmed in (0, 9):
        confirm(there, confirmed)
        assert origin.link.outbox == []
        assert (origin.link.passed, origin.link.durable) == (0, 0)
    assert not origin.idle
    confirm(there, 10)
    assert origin.link.outbox == [reply(1)]
    assert (origin.link.passed, origin.link.durable) == (3, 2)
    assert origin.idle
    assert there.idle


def test_it_waits_for_all_of_them(origin, there, shard):
    origin.close(3, 0, [reply(1)], [(there, 10), (shard, 4)])
    confirm(there, 99)
    assert origin.link.outbox == []
    confirm(shard, 4)
    assert origin.link.outbox == [reply(1)]


def test_a_shard_confirms_by_what_has_passed_there_not_by_what_it_handled(origin, shard):
    origin.close(3, 0, [reply(1)], [(shard, 4)])
    shard.link.handled = 4
    shard.settle()
    assert origin.link.outbox == []
    confirm(shard, 4)
    assert origin.link.outbox == [reply(1)]


def test_batches_pass_in_order_but_each_is_answered_when_it_can_be(origin, there, shard):
    origin.close(3, 1, [reply(1)], [(there, 10)])
    origin.close(5, 2, [reply(2)], [(shard, 4)])
    origin.close(6, 3, [reply(3)], [])
    assert origin.link.outbox == [reply(3)]
    confirm(shard, 4)
    assert origin.link.outbox == [reply(3), reply(2)]
    assert (origin.link.passed, origin.link.durable) == (0, 0)
    confirm(there, 10)
    assert origin.link.outbox == [reply(3), reply(2), reply(1)]
    assert (origin.link.passed, origin.link.durable) == (6, 3)


def test_durable_never_goes_back(origin):
    origin.close(3, 7, [], [])
    origin.close(4, 0, [], [])
    assert (origin.link.passed, origin.link.durable) == (4, 7)


@pytest.mark.parametrize(
    ("replies", "from_shard", "prompt"),
    [([reply(1)], False, True), ([], False, False), ([], True, True)],
)
def test_a_confirmation_is_asked_for_at_once_only_if_somebody_waits(
    replies, from_shard, prompt, there
):
    """A publisher for its acknowledgement, or a shard for what it forwarded."""
    origin = peer("shard-1" if from_shard else "gateway-0", through_shards=from_shard)
    origin.close(3, 0, replies, [(there, 10)])
    assert there.link.prompt is prompt


@pytest.mark.parametrize("from_shard", [False, True])
def test_a_shard_is_told_at_once_what_has_passed(from_shard):
    origin = peer("shard-1", through_shards=from_shard)
    origin.close(3, 0, [], [])
    assert origin.link.urgent is from_shard


def test_what_has_passed_may_be_seen_when_nobody_waits(origin, there):
    confirm(there, 10)
    assert there.idle
    origin.close(3, 0, [], [(there, 11)])
    confirm(there, 10)
    assert not origin.passed


def test_a_destination_that_goes_is_waited_for_no_more(origin, there):
    origin.close(3, 0, [reply(1)], [(there, 10)])
    origin.close(4, 0, [reply(2)], [(there, 11)])
    there.abandon()
    assert origin.link.outbox == [reply(1), reply(2)]
    assert origin.link.passed == 4
    assert origin.idle
    assert there.idle


def test_an_origin_that_goes_gets_no_replies_and_harms_nobody(origin, there):
    other = peer("gateway-2")
    origin.close(3, 2, [reply(1)], [(there, 10)])
    other.close(8, 0, [reply(2)], [(there, 11)])
    origin.abandon()
    confirm(there, 11)
    assert origin.link.outbox == []
    assert (origin.link.passed, origin.link.durable) == (0, 0)
    assert other.link.outbox == [reply(2)]
    assert origin.idle


def test_a_gateway_that_comes_back_still_hears_what_was_published_safely(origin, there):
    """Reliably; what else it asked the end of the pair has answered already."""
    other = Registered(1, 7, 7)
    origin.close(3, 1, [reply(1), other], [(there, 10)])
    origin.close(5, 2, [reply(2)], [(there, 11)])
    assert origin.pause() == []
    origin.resume()
    confirm(there, 10)
    assert origin.link.outbox == [reply(1)]
    assert origin.link.reliable == [0]
    # The numbers of the ended pair mean nothing in the new one.
    assert (origin.link.passed, origin.link.durable) == (0, 1)
    assert origin.link.urgent
    origin.close(1, 2, [reply(3)], [])
    assert origin.link.outbox == [reply(1), reply(3)]
    # It does not pass before what was owed: the new numbers would say that as well.
    assert (origin.link.passed, origin.link.durable) == (0, 1)
    confirm(there, 11)
    assert origin.link.outbox == [reply(1), reply(3), reply(2)]
    assert (origin.link.passed, origin.link.durable) == (1, 2)
    assert origin.idle


def test_a_destination_that_comes_back_confirms_what_it_is_sent_again(origin, there):
    origin.close(3, 0, [reply(1)], [(there, 10)])
    there.pause()
    assert origin.link.outbox == []
    there.link.outbox.extend([reply(8), reply(9)])  # as after Link.resume
    there.resume()
    confirm(there, 1)
    assert origin.link.outbox == []
    confirm(there, 2)
    assert origin.link.outbox == [reply(1)]


def test_what_went_to_a_shard_that_is_lost_is_not_waited_for(origin, shard):
    origin.close(3, 0, [reply(1)], [(shard, 10)])
    shard.pause()
    assert origin.link.outbox == [reply(1)]


def test_whether_all_that_was_handled_has_passed(origin, there):
    assert origin.passed
    origin.close(3, 0, [], [(there, 10)])
    assert not origin.passed
    confirm(there, 10)
    assert origin.passed


@given(st.lists(st.sets(st.sampled_from("abc")), max_size=12), st.randoms(use_true_random=False))
def test_any_confirmations_pass_everything_in_order_and_answer_what_they_concern(batches, rng):
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
        origin.close(number, number, [reply(number)], marks)
    confirmed = dict.fromkeys(others, 0)
    while confirmed != sent:
        name = rng.choice([name for name in others if confirmed[name] < sent[name]])
        confirmed[name] = rng.randint(confirmed[name] + 1, sent[name])
        confirm(others[name], confirmed[name])
        done = [all(confirmed[name] >= sent for name, sent in need.items()) for need in needs]
        assert origin.link.passed == [*done, False].index(False)
        answered = [answer.requests[0] for answer in origin.link.outbox]
        assert sorted(answered) == [number for number, one in enumerate(done, 1) if one]
    assert origin.link.passed == len(batches)
    assert origin.idle


# Fences (WAMP #ordering-guarantees)


def test_who_asks_is_answered_when_that_has_been_handled(origin, there):
    """The answer goes behind the events: their confirmation need not be waited for."""
    asker = there.link
    origin.ask(asker, ask(5))
    assert asker.outbox == []
    origin.close(4, 0, [], [(there, 10)])
    assert asker.outbox == []
    origin.close(7, 0, [], [(there, 11)])
    assert asker.outbox == [Reached("gateway-0", 5, 7)]
    assert not origin.idle


def test_what_was_handled_before_is_answered_at_once(origin, there):
    origin.close(4, 0, [], [])
    origin.ask(there.link, ask(4))
    origin.ask(there.link, ask(2))
    assert there.link.outbox == [Reached("gateway-0", 5, 4)] * 2
    assert origin.idle


def test_what_went_on_to_another_shard_is_not_reached_before_it_passed_there(origin, there, shard):
    """A forwarded call: its invocation comes from elsewhere."""
    origin.close(3, 0, [], [])
    origin.close(4, 0, [], [(shard, 9)])
    origin.close(5, 0, [], [])
    origin.ask(there.link, ask(3))
    origin.ask(there.link, ask(5))
    assert there.link.outbox == [Reached("gateway-0", 5, 3)]
    confirm(shard, 9)
    assert there.link.outbox == [Reached("gateway-0", 5, 3), Reached("gateway-0", 5, 5)]


@pytest.mark.parametrize(("seq", "answered"), [(3, True), (4, False), (6, False), (9, False)])
def test_nothing_of_a_batch_is_reached_while_something_of_it_is_forwarded(
    seq, answered, origin, there, shard
):
    """Any of its frames may be the one that went on."""
    origin.close(3, 0, [], [])
    origin.close(9, 0, [], [(shard, 9)])  # 4 to 9
    origin.ask(there.link, ask(seq))
    assert there.link.outbox == ([Reached("gateway-0", 5, 3)] if answered else [])
    confirm(shard, 9)
    assert origin.idle


def test_of_another_pair_everything_has_been_reached(origin, there):
    origin.ask(there.link, ask(5, epoch=4))
    assert there.link.outbox == [Reached("gateway-0", 4, EVERYTHING)]
    assert origin.idle


@pytest.mark.parametrize(
    ("epoch", "to_come"),
    [(4, False), (5, False), (6, True), (5 + (1 << 19), True), (5 + (1 << 30), False)],
)
def test_later_epochs_of_an_incarnation_are_yet_to_come(epoch, to_come, origin):
    assert origin.is_to_come(epoch) is to_come


def test_an_earlier_pair_is_reached_when_what_it_forwarded_has_passed(origin, there, shard):
    origin.close(3, 0, [], [(shard, 9)])
    origin.pause()
    origin.link.peer_epoch = 6
    origin.ask(there.link, ask(3))
    assert there.link.outbox == []
    confirm(shard, 9)
    assert there.link.outbox == [Reached("gateway-0", 5, EVERYTHING)]


def test_a_question_is_given_back_when_the_pair_ends(origin, there):
    origin.ask(there.link, ask(5))
    assert origin.pause() == [(there.link, ask(5))]
    assert origin.idle


def end(passing):
    """The pair ends, as in `Link.break_off`."""
    passing.link.open = False
    passing.link.peer_epoch = 0


def test_when_the_origin_goes_everything_has_been_reached(origin, there):
    gone = peer("gateway-2")
    origin.ask(there.link, ask(5))
    origin.ask(gone.link, ask(5))
    end(gone)
    end(origin)
    origin.abandon()
    assert there.link.outbox == [Reached("gateway-0", 5, EVERYTHING)]
    assert gone.link.outbox == []
    assert origin.idle


def test_what_an_origin_that_has_gone_published_is_reached_when_it_has_its_effects(origin, there):
    """Its key's commit may be under way; the events come behind it, and then the answer."""
    entry = origin.close(3, 0, [], [], 1)
    origin.ask(there.link, ask(3))
    end(origin)
    origin.abandon()
    assert there.link.outbox == []
    there.link.outbox.append(reply(9))
    origin.release(entry, [reply(1)], [(there, 10)])
    assert there.link.outbox == [reply(9), Reached("gateway-0", 5, EVERYTHING)]
    confirm(there, 10)
    assert origin.link.outbox == []
    assert origin.idle


# Parts: what waits for a commit


def test_what_waits_for_a_commit_is_answered_apart(origin, there):
    entry = origin.close(3, 2, [reply(1)], [], 2)
    assert origin.link.outbox == [reply(1)]
    origin.release(entry, [reply(2)], [(there, 10)])
    origin.release(entry, [reply(3)], [])
    assert origin.link.outbox == [reply(1), reply(3)]
    assert (origin.link.passed, origin.link.durable) == (0, 0)
    confirm(there, 10)
    assert origin.link.outbox == [reply(1), reply(3), reply(2)]
    assert (origin.link.passed, origin.link.durable) == (3, 2)
    assert origin.idle


def test_what_waits_for_a_commit_holds_up_what_has_passed_behind_it(origin):
    entry = origin.close(3, 2, [], [], 1)
    origin.close(4, 3, [reply(1)], [])
    assert origin.link.outbox == [reply(1)]
    assert (origin.link.passed, origin.link.durable) == (0, 0)
    origin.release(entry, [], [])
    assert (origin.link.passed, origin.link.durable) == (4, 3)


def test_what_waits_for_a_commit_has_not_been_reached(origin, there):
    origin.close(2, 0, [], [])
    entry = origin.close(4, 0, [], [], 1)
    origin.close(5, 0, [], [])
    for seq in (2, 3, 5):
        origin.ask(there.link, ask(seq))
    assert there.link.outbox == [Reached("gateway-0", 5, 2)]
    # Whether that is confirmed does not matter: the answer comes behind it.
    origin.release(entry, [], [(there, 10)])
    assert there.link.outbox == [Reached("gateway-0", 5, seq) for seq in (2, 5, 5)]


def test_a_question_about_an_ended_pair_waits_for_what_waits_of_it(origin, there):
    entry = origin.close(3, 0, [], [], 1)
    origin.pause()
    origin.link.peer_epoch = 6
    origin.ask(there.link, ask(3))
    later = origin.close(1, 0, [], [], 1)
    assert there.link.outbox == []
    origin.release(entry, [], [])
    assert there.link.outbox == [Reached("gateway-0", 5, EVERYTHING)]
    assert (origin.link.passed, origin.idle) == (0, False)
    origin.release(later, [], [])
    assert origin.link.passed == 1


def test_a_question_about_an_ended_pair_waits_for_what_was_sent_again(origin, there):
    """Which has been handled in the new pair, before anybody asked."""
    origin.close(3, 0, [], [], 1)
    origin.abandon()
    origin.link.peer_epoch = 6
    again = origin.close(1, 0, [], [], 1)
    origin.ask(there.link, ask(3))
    first, *_ = origin._owed
    origin.release(first, [], [])
    assert there.link.outbox == []
    origin.release(again, [], [])
    assert there.link.outbox == [Reached("gateway-0", 5, EVERYTHING)]


def test_nothing_of_a_new_pair_passes_before_what_is_owed_of_the_old_one(origin, there, shard):
    origin.close(9, 3, [], [(there, 10)])
    origin.pause()
    origin.close(1, 4, [], [(shard, 4)])
    confirm(shard, 4)
    assert (origin.link.passed, origin.link.durable) == (0, 0)
    confirm(there, 10)
    assert (origin.link.passed, origin.link.durable) == (1, 4)


def test_what_a_pair_that_has_ended_still_does_is_said_if_it_is_safe(origin):
    """The end of a publish is; a registration is told again by its gateway."""
    entry = origin.close(3, 2, [], [], 1)
    origin.pause()
    origin.release(entry, [Registered(1, 7, 7), reply(1)], [])
    assert origin.link.outbox == [reply(1)]
    assert origin.link.durable == 2


def test_an_asker_that_went_is_not_answered(origin, there):
    origin.ask(there.link, ask(5))
    there.link.open = False
    origin.close(5, 0, [], [])
    assert there.link.outbox == []
    assert origin.idle


def test_a_new_pair_begins_from_nothing(origin, there):
    origin.close(9, 0, [], [])
    origin.abandon()
    origin.ask(there.link, ask(1))
    assert there.link.outbox == []
    origin.close(1, 0, [], [])
    assert there.link.outbox == [Reached("gateway-0", 5, 1)]


# What is in no batch


@pytest.fixture
def done():
    return []


def test_what_had_waited_is_answered_when_it_has_passed(origin, there, done):
    origin.close(3, 2, [], [])
    origin.aside([reply(1)], [(there, 10)], lambda: done.append(origin.link.outbox[:]))
    assert (origin.link.outbox, done) == ([], [])
    assert not origin.idle
    confirm(there, 10)
    assert done == [[reply(1)]]
    assert origin.link.reliable == [0]
    assert (origin.link.passed, origin.link.durable) == (3, 2)
    assert origin.idle


def test_what_had_waited_and_concerns_nobody_is_answered_at_once(origin, done):
    origin.close(3, 2, [], [])
    origin.aside([reply(1)], [], lambda: done.append(origin.link.outbox[:]))
    assert done == [[reply(1)]]
    assert origin.idle


def test_later_batches_pass_behind_what_had_waited(origin, there, done):
    origin.close(3, 2, [], [])
    origin.aside([reply(1)], [(there, 10)], lambda: done.append(1))
    origin.close(4, 3, [reply(2)], [])
    assert (origin.link.outbox, origin.link.passed) == ([reply(2)], 3)
    confirm(there, 10)
    assert origin.link.outbox == [reply(2), reply(1)]
    assert (origin.link.passed, origin.link.durable) == (4, 3)


def test_the_answer_of_what_had_waited_outlives_the_pair(origin, there, done):
    origin.close(3, 2, [], [])
    origin.aside([reply(1)], [(there, 10)], lambda: done.append(1))
    origin.pause()
    origin.close(1, 1, [], [])
    assert origin.link.outbox == []
    confirm(there, 10)
    assert (origin.link.outbox, done) == ([reply(1)], [1])
    assert (origin.link.passed, origin.link.durable) == (1, 2)
    assert origin.idle


def test_nobody_is_answered_who_has_gone_for_good(origin, there, done):
    origin.aside([reply(1)], [(there, 10)], lambda: done.append(1))
    origin.abandon()
    confirm(there, 10)
    assert (origin.link.outbox, done) == ([], [1])
    assert origin.idle
