"""Frames and messages of an open WebSocket, with the websockets library's client as the peer.

Sources: RFC 6455 (WebSocket), RFC 7692 (permessage-deflate), MQTT 3.1.1 chapter 6.
"""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket_client import LIMIT, Server, close_code, connected, exchange, frames_of, masked
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from fox_shard.gateway.transports.websocket import binary_frame, text_frame
from fox_shard.gateway.transports.websocket_stream import BINARY, TEXT, deflated_frame

# Messages


@pytest.mark.parametrize(
    ("subprotocol", "send", "opcode", "message"),
    [
        ("wamp.2.json", "send_text", Opcode.TEXT, b'[1,"realm1",{}]'),
        ("wamp.2.json", "send_text", Opcode.TEXT, '["Füchse 🦊"]'.encode()),
        ("wamp.2.msgpack", "send_binary", Opcode.BINARY, b"\x93\x01\xff\x00"),
        ("wamp.2.cbor", "send_binary", Opcode.BINARY, b"\x83\x01\xff"),
        ("mqtt", "send_binary", Opcode.BINARY, b"\xc0\x00"),
    ],
)
@pytest.mark.parametrize("offer", [None, ClientPerMessageDeflateFactory()])
@pytest.mark.cites(
    "basic.building_blocks.14", "basic.building_blocks.15", "basic.building_blocks.16"
)
def test_messages_of_the_subprotocols_type_pass_both_ways(
    subprotocol, send, opcode, message, offer
):
    server, client = connected("/", [subprotocol], offer)
    server.session.reply = lambda message: message[::-1] if opcode == Opcode.BINARY else message
    getattr(client, send)(message)
    [frame] = exchange(server, client)
    assert server.session.got == [message]
    assert frame.opcode is opcode
    assert bytes(frame.data) == server.session.reply(message)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1000, LIMIT])
@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\x00\x7f\x80"])
def test_a_message_of_any_length_and_mask_is_read(size, mask):
    server, _ = connected()
    server.feed(masked(b"a" * size, mask=mask))
    assert server.session.got == [b"a" * size]


BOTH = pytest.mark.parametrize("offer", [None, ClientPerMessageDeflateFactory()])


@BOTH
@pytest.mark.parametrize(("subprotocol", "most"), [("wamp.2.json", 131_072), ("mqtt", 393_216)])
def test_a_client_without_a_session_gets_little_memory(offer, subprotocol, most):
    """Anybody may connect: a thousand clients must not make the server keep 16 MiB for each."""
    path = "/mqtt" if subprotocol == "mqtt" else "/ws"
    server, client = connected(path, [subprotocol], offer, limit=1 << 24)
    send = client.send_binary if subprotocol == "mqtt" else client.send_text
    send(b"a" * most)
    exchange(server, client)
    assert [len(message) for message in server.session.got] == [most]
    send(b"a" * (most + 1))
    assert close_code(server.feed(b"".join(client.data_to_send()))) == 1009
    assert server.limit_counts.totals() == {"max_message_size": 1}


@BOTH
def test_with_a_session_messages_may_be_as_long_as_is_configured(offer):
    server, client = connected("/ws", ["wamp.2.json"], offer, limit=1 << 20)
    client.send_text(b"[1]")
    exchange(server, client)
    server.connection.owner = server.session
    client.send_text(b"a" * (1 << 20))
    exchange(server, client)
    assert [len(message) for message in server.session.got] == [3, 1 << 20]
    client.send_text(b"a" * ((1 << 20) + 1))
    assert close_code(server.feed(b"".join(client.data_to_send()))) == 1009


@BOTH
def test_the_message_that_opens_the_session_may_have_a_long_one_right_behind_it(offer):
    server, client = connected("/ws", ["wamp.2.json"], offer, limit=1 << 20)

    def join(_message):
        server.connection.owner = server.session

    server.session.reply = join
    for message in (b"[1]", b"a" * (1 << 20)):
        client.send_text(message)
    server.feed(b"".join(client.data_to_send()))
    assert [len(message) for message in server.session.got] == [3, 1 << 20]


