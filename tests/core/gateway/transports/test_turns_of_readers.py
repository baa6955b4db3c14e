"""Whatever the budget of a turn is, a client's bytes have the same effects, in the same order."""

import zlib
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from mqtt_gateway import connected
from wamp_client import FakeGateway
from websocket_client import connected as websocket
from websocket_client import masked
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.turns import TURN, Turns
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import encode
from fox_shard.gateway.transports.factories import makers
from fox_shard.gateway.transports.rawsocket import frame
from fox_shard.gateway.transports.websocket_stream import MessageStream

MIB = 1 << 20

PACKETS = st.one_of(
    st.builds(
        mqtt.Publish,
        st.sampled_from(["a", "b/c"]),
        st.sampled_from([b"", b"x", b"y" * 1500]),
    ),
    st.builds(
        mqtt.Publish, st.just("a"), st.just(b"x"), st.sampled_from([1, 2]), st.integers(1, 9)
    ),
    st.builds(
        mqtt.Subscribe,
        st.integers(1, 9),
        st.lists(st.tuples(st.sampled_from("abc"), st.just(0)), min_size=1, max_size=5).map(tuple),
    ),
    st.builds(mqtt.Unsubscribe, st.integers(1, 9), st.just(("a", "b"))),
    st.just(mqtt.Pingreq()),
    st.builds(mqtt.Pubrel, st.integers(1, 9)),
)


def take_turns(turns, now, limit=10_000):
    for later in range(limit):
        if turns.idle:
            return
        for connection in turns.begin(now + later):
            turns.go_on(connection, now)
    raise AssertionError("it never comes to an end")


def handed_over(client, receiver, data, units, cuts):
    """Let the client's bytes come in pieces, with that budget."""
    client.connection.receiver = receiver
    turns = Turns(units)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        if end > start:
            turns.receive(client.connection, data[start:end], client.gateway.now)
    take_turns(turns, client.gateway.now)


@given(
    packets=st.lists(PACKETS, min_size=1, max_size=25),
    units=st.integers(5, 60),
    cuts=st.lists(st.integers(0, 10_000), max_size=4),
)
def test_mqtt_over_tcp(packets, units, cuts):
    data = b"".join(encode(packet) for packet in packets)
    expected = connected().feed(data)
    client = connected()
    handed_over(client, client.reader, data, units, cuts)
    assert client.calls == expected.calls
    assert client.received() == expected.received()
    assert client.session.traffic.others == expected.session.traffic.others


@given(
    packets=st.lists(PACKETS, min_size=1, max_size=25),
    sizes=st.lists(st.integers(20, 400), min_size=1, max_size=5),
    units=st.integers(5, 60),
    cuts=st.lists(st.integers(0, 10_000), max_size=4),
)
def test_mqtt_over_websocket(packets, sizes, units, cuts):
    """A message may have many packets, and a packet several messages, fragments and pings."""
    data = b"".join(encode(packet) for packet in packets)
    frames, at, number = [], 0, 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        piece = data[at : at + size]
        if number % 3 == 2:
            middle = len(piece) // 2
            frames.append(masked(piece[:middle], 2, fin=False) + masked(b"", 9))
            frames.append(masked(piece[middle:], 0))
        else:
            frames.append(masked(piece, 2))
        at += size
        number += 1

    def client():
        made = connected()
        stream = MessageStream(made.gateway, made.connection, 0x82, None, MIB)
        stream.begin(made.reader.receive, made.reader.connection_lost)
        return made, stream

    expected, stream = client()
    stream.receive(b"".join(frames), expected.gateway.now)
    other, stream = client()
    handed_over(other, stream, b"".join(frames), units, cuts)
    assert other.calls == expected.calls
    assert sorted(other.connection.out) == sorted(expected.connection.out)


@given(
    kinds=st.lists(st.sampled_from([32, 48, 64]), min_size=1, max_size=20),
    units=st.integers(5, 60),
    cuts=st.lists(st.integers(0, 10_000), max_size=4),
)
def test_wamp_over_rawsocket(kinds, units, cuts):
    messages = [[1, "realm1", {"roles": {"caller": {}}}]]
    messages += [[kind, number, {}, "a.b"] for number, kind in enumerate(kinds, 1)]
    messages.append([6, {}, "wamp.close.normal"])
    data = b"\x7f\xf1\0\0" + b"".join(
        frame(msgspec.json.encode(message)) + b"\1\0\0\1x" for message in messages
    )

    class Client:
        def __init__(self):
            self.gateway = FakeGateway()
            self.connection = Connection([], "peer")
            self.socket = makers(self.gateway, self.gateway)["rawsocket"](self.connection)

    expected, client = Client(), Client()
    expected.socket.receive(data, 100.0)
    handed_over(client, client.socket, data, units, cuts)
    assert client.gateway.asked == expected.gateway.asked
    assert client.connection.out == expected.connection.out


def test_compressed_messages_cost_what_they_inflate_to():
    """Forty frames of 15 kB each, sent at once, once became 600 MiB before anything else."""
    offer = ClientPerMessageDeflateFactory()
    server = websocket(subprotocols=("wamp.2.cbor",), offer=offer, limit=MIB)[0]
    server.connection.owner = server.session
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
    bomb = masked(packed.removesuffix(b"\0\0\xff\xff"), 2, rsv=0x40)
    assert len(bomb) < 1100
    turns = Turns()
    turns.receive(server.connection, bomb * 40, 1.0)
    handled = [len(server.session.got)]
    while not turns.idle:
        for connection in turns.begin(1.0):
            turns.go_on(connection, 1.0)
        handled.append(len(server.session.got))
    # A MiB costs 4096 units, so no turn handles more than one too many.
    assert max(b - a for a, b in pairwise([0, *handled])) <= TURN // 4096 + 1
    assert handled[-1] == 40
