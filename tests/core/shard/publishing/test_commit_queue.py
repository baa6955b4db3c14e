"""The commit queue: effects that wait for their transactions, and what they hold up."""

import pytest
from shard_harness import REALM, ShardHarness, call, leave, publish, register, unregister

from fox_shard.backplane.frames import Again, Cancel, Event
from fox_shard.shard.publishing.commit_queue import CommitQueue
from fox_shard.shard.publishing.effects import NOT_STORED

OTHER_REALM = "com.other"


@pytest.fixture
def commit_queue():
    return CommitQueue()


@pytest.fixture(scope="module")
def peers():
    harness = ShardHarness(gateways=2)
    return harness.shard.peers["gateway-0"], harness.shard.peers["gateway-1"]


def event(number=1, **more):
    return Event(number, publish(**more))


def effects(groups):
    return [group.effects for group in groups]


def test_an_empty_commit_queue_holds_up_nothing(commit_queue):
    assert not commit_queue.waiting
    assert commit_queue.ticket_of(1, REALM, "a.b") == 0
    assert not commit_queue.holds_up(call(1))
    assert commit_queue.committed(99) == commit_queue.take_groups() == []


def test_an_effect_is_released_with_its_transaction(commit_queue):
    commit_queue.hold(5, event(), 3)
    assert commit_queue.waiting
    assert commit_queue.committed(4) == []
    assert effects(commit_queue.committed(5)) == [[(event(), 3)]]
    assert not commit_queue.waiting
    assert commit_queue.committed(5) == []


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
def test_a_publish_waits_behind_its_session_and_its_topic(
    session, realm, topic, ticket, commit_queue
):
    commit_queue.hold(5, event(session=1), 0)
    assert commit_queue.ticket_of(session, realm, topic) == ticket


def test_a_publish_waits_for_the_later_of_its_session_and_its_topic(commit_queue):
    commit_queue.hold(5, event(session=1, topic="a"), 0)
    commit_queue.hold(6, event(session=2, topic="b"), 0)
    assert commit_queue.ticket_of(1, REALM, "b") == commit_queue.ticket_of(2, REALM, "a") == 6


def test_an_effect_that_waits_holds_up_others_in_turn(commit_queue):
    """Session 1 waits for its key, session 2 behind it on that topic, and then all of session 2."""
    commit_queue.hold(5, event(session=1, topic="a"), 0)
    commit_queue.hold(
        commit_queue.ticket_of(2, REALM, "a"), event(session=2, topic="a"), NOT_STORED
    )
    assert commit_queue.ticket_of(2, REALM, "b") == 5


def test_an_event_that_is_sent_again_holds_up_its_session_and_topic_too(commit_queue):
    commit_queue.hold(5, Again(event(session=1)), NOT_STORED)
    assert commit_queue.ticket_of(1, REALM, "x") == commit_queue.ticket_of(9, REALM, "a.b") == 5


def test_a_released_effect_holds_up_nothing_but_later_ones_still_do(commit_queue):
    commit_queue.hold(5, event(session=1, topic="a"), 0)
    commit_queue.hold(6, event(session=2, topic="a"), 0)
    commit_queue.committed(5)
    assert commit_queue.ticket_of(1, REALM, "x") == 0
    assert commit_queue.ticket_of(2, REALM, "x") == commit_queue.ticket_of(1, REALM, "a") == 6
    commit_queue.committed(6)
    assert commit_queue.ticket_of(2, REALM, "a") == 0


@pytest.mark.parametrize(
    "frame", [call(1), Cancel(1, 1, "skip"), register(1), unregister(1), leave(1)]
)
def test_other_frames_of_a_session_wait_behind_its_publishes(frame, commit_queue):
    commit_queue.hold(5, event(session=2), 0)
    assert not commit_queue.holds_up(frame)
    commit_queue.hold(5, event(session=1), 0)
    assert commit_queue.holds_up(frame)
    ((*_, last),) = effects(commit_queue.committed(5))
    assert last == (frame, NOT_STORED)


# Groups


def test_a_batch_has_a_group_for_each_transaction_it_waits_for(commit_queue):
    commit_queue.hold(5, event(1), 0)
    commit_queue.hold(6, event(2), 0)
    commit_queue.hold(5, event(3), NOT_STORED)
    groups = commit_queue.take_groups()
    assert effects(groups) == [[(event(1), 0), (event(3), NOT_STORED)], [(event(2), 0)]]
    assert commit_queue.take_groups() == []
    assert commit_queue.committed(6) == groups


def test_batches_have_groups_of_their_own(commit_queue, peers):
    """Batches that wait for the same transaction are released in the order of arrival."""
    for number, commit_queue.peer in enumerate((*peers, peers[0]), 1):
        commit_queue.hold(5, event(number), 0)
        assert len(commit_queue.take_groups()) == 1
    released = commit_queue.committed(5)
    assert [group.peer for group in released] == [*peers, peers[0]]
    assert [one.publication for ((one, _),) in effects(released)] == [1, 2, 3]


def test_groups_are_released_in_the_order_of_transactions(commit_queue):
    for ticket in (7, 6, 5):
        commit_queue.hold(ticket, event(ticket), 0)
    assert [one.publication for ((one, _),) in effects(commit_queue.committed(6))] == [5, 6]
    assert commit_queue.waiting


def test_a_group_may_wait_without_an_effect(commit_queue):
    """Only the batch waits then: it is not delivered before something of it is durable."""
    group = commit_queue.group(5)
    assert commit_queue.take_groups() == [group]
    assert commit_queue.waiting
    assert commit_queue.ticket_of(1, REALM, "a.b") == 0
    assert commit_queue.committed(5) == [group]


def test_publishes_and_leaves_of_a_peer_outlive_the_pair(commit_queue, peers):
    commit_queue.peer, other = peers
    commit_queue.hold(5, event(session=1), 3)
    commit_queue.holds_up(call(1))
    commit_queue.hold(5, Again(event(2, session=1)), NOT_STORED)
    commit_queue.holds_up(leave(1))
    commit_queue.take_groups()
    commit_queue.peer = other
    commit_queue.hold(5, event(session=2), 0)
    commit_queue.holds_up(register(2))
    commit_queue.link_broken(peers[0])
    assert effects(commit_queue.committed(5)) == [
        [(event(session=1), 3), (Again(event(2, session=1)), NOT_STORED), (leave(1), NOT_STORED)],
        [(event(session=2), 0), (register(2), NOT_STORED)],
    ]
