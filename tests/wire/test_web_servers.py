"""An embedded router under each web server: what is theirs to do, and done differently."""

import tempfile
from contextlib import closing
from pathlib import Path
from signal import SIGTERM

import cbor2
import msgspec
import pytest
from cluster import await_true
from raw_wamp import EVENT, GOODBYE, HELLO, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, WELCOME
from web_servers import (
    APPLICATION,
    GRANIAN,
    GUNICORN,
    HYPERCORN,
    PATIENCE,
    ROLES,
    UVICORN,
    environment,
    serving,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn-wsproto": (*UVICORN, "--ws", "wsproto"),
    "uvicorn-websockets": (*UVICORN, "--ws", "websockets"),
    "gunicorn": GUNICORN,
    "hypercorn": HYPERCORN,
    "granian": GRANIAN,
}
LONGEST = 1 << 16
LIMITS = {
    "FOX_GATEWAY_MAX_MESSAGE_SIZE": str(LONGEST),
    "FOX_GATEWAY_OUTBOUND_LIMIT": str(1 << 17),
    "FOX_GATEWAY_SLOW_TIMEOUT": "0.5",
}
MSGPACK = (msgspec.msgpack.encode, msgspec.msgpack.decode)
CODECS = {
    "wamp.2.json": (lambda message: msgspec.json.encode(message).decode(), msgspec.json.decode),
    "wamp.2.msgpack": MSGPACK,
    "wamp.2.cbor": (cbor2.dumps, cbor2.loads),
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    with tempfile.TemporaryDirectory(prefix="fox-") as folder:
        command, variables = SERVERS[request.param], environment(folder, **LIMITS)
        with serving(Path(folder), command, APPLICATION, variables) as server:
            yield server


def opened(server, *subprotocols, **options):
    options = {"subprotocols": subprotocols or ["wamp.2.json"], "compression": None, **options}
    return connect(f"ws://127.0.0.1:{server.port}/wss", **options)


def await_close(socket):
    """Return the code with which the web server closes."""
    with pytest.raises(ConnectionClosed) as closed:
        drain(socket)
    return closed.value.rcvd and closed.value.rcvd.code


def drain(socket):
    while True:
        socket.recv(PATIENCE)


@pytest.mark.parametrize("subprotocol", CODECS)
def test_each_serializer_has_its_type_of_message(server, subprotocol):
    encode, decode = CODECS[subprotocol]
    with opened(server, "unknown.to.us", subprotocol) as socket:

        def ask(*message, answer):
            socket.send(encode(message))
            received = socket.recv(PATIENCE)
            assert isinstance(received, str) is (subprotocol == "wamp.2.json")
            message = decode(received)
            assert message[0] == answer, message
            return message

        assert socket.subprotocol == subprotocol
        ask(HELLO, "realm1", {"roles": ROLES}, answer=WELCOME)
        ask(SUBSCRIBE, 1, {}, "live.codec", answer=SUBSCRIBED)
        value = ["ä€𝄞", 1.5, None, {"a": [True]}, "x" * 50_000]
        ask(PUBLISH, 2, {"exclude_me": False}, "live.codec", [value], answer=EVENT)
        ask(GOODBYE, {}, "wamp.close.close_realm", answer=GOODBYE)
        assert await_close(socket) == 1000


@pytest.mark.parametrize("path", ["/wss", "/wss/"])
def test_a_path_and_the_same_with_a_slash(server, path):
    with server.page(path=path) as page:
        page.subscribe("live.path")
        assert server.request("POST", "/say", ["live.path", path, {}])[0] == 200
        assert page.event() == path


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        ({"subprotocols": ["mqtt"]}, 400, b"Ask for one of the subprotocols wamp.2.json"),
        ({"subprotocols": None}, 400, b"Ask for one of the subprotocols wamp.2.json"),
        ({"origin": "https://attacker.example"}, 403, b"Pages of https://attacker.example may not"),
    ],
)
def test_who_is_refused_is_told_why(server, options, status, sentence):
    with pytest.raises(InvalidStatus) as refused:
        opened(server, **options)
    response = refused.value.response
    assert response.status_code == status
    assert bytes(response.body).startswith(sentence)


@pytest.mark.parametrize(("message", "code"), [(b"{}", 1003), ("x" * (LONGEST + 1), 1009)])
def test_what_no_client_may_send_closes_its_connection(server, message, code):
    with opened(server) as socket:
        encode, _ = CODECS["wamp.2.json"]
        socket.send(encode([HELLO, "realm1", {"roles": ROLES}]))
        socket.recv(PATIENCE)
        socket.send(message)
        assert await_close(socket) == code


def test_who_reads_too_slowly_loses_its_session_and_nobody_waits(server):
    with (
        server.page() as reader,
        server.page() as publisher,
        closing(opened(server, close_timeout=0.1)) as slow,
    ):
        encode, decode = CODECS["wamp.2.json"]
        for message in (
            [HELLO, "realm1", {"roles": ROLES}],
            [SUBSCRIBE, 1, {}, "live.much"],
        ):
            slow.send(encode(message))
            answer = decode(slow.recv(PATIENCE))
        assert answer[0] == SUBSCRIBED
        reader.subscribe("live.much")

        def four():
            return publisher.call("wamp.session.count") == 4  # the application's own is one

        await_true("the sessions of other tests have gone", four, PATIENCE)

        def much():
            # The client of the test has a buffer, and the operating system has two.
            for number in range(20):
                publisher.send(
                    PUBLISH, number + 1, {"acknowledge": True}, "live.much", ["x" * 60_000]
                )
                assert publisher.receive()[0] == PUBLISHED
                assert len(reader.event()) == 60_000
            return publisher.call("wamp.session.count") == 3

        await_true("the slow one has lost its session", much, PATIENCE)


def test_the_end_of_the_web_server_is_the_end_of_its_clients(server):
    """The last test of the module's web server."""
    with server.page() as page:
        assert server.end() in (0, -SIGTERM, 128 + SIGTERM)
        # The web server says why, in its own way, or nothing.
        assert await_close(page._socket) in (None, 1000, 1001, 1011, 1012)
