"""A gateway that stood still: its sessions end only if somebody has declared it gone."""

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import ACKNOWLEDGE, Leave, Publish
from fox_shard.gateway.mqtt.keepalive import KeepAlive


@pytest.fixture
def harness():
    return GatewayHarness()


def stand_still(harness, seconds):
    """Let time pass in which neither the gateway nor its peers make a turn."""
    harness.now += seconds


@pytest.mark.parametrize("seconds", [4.0, 8.0, 100.0])
def test_sessions_go_on_if_nobody_has_declared_the_gateway_gone(harness, seconds):
    session = harness.session()
    harness.turns()
    stand_still(harness, seconds)
    harness.turns()
    assert session.take() == []
    assert session.id in harness.gateway.sessions
    harness.publish(session, harness.topic(1), ACKNOWLEDGE)
    assert len(harness.got("shard-1", Publish)) == 1
    assert not harness.got("coordinator", Leave)


@pytest.mark.parametrize("peer", ["shard-0", "shard-1", "coordinator"])
def test_sessions_end_if_one_process_has_declared_the_gateway_gone(harness, peer):
    session = harness.session()
    harness.turns()
    incarnation = harness.gateway.incarnation
    link = harness[peer].link
    link.break_off(harness.now)
    link.disown()
    stand_still(harness, 12.0)
    harness.publish(session, harness.topic(0), ACKNOWLEDGE)
    harness.turns()
    assert session.take() == [("end", "fox.close.stood_still")]
    assert not harness.gateway.sessions
    assert harness.gateway.incarnation != incarnation
    # What the ended session published meanwhile reaches no shard.
    assert not harness.got("shard-0", Publish)
    harness.pass_time(1.0)
    assert all(
        one.link.peer_incarnation == harness.gateway.incarnation
        for one in (harness["shard-0"], harness["shard-1"], harness["coordinator"])
    )
    assert harness.gateway.health()["status"] == "ok"


def test_publishers_are_not_read_until_all_peers_have_answered(harness):
    session = harness.session()
    harness.turns()
    harness["shard-1"].silent = True
    stand_still(harness, 8.0)
    harness.turns()
    harness.publish(session, harness.topic(0), ACKNOWLEDGE)
    harness.turns()
    assert session.connection.paused
    assert not harness.got("shard-0", Publish)
    harness["shard-1"].silent = False
    harness.turns()
    assert not session.connection.paused
    assert len(harness.got("shard-0", Publish)) == 1


def test_clients_are_not_blamed_for_the_time_in_which_nobody_read_them(harness):
    """MQTT 3.1.2.10: the server did not read, so the client was not silent."""
    session = harness.session()
    overdue = []
    KeepAlive(4, session.connection, harness.gateway.timers, harness.now, lambda: overdue.append(1))
    harness.pass_time(2.5)
    stand_still(harness, 8.0)
    harness.pass_time(2.0)
    assert not overdue
    harness.pass_time(3.0)
    assert overdue == [1]
