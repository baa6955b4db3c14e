"""Wills and testaments at a shard, until their sessions end (MQTT-3.1.2-8, WAMP #testament)."""

import pytest
from shard_harness import ShardHarness, publish

from fox_shard.backplane.frames import DropWills, Will, WillsStored
from fox_shard.deadline import Deadline
from fox_shard.shard import rows
from fox_shard.shard.sessions.wills import Wills
from fox_shard.store.journal import Journal


def peers():
    harness = ShardHarness(gateways=2)
    return harness.shard.peers["gateway-0"], harness.shard.peers["gateway-1"]


@pytest.fixture
def journal():
    return Journal(
        Deadline(), lambda ticket, now: None, lambda ticket, why, now: None, lambda why: None
    )


@pytest.fixture
def wills(journal):
    return Wills(journal)


def test_a_later_will_replaces_an_earlier_one(wills):
    peer, _ = peers()
    wills.set(peer, Will(publish(session=1, args=b"[1]")))
    wills.set(peer, Will(publish(session=1, args=b"[2]")))
    assert [will.args for will in wills.take(1)] == [b"[2]"]
    assert wills.take(1) == []


def test_a_session_without_wills_has_none_to_take(wills):
    assert wills.take(7) == []


def test_wills_are_taken_in_the_order_of_their_numbers(wills, journal):
    peer, _ = peers()
    for number in (3, 1, 2):
        wills.set(peer, Will(publish(session=1, args=b"[%d]" % number), number))
    keys = [rows.will(1, number) for number in (1, 2, 3)]
    assert sorted(journal.take(0.0).changes) == keys
    wills.drop(peer, DropWills(1, [2], 7))
    assert journal.take(0.0).changes == {keys[1]: None}
    assert [will.args for will in wills.take(1)] == [b"[1]", b"[3]"]
    assert journal.take(0.0).changes == {keys[0]: None, keys[2]: None}


def test_a_call_is_answered_when_its_rows_are_durable(wills, journal):
    peer, _ = peers()
    answers = peer.link.outbox
    wills.set(peer, Will(publish(session=1), 1, 5))
    first = journal.take(0.0).ticket
    wills.drop(peer, DropWills(1, [1], 6))
    second = journal.take(0.0).ticket
    wills.committed(first)
    assert answers == [WillsStored(1, 5)]
    wills.committed(second)
    assert answers == [WillsStored(1, 5), WillsStored(1, 6)]
    # The gateway asks again if the answer was lost with the pair.
    wills.drop(peer, DropWills(1, [1], 6))
    wills.committed(journal.take(0.0).ticket)
    assert len(answers) == 3


def test_wills_that_are_not_replayed_are_dropped(wills):
    peer, _ = peers()
    for number in (1, 2):
        wills.set(peer, Will(publish(session=1, args=b"[%d]" % number), number))
    wills.link_opened(peer, known=True)
    wills.set(peer, Will(publish(session=1, args=b"[2]"), 2))
    wills.sync_ended(peer)
    assert [will.args for will in wills.take(1)] == [b"[2]"]


def test_the_sessions_of_a_gateway_that_have_wills_are_listed(wills):
    one, other = peers()
    for session in (1, 2, 3):
        wills.set(other if session == 2 else one, Will(publish(session=session)))
    assert wills.sessions_of(one.name) == [1, 3]
    wills.take(1)
    assert (wills.sessions_of(one.name), wills.sessions_of(other.name)) == ([3], [2])


def test_a_will_is_a_row_until_it_is_taken(wills, journal):
    peer, _ = peers()
    wills.set(peer, Will(publish(session=1)))
    row = rows.WillRow("gateway-0", peer.link.peer_incarnation, publish(session=1))
    assert journal.take(0.0).changes == {rows.will(1): rows.encode(row)}
    wills.take(1)
    assert journal.take(0.0).changes == {rows.will(1): None}


def test_a_replayed_will_is_not_written_again(wills, journal):
    peer, _ = peers()
    wills.set(peer, Will(publish(session=1)))
    assert journal.take(0.0) is not None
    wills.set(peer, Will(publish(session=1)))
    assert journal.take(0.0) is None


def test_a_loaded_will_belongs_to_its_session_and_gateway(wills, journal):
    wills.load(rows.will(1), rows.WillRow("gateway-0", 5, publish(session=1)))
    wills.load(rows.will(2), rows.WillRow("gateway-1", 6, publish(session=2)))
    assert journal.take(0.0) is None
    assert wills.sessions_of("gateway-1") == [2]
    assert wills.take(1) == [publish(session=1)]
