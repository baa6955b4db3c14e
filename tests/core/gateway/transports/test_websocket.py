"""The WebSocket transport's handshakes, with the websockets library's client as the peer.

Sources: RFC 6455 (WebSocket), MQTT 3.1.1 chapter 6, WAMP #websocket-transport.
"""

import json

import pytest
from websocket_client import Server, close_code, connected, exchange, frames_of, masked, request
from websockets.frames import Opcode

from fox_shard.config import Address
from fox_shard.gateway.transports.websocket import text_frame
from fox_shard.gateway.transports.websocket_stream import MessageStream

# The opening handshake


@pytest.mark.parametrize(
    ("path", "offered", "chosen", "source"),
    [
        ("/ws", ["wamp.2.json"], "wamp.2.json", "WAMP #websocket-transport"),
        ("/wamp", ["wamp.2.msgpack"], "wamp.2.msgpack", "WAMP #websocket-transport"),
        ("/wss", ["wamp.2.cbor"], "wamp.2.cbor", "WAMP #websocket-transport"),
        ("/", ["wamp.2.json"], "wamp.2.json", "WAMP #websocket-transport"),
        ("/ws?token=1", ["wamp.2.json"], "wamp.2.json", "RFC 6455 3"),
        ("/ws", ["wamp.2.cbor", "wamp.2.json"], "wamp.2.cbor", "RFC 6455 4.1 (10)"),
        ("/ws", ["wamp.3.ubjson", "wamp.2.json"], "wamp.2.json", "RFC 6455 4.2.2 (5)"),
        ("/ws", ["wamp.2.cbor.batched", "wamp.2.cbor"], "wamp.2.cbor", "autobahn for Python"),
        ("/mqtt", ["mqtt"], "mqtt", "MQTT-6.0.0-4"),
        ("/mqtt", ["mqttv3.1"], "mqttv3.1", "MQTT 3.1 clients"),
        ("/", ["mqtt"], "mqtt", "MQTT clients without a path"),
        ("/elsewhere", ["mqtt"], "mqtt", "MQTT clients without a path"),
    ],
)
@pytest.mark.cites("basic.building_blocks.13")
def test_the_handshake_chooses_the_first_offered_subprotocol_that_is_known(
    path, offered, chosen, source
):
    server, client = connected(path, offered)
    assert client.subprotocol == chosen
    assert server.session.told.get("serializer", chosen) == chosen
    assert isinstance(server.connection.receiver, MessageStream)
    assert not server.connection.closing


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (request("/ws", ["chat"]), 400, "wamp.2.json, wamp.2.msgpack, wamp.2.cbor"),
        (request("/ws", []), 400, "names no subprotocol"),
        (request("/mqtt", ["wamp.2.json"]), 400, "at /mqtt there are mqtt, mqttv3.1"),
        (request("/other", ["wamp.2.json"]), 404, "WAMP is at /ws"),
        (request("/other", []), 404, "MQTT is at /mqtt"),
        (b"GET /other HTTP/1.1\r\nHost: fox\r\n\r\n", 404, "WAMP is at /ws"),
        (b"GET /ws HTTP/1.1\r\nHost: fox\r\n\r\n", 426, "speaks WAMP"),
        (b"GET / HTTP/1.1\r\nHost: fox\r\n\r\n", 426, "wamp.2.json"),
        (b"GET /mqtt HTTP/1.1\r\nHost: fox\r\n\r\n", 426, "speaks MQTT"),
        (request().replace(b"13", b"12"), 400, "Sec-WebSocket-Version"),
        (request().replace(b"dGhl", b"dGh"), 400, "Sec-WebSocket-Key"),
        (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 426, "speaks WAMP"),
        (request().replace(b"HTTP/1.1", b"HTTP/2"), 400, "HTTP/1.1"),
        (request(extra="Content-Length: 1\r\n"), 400, "body"),
        (request(extra="Sec-WebSocket-Key: \xff\r\n"), 400, "must be ASCII"),
        (request().replace(b": 13", b": \xff"), 400, "must be ASCII"),
        (request().replace(b": Upgrade", b": \xff"), 400, "must be ASCII"),
        (request().replace(b": Upgrade", b": close"), 426, "Connection"),
        (request("/\xff"), 404, "WAMP is at /ws"),
        (request(extra="Sec-WebSocket-Protocol: ,;,\r\n"), 400, "Sec-WebSocket-Protocol"),
        (request(extra="Sec-WebSocket-Key: again\r\n"), 400, "multiple values"),
        (request(extra="Origin: a\r\nOrigin: b\r\n"), 400, "Origin"),
        (b"GET \r\n\r\n", 400, "not a valid request"),
        (b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n", 400, "not a valid request"),
        (b"GET /ws HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400, "too long"),
        (b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * 11000, 431, "65536 bytes"),
        (b"POST /ws HTTP/1.1\r\n", 405, "Only GET"),
        (b"\x16\x03\x01\x02\x00\x01", 400, "HTTP and WebSocket"),
        (b"\x10\x0c\x00\x04MQTT", 400, "HTTP and WebSocket"),
    ],
)
@pytest.mark.cites("basic.building_blocks.13")
def test_a_failed_handshake_is_answered_in_http_and_closed(data, status, says):
    server = Server()
    head, _, body = server.feed(data).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"content-length: {len(body)}" in head.decode().lower()
    assert says in body.decode()
    assert server.connection.closing
    assert server.session is None
    assert server.feed(request()) == b""


