"""Bad input on every port: its connection ends, no other client notices, memory is bounded.

After each test, conftest.py checks that no log has a traceback and no process has ended.
"""

import random
import socket
import struct
import zlib
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from cluster import Cluster, await_true
from mqtt_peers import MqttPeer
from raw_wamp import (
    ABORT,
    CALL,
    ERROR,
    EVENT,
    GOODBYE,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    RawWamp,
    at_gateway,
)

PATIENCE = 40.0
MIB = 1 << 20
KINDS = ["websocket", "rawsocket", "mqtt"]

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
)
CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04evil"
HELLO = b'[1,"realm1",{"roles":{"caller":{},"publisher":{}}}]'
TLS = bytes.fromhex("16030100f8010000f40303") + bytes(200)


def connected(cluster, kind):
    sock = socket.create_connection(("127.0.0.1", cluster.ports[kind]), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return closing(sock)


def read_to_end(sock):
    """Return everything until the broker closes or resets the connection."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def send(sock, data):
    """Send data, or as much as the broker takes before it closes the connection."""
    with suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(data)


@pytest.fixture(autouse=True)
def bystanders(request):
    """WAMP sessions and an MQTT client of the shared broker, which must go on in any case."""
    if "cluster" not in request.fixturenames:
        yield
        return
    cluster = request.getfixturevalue("cluster")
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(at_gateway(cluster, n))) for n in range(2)]
        for client in clients:
            client.do(SUBSCRIBE, {}, "bystander.topic", answer=SUBSCRIBED)
        device = stack.enter_context(closing(MqttPeer(("127.0.0.1", cluster.mqtt), "bystander")))
        device.subscribe("bystander/#")
        yield
        device.publish("bystander/topic", "17", qos=1)
        assert device.take(1)[0][1] == b"17"
        for client in clients:
            event = client.receive()
            assert (event[0], event[4]) == (EVENT, [17])


def noise(seed, size):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(noise(1, 100), id="noise"),
        pytest.param(noise(2, 100_000), id="much noise"),
        pytest.param(bytes(70_000), id="zeros"),
        pytest.param(b"\xff" * 70_000, id="ones"),
        pytest.param(TLS, id="TLS"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP"),
        pytest.param(b"x" * 200_000, id="letters"),
    ],
)
def test_garbage_ends_the_connection(cluster, kind, data):
    with connected(cluster, kind) as sock:
        send(sock, data)
        # The end of input tells a server that waits for more that there is none.
        sock.shutdown(socket.SHUT_WR)
        read_to_end(sock)


@pytest.mark.parametrize("kind", ["rawsocket", "mqtt"])
@pytest.mark.parametrize("data", [noise(3, 64), TLS, b"GET / HTTP/1.1\r\n\r\n"])
def test_bytes_that_cannot_become_a_handshake_end_the_connection_at_once(cluster, kind, data):
    with connected(cluster, kind) as sock:
        sock.sendall(data)
        assert read_to_end(sock) == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"4"),
        (UPGRADE.replace(b"wamp.2.json", b"nonsense"), b"400"),
        (UPGRADE.replace(b"Version: 13", b"Version: 7"), b"4"),
        (b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", b"4"),
    ],
)
def test_a_bad_http_request_is_answered_in_http(cluster, request_, status):
    with connected(cluster, "websocket") as sock:
        send(sock, request_)
        assert read_to_end(sock).startswith(b"HTTP/1.1 " + status)


def test_the_gateway_reports_its_health_over_http(cluster):
    with connected(cluster, "websocket") as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def joined_websocket(sock, hello=True):
    """Upgrade to WebSocket, and unless `hello` is false, send HELLO and read WELCOME."""
    sock.sendall(UPGRADE)
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(65536)
    assert head.startswith(b"HTTP/1.1 101")
    if hello:
        sock.sendall(text_frame(HELLO))
        assert b'"realm":"realm1"' in sock.recv(65536)


def frame(opcode, payload, fin=True):
    """Return a frame of a client, masked with zeros (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes((0x80 * fin | opcode,)) + length + bytes(4) + payload


def hang_up(sock):
    """Answer the broker's Close, as a WebSocket client does, and wait for the end of the socket."""
    send(sock, frame(8, b"\x03\xe8"))
    sock.shutdown(socket.SHUT_WR)
    read_to_end(sock)


def text_frame(payload):
    return frame(1, payload)


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense",
        b"[",
        b"[]",
        b"{}",
        b"[16]",
        b"[99,1]",
        b"[-1,1]",
        b'["16",1,{},"a.b"]',
        b"[16.5,1,{},\"a.b\"]",
        b"[48,\"x\",{},\"a.b\"]",
        b'[48,0,{},"a.b"]',
        b'[48,1,[],"a.b"]',
        b"[48,1,{},7]",
        b'[48,1,{},"a.b",{}]',
        b'[48,1,{},"a.b",[],[]]',
        b'[48,9007199254740993,{},"a.b"]',
        b'[36,1,2,{}]',
        b'[1,"realm1",{"roles":{"caller":{}}}]',
        b'[8,48,1,{},"a.b"]',
        b'[70,1,{}]',
        b"[" * 100_000,
        b'[48,1,{},"a.b",[' + b"[" * 100_000 + b"]" * 100_000 + b"]]",
        b'[48,1,{},"a.b",[NaN]]',
        b'[48,1,{},"a.b",[1e999]]',
        b'[48,1,{},"a.b",["\\ud800"]]',
        b"[48,1,{},\"a.b\"] garbage",
        b'[48,1,{"timeout":' + b"9" * 5000 + b'},"a.b"]',
    ],
    ids=lambda message: message[:24].decode(errors="replace"),
)  # fmt: skip
def test_a_bad_wamp_message_is_answered(cluster, message):
    """A protocol violation is answered with ABORT, a request that is wrong with ERROR."""
    with connected(cluster, "websocket") as sock:
        joined_websocket(sock)
        sock.sendall(text_frame(message))
        answer = sock.recv(65536)
        if b"[3," not in answer[:8]:  # the session goes on
            assert b"[8,48,1," in answer[:12], answer
            sock.sendall(text_frame(b'[48,2,{},"wamp.session.count"]'))
            assert b"[50,2," in sock.recv(65536)
        else:
            assert b"wamp.error.protocol_violation" in answer
            assert b"message" in answer
            hang_up(sock)


