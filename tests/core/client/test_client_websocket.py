"""The WebSocket of a client with asyncio: addresses, and signs of life."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from fox_shard.client.failures import CannotConnect, ConnectionLost, Unreachable
from fox_shard.client.tls import Tls
from fox_shard.client.websocket import dial_of


@asynccontextmanager
async def server(play, *, patience=0.2, **options):
    """A WebSocket server, and a client's connection to it."""
    async with serve(
        play, "127.0.0.1", 0, subprotocols=["wamp.2.msgpack"], ping_interval=None, **options
    ) as serving:
        host, port = serving.sockets[0].getsockname()[:2]
        transport = await dial_of(f"ws://{host}:{port}/ws", Tls(), patience)()
        try:
            yield transport
        finally:
            await transport.close()


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


def test_messages_pass_both_ways():
    async def play():
        async with server(echo) as transport:
            await transport.send(b"\x91\x01")
            assert await transport.receive() == b"\x91\x01"

    asyncio.run(play())


def test_a_router_that_answers_pings_is_there():
    """For more than twice as long as the client's patience, which has four checks."""

    async def play():
        done = asyncio.Event()

        async def silent(websocket):
            await done.wait()
            await websocket.send(b"late")

        async with server(silent) as transport:
            pings, ping = [], transport._connection.ping

            async def counted():
                pings.append(1)
                if len(pings) == 10:
                    done.set()
                return await ping()

            transport._connection.ping = counted
            assert await transport.receive() == b"late"

    asyncio.run(play())


def test_a_router_that_does_not_answer_pings_is_given_up():
    async def play():
        over = asyncio.Event()

        async def deaf(websocket):
            websocket.transport.pause_reading()
            await over.wait()

        async with server(deaf, close_timeout=0) as transport:
            with pytest.raises(ConnectionLost, match="does not answer any more"):
                await transport.receive()
            over.set()

    asyncio.run(play())


def test_a_connection_that_the_router_closes_is_lost_with_its_reason():
    async def play():
        async with server(lambda websocket: websocket.close(1001, "later")) as transport:
            with pytest.raises(ConnectionLost, match="is lost: later"):
                await transport.receive()
            with pytest.raises(ConnectionLost):
                await transport.send(b"x")

    asyncio.run(play())


def test_a_router_may_close_while_it_is_sent_a_message_that_is_too_long():
    """It takes the rest of the message after its last word."""

    async def play():
        begun, ending = asyncio.Event(), asyncio.Event()

        async def strict(websocket):
            websocket.transport.pause_reading()
            await begun.wait()
            websocket.transport.write(b"\x88\x02" + (1009).to_bytes(2, "big"))
            websocket.transport.write_eof()
            await ending.wait()
            websocket.transport.resume_reading()
            await websocket.wait_closed()

        async with server(strict, patience=60, max_size=None) as transport:
            sending = asyncio.create_task(transport.send(bytes(1 << 25)))
            socket = transport._connection.transport
            while not socket.get_write_buffer_size():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            begun.set()
            while not socket.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0)
            ending.set()
            await sending
            with pytest.raises(ConnectionLost):
                await transport.receive()
            with pytest.raises(ConnectionLost):
                await transport.send(b"x")

    asyncio.run(play())


@pytest.mark.parametrize(
    ("url", "error", "sentence"),
    [
        ("ws://127.0.0.1:9/ws", CannotConnect, "Cannot connect to .*: Connection refused"),
        ("unix:/nowhere/at/all", CannotConnect, "Cannot connect"),
        ("http://127.0.0.1/", Unreachable, "is not the address of a WebSocket"),
        ("ws://127.0.0.1:99999/", Unreachable, "is not the address of a WebSocket"),
    ],
)
def test_an_address_without_a_router_is_told(url, error, sentence):
    async def play():
        with pytest.raises(error, match=sentence):
            await dial_of(url, Tls(), 1.0)()

    asyncio.run(play())


def test_files_that_cannot_be_read_are_told_at_once():
    with pytest.raises(Unreachable, match="has no certificates"):
        dial_of("wss://localhost/ws", Tls(ca="/nowhere"), 1.0)
