"""What a program does not read is bounded, and the connection is not read meanwhile."""

import asyncio

import pytest

from fox_shard.client.failures import ConnectionLost, TooSlow
from fox_shard.client.inbox import OVERHEAD, SURPLUS, Buffer, Inbox

SIZE = 1000 - OVERHEAD
"""Of an item that counts as 1000 bytes."""


def has_room(buffer):
    return buffer._readable.is_set()


def never():
    raise AssertionError("the reader was not too slow")


def test_there_is_no_room_while_more_than_the_buffer_waits():
    buffer = Buffer(2500)
    inbox = Inbox(buffer, never)
    for _ in range(2):
        inbox.put("item", SIZE)
    assert has_room(buffer)
    inbox.put("item", SIZE)
    assert not has_room(buffer)
    asyncio.run(inbox.get())
    assert has_room(buffer)


def test_the_bytes_of_all_inboxes_count():
    buffer = Buffer(2500)
    inboxes = [Inbox(buffer, never) for _ in range(3)]
    for inbox in inboxes:
        inbox.put("item", SIZE)
    assert not has_room(buffer)
    inboxes[0].close()
    assert has_room(buffer)
    assert buffer.held == 2000


def test_there_is_room_while_the_program_waits_for_an_answer():
    buffer = Buffer(500)
    inbox = Inbox(buffer, never)
    inbox.put("item", SIZE)
    buffer.asks()
    assert has_room(buffer)
    buffer.answered()
    assert not has_room(buffer)


def test_the_fullest_inbox_is_given_up_when_far_too_much_waits():
    buffer, given_up = Buffer(1000), []
    full, other = Inbox(buffer, lambda: given_up.append("full")), Inbox(buffer, never)
    other.put("other", SIZE)
    for _ in range(SURPLUS):
        full.put("item", SIZE)
    assert given_up == ["full"]
    assert buffer.held == 1000
    with pytest.raises(TooSlow):
        asyncio.run(full.get())
    full.put("late", SIZE)
    assert buffer.held == 1000
    assert asyncio.run(other.get()) == "other"


def test_what_has_arrived_is_read_before_the_end():
    inbox = Inbox(Buffer(1000), never)
    inbox.put("item", SIZE)
    inbox.finish(ConnectionLost("The line is cut."))
    inbox.finish(None)
    assert asyncio.run(inbox.get()) == "item"
    with pytest.raises(ConnectionLost):
        asyncio.run(inbox.get())


def test_a_reader_that_waits_is_told_of_the_end():
    async def read():
        inbox = Inbox(Buffer(1000), never)
        reading = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.finish(None)
        with pytest.raises(StopAsyncIteration):
            await reading

    asyncio.run(read())


def test_a_single_item_may_be_larger_than_the_buffer():
    """Nobody could have read it sooner."""
    buffer = Buffer(1000)
    inbox = Inbox(buffer, never)
    buffer.asks()
    inbox.put("item", 100 * 1000)
    assert asyncio.run(inbox.get()) == "item"
    assert buffer.held == 0


def test_a_snapshot_that_is_complete_but_was_given_up_does_not_seem_to_be_shorter():
    buffer = Buffer(1000)
    inbox = Inbox(buffer, lambda: None)
    buffer.asks()
    for _ in range(SURPLUS):
        inbox.put("item", SIZE)
    assert asyncio.run(inbox.get()) == "item"
    inbox.finish(None)
    other = Inbox(buffer, never)
    for _ in range(2):
        other.put("item", SIZE)
    with pytest.raises(TooSlow):
        asyncio.run(inbox.get())


def test_readers_have_their_turn_before_more_is_read_because_of_an_answer():
    """Whoever reads at once is never too slow, however many messages come together."""

    async def main():
        buffer = Buffer(2500)
        inbox = Inbox(buffer, never)
        buffer.asks()
        seen = []

        async def read():
            while len(seen) < 200:
                seen.append(await inbox.get())

        reading = asyncio.create_task(read())
        for number in range(200):
            await buffer.has_room()
            inbox.put(number, SIZE)
        await reading
        assert seen == [*range(200)]

    asyncio.run(main())
