"""The limits of HTTP connections."""

import asyncio
import socket

import pytest

from fox_shard.config import Config, Gateway, Web
from fox_shard.runtime.web_server import Addresses, make_server
from fox_shard.web import make_app


def test_an_address_has_so_many_connections_unless_it_is_that_of_a_proxy():
    addresses = Addresses(2, ["10.0.0.0/8"])
    assert [addresses.enter("192.0.2.7") for _ in range(3)] == [True, True, False]
    assert addresses.enter("192.0.2.8")
    assert all(addresses.enter("10.0.0.1") for _ in range(9))
    addresses.leave("192.0.2.7")
    addresses.leave("192.0.2.7")
    assert addresses.enter("192.0.2.7")


def talk(*conversations, **web):
    """Send each text over a connection of its own; return what comes until each is closed."""

    async def converse(address, sent):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def main():
        listening = socket.create_server(("127.0.0.1", 0))
        config = Config(gateway=Gateway(handshake_timeout=0.1), web=Web(**web))
        server = make_server(make_app(None), config)
        serving = asyncio.create_task(server.serve([listening]))
        address = listening.getsockname()
        async with asyncio.timeout(30):
            answers = [await converse(address, sent) for sent in conversations]
            server.should_exit = True
            await serving
        return answers

    return asyncio.run(main())


CLOSING = b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("beginning", [b"", b"GET /api", b"GET /api HTTP/1.1\r\nHost: "])
def test_a_head_that_does_not_end_is_not_waited_for(beginning):
    """The server goes on, and serves the next connection."""
    first, second = talk(beginning, CLOSING)
    assert first == b""
    assert second.startswith(b"HTTP/1.1 404")


def test_a_second_head_that_does_not_end_is_not_waited_for_either():
    whole = b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n"
    (answer,) = talk(whole + b"GET /non")
    assert answer.count(b"HTTP/1.1 404") == 1


def test_a_body_that_nobody_reads_ends_the_connection():
    head = b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    (answer,) = talk(head + b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 404")
