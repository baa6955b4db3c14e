"""The limits of HTTP connections."""

import asyncio
import socket

import pytest

from fox_shard.config import Config, Gateway, Web
from fox_shard.runtime.web_connection import Addresses, WebConnection
from fox_shard.runtime.web_server import make_server
from fox_shard.runtime.web_slices import LINES, SLICE, WEBSOCKET_SLICE, Reading, Slices
from fox_shard.runtime.web_websocket import CountedWebSocket
from fox_shard.web import make_app
from fox_shard.web.room import Room


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


class Sender:
    """A connection and its transport, whose client has sent more than a slice."""

    slice_bytes = SLICE

    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        pass

    eof_received = pause_writing = resume_writing = connection_lost

    def data_received(self, data):
        self.seen.append((self.name, len(data)))

    def is_closing(self):
        return False

    def pause_reading(self):
        self.seen.append(f"{self.name} pauses")

    def resume_reading(self):
        self.seen.append(f"{self.name} reads on")


def reading_of(sender, slices):
    reading = Reading(sender, slices)
    reading.connection_made(sender)
    return reading


def arrives(reading, data):
    reading.get_buffer(-1)[: len(data)] = data
    reading.buffer_updated(len(data))


async def turns(seen):
    """Return what happens in each turn until nothing does."""
    found = []
    while seen:
        found.append([*seen])
        seen.clear()
        await asyncio.sleep(0)
    return found


async def turns_of(*sent):
    """Return what happens as each of the clients sends at once, and in the turns after that."""
    seen, slices = [], Slices()
    for name, data in zip("abc", sent, strict=False):
        arrives(reading_of(Sender(name, seen), slices), data)
    return await turns(seen)


def test_clients_that_send_much_have_their_turns_one_after_the_other():
    much = bytes(2 * SLICE + 1)
    a, b = [("a", SLICE)], [("b", SLICE)]
    assert asyncio.run(turns_of(much, much, b"little")) == [
        ["a pauses", "b pauses", ("c", 6)],
        a,
        b,
        a,
        b,
        [("a", 1), "a reads on"],
        [("b", 1), "b reads on"],
    ]


CHUNKS = b"1\r\n \r\n" * LINES
"""Of a byte each, which have two lines."""


def test_a_turn_has_few_chunks_however_short_they_are():
    half = len(CHUNKS) // 2
    assert asyncio.run(turns_of(CHUNKS, CHUNKS[:half])) == [
        ["a pauses", ("b", half)],
        [("a", half)],
        [("a", half), "a reads on"],
    ]


def test_what_a_connection_does_not_want_waits_and_nothing_more_is_read():
    async def main():
        seen, slices = [], Slices()
        client = Sender("a", seen)
        arrives(reading_of(client, slices), bytes(2 * SLICE))
        client.transport.pause_reading()
        assert await turns(seen) == [["a pauses", "a pauses"]]
        for _ in range(3):
            # Nobody may make it read on while something is left.
            client.transport.resume_reading()
            client.transport.pause_reading()
            assert await turns(seen) == [["a pauses"]]
        client.transport.resume_reading()
        await asyncio.sleep(0)
        assert await turns(seen) == [[("a", SLICE)], [("a", SLICE), "a reads on"]]

    asyncio.run(main())


class Successor(CountedWebSocket):
    """A WebSocket that a connection has become."""

    def __init__(self, seen):
        self.seen = seen

    def data_received(self, data):
        self.seen.append(len(data))


def test_a_websocket_has_turns_too():
    """It may send a frame in each six bytes."""

    async def main():
        seen, slices = [], Slices()
        client = Sender("a", [])
        reading = reading_of(client, slices)
        client.transport.set_protocol(Successor(seen))
        arrives(reading, bytes(2 * WEBSOCKET_SLICE + 1))
        await asyncio.sleep(0)
        assert await turns(seen) == [[WEBSOCKET_SLICE], [WEBSOCKET_SLICE], [1]]

    asyncio.run(main())


