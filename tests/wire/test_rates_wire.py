"""Clients that publish too fast, on real sockets."""

import socket
from contextlib import ExitStack, closing

import pytest
from raw_wamp import EVENT, PUBLISH, SUBSCRIBE, SUBSCRIBED, RawWamp

from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import encode

PATIENCE = 30.0
RATE, BURST = 100, 20
MESSAGES, SIZE = 250, 100_000
"""25 MB, for which the rate needs 2.3 s; no buffers between client and server have so much."""


def pour(sock, data):
    """Send as much as fits into the buffers, and return how much that was."""
    sock.setblocking(False)
    sent = 0
    try:
        while sent < len(data):
            sent += sock.send(data[sent : sent + 65536])
    except BlockingIOError:
        pass
    sock.settimeout(PATIENCE)
    return sent


@pytest.mark.parametrize("kind", ["wamp", "mqtt"])
def test_a_client_that_publishes_too_fast_is_slowed_down_by_tcp_and_loses_nothing(
    own_cluster, kind
):
    cluster = own_cluster(
        gateways=1,
        shards=2,
        FOX_GATEWAY_PUBLISH_RATE=str(RATE),
        FOX_GATEWAY_PUBLISH_BURST=str(BURST),
    )
    with ExitStack() as stack:
        reader = stack.enter_context(closing(RawWamp(cluster.rawsocket)))
        reader.do(SUBSCRIBE, {}, "a.b", answer=SUBSCRIBED)
        numbers = range(1, MESSAGES + 1)
        if kind == "wamp":
            client = stack.enter_context(closing(RawWamp(cluster.rawsocket)))
            sock, padding = client.sock, "x" * SIZE
            messages = [client.frame(PUBLISH, n, {}, "a.b", [n, padding]) for n in numbers]
        else:
            address = ("127.0.0.1", cluster.ports["mqtt"])
            sock = stack.enter_context(closing(socket.create_connection(address, PATIENCE)))
            sock.sendall(encode(mqtt.Connect(client_id="fast")))
            assert sock.recv(100) == encode(mqtt.Connack(mqtt.ACCEPTED), 4)
            padding = b"x" * SIZE
            messages = [encode(mqtt.Publish("a/b", b'[%d,"%b"]' % (n, padding))) for n in numbers]
        data = b"".join(messages)
        sent = pour(sock, data)
        assert sent < len(data)
        sock.sendall(data[sent:])
        got = [reader.receive() for _ in numbers]
        assert {message[0] for message in got} == {EVENT}
        assert [message[4][0] for message in got] == [*numbers]
        assert cluster.health("gateway-0")["refused"]["publish_rate"] > 0
    cluster.check(())