@pytest.mark.parametrize(("status", "code"), [("ok", 200), ("degraded", 200), ("unavailable", 503)])
@pytest.mark.parametrize("linked", [True, False])
def test_healthz_reports_the_status_of_the_gateway(status, code, linked):
    server = Server()
    server.linked = linked
    server.status = {"status": status, "sessions": 3}
    head, _, body = server.feed(b"GET /healthz HTTP/1.1\r\nHost: fox\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert head.startswith(f"HTTP/1.1 {code} ".encode())
    assert head.lower().count(b"content-type: ") == 1
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body) == server.status
    assert server.connection.closing


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_healthz_answers_the_checks_of_load_balancers(version):
    """HAProxy asks by HTTP/1.0 unless told otherwise."""
    url = f"/healthz HTTP/{version}\r\n"
    got = Server().feed(f"GET {url}\r\n".encode()).partition(b"\r\n\r\n")
    assert got[0].startswith(b"HTTP/1.1 200 ")
    assert json.loads(got[2]) == {"status": "ok"}
    head = Server().feed(f"HEAD {url}Host: fox\r\n\r\n".encode())
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"content-length: {len(got[2])}".encode() in head.lower()
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("path", "status"), [("/ws", 426), ("/other", 404)])
def test_head_gets_what_get_gets_without_the_body(path, status):
    head = Server().feed(f"HEAD {path} HTTP/1.1\r\nUpgrade: websocket\r\n\r\n".encode())
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "extra",
    [
        "Content-Length: 0\r\n",
        "content-length:0 \r\n",
        "Sec-WebSocket-Extensions:\r\n",
        "Sec-WebSocket-Extensions: \r\nContent-Length: 0\r\n",
    ],
)
def test_empty_bodies_and_headers_do_not_refuse_an_upgrade(extra):
    server = Server()
    assert server.feed(request(extra=extra)).startswith(b"HTTP/1.1 101 ")
    assert server.session is not None


LOOPBACK, OPEN = Address("127.0.0.1", 8080), Address("0.0.0.0", 8080)


