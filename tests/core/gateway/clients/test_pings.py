"""Idle clients are pinged, and taken for gone if they do not answer."""

import pytest
from wamp_client import FakeGateway
from websocket_client import connected as websocket
from websocket_client import frames_of, masked

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.deadline import Deadline
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limits import NAMES
from fox_shard.gateway.clients.pings import Pings
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.transports.factories import makers


class Harness:
    def __init__(self):
        self.timers = Timers(Deadline())
        self.limit_counts = LimitCounts(NAMES)
        self.told = []
        self.connection = Connection([], "peer")
        self.connection.transport = self
        self.pings = Pings(
            self.connection,
            self.timers,
            20.0,
            100.0,
            lambda: self.told.append("ping"),
            lambda: self.told.append("gone"),
        )

    def at(self, now, heard=None):
        """Let time pass, and something arrive if `heard` is given; return what happened."""
        if heard is not None:
            self.pings.heard = heard
        self.timers.run(now)
        told, self.told = self.told, []
        return told


@pytest.fixture
def harness():
    return Harness()


def test_a_silent_client_is_pinged_and_then_gone(harness):
    assert harness.at(119.9) == []
    assert harness.at(120.0) == ["ping"]
    assert harness.at(139.9) == []
    assert harness.at(140.0) == ["gone"]
    assert harness.at(1000.0) == []


def test_a_client_that_answers_is_pinged_again_and_again(harness):
    for now in range(120, 400, 21):
        assert harness.at(now) == ["ping"]
        assert harness.at(now + 1, heard=now + 1) == []
        assert harness.at(now + 20) == []


def test_a_client_that_sends_something_is_not_pinged(harness):
    for now in range(110, 400, 10):
        assert harness.at(now, heard=now) == []


def test_a_client_that_is_not_read_is_not_gone(harness):
    assert harness.at(120.0) == ["ping"]
    harness.connection.pause(paused=True)
    assert harness.at(140.0) == []
    harness.connection.pause(paused=False)
    assert harness.at(160.0) == ["ping"]


@pytest.mark.parametrize("how", ["closing", "lost"])
def test_a_connection_that_is_over_is_not_watched(how, harness):
    if how == "closing":
        harness.connection.close()
    else:
        harness.connection.transport = None
    assert harness.at(120.0) == []
    assert harness.timers._heap == []


def test_a_websocket_that_answers_stays_and_one_that_does_not_is_closed():
    server, _ = websocket()
    server.connection.transport = server
    server.advance(20)
    assert frames_of(server.written()) == [(0x89, b"")]
    server.feed(masked(b"", 10))
    server.advance(20)
    assert frames_of(server.written()) == [(0x89, b"")]
    server.advance(20)
    assert frames_of(server.written())[-1][0] == 0x88
    assert server.connection.closing
    assert server.session.losses == 1


def test_a_rawsocket_that_answers_stays_and_one_that_does_not_is_closed():
    gateway = FakeGateway(rawsocket_ping_interval=20.0, handshake_timeout=3600.0)
    connection = Connection([], "peer")
    connection.transport = gateway
    raw = makers(gateway, gateway)["rawsocket"](connection)
    raw.receive(b"\x7f\xf1\0\0", gateway.now)
    connection.out.clear()
    gateway.pass_time(20)
    assert connection.out == [b"\1\0\0\0"]
    raw.receive(b"\2\0\0\0", gateway.now)
    gateway.pass_time(20)
    assert connection.out == [b"\1\0\0\0"] * 2
    gateway.pass_time(20)
    assert connection.closing


def test_pings_can_be_turned_off():
    server, _ = websocket(settings={"ping_interval": 0.0})
    server.advance(1000)
    assert frames_of(server.written()) == []
    assert not server.connection.closing


def test_a_rawsocket_is_not_pinged_by_default():
    """A Ping is the head of a message of 16 MiB for autobahn's RawSocket on Twisted."""
    gateway = FakeGateway(handshake_timeout=3600.0)
    connection = Connection([], "peer")
    raw = makers(gateway, gateway)["rawsocket"](connection)
    raw.receive(b"\x7f\xf1\0\0", gateway.now)
    connection.out.clear()
    gateway.pass_time(1000)
    assert connection.out == []