@pytest.mark.parametrize(
    "message",
    [
        b'[48,1,{},"a.b"]',
        b'[16,1,{},"a.b"]',
        b'[6,{},"wamp.close.normal"]',
        b'[2,1,{}]',
        b'[1,"realm1"]',
        b'[1,7,{}]',
        b'[1,"realm1",{}]',
        b'[1,"realm1",{"roles":7}]',
        b'[1,"realm1",{"roles":{"nonsense":{}}}]',
        b'[5,"signature",{}]',
    ],
    ids=bytes.decode,
)  # fmt: skip
def test_any_other_message_before_a_good_hello_is_answered_with_abort(cluster, message):
    with connected(cluster, "websocket") as sock:
        joined_websocket(sock, hello=False)
        sock.sendall(text_frame(message))
        answer = sock.recv(65536)
        assert b"[3,{" in answer[:8]
        assert b"wamp.error.protocol_violation" in answer
        hang_up(sock)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (frame(3, b""), 1002),  # no such opcode
        (frame(0, b"x"), 1002),  # a continuation of nothing
        (frame(9, b"x" * 200), 1002),  # a ping that is too long
        (frame(9, b"x", fin=False), 1002),  # a ping in pieces
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
        (frame(1, b"a", fin=False) + frame(1, b"b"), 1002),
        (b"\x81\xff\x7f" + b"\xff" * 7 + bytes(4), 1009),  # 2^63 bytes announced
        (text_frame(b'[48,1,{},"\xff\xfe"]'), 1007),
        (frame(8, b"x"), 1002),  # half a close code
        (frame(8, struct.pack("!H", 999)), 1002),
    ],
)
def test_a_bad_websocket_frame_closes_with_a_code(cluster, frames, code):
    """RFC 6455, 7.4.1."""
    with connected(cluster, "websocket") as sock:
        joined_websocket(sock)
        sock.sendall(frames)
        answer = read_to_end(sock)
        at = answer.rfind(b"\x88")
        assert at >= 0, answer
        assert struct.unpack("!H", answer[at + 2 : at + 4])[0] == code


