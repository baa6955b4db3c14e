"""Wills: one for each session, until the session ends (MQTT-3.1.2-8)."""

import pytest
from shard_harness import ShardHarness, publish

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
    wills.set(peer, publish(session=1, args=b"[1]"))
    wills.set(peer, publish(session=1, args=b"[2]"))
    assert wills.take(1).args == b"[2]"
    assert wills.take(1) is None


def test_take_returns_none_for_a_session_without_a_will(wills):
    assert wills.take(7) is None


def test_the_sessions_of_a_gateway_that_have_wills_are_listed(wills):
    one, other = peers()
    for session in (1, 2, 3):
        wills.set(other if session == 2 else one, publish(session=session))
    assert wills.sessions_of(one.name) == [1, 3]
    wills.take(1)
    assert (wills.sessions_of(one.name), wills.sessions_of(other.name)) == ([3], [2])


def test_a_will_is_a_row_until_it_is_taken(wills, journal):
    peer, _ = peers()
    wills.set(peer, publish(session=1))
    row = rows.WillRow("gateway-0", peer.link.peer_incarnation, publish(session=1))
    assert journal.take(0.0).changes == {rows.will(1): rows.encode(row)}
    wills.take(1)
    assert journal.take(0.0).changes == {rows.will(1): None}


def test_a_replayed_will_is_not_written_again(wills, journal):
    peer, _ = peers()
    wills.set(peer, publish(session=1))
    assert journal.take(0.0) is not None
    wills.set(peer, publish(session=1))
    assert journal.take(0.0) is None


def test_a_loaded_will_belongs_to_its_session_and_gateway(wills, journal):
    wills.load(rows.WillRow("gateway-0", 5, publish(session=1)))
    wills.load(rows.WillRow("gateway-1", 6, publish(session=2)))
    assert journal.take(0.0) is None
    assert wills.sessions_of("gateway-1") == [2]
    assert wills.take(1) == publish(session=1)
