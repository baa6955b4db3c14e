"""Clients that get no session: one line in the log says why, and none of their secrets."""

import socket
from contextlib import closing

import pytest
from cluster import Cluster, await_true
from test_abuse import PATIENCE, UPGRADE, read_to_end

FOREIGN = UPGRADE.replace(b"Host: x", b"Host: x\r\nOrigin: https://evil.example")
SECRETS = b"Cookie: session=secret\r\nAuthorization: Bearer secret\r\n"
UNKNOWN_REALM = b"\x10\x19\x00\x04MQTT\x04\x82\x00\x00\x00\x03dev\x00\x08me@nowhe"


def with_secrets(request):
    return request.replace(b"/ws", b"/ws?token=secret").replace(
        b"\r\n\r\n", b"\r\n" + SECRETS + b"\r\n"
    )


@pytest.fixture(scope="module")
def debugging():
    with Cluster(FOX_LOG_LEVEL="debug") as cluster:
        yield cluster


def lines_about(cluster, client):
    """Return the lines of the logs that name the client, as soon as there are some."""
    address = "{}:{}".format(*client)
    return await_true(
        f"{address} is logged",
        lambda: [line for line in cluster.log().splitlines() if f"address={address} " in line],
    )


def test_a_refused_client_leaves_one_line_without_its_secrets(debugging):
    refused = [
        ("websocket", with_secrets(FOREIGN), "403 Forbidden: Pages of https://evil.example"),
        ("websocket", with_secrets(UPGRADE.replace(b"wamp.2.json", b"secret")), "no subprotocol"),
        ("rawsocket", b"GET / HTTP/1.1\r\n\r\n", "it does not speak RawSocket"),
        ("mqtt", UNKNOWN_REALM, "CONNECT refused, code 5"),
        ("mqtt", b"secret", "the first packet must be a CONNECT"),
    ]
    for kind, data, reason in refused:
        with closing(
            socket.create_connection(("127.0.0.1", debugging.ports[kind]), PATIENCE)
        ) as sock:
            client = sock.getsockname()
            sock.sendall(data)
            read_to_end(sock)
        (line,) = lines_about(debugging, client)
        assert " INFO " in line
        assert " client_refused address=" in line
        assert reason in line
    # One that is admitted, with secrets, too: at this level the log has its session.
    with closing(
        socket.create_connection(("127.0.0.1", debugging.ports["websocket"]), PATIENCE)
    ) as sock:
        sock.sendall(with_secrets(UPGRADE))
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
    assert "secret" not in debugging.log()


def test_an_unknown_realm_is_logged(debugging):
    with closing(
        socket.create_connection(("127.0.0.1", debugging.ports["rawsocket"]), PATIENCE)
    ) as sock:
        sock.sendall(b"\x7f\xf1\0\0")
        hello = b'[1,"nowhere",{"roles":{"caller":{}}}]'
        sock.sendall(len(hello).to_bytes(4, "big") + hello)
        client = sock.getsockname()
        read_to_end(sock)
    (line,) = lines_about(debugging, client)
    assert " client_refused " in line
    assert "wamp.error.no_such_realm: there is no realm 'nowhere'" in line
