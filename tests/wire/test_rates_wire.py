"""Clients that publish too fast, and clients that read too slowly, on real sockets."""

import socket
from collections import Counter
from contextlib import ExitStack, closing

import pytest
from cluster import await_true
from raw_wamp import EVENT, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, RawWamp

from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import decode, encode
from fox_shard.gateway.mqtt.framing import Splitter

PATIENCE = 30.0
RATE, BURST = 100, 20
MESSAGES, SIZE = 250, 100_000
"""25 MB, for which the rate needs 2.3 s; no buffers between client and server have so much."""


EVENTS, EVENT_SIZE, WINDOW = 1500, 20_000, 10
"""30 MB, of which 1 MiB and the kernel's buffers may wait for a client; 200 kB are under way."""


class SlowMqtt:
    """A client of bare packets that reads when it is told to. numbers: those in the payloads."""

    def __init__(self, cluster, name):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", cluster.ports["mqtt"]))
        self.sock.sendall(encode(mqtt.Connect(client_id=name)))
        self.sock.sendall(encode(mqtt.Subscribe(1, (("a/b", 0),))))
        self._splitter = Splitter()
        self._packets = []
        while not isinstance(self.receive(), mqtt.Suback):
            pass

    def receive(self):
        while not self._packets:
            data = self.sock.recv(65536)
            assert data
            split = self._splitter.feed(data)
            self._packets += [decode(header, body, 4) for header, body in split]
        return self._packets.pop(0)

    def number(self):
        return int(self.receive().payload[1:].partition(b",")[0])

    def close(self):
        self.sock.close()


class SlowWamp(RawWamp):
    """A WAMP client with small buffers that reads when it is told to."""

    def __init__(self, cluster):
        super().__init__(cluster.rawsocket, receive_buffer=65536)
        self.do(SUBSCRIBE, {}, "a.b", answer=SUBSCRIBED)

    def number(self):
        return self.receive()[4][0]


def refused_by_all(cluster):
    """Return what all gateways have refused: {limit: how often}."""
    return sum(
        (Counter(cluster.health(name).get("refused", {})) for name in cluster.gateway_names),
        Counter(),
    )


def sessions_of_all(cluster):
    return sum(cluster.health(name)["sessions"] for name in cluster.gateway_names)


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
        assert refused_by_all(cluster)["publish_rate"] > 0
    cluster.check(())


def test_clients_that_read_too_slowly_lose_events_and_keep_their_sessions(own_cluster):
    cluster = own_cluster(
        FOX_GATEWAY_SLOW_CONSUMER="drop",
        FOX_GATEWAY_OUTBOUND_LIMIT=str(1 << 20),
        FOX_GATEWAY_SLOW_TIMEOUT="0.1",
    )
    padding = "x" * EVENT_SIZE
    with ExitStack() as stack:
        good = stack.enter_context(closing(RawWamp(cluster.rawsocket)))
        good.do(SUBSCRIBE, {}, "a.b", answer=SUBSCRIBED)
        slow = [
            stack.enter_context(closing(one)) for one in (SlowWamp(cluster), SlowMqtt(cluster, "s"))
        ]
        publisher = stack.enter_context(closing(RawWamp(cluster.rawsocket)))

        def publish(first, many):
            """Publish these numbers, in whose acknowledgements nobody is held up."""
            for number in range(first, first + many):
                publisher.send(PUBLISH, number, {"acknowledge": True}, "a.b", [number, padding])
            for _ in range(many):
                assert publisher.receive()[0] == PUBLISHED
            assert [good.receive()[4][0] for _ in range(many)] == [*range(first, first + many)]

        for first in range(1, EVENTS, WINDOW):
            publish(first, WINDOW)
        refused = refused_by_all(cluster)
        assert refused.keys() == {"slow_consumer"}
        assert refused["slow_consumer"] > EVENTS
        assert sessions_of_all(cluster) == 4

        number = EVENTS
        for one in slow:
            # What waited comes first, without a hole; then, after one, what is published now.
            got = [one.number()]
            while got[-1] <= EVENTS:
                if got[-1] == len(got):
                    number += 1
                    publish(number, 1)
                got.append(one.number())
            kept = [value for value in got if value <= EVENTS]
            assert kept == [*range(1, len(kept) + 1)]
            assert len(kept) < EVENTS
            assert got == sorted(set(got))
        assert sessions_of_all(cluster) == 4
        await_true("the log says so", lambda: "events_dropped" in cluster.log())
    cluster.check(())
