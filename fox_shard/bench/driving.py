"""Sending at a steady pace, by many clients at once.

Owns: when each client sends, how much may be under way, the end. Never: what is sent.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, NamedTuple

from fox_shard.bench.latencies import Latencies
from fox_shard.bench.measured import Sending
from fox_shard.client import ConnectionLost, Failure

SETTLING: Final = 5.0
"""Seconds for the answers that are missing at the end."""

PAUSE: Final = 0.1
"""Seconds after which a client without a connection sends again."""

NO_ANSWER: Final = f"no answer within {SETTLING:g} s of the end"

Send = Callable[[int, int], Awaitable[None]]
"""Sends one message; the numbers of the client, and of its message, from 0. Raises Failure."""


class Pace(NamedTuple):
    """How much is sent.

    rate: messages a second, by all clients together; 0: as many as possible. window: messages of
    one client that are under way.
    """

    clients: int
    rate: float
    seconds: float
    window: int

    def due(self, client: int, number: int) -> float:
        """Return when the client sends that message, in seconds from the start."""
        return (number * self.clients + client) / self.rate if self.rate else 0.0


async def drive(pace: Pace, send: Send, sending: Sending, stop: asyncio.Event) -> float:
    """Send until the time is up or `stop` is set, and wait for the answers.

    Returns the seconds in which was sent.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    under_way: set[asyncio.Task[None]] = set()
    senders = [
        asyncio.create_task(_send_all(pace, client, send, sending, start, under_way))
        for client in range(pace.clients)
    ]
    stopping = asyncio.create_task(stop.wait())
    everything = asyncio.gather(*senders)
    await asyncio.wait((everything, stopping), return_when=asyncio.FIRST_COMPLETED)
    for sender in (*senders, stopping):
        sender.cancel()
    await asyncio.gather(*senders, stopping, return_exceptions=True)
    if not everything.cancelled():
        everything.exception()
    seconds = loop.time() - start
    if under_way:
        _, late = await asyncio.wait(under_way, timeout=SETTLING)
        for task in late:
            task.cancel()
            sending.fails(NO_ANSWER)
        if late:
            await asyncio.wait(late)
    return max(seconds, 1e-6)


async def _send_all(
    pace: Pace,
    client: int,
    send: Send,
    sending: Sending,
    start: float,
    under_way: set[asyncio.Task[None]],
) -> None:
    room = asyncio.Semaphore(pace.window)

    async def send_one(number: int) -> None:
        began = time.perf_counter()  # that of the loop may count in milliseconds
        try:
            await send(client, number)
        except ConnectionLost as error:
            sending.fails(error.sentence)
            await asyncio.sleep(PAUSE)
        except Failure as error:
            sending.fails(error.sentence)
        else:
            sending.answered += 1
            sending.latencies.add(time.perf_counter() - began)
        finally:
            room.release()

    for number in count():
        due = start + pace.due(client, number)
        if not await _may_send(due, start + pace.seconds, room, sending.lateness):
            return
        sending.count += 1
        task = asyncio.create_task(send_one(number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


async def _may_send(due: float, end: float, room: asyncio.Semaphore, lateness: Latencies) -> bool:
    """Wait until a message is due and there is room for it. Returns False if the time is up.

    lateness: of this process, which the machine may have given no time.
    """
    loop = asyncio.get_running_loop()
    if due >= end:
        return False
    if (wait := due - loop.time()) > 0:
        await asyncio.sleep(wait)
        lateness.add(loop.time() - due)
    await room.acquire()
    return loop.time() < end
