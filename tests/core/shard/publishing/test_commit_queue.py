"""What waits for a commit, and whom it holds up."""

import pytest
from shard_harness import REALM, Stage, call, leave, publish, register, unregister

from fox_shard.backplane.frames import Again, Cancel, Event
from fox_shard.shard.publishing.commit_queue import Gate
from fox_shard.shard.publishing.effects import PLAIN

OTHER_REALM = "com.other"


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture(scope="module")
def peers():
    stage = Stage(gateways=2)
    return stage.shard.peers["gateway-0"], stage.shard.peers["gateway-1"]


def event(number=1, **more):
    return Event(number, publish(**more))


def effects(groups):
    return [group.effects for group in groups]


def test_an_empty_gate_holds_up_nobody(gate):
    assert not gate.active
    assert gate.ticket_of(1, REALM, "a.b") == 0
    assert not gate.holds_up(call(1))
    assert gate.release(99) == gate.close() == []


def test_what_waits_is_released_with_its_transaction(gate):
    gate.hold(5, event(), 3)
    assert gate.active
    assert gate.release(4) == []
    assert effects(gate.release(5)) == [[(event(), 3)]]
    assert not gate.active
    assert gate.release(5) == []


@pytest.mark.parametrize(
    ("session", "realm", "topic", "ticket"),
    [
        (1, REALM, "x", 5),
        (9, REALM, "a.b", 5),
        (1, REALM, "a.b", 5),
        (9, REALM, "x", 0),
        (9, OTHER_REALM, "a.b", 0),
    ],
)
def test_a_publish_waits_behind_its_session_and_its_topic(session, realm, topic, ticket, gate):
    gate.hold(5, event(session=1), 0)
    assert gate.ticket_of(session, realm, topic) == ticket


def test_a_publish_waits_for_the_later_of_both(gate):
    gate.hold(5, event(session=1, topic="a"), 0)
    gate.hold(6, event(session=2, topic="b"), 0)
    assert gate.ticket_of(1, REALM, "b") == gate.ticket_of(2, REALM, "a") == 6


def test_what_waits_holds_up_others_in_turn(gate):
    """Session 1 waits for its key, session 2 on that topic behind it, and all else of session 2."""
    gate.hold(5, event(session=1, topic="a"), 0)
    gate.hold(gate.ticket_of(2, REALM, "a"), event(session=2, topic="a"), PLAIN)
    assert gate.ticket_of(2, REALM, "b") == 5


def test_what_comes_again_holds_up_its_session_and_topic_as_well(gate):
    gate.hold(5, Again(event(session=1)), PLAIN)
    assert gate.ticket_of(1, REALM, "x") == gate.ticket_of(9, REALM, "a.b") == 5


def test_when_it_is_released_nobody_is_held_up_any_more_unless_by_something_later(gate):
    gate.hold(5, event(session=1, topic="a"), 0)
    gate.hold(6, event(session=2, topic="a"), 0)
    gate.release(5)
    assert gate.ticket_of(1, REALM, "x") == 0
    assert gate.ticket_of(2, REALM, "x") == gate.ticket_of(1, REALM, "a") == 6
    gate.release(6)
    assert gate.ticket_of(2, REALM, "a") == 0


@pytest.mark.parametrize(
    "frame", [call(1), Cancel(1, 1, "skip"), register(1), unregister(1), leave(1)]
)
def test_what_a_session_does_waits_behind_what_it_has_published(frame, gate):
    gate.hold(5, event(session=2), 0)
    assert not gate.holds_up(frame)
    gate.hold(5, event(session=1), 0)
    assert gate.holds_up(frame)
    ((*_, last),) = effects(gate.release(5))
    assert last == (frame, PLAIN)


# Groups


def test_a_batch_has_a_group_for_each_transaction_it_waits_for(gate):
    gate.hold(5, event(1), 0)
    gate.hold(6, event(2), 0)
    gate.hold(5, event(3), PLAIN)
    groups = gate.close()
    assert effects(groups) == [[(event(1), 0), (event(3), PLAIN)], [(event(2), 0)]]
    assert gate.close() == []
    assert gate.release(6) == groups


def test_batches_have_groups_of_their_own(gate, peers):
    """Also those that wait for the same transaction; they come out in the order of arrival."""
    for number, gate.peer in enumerate((*peers, peers[0]), 1):
        gate.hold(5, event(number), 0)
        assert len(gate.close()) == 1
    released = gate.release(5)
    assert [group.peer for group in released] == [*peers, peers[0]]
    assert [one.publication for ((one, _),) in effects(released)] == [1, 2, 3]


def test_transactions_come_out_in_order(gate):
    for ticket in (7, 6, 5):
        gate.hold(ticket, event(ticket), 0)
    assert [one.publication for ((one, _),) in effects(gate.release(6))] == [5, 6]
    assert gate.active


def test_a_group_may_wait_without_an_effect(gate):
    """Then only the batch has to wait: something of it is to be durable before it has passed."""
    group = gate.group(5)
    assert gate.close() == [group]
    assert gate.active
    assert gate.ticket_of(1, REALM, "a.b") == 0
    assert gate.release(5) == [group]


def test_when_a_pair_ends_what_its_peer_has_published_stands(gate, peers):
    gate.peer, other = peers
    gate.hold(5, event(session=1), 3)
    gate.holds_up(call(1))
    gate.hold(5, Again(event(2, session=1)), PLAIN)
    gate.holds_up(leave(1))
    gate.close()
    gate.peer = other
    gate.hold(5, event(session=2), 0)
    gate.holds_up(register(2))
    gate.forget(peers[0])
    assert effects(gate.release(5)) == [
        [(event(session=1), 3), (Again(event(2, session=1)), PLAIN), (leave(1), PLAIN)],
        [(event(session=2), 0), (register(2), PLAIN)],
    ]