@pytest.mark.parametrize(
    "packets",
    [
        CONNECT,  # a second CONNECT
        b"\x00\x00",
        b"\xf0\x00",
        b"\x20\x02\x00\x00",
        b"\x30\x00",
        b"\x36\x05\x00\x03a/b",  # quality of service 3
        b"\x32\x07\x00\x03a/b\x00\x00",  # packet id 0
        b"\x30\x05\x00\x03a/+",
        b"\x30\x05\x00\x03a/#",
        b"\x30\x05\x00\x03a\x00b",
        b"\x30\x05\x00\x03\xff\xfeb",
        b"\x30\x02\x00\x00",  # no topic
        b"\x30\x04\x00\x09a/b",  # a string longer than its packet
        b"\x82\x02\x00\x01",  # no filter
        b"\x82\x08\x00\x01\x00\x03a/b\x03",
        b"\x80\x08\x00\x01\x00\x03a/b\x00",  # wrong flags
        b"\x82\x09\x00\x01\x00\x04a/#b\x00",
        b"\xa2\x02\x00\x01",
        b"\x60\x02\x00\x01",
        b"\x30\xff\xff\xff\xff\x7f",  # a length of five bytes
        b"\x30\xff\xff\xff\x7f",  # 256 MiB announced
        b"\xc0\x01\x00",
        b"\xe0\x01\x00",
    ],
    ids=bytes.hex,
)
def test_a_bad_mqtt_packet_closes_the_connection(cluster, packets):
    """[MQTT-4.8.0-1]."""
    with connected(cluster, "mqtt") as sock:
        sock.sendall(CONNECT + packets)
        assert read_to_end(sock) == b"\x20\x02\x00\x00"


@pytest.mark.parametrize(
    "first",
    [
        b"\xc0\x00",
        b"\x30\x05\x00\x03a/b",
        b"\x82\x08\x00\x01\x00\x03a/b\x00",
        b"\x10\xff\xff\xff\x7f",
        b"\x10\x10\x00\x04MQTT\x04\x03\x00\x00\x00\x04evil",  # the reserved flag [MQTT-3.1.2-3]
        b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04ev\x00l",
        b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x09evil",
        b"\x10\x10\x00\x04MQTT\x04\x42\x00\x00\x00\x04evil",  # a password without a user
        b"\x10\x10\x00\x04MQTT\x04\x1a\x00\x00\x00\x04evil",  # will quality without a will
    ],
    ids=bytes.hex,
)
def test_any_other_packet_before_a_good_connect_closes_without_an_answer(cluster, first):
    """[MQTT-3.1.0-1], [MQTT-3.1.4-1]."""
    with connected(cluster, "mqtt") as sock:
        sock.sendall(first)
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == b""


def test_an_unknown_protocol_level_is_refused_with_1(cluster):
    """[MQTT-3.1.2-2]."""
    with connected(cluster, "mqtt") as sock:
        sock.sendall(b"\x10\x10\x00\x04MQTT\x63\x02\x00\x00\x00\x04evil")
        assert read_to_end(sock) == b"\x20\x02\x00\x01"


@pytest.mark.parametrize(
    ("handshake", "answer"),
    [
        (b"\x7f\xf0\0\0", b"\x7f\x10\0\0"),  # no serializer
        (b"\x7f\xff\0\0", b"\x7f\x10\0\0"),  # an unknown serializer
        (b"\x7f\xf1\1\0", b"\x7f\x30\0\0"),  # reserved bits
        (b"\x7e\xf1\0\0", b""),
    ],
)
def test_a_bad_rawsocket_handshake_is_answered(cluster, handshake, answer):
    """WAMP #rawsocket."""
    with connected(cluster, "rawsocket") as sock:
        sock.sendall(handshake)
        assert read_to_end(sock) == answer


@pytest.mark.parametrize("options", [{"match": 7}, {"match": "nonsense"}, {"get_retained": "yes"}])
def test_a_bad_option_is_an_error_and_the_session_goes_on(cluster, options):
    with closing(RawWamp(cluster.rawsocket)) as client:
        error = client.do(SUBSCRIBE, options, "a.b", answer=ERROR)
        assert error[4] == "wamp.error.invalid_argument"
        client.do(SUBSCRIBE, {}, "a.b", answer=SUBSCRIBED)


