"""Callers and callees. Every call must end.

Owns: registering, calling, the results of calls. Never: publishing.
"""

import asyncio
from collections import Counter
from functools import partial
from random import Random
from typing import Any

from chaos.door import Door
from chaos.peers import (
    CALL,
    INVOCATION,
    REGISTER,
    WAMP_ERROR,
    YIELD,
    Answer,
    Lost,
    Refused,
    Wamp,
)

PROCEDURES = [f"chaos.procedure.p{number}" for number in range(6)]
PREFIX = "chaos.pattern."
PATTERNS = [f"{PREFIX}p{number}" for number in range(6)]
"""Procedures that are registered by their prefix, so that calls are forwarded to its home."""

WINDOW = 8
"""Calls of one caller that may be unanswered."""

PACE = 0.02
"""Seconds between two calls of one caller, on average."""

SLOW = 0.05
"""Maximum number of seconds after which a callee answers."""

AGAIN = 0.2
"""Seconds until a refused registration is tried again."""

PATIENCE = 40.0
"""Seconds that a call may take, whichever processes die meanwhile."""


class Callee:
    """A callee for all procedures, shared with the other callees.

    Calls whose number is divisible by 10 are answered with an error, the others with their
    arguments.
    """

    def __init__(self, door: Door, rng: Random) -> None:
        self._door = door
        self._rng = rng

    async def run(self) -> None:
        """Register everything, and register again after each loss of the connection, for ever."""
        while True:
            peer = await self._door.enter(Wamp, "")
            peer.on_invocation = partial(self._invoked, peer)
            try:
                for procedure in PROCEDURES:
                    await self._register(peer, procedure, {})
                await self._register(peer, PREFIX, {"match": "prefix"})
            except Lost:
                continue
            await peer.ended()

    @staticmethod
    async def _register(peer: Wamp, procedure: str, options: dict[str, Any]) -> None:
        while True:
            try:
                await peer.request(REGISTER, {"invoke": "roundrobin", **options}, procedure)
            except Refused:
                await asyncio.sleep(AGAIN)
            else:
                return

    def _invoked(self, peer: Wamp, message: list[Any]) -> None:
        answer = partial(self._answer, peer, message[1], message[4])
        if self._rng.random() < 0.5:
            answer()
        else:
            delay = self._rng.random() * SLOW
            asyncio.get_running_loop().call_later(delay, answer)

    def _answer(self, peer: Wamp, invocation: int, args: list[Any]) -> None:
        if args[0] % 10:
            peer.send(YIELD, invocation, {}, args)
        else:
            peer.send(WAMP_ERROR, INVOCATION, invocation, {}, "chaos.error", args)


class Caller:
    """A caller with several calls in progress.

    ends: number of calls by their end (`result`, `connection lost`, or an error URI). longest:
    seconds that the longest call took.
    """

    def __init__(self, door: Door, rng: Random) -> None:
        self._door = door
        self._rng = rng
        self._stopping = False
        self._changed = asyncio.Event()
        self._number = 0
        self.ends: Counter[str] = Counter()
        self.longest = 0.0
        self.complaints: list[str] = []

    async def run(self) -> None:
        """Call until `stop`, then wait for the calls to end; one that does not is a complaint."""
        while not self._stopping:
            peer, until = await self._door.move(Wamp, "", self._rng)
            peer.on_settled = self._changed.set
            while not (self._stopping or peer.lost.done() or self._door.now() > until):
                await self._call(peer)
            try:
                async with asyncio.timeout(PATIENCE):
                    while peer.under_way:
                        await self._next_change()
            except TimeoutError:
                self.complaints.append(f"{peer.under_way} calls have not ended at {peer.place}")
            await self._door.leave(peer)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True
        self._changed.set()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _call(self, peer: Wamp) -> None:
        if peer.under_way < WINDOW:
            self._number += 1
            procedure = self._rng.choice(PROCEDURES + PATTERNS)
            answer = peer.request(CALL, {}, procedure, [self._number])
            answer.add_done_callback(partial(self._ended, self._number, self._door.now()))
            await asyncio.sleep(self._rng.expovariate(1 / PACE))
        else:
            await self._next_change()

    def _ended(self, number: int, began: float, answer: Answer) -> None:
        error = answer.exception()
        took = self._door.now() - began
        self.longest = max(self.longest, took)
        if took > PATIENCE:
            self.complaints.append(f"call {number} took {took:.1f} s")
        if error is None:
            self.ends["result"] += 1
            if answer.result()[3] != [number]:
                self.complaints.append(f"call {number} was answered {answer.result()}")
        else:
            self.ends["connection lost" if isinstance(error, Lost) else str(error)] += 1