@pytest.mark.parametrize(
    ("listener", "host", "origin", "allowed", "status"),
    [
        (LOOPBACK, "localhost:8080", None, (), 101),
        (LOOPBACK, "localhost:8080", "http://localhost:8080", (), 101),
        (LOOPBACK, "127.0.0.1:8080", "http://localhost:3000", (), 101),
        (LOOPBACK, "127.0.0.1:8080", "https://app.localhost", (), 101),
        (LOOPBACK, "127.0.0.1:8080", "http://127.0.0.1", (), 101),
        (LOOPBACK, "127.0.0.1:8080", "http://[::1]:3000", (), 101),
        (LOOPBACK, "127.0.0.1:8080", "https://evil.example", (), 403),
        (LOOPBACK, "127.0.0.1:8080", "http://localhost.evil.example", (), 403),
        (LOOPBACK, "127.0.0.1:8080", "http://127.0.0.1.evil.example", (), 403),
        (LOOPBACK, "evil.example:8080", "http://evil.example:8080", (), 403),
        (LOOPBACK, "127.0.0.1:8080", "null", (), 403),
        (LOOPBACK, "127.0.0.1:8080", "", (), 403),
        (LOOPBACK, "127.0.0.1:8080", "\xe4://x", (), 403),
        (LOOPBACK, "127.0.0.1:8080", "null", ("null",), 101),
        (LOOPBACK, "example.com", "https://example.com", ("https://example.com",), 101),
        (LOOPBACK, "example.com", "https://example.com:444", ("https://example.com",), 403),
        (LOOPBACK, "127.0.0.1:8080", "https://evil.example", ("*",), 101),
        (OPEN, "example.com:8080", "http://example.com:8080", (), 101),
        (OPEN, "EXAMPLE.com", "https://example.com", (), 101),
        (OPEN, "example.com:8080", "http://localhost:8080", (), 403),
        (OPEN, "example.com:8080", "http://example.com", (), 403),
        (OPEN, "example.com:8080", "https://evil.example", (), 403),
        (Address("::1", 8080), "[::1]:8080", "http://[::1]:8080", (), 101),
        (Address("localhost", 8080), "localhost:8080", "http://evil.example", (), 403),
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/mqtt"])
def test_web_pages_of_other_origins_are_refused(listener, host, origin, allowed, status, path):
    """RFC 6455 10.2. Programs other than browsers send no origin."""
    server = Server({"websocket": listener, "allowed_origins": allowed})
    extra = "" if origin is None else f"Origin: {origin}\r\n"
    subprotocol = "mqtt" if path == "/mqtt" else "wamp.2.json"
    asked = request(path, [subprotocol], extra).replace(b"Host: fox", f"Host: {host}".encode())
    answer = server.feed(asked)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (server.session is None) is (status == 403)
    if status == 403:
        assert b"gateway.allowed_origins" in answer
        assert server.connection.refused.startswith("403 Forbidden: Pages of ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (request("/ws?token=secret", ["chat", "secret"]), "no subprotocol"),
        (request(extra="Cookie secret\r\n"), "not a valid request"),
        (request().replace(b"dGhl", b"secret"), "Sec-WebSocket-Key"),
        (b"GET /ws?token=secret HTTP/3\r\n\r\n", "not a valid request"),
        (b"\x16\x03\x01\x02secret", "speaks HTTP"),
    ],
)
def test_the_log_says_why_a_client_is_refused_but_none_of_its_secrets(data, reason):
    server = Server()
    server.feed(data)
    assert reason in server.connection.refused
    assert "secret" not in server.connection.refused


def test_a_request_of_a_browser_or_a_load_balancer_is_not_logged():
    for line in (b"GET / HTTP/1.1", b"GET /healthz HTTP/1.0", b"POST / HTTP/1.1"):
        server = Server()
        server.feed(line + b"\r\n\r\n")
        assert server.connection.closing
        assert server.connection.refused == ""


def test_a_handshake_that_never_ends_times_out():
    server = Server()
    server.feed(b"GET /ws HTTP/1.1\r\nHost:")
    server.advance(9.9)
    assert not server.connection.closing
    server.advance(0.2)
    assert server.written().startswith(b"HTTP/1.1 408 ")
    assert server.connection.closing


def test_clients_wait_while_the_gateway_is_not_linked():
    server = Server()
    server.linked = False
    assert server.feed(request()) == b""
    assert server.feed(masked(b"[1]")) == b""
    server.advance(1)
    assert server.written() == b""
    assert server.session is None
    server.linked = True
    server.advance(1)
    assert server.written().startswith(b"HTTP/1.1 101 ")
    assert server.session.got == [b"[1]"]


@pytest.mark.parametrize(
    ("more", "seconds", "status"),
    [(b"", 10, b"503"), (masked(b"a" * 70000), 0, b"431")],
)
def test_clients_do_not_wait_for_ever_or_with_unlimited_data(more, seconds, status):
    server = Server()
    server.linked = False
    server.feed(request())
    written = server.feed(more)
    for _ in range(seconds * 10 + 1):
        server.advance(0.1)
        written += server.written()
    assert written.startswith(b"HTTP/1.1 " + status)
    assert server.connection.closing
    server.linked = True
    server.advance(1)
    assert server.session is None


def test_the_handshake_timeout_does_not_affect_open_or_lost_connections():
    server, _ = connected()
    server.advance(11)
    assert not server.connection.closing
    gone = Server()
    gone.connection.receiver.connection_lost(gone.now)
    gone.advance(11)
    assert gone.written() == b""


def test_frames_sent_right_after_the_request_are_read():
    server = Server()
    server.feed(request() + masked(b"[1]") + masked(b"[2]")[:3])
    server.feed(masked(b"[2]")[3:])
    assert server.session.got == [b"[1]", b"[2]"]


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_the_close_of_a_client_is_echoed_after_the_answers_to_its_messages(code):
    server, client = connected()
    server.session.reply = lambda message: message
    client.send_text(b"[1]")
    client.send_close(code, "bye")
    answer, close = exchange(server, client)
    assert bytes(answer.data) == b"[1]"
    assert close.opcode is Opcode.CLOSE
    assert client.close_rcvd.code == code
    assert server.session.losses == 1
    assert server.connection.closing


def test_a_hangup_sends_close_and_waits_for_the_clients_close():
    server, client = connected()
    server.session.hangup()
    server.session.hangup()
    client.receive_data(server.written())
    [close] = client.events_received()
    assert close.opcode is Opcode.CLOSE
    assert client.close_rcvd.code == 1000
    assert not server.connection.closing
    server.feed(b"".join(client.data_to_send()))
    assert server.connection.closing
    assert server.session.losses == 1


def test_a_hangup_inside_a_message_drops_the_rest_of_the_read():
    server, _ = connected()
    session = server.session

    def bye(message):
        session.connection.write(text_frame(b"bye"))
        session.hangup()

    session.reply = bye
    written = server.feed(masked(b"[1]") + masked(b"[2]") + masked(b"[3]", fin=False))
    written += server.feed(masked(b"[4]", opcode=0) + masked(b"", opcode=0x9))
    frames = frames_of(written)
    assert session.got == [b"[1]"]
    assert frames[0] == (0x81, b"bye")
    assert frames[1][0] == 0x88
    server.feed(masked(b"\x03\xe8", opcode=0x8))
    assert server.connection.closing
    assert session.losses == 1


def test_a_hangup_inside_the_last_fragment_drops_the_rest_of_the_read():
    server, _ = connected()
    server.session.reply = lambda message: server.session.hangup()
    data = masked(b"[1,", fin=False) + masked(b"2]", opcode=0) + masked(b"[3]")
    assert close_code(server.feed(data)) == 1000
    assert server.session.got == [b"[1,2]"]


def test_a_client_that_does_not_answer_a_close_is_disconnected():
    server, _ = connected()
    server.connection.receiver.close(1001, "ü" * 100)
    assert close_code(server.written()) == 1001
    server.advance(4.9)
    assert not server.connection.closing
    server.advance(0.2)
    assert server.connection.closing
    assert server.session.losses == 1


def test_a_hangup_after_the_clients_close_sends_nothing():
    server, _ = connected()
    server.feed(masked(b"\x03\xe8", opcode=0x8))
    server.session.hangup()
    assert server.written() == b""


def test_a_lost_connection_is_reported_once():
    server, _ = connected()
    server.feed(masked(b"[1,", fin=False))
    server.connection.receiver.connection_lost(server.now)
    server.connection.receiver.connection_lost(server.now)
    assert server.session.losses == 1