@pytest.mark.parametrize(
    ("kind", "match", "uri"),
    [
        (PUBLISH, None, "a..b"),
        (PUBLISH, None, ""),
        (PUBLISH, None, "a.#.b"),
        (PUBLISH, None, "a b"),
        (PUBLISH, None, "wamp.x"),
        (CALL, None, "a..b"),
        (REGISTER, None, "wamp.x"),
        (REGISTER, None, "a..b"),
        (SUBSCRIBE, "exact", "a..b"),
        (SUBSCRIBE, "wildcard", "a b"),
        (PUBLISH, None, "x" * 70_000),
    ],
)
def test_an_invalid_uri_is_an_error_and_the_session_goes_on(cluster, kind, match, uri):
    with closing(RawWamp(cluster.rawsocket)) as client:
        options = {"acknowledge": True} if kind == PUBLISH else {}
        error = client.do(
            kind, {**options, **({"match": match} if match else {})}, uri, answer=ERROR
        )
        assert error[4] == "wamp.error.invalid_uri"
        client.do(CALL, {}, "wamp.session.count", answer=RESULT)


def test_a_client_that_closes_its_half_is_answered_and_disconnected(cluster):
    with connected(cluster, "mqtt") as sock:
        sock.sendall(CONNECT)
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == b"\x20\x02\x00\x00"


@pytest.fixture(scope="module")
def strict_cluster():
    limits = {"FOX_GATEWAY_HANDSHAKE_TIMEOUT": "3", "FOX_GATEWAY_MAX_MESSAGE_SIZE": "65536"}
    with Cluster(**limits) as cluster:
        yield cluster


BEGINNINGS = [
    ("websocket", b""),
    ("websocket", b"GET /ws HT"),
    ("rawsocket", b""),
    ("rawsocket", b"\x7f"),
    ("rawsocket", b"\x7f\xf1\0\0"),  # and no HELLO
    ("rawsocket", b"\x7f\xf1\0\0\0\0\0\x05[1"),
    ("mqtt", b""),
    ("mqtt", CONNECT[:7]),
]


def test_handshakes_that_never_end_time_out(strict_cluster):
    """All of them wait at the same time."""
    with ExitStack() as stack:
        silent = stack.enter_context(connected(strict_cluster, "websocket"))
        joined_websocket(silent, hello=False)
        sockets = []
        for kind, beginning in BEGINNINGS:
            sockets.append(stack.enter_context(connected(strict_cluster, kind)))
            sockets[-1].sendall(beginning)
        for sock in sockets:
            read_to_end(sock)
        assert silent.recv(65536)  # the reason why it ends
        hang_up(silent)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("rawsocket", b"\x7f\xf1\0\0" + struct.pack("!I", len(HELLO)) + HELLO + b"\0\1\0\1"),
        ("mqtt", CONNECT + b"\x30\x80\x80\x08"),
    ],
)
def test_a_message_beyond_the_limit_ends_the_connection_at_its_header(strict_cluster, kind, data):
    with connected(strict_cluster, kind) as sock:
        sock.sendall(data)
        read_to_end(sock)


def test_a_websocket_message_beyond_the_limit_closes_with_1009(strict_cluster):
    """The message grows beyond the limit fragment by fragment."""
    with connected(strict_cluster, "websocket") as sock:
        joined_websocket(sock)
        send(sock, frame(1, b"x" * 60_000, fin=False))
        send(sock, frame(0, b"x" * 10_000, fin=False))
        answer = read_to_end(sock)
        assert struct.unpack("!H", answer[answer.rfind(b"\x88") + 2 :][:2])[0] == 1009


def test_a_message_that_grows_beyond_the_limit_when_it_is_unpacked_closes_with_1009(
    strict_cluster,
):
    """RFC 7692: 100 MB of one letter are 100 KB when compressed; half of that is enough here."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"x" * 50 * MIB) + packer.flush(zlib.Z_SYNC_FLUSH)
    packed = packed.removesuffix(b"\x00\x00\xff\xff")
    assert len(packed) < 65536
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    with connected(strict_cluster, "websocket") as sock:
        sock.sendall(UPGRADE.removesuffix(b"\r\n") + offer)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        assert b"permessage-deflate" in head
        gateway = strict_cluster.gateway_at(sock.getsockname(), "websocket")
        pid = strict_cluster.gateway_pids[gateway]
        before = memory(pid)
        compressed = bytearray(text_frame(packed))
        compressed[0] |= 0x40
        sock.sendall(compressed)
        answer = read_to_end(sock)
        assert struct.unpack("!H", answer[answer.rfind(b"\x88") + 2 :][:2])[0] == 1009
        assert memory(pid) - before < 8 * MIB


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_mqtt_packets_need_not_end_where_websocket_messages_do(cluster, size):
    """[MQTT-6.0.0-2]."""
    with connected(cluster, "websocket") as sock:
        request = UPGRADE.replace(b"/ws", b"/mqtt").replace(b"wamp.2.json", b"mqtt")
        sock.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        stream = CONNECT + b"\xc0\x00" * 3 + b"\xe0\x00"
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        sock.sendall(b"".join(frame(2, piece) for piece in pieces))
        answer = b""
        while b"\x88" not in answer:
            answer += sock.recv(65536)
        assert answer.count(b"\xd0\x00") == 3
        assert b"\x20\x02\x00\x00" in answer
        hang_up(sock)


def memory(pid):
    """Return the highest number of bytes of memory that the process has ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