@pytest.mark.parametrize("length", [200, 95_000])
@pytest.mark.parametrize("step", [6, 7, 9, 13, 4096])
def test_headers_and_payloads_may_come_in_pieces(length, step):
    server, _ = connected(limit=1 << 20)
    message = (bytes(range(32, 127)) * 1000)[:length]
    data = masked(message) + masked(b"next")
    for start in range(0, len(data), step):
        server.feed(data[start : start + step])
    assert server.session.got == [message, b"next"]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 70000])
@pytest.mark.parametrize(("frame", "opcode"), [(text_frame, "TEXT"), (binary_frame, "BINARY")])
def test_server_frames_are_those_of_the_library(frame, opcode, size):
    payload = b"x" * size
    assert frame(payload) == Frame(Opcode[opcode], payload).serialize(mask=False)


actions = st.lists(
    st.tuples(
        st.sampled_from(["text", "fragments", "ping", "pong", "ping inside"]),
        st.text(max_size=60),
        st.sampled_from([b"\0\0\0\0", b"\x01\x02\x03\x04"]),
    ),
    max_size=8,
)


@given(actions, st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_any_cut_of_the_stream_gives_the_same_messages(actions, cuts):
    """Data comes in pieces of any size, control frames between fragments too (RFC 6455, 5.4)."""
    stream, messages, pongs = b"", [], []
    for action, text, mask in actions:
        data = text.encode()[:125]
        if action == "text":
            stream += masked(text.encode(), mask=mask)
            messages.append(text.encode())
        elif action in ("ping", "pong"):
            stream += masked(data, opcode=0x9 if action == "ping" else 0xA, mask=mask)
            pongs += [data] if action == "ping" else []
        else:
            payload = text.encode()
            half = len(payload) // 2
            stream += masked(payload[:half], fin=False, mask=mask)
            stream += masked(b"", opcode=0, fin=False, mask=mask)
            if action == "ping inside":
                stream += masked(b"inside", opcode=0x9, mask=mask)
                pongs.append(b"inside")
            stream += masked(payload[half:], opcode=0, mask=mask)
            messages.append(payload)
    server, _ = connected()
    written = b""
    for index in range(len(stream) + 1):
        size = cuts[index % len(cuts)]
        if not stream:
            break
        written += server.feed(stream[:size])
        stream = stream[size:]
    assert server.session.got == messages
    assert frames_of(written) == [(0x8A, pong) for pong in pongs]
    assert not server.connection.closing


@given(st.binary(max_size=200))
def test_random_bytes_never_raise(data):
    server, _ = connected()
    server.feed(data)
    server.feed(data[::-1])
    fresh = Server()
    fresh.feed(b"GET " + data)
    fresh.feed(data + b"\r\n\r\n")


@pytest.mark.parametrize("offer", [None, ClientPerMessageDeflateFactory()])
def test_fragments_and_pings_of_the_library_are_understood(offer):
    server, client = connected(offer=offer)
    client.send_text(b"[1,", fin=False)
    client.send_ping(b"are you there")
    client.send_continuation(b"2,", fin=False)
    client.send_continuation(b"3]", fin=True)
    client.send_text(b"[4]")
    [pong] = exchange(server, client)
    assert pong.opcode is Opcode.PONG
    assert bytes(pong.data) == b"are you there"
    assert server.session.got == [b"[1,2,3]", b"[4]"]


# Violations


@pytest.mark.parametrize(
    ("data", "code", "source"),
    [
        (b"\x81\x01a", 1002, "RFC 6455 5.1: unmasked"),
        (b"\x81\x00", 1002, "RFC 6455 5.1: unmasked, empty"),
        (b"\x81\x7e\x01\x00", 1002, "RFC 6455 5.1: unmasked, incomplete"),
        (b"\x89\x00", 1002, "RFC 6455 5.1: unmasked ping"),
        (masked(b"a", rsv=0x40), 1002, "RFC 6455 5.2: rsv1 without an extension"),
        (masked(b"a", rsv=0x20), 1002, "RFC 6455 5.2: rsv2"),
        (masked(b"a", rsv=0x10), 1002, "RFC 6455 5.2: rsv3"),
        (masked(b"a", opcode=0x3), 1002, "RFC 6455 5.2: reserved data opcode"),
        (masked(b"a", opcode=0xB), 1002, "RFC 6455 5.2: reserved control opcode"),
        (masked(b"a", opcode=0x0), 1002, "RFC 6455 5.4: nothing to continue"),
        (masked(b"a", fin=False) + masked(b"b"), 1002, "RFC 6455 5.4: a message inside another"),
        (masked(b"a", opcode=0x9, fin=False), 1002, "RFC 6455 5.5: fragmented ping"),
        (masked(b"a" * 126, opcode=0x9), 1002, "RFC 6455 5.5: long ping"),
        (masked(b"\x03", opcode=0x8), 1002, "RFC 6455 5.5.1: close of one byte"),
        (masked(b"\x03\xed", opcode=0x8), 1002, "RFC 6455 7.4.1: 1005 in a frame"),
        (masked(b"\x00\x01", opcode=0x8), 1002, "RFC 6455 7.4.2: code 1"),
        (masked(b"\x03\xe8\xff", opcode=0x8), 1007, "RFC 6455 5.5.1: reason not UTF-8"),
        (masked(b'["\xff"]'), 1007, "RFC 6455 8.1"),
        (masked(b"\xed\xa0\x80"), 1007, "RFC 6455 8.1: surrogate"),
        (masked(b"\xc3", fin=False) + masked(b"(", opcode=0), 1007, "RFC 6455 8.1"),
        (masked(b"a", opcode=0x2), 1003, "RFC 6455 7.4.1"),
        (masked(b"a", opcode=0x2, fin=False), 1003, "RFC 6455 7.4.1"),
        (masked(b"a" * (LIMIT + 1)), 1009, "RFC 6455 7.4.1"),
        (masked(b"", length=1 << 40), 1009, "RFC 6455 7.4.1: announced"),
        (masked(b"", length=(1 << 64) - 1), 1009, "RFC 6455 5.2: most significant bit"),
        (
            masked(b"a" * LIMIT, fin=False) + masked(b"a", opcode=0),
            1009,
            "RFC 6455 7.4.1: altogether",
        ),
    ],
)
@pytest.mark.parametrize("step", [1, 1000000])
@pytest.mark.cites("basic.building_blocks.14")
def test_a_violation_is_answered_with_its_close_code_and_ends_the_session(data, code, source, step):
    server, _ = connected()
    written = server.feed(masked(b"[1]"))
    for start in range(0, len(data), step):
        written += server.feed(data[start : start + step])
    assert close_code(written) == code
    assert server.connection.closing
    assert server.session.got == [b"[1]"]
    assert server.session.losses == 1
    assert server.feed(masked(b"[2]")) == b""
    server.connection.receiver.connection_lost(server.now)
    assert server.session.got == [b"[1]"]
    assert server.session.losses == 1


@pytest.mark.parametrize("subprotocol", ["wamp.2.msgpack", "wamp.2.cbor", "mqtt"])
@pytest.mark.cites("basic.building_blocks.15", "basic.building_blocks.16")
def test_a_text_frame_is_refused_where_messages_are_binary(subprotocol):
    """MQTT-6.0.0-1: any other type of data frame closes the connection."""
    server, _ = connected("/", [subprotocol])
    assert close_code(server.feed(masked(b"a"))) == 1003
    assert server.session.losses == 1


def test_binary_messages_need_not_be_utf8_when_fragmented():
    server, _ = connected("/", ["mqtt"])
    server.feed(masked(b"\xff", opcode=2, fin=False) + masked(b"\xfe", opcode=0))
    assert server.session.got == [b"\xff\xfe"]


def test_an_idle_connection_keeps_no_buffers_and_no_protocol():
    """Most connections are idle, so their memory counts."""
    server, _ = connected()
    server.feed(masked(b"[1,", fin=False) + masked(b"2]", opcode=0) + masked(b"x", opcode=9))
    server.feed(masked(b"[3]")[:4])
    server.feed(masked(b"[3]")[4:])
    stream = server.connection.receiver
    held = [getattr(stream, name) for name in ("_partial", "_fragments", "_protocol")]
    assert held == [None, None, None]
    assert server.session.got == [b"[1,2]", b"[3]"]


# Compression


@pytest.mark.parametrize(
    ("offer", "wanted", "negotiated"),
    [
        (None, True, []),
        (ClientPerMessageDeflateFactory(), False, []),
        (ClientPerMessageDeflateFactory(), True, [(True, True, 15)]),
        (ClientPerMessageDeflateFactory(server_max_window_bits=10), True, [(True, True, 10)]),
        (ClientPerMessageDeflateFactory(server_max_window_bits=8), True, [(True, True, 8)]),
    ],
)
def test_deflate_is_negotiated_without_contexts(offer, wanted, negotiated):
    """RFC 7692, 7.1.1: so one compressed message serves all, and idle connections cost little."""
    server, client = connected(offer=offer, deflate=wanted)
    assert [
        (e.remote_no_context_takeover, e.local_no_context_takeover, e.remote_max_window_bits)
        for e in client.extensions
    ] == negotiated
    coding = f"/deflate-{negotiated[0][2]}" if negotiated else ""
    assert server.session.told["encoder"] == f"wamp.2.json/websocket{coding}"


@pytest.mark.parametrize("bits", [8, 9, 12, 15])
@pytest.mark.parametrize("size", [10, 300, 1000, 40000])
def test_compressed_answers_are_understood(bits, size):
    offer = ClientPerMessageDeflateFactory(server_max_window_bits=bits)
    server, client = connected(offer=offer)
    answer = (b"0123456789abcdefghij" * (size // 10))[:size]
    server.session.reply = lambda message: answer
    client.send_text(b"[1]" * 100)
    client.send_text(b"[2]")
    frames = exchange(server, client)
    assert server.session.got == [b"[1]" * 100, b"[2]"]
    assert [bytes(frame.data) for frame in frames] == [answer, answer]


@pytest.mark.parametrize(
    ("payload", "bits", "compressed"),
    [
        (b"a" * 256, 15, False),
        (b"a" * 257, 15, True),
        (b"a" * (1 << 20), 15, True),
        (b"a" * ((1 << 20) + 1), 15, False),
        (b"a" * 257, 8, False),
        (random.Random(0).randbytes(300), 15, False),
    ],
)
def test_only_messages_that_are_worth_it_are_compressed(payload, bits, compressed):
    """RFC 7692 6: rsv1 says of each message whether it is compressed."""
    [(first, data)] = frames_of(deflated_frame(BINARY, bits)(payload))
    assert first == (BINARY | 0x40 if compressed else BINARY)
    if compressed:
        data = zlib.decompress(data + b"\0\0\xff\xff\1\0\0\xff\xff", wbits=-15)
    assert data == payload


def test_connections_that_negotiated_the_same_share_a_frame_function():
    assert deflated_frame(TEXT, 15) is deflated_frame(TEXT, 15)


@pytest.mark.parametrize(
    ("message", "code", "source"),
    [
        (b"a" * (LIMIT + 1), 1009, "RFC 6455 7.4.1: unpacked size"),
        (b"a" * 500_000, 1009, "RFC 6455 7.4.1: a bomb"),
        (b"\xff" * 10, 1007, "RFC 6455 8.1"),
    ],
)
def test_a_compressed_message_is_checked_like_any_other(message, code, source):
    server, client = connected(offer=ClientPerMessageDeflateFactory())
    client.send_text(message)
    assert close_code(server.feed(b"".join(client.data_to_send()))) == code
    assert server.session.got == []
    assert server.session.losses == 1


@pytest.mark.parametrize("fragment", [True, False])
def test_compressed_garbage_is_a_protocol_error(fragment):
    server, _ = connected(offer=ClientPerMessageDeflateFactory())
    data = masked(b"\xff\xff\xff\xff", rsv=0x40, fin=not fragment)
    assert close_code(server.feed(data + masked(b"", opcode=0))) == 1002
    assert server.connection.closing
