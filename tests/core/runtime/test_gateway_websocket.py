"""A WebSocket to a gateway is read on demand, and a long message when there is room for it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import unix_serve
from websockets.exceptions import ConnectionClosed

from fox_shard.runtime.gateway_websocket import connect
from fox_shard.web.room import LONG, Room

LONGEST = 1 << 24
SUBPROTOCOL = "wamp.2.msgpack"


class Gateway:
    """Sends to each client what a test wants; `written`: how many messages the socket has taken."""

    def __init__(self, path):
        self.path, self.written = path, 0
        self.connections = []

    async def serve(self, connection):
        self.connections.append(connection)
        try:
            async for message in connection:
                count, size = map(int, message.split())
                for _ in range(count):
                    await connection.send(bytes(size))
                    self.written += 1
        except ConnectionClosed:
            return  # A client may leave without a word.


@asynccontextmanager
async def gateway(tmp_path):
    one = Gateway(tmp_path / "gateway")
    async with (
        asyncio.timeout(30),
        unix_serve(one.serve, str(one.path), subprotocols=[SUBPROTOCOL], compression=None),
    ):
        yield one


async def client_of(one, room):
    return await connect(one.path, [SUBPROTOCOL], {}, (room, "192.0.2.7", LONGEST))


async def until(condition):
    while not condition():  # noqa: ASYNC110 - no event is set when it becomes true
        await asyncio.sleep(0.001)


async def settled(value):
    """Wait until it has not changed for many turns of the loop."""
    before, still = value(), 0
    while still < 50:
        await asyncio.sleep(0.001)
        before, still = value(), still + 1 if value() == before else 0


def test_messages_come_in_their_order_and_the_other_ends_waits_for_whoever_reads_none(tmp_path):
    async def test():
        async with gateway(tmp_path) as one:
            client = await client_of(one, Room(4 * LONGEST))
            await client.send("1000 60000")
            assert len(await client.recv()) == 60_000
            await settled(lambda: one.written)
            assert one.written < 100
            for _ in range(999):
                await client.recv()
            await client.send("1 1")
            assert await client.recv() == b"\0"
            await client.close()

    asyncio.run(test())


def test_a_long_message_waits_for_room_and_takes_it_until_the_next_one_is_read(tmp_path):
    async def test():
        async with gateway(tmp_path) as one:
            room = Room(4 * LONGEST)
            clients = [await client_of(one, room) for _ in range(6)]
            reading = []
            for client in clients:
                await client.send(f"1 {LONGEST}")
                reading.append(asyncio.create_task(client.recv()))
            await until(lambda: sum(one.done() for one in reading) == 1)
            await settled(lambda: room.held)
            # An address has a quarter: one message of this length.
            assert room.held == LONGEST
            assert sum(one.done() for one in reading) == 1
            for _ in range(6):
                await until(lambda: any(one.done() for one in reading))
                (index,) = (index for index, one in enumerate(reading) if one.done())
                assert len(reading[index].result()) == LONGEST
                del reading[index]
                await clients.pop(index).close()
            assert room.held == 0

    asyncio.run(test())


def test_short_messages_need_no_room(tmp_path):
    async def test():
        async with gateway(tmp_path) as one:
            room = Room(4 * LONGEST)
            room.take("192.0.2.7", 4 * LONGEST)
            client = await client_of(one, room)
            await client.send(f"100 {LONG - 10}")
            for _ in range(100):
                assert len(await client.recv()) == LONG - 10
            await client.close()

    asyncio.run(test())


def test_a_client_that_waits_for_room_is_not_taken_for_silent(tmp_path):
    async def test():
        async with gateway(tmp_path) as one:
            room = Room(4 * LONGEST)
            held = room.take("192.0.2.7", LONGEST)
            client = await client_of(one, room)
            await client.send(f"1 {LONGEST}")
            reading = asyncio.create_task(client.recv())
            await until(lambda: not client.transport.is_reading())
            assert await (await client.ping()) == 0.0
            held.give_back()
            assert len(await reading) == LONGEST
            await client.close()

    asyncio.run(test())


@pytest.mark.parametrize("how", ["client", "gateway"])
def test_a_connection_that_ends_needs_no_room(tmp_path, how):
    async def test():
        async with gateway(tmp_path) as one:
            room = Room(4 * LONGEST)
            first, second = [await client_of(one, room) for _ in range(2)]
            for client in (first, second):
                await client.send(f"2 {LONGEST}")
            assert len(await first.recv()) == LONGEST
            reading = asyncio.create_task(second.recv())
            await until(lambda: not second.transport.is_reading())
            if how == "client":
                await second.close()
                await first.close()
            else:
                for connection in one.connections:
                    connection.transport.abort()
                # Whoever reads nothing, or waits for room, notices that when it reads.
                with pytest.raises(ConnectionClosed):
                    await first.recv()
            with pytest.raises(ConnectionClosed):
                await reading
            await until(lambda: room.held == 0)

    asyncio.run(test())