SLOW_MESSAGES, SLOW_SIZE, SLOW_WINDOW = 1000, 100_000, 20
"""100 MB in all, of which 64 MiB may wait for a client, and 2 MB are under way at a time."""


@pytest.mark.parametrize("slow_kind", ["wamp", "mqtt"])
def test_a_client_that_stops_reading_is_disconnected_and_the_others_get_everything(
    own_cluster, slow_kind
):
    cluster = own_cluster()
    topic, payload = "slow.topic", b"x" * SLOW_SIZE
    with ExitStack() as stack:
        if slow_kind == "wamp":
            slow = stack.enter_context(closing(RawWamp(cluster.rawsocket, receive_buffer=65536)))
            slow.do(SUBSCRIBE, {}, topic, answer=SUBSCRIBED)
            gateway = cluster.gateway_at(slow.sock.getsockname(), "rawsocket")
        else:
            sock = stack.enter_context(connected(cluster, "mqtt"))
            sock.sendall(CONNECT + b"\x82\x0f\x00\x01\x00\x0aslow/topic\x00")
            received = b""
            while len(received) < 9:
                received += sock.recv(9 - len(received))
            gateway = cluster.gateway_at(sock.getsockname(), "mqtt")
        good = stack.enter_context(closing(at_gateway(cluster, gateway)))
        good.do(SUBSCRIBE, {}, topic, answer=SUBSCRIBED)
        publisher = stack.enter_context(closing(at_gateway(cluster, 1 - gateway)))
        before = {pid: memory(pid) for pid in cluster.pids()}

        for first in range(1, SLOW_MESSAGES + 1, SLOW_WINDOW):
            for request in range(first, first + SLOW_WINDOW):
                publisher.send(PUBLISH, request, {"acknowledge": True}, topic, [payload])
            for client, kind in ((publisher, PUBLISHED), (good, EVENT)):
                for _ in range(SLOW_WINDOW):
                    assert client.receive()[0] == kind
        await_true(
            "the slow one is ended",
            lambda: cluster.health(f"gateway-{gateway}").get("sessions") == 1,
        )
        if slow_kind == "wamp":
            *events, goodbye = slow.closed()
            assert goodbye[0] in (GOODBYE, ABORT)
            assert goodbye[2] == "fox.error.slow_consumer"
            assert len(events) < SLOW_MESSAGES
        else:
            assert len(read_to_end(sock)) < SLOW_MESSAGES * SLOW_SIZE
        for pid, size in before.items():
            assert memory(pid) - size < 128 * MIB
    cluster.check(())


def test_many_connections_that_come_and_go_leave_no_sessions(cluster):
    for number in range(300):
        with connected(cluster, "mqtt") as sock:
            sock.sendall(CONNECT[:-4] + b"%04d" % number)
    await_true(
        "only the bystanders are left",
        lambda: sum(cluster.health(name)["sessions"] for name in cluster.gateway_names) <= 3,
    )


def test_the_broker_survives_noise_after_a_good_beginning(cluster):
    """300 connections send random bytes after a handshake, in turn for each protocol."""
    for seed in range(300):
        kind = KINDS[seed % 3]
        with connected(cluster, kind) as sock:
            beginning = {
                "websocket": UPGRADE + text_frame(HELLO),
                "rawsocket": b"\x7f\xf2\0\0",
                "mqtt": CONNECT,
            }[kind]
            send(sock, beginning + noise(seed, 1 + seed * 7))
            sock.shutdown(socket.SHUT_WR)
            if seed % 2:
                read_to_end(sock)
