"""Long messages are let in while there is room, and nobody takes all of it."""

import asyncio

import pytest

from fox_shard.web.room import LONG, Reservation, Room


def run(test):
    async def with_patience():
        async with asyncio.timeout(10):
            await test()

    asyncio.run(with_patience())


async def turn():
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_an_address_has_a_quarter_and_its_others_wait_in_their_order():
    async def test():
        room = Room(400)
        first = await room.hold("a", 60)
        asked = [asyncio.create_task(room.hold("a", size)) for size in (60, 10)]
        await turn()
        assert [one.done() for one in asked] == [False, False]
        # Others have room meanwhile.
        (await room.hold("b", 100)).give_back()
        first.resize(40)
        await turn()
        assert [one.done() for one in asked] == [True, False]
        asked[0].result().give_back()
        await turn()
        assert asked[1].done()
        assert room.held == 50

    run(test)


def test_all_together_have_no_more_than_there_is():
    async def test():
        room = Room(400)
        holds = [await room.hold(address, 100) for address in "abcd"]
        waiting = asyncio.create_task(room.hold("e", 1))
        await turn()
        assert not waiting.done()
        holds[2].give_back()
        await waiting
        assert room.held == 301

    run(test)


def test_one_message_has_room_however_long_it_is():
    async def test():
        room = Room(400)
        only = await room.hold("a", 1000)
        waiting = asyncio.create_task(room.hold("b", 1))
        await turn()
        assert not waiting.done()
        only.give_back()
        await waiting

    run(test)


@pytest.mark.parametrize("is_granted", [False, True])
def test_whoever_leaves_the_queue_takes_nothing(is_granted):
    async def test():
        room = Room(400)
        first = await room.hold("a", 100)
        waiting = asyncio.create_task(room.hold("a", 100))
        await turn()
        if is_granted:
            first.give_back()
        waiting.cancel()
        await asyncio.wait((waiting,))
        first.give_back()
        assert room.held == 0
        (await room.hold("a", 100)).give_back()

    run(test)


def test_a_long_message_counts_for_what_it_is_until_it_is_used():
    async def test():
        room, read = Room(400 * LONG), []
        reservation = Reservation(room, "a", 100 * LONG, lambda: read.append(1))
        assert not reservation.ask()
        assert reservation.is_asking
        await turn()
        assert read == [1]
        assert reservation.ask()
        assert room.held == 100 * LONG
        reservation.come(10)  # that was another one, before it
        reservation.used()
        assert room.held == 100 * LONG
        reservation.come(3 * LONG)
        assert room.held == 3 * LONG
        reservation.used()
        assert room.held == 0

    run(test)


def test_the_next_long_message_waits_for_the_room_of_the_one_before():
    async def test():
        room, read = Room(400 * LONG), []
        first, second = (
            Reservation(room, "a", 100 * LONG, lambda: read.append(1)) for _ in range(2)
        )
        for one in (first, second):
            assert not one.ask()
        await turn()
        assert read == [1]
        first.come(2 * LONG)
        await turn()
        assert read == [1]
        first.used()
        await turn()
        assert read == [1, 1]
        assert not first.ask()
        second.end()
        await turn()
        assert read == [1, 1, 1]
        first.end()
        assert room.held == 0

    run(test)
