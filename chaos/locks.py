"""Clients that take locks in turn. A lock has one holder at a time, and its tokens grow.

Owns: taking and releasing locks, the record of who held them, the checks. Never: accidents.

A client whose connection has ended no longer holds its lock, but cannot know since when: of such a
hold only the token is checked.
"""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import pairwise
from random import Random
from typing import Any

from chaos.door import Door
from chaos.peers import PUBLISH, Lost, Refused, Wamp

LOCKS = ("chaos-locks.a", "chaos-locks.b")

HELD = 0.02
"""Seconds for which a lock is held, on average."""

AGAIN = 0.2
"""Seconds until a refused request is tried again."""

PATIENCE = 60.0
"""Seconds within which a client must get a lock, whichever processes die meanwhile."""

UNAVAILABLE = "fox.error.unavailable_store"


class Hold:
    """A period in which a client held a lock, in seconds of the run.

    token: its fencing token. since: when the client was told. until: when the client began to
    release it; None: the connection ended first.
    """

    __slots__ = ("lock", "since", "token", "until")

    def __init__(self, lock: str, token: int, since: float, until: float | None = None) -> None:
        self.lock = lock
        self.token = token
        self.since = since
        self.until = until


class Locker:
    """A client that takes locks until `stop`. holds: what it held."""

    def __init__(self, door: Door, rng: Random) -> None:
        self._door = door
        self._rng = rng
        self._stopping = False
        self.holds: list[Hold] = []
        self.complaints: list[str] = []

    async def run(self) -> None:
        """Take and release locks, at one gateway after the other; end after `stop`."""
        while not self._stopping:
            peer, until = await self._door.move(Wamp, "", self._rng)
            try:
                while not self._stopping and self._door.now() < until:
                    await self._take_turn(peer)
            except Lost:
                pass  # the session has ended, and its locks with it
            await self._door.leave(peer)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True

    async def _take_turn(self, peer: Wamp) -> None:
        lock = self._rng.choice(LOCKS)
        options = {"when": None, "weak": True, "watch": True}
        try:
            async with asyncio.timeout(PATIENCE):
                token = await self._publish(peer, lock, options)
        except TimeoutError:
            self.complaints.append(f"{lock} was not got in {PATIENCE:g} s at {peer.place}")
            self._stopping = True
            return
        hold = Hold(lock, token, self._door.now())
        self.holds.append(hold)
        await asyncio.sleep(self._rng.expovariate(1 / HELD))
        # Another client may get the lock as soon as this is sent.
        until = self._door.now()
        try:
            await self._publish(peer, lock, {"when_id": token})
        except Refused as refused:
            self.complaints.append(f"{lock} was lost by its holder, {token}: {refused}")
        else:
            hold.until = until

    async def _publish(self, peer: Wamp, lock: str, options: dict[str, Any]) -> int:
        """Publish, again and again while the disk fails; return the publication id."""
        arguments = [] if "when_id" in options else [["held"]]
        while True:
            try:
                request = {"acknowledge": True, "retain": True, **options}
                answer = await peer.request(PUBLISH, request, lock, *arguments)
            except Refused as refused:
                if str(refused) != UNAVAILABLE:
                    raise
                await asyncio.sleep(AGAIN)
            else:
                token: int = answer[2]
                return token


def judge_holds(holds: Iterable[Hold]) -> Iterator[str]:
    """Yield complaints about locks that two clients held at a time, or with one token."""
    ordered = sorted(holds, key=lambda hold: (hold.lock, hold.token))
    for one, other in pairwise(ordered):
        if one.lock != other.lock:
            continue
        if one.token == other.token:
            yield f"{one.lock}: two clients had the token {one.token}"
        elif one.until is not None and other.since < one.until:
            yield (
                f"{one.lock}: held with {one.token} until {one.until:.3f}, and with {other.token} "
                f"since {other.since:.3f}"
            )
