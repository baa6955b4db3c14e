"""A message of which the last byte never comes does not stay for ever, on any transport."""

import pytest
from mqtt_gateway import connected
from wamp_client import FakeGateway
from websocket_client import connected as websocket
from websocket_client import masked

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.deadline import Deadline
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limits import NAMES
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.clients.unfinished import PROGRESS, Unfinished
from fox_shard.gateway.transports.factories import makers
from fox_shard.gateway.transports.rawsocket import frame

HELLO = b'[1,"realm1",{"roles":{"publisher":{}}}]'


class Harness:
    def __init__(self):
        self.timers = Timers(Deadline())
        self.limit_counts = LimitCounts(NAMES)
        self.ended = 0
        self.unfinished = Unfinished(self.timers, 30.0, self._end)

    def _end(self):
        self.ended += 1


@pytest.fixture
def harness():
    return Harness()


def test_a_message_that_is_not_finished_in_time_ends_the_connection(harness):
    harness.unfinished.hold(5, 100.0)
    harness.unfinished.hold(50, 129.0)
    harness.timers.run(129.9)
    assert harness.ended == 0
    harness.timers.run(130.0)
    assert harness.ended == 1


def test_a_message_that_is_finished_does_not(harness):
    harness.unfinished.hold(5, 100.0)
    harness.unfinished.hold(0, 101.0)
    harness.timers.run(200.0)
    assert harness.ended == 0


def test_the_next_message_has_its_own_time(harness):
    harness.unfinished.hold(5, 100.0)
    harness.unfinished.hold(0, 101.0)
    harness.unfinished.hold(5, 120.0)
    harness.timers.run(130.0)
    harness.timers.run(149.0)
    assert harness.ended == 0
    harness.timers.run(150.0)
    assert harness.ended == 1


def test_a_long_message_may_take_long_if_it_makes_progress(harness):
    size = 1
    for step in range(10):
        harness.unfinished.hold(size, 100.0 + 29 * step)
        harness.timers.run(100.0 + 29 * step)
        size += PROGRESS
    assert harness.ended == 0
    harness.unfinished.hold(size - 1, 100.0 + 29 * 9)
    harness.timers.run(100.0 + 29 * 9 + 30)
    assert harness.ended == 1


def test_many_messages_in_parts_need_one_timer_at_a_time(harness):
    for number in range(1000):
        harness.unfinished.hold(5, 100.0 + number / 1000)
        harness.unfinished.hold(0, 101.0)
    assert len(harness.timers._heap) == 1


def test_mqtt():
    client = connected()
    client.feed(b"\x30\x80\x01\x00\x01a")
    client.gateway.advance(29)
    client.feed(b"x")
    assert not client.closed
    client.gateway.advance(2)
    assert client.closed
    assert client.calls == [("session_ended", False)]


@pytest.mark.parametrize("seconds", [29, 31])
def test_mqtt_packets_that_are_finished_may_be_followed_by_silence(seconds):
    client = connected()
    client.feed(b"\x30\x05\x00\x01")
    client.gateway.advance(29)
    client.feed(b"axx")
    client.gateway.advance(seconds)
    assert not client.closed


def test_rawsocket():
    gateway = FakeGateway()
    connection = Connection([], "peer")
    socket = makers(gateway, gateway)["rawsocket"](connection)
    socket.receive(b"\x7f\xf1\0\0" + frame(HELLO), 100.0)
    connection.out.clear()
    socket.receive(b"\0\0\1\0[16", gateway.now)
    gateway.pass_time(29)
    socket.receive(b",1", gateway.now)
    assert not connection.closing
    gateway.pass_time(2)
    assert connection.closing
    assert b"wamp.error.protocol_violation" in b"".join(connection.out)


@pytest.mark.parametrize(
    "parts",
    [
        (masked(b"[16,1,{}")[:9], b"x"),
        (masked(b"[16", fin=False), masked(b",1", 0, fin=False)),
        (masked(b"[16", fin=False), masked(b"", 0, fin=False) + masked(b"", 9)),
    ],
    ids=["a frame", "fragments", "empty fragments"],
)
def test_websocket(parts):
    server, _ = websocket()
    server.feed(parts[0])
    server.advance(29)
    server.feed(parts[1])
    assert server.session.losses == 0
    server.advance(2)
    assert server.session.losses == 1
    assert server.connection.closing


def test_a_websocket_whose_messages_are_finished_may_be_silent():
    server, _ = websocket()
    server.feed(masked(b"[16", fin=False) + masked(b"]", 0) + masked(b"[]")[:3])
    server.feed(masked(b"[]")[3:])
    server.advance(100)
    assert not server.connection.closing