PING = b"\x89\xfd" + bytes(4) + bytes(125)


def test_a_websocket_that_sends_pings_and_reads_nothing_is_not_read_either():
    """Each of them is answered, and the answers would take memory without bound."""

    async def serve(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async def main():
        listening = socket.create_server(("127.0.0.1", 0))
        server = make_server(serve, Config())
        serving = asyncio.create_task(server.serve([listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname(), limit=1)
        writer.write(HANDSHAKE)
        async with asyncio.timeout(60):
            await reader.readexactly(12)
            (websocket,) = server.server_state.connections
            while websocket.writable.is_set():
                writer.write(PING * 1000)
                await asyncio.sleep(0)
            assert not websocket.transport.is_reading()
            writer.transport.abort()
            server.should_exit = server.force_exit = True
            await serving

    asyncio.run(main())


async def much(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": bytes(1 << 25), "more_body": False})


@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"])
def test_a_client_that_reads_nothing_of_its_answer_is_disconnected(ending, monkeypatch):
    """Also if the connection is closed already, and only waits until all is read."""
    lost = asyncio.Event()

    def connection_lost(connection, exc):
        whole(connection, exc)
        lost.set()

    whole = WebConnection.connection_lost
    monkeypatch.setattr(WebConnection, "connection_lost", connection_lost)

    async def main():
        listening = socket.create_server(("127.0.0.1", 0))
        server = make_server(much, Config(web=Web(slow_timeout=0.1)))
        serving = asyncio.create_task(server.serve([listening]))
        async with asyncio.timeout(30):
            with socket.create_connection(listening.getsockname()) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + ending + b"\r\n")
                await lost.wait()
            assert server.health == {"connections": 0, "requests": 1}
            server.should_exit = True
            await serving

    asyncio.run(main())


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def websocket_frame(size, *, fin=True):
    """Return a binary frame of a client, whose mask is 0."""
    return bytes((0x82 if fin else 0x02, 0xFF)) + size.to_bytes(8) + bytes(4) + bytes(size)


def test_long_messages_by_websocket_wait_for_room_and_have_to_go_on(monkeypatch):
    """Each of many connections of an address may begin a message of 16 MiB."""
    room = Room(1 << 26)
    taken, unfinished = [], []

    def connection_lost(connection, exc):
        lost(connection, exc)
        unfinished.append(len(connection.conn.reader.buffer) + len(connection.frames))

    lost = CountedWebSocket.connection_lost
    monkeypatch.setattr(CountedWebSocket, "connection_lost", connection_lost)

    async def serve(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            taken.append(len(message["bytes"]))

    async def main():
        listening = socket.create_server(("127.0.0.1", 0))
        config = Config(gateway=Gateway(message_timeout=0.1))
        server = make_server(serve, config, room)
        serving = asyncio.create_task(server.serve([listening]))
        writers = []
        async with asyncio.timeout(30):
            held = room.take("127.0.0.1", 1)
            for fin in (True, True, False, True):
                reader, writer = await asyncio.open_connection(*listening.getsockname())
                writer.write(HANDSHAKE)
                await reader.readuntil(b"\r\n\r\n")
                size = 1 << 20
                writer.write(websocket_frame(size, fin=fin)[: -10 if len(writers) == 1 else None])
                writers.append((reader, writer))
            await asyncio.sleep(0.2)
            # Nobody has room, so nobody counts as too slow.
            assert (room.held, taken) == (1, [])
            held.give_back()
            # The second one's message does not end, nor does the third one's, of two frames.
            for reader, _ in writers[1:3]:
                assert await reader.read() == b""
            while len(taken) < 2:  # noqa: ASYNC110 - no event is set when it becomes true
                await asyncio.sleep(0.01)
            assert taken == [1 << 20, 1 << 20]
            for _, writer in writers:
                writer.transport.abort()
            server.should_exit = server.force_exit = True
            await serving
        assert room.held == 0
        assert unfinished == [0] * len(writers)

    asyncio.run(main())
