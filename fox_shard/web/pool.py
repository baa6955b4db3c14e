"""Sessions by who they are for: opened when they are needed, kept for a while, bounded in number.

Owns: which session a request gets, and when one ends. Never: how a session is opened.

A visitor's requests share one session. It ends when nobody has used it for a while; when it is so
old that the visitor has to log in anew, since a session goes on when its user's password is
changed; or when room is needed for another one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, final

from msgspec.structs import replace

from fox_shard.web.sessions import Session, TooManySessions, Visitor


class OpenSession(Session, Protocol):
    """A session that the pool has opened."""

    @property
    def is_alive(self) -> bool:
        """Whether requests can use it."""

    async def close(self) -> None:
        """End it."""


Open = Callable[[Visitor], Awaitable[OpenSession]]
"""Opens a session. Raises LoginRefused and Unreachable."""


@final
class _Member:
    """One shared session. users: requests that use it or wait for it."""

    __slots__ = ("expiry", "opened", "opening", "users")

    def __init__(self, opening: asyncio.Task[OpenSession], opened: float) -> None:
        self.opening = opening
        self.opened = opened
        self.users = 0
        self.expiry: asyncio.TimerHandle | None = None

    @property
    def is_usable(self) -> bool:
        """Whether it is being opened, or is open."""
        if not self.opening.done():
            return True
        failed = self.opening.cancelled() or self.opening.exception() is not None
        return not failed and self.opening.result().is_alive


@final
class Pool:
    """All sessions. most: how many. idle, age: seconds (see `config.web`)."""

    def __init__(self, open_session: Open, *, most: int, idle: float, age: float) -> None:
        self._open = open_session
        self._most = most
        self._idle = idle
        self._age = age
        # In the order in which they were lent last.
        self._members: dict[Visitor, _Member] = {}
        self._own = 0
        self._retired = 0
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._members) + self._own + self._retired

    @asynccontextmanager
    async def shared(self, visitor: Visitor) -> AsyncIterator[Session]:
        """Lend the session of the visitor, which is opened if there is none."""
        # Whether a login has expired, is looked at for each request.
        visitor = replace(visitor, expires=0.0)
        member = self._member(visitor)
        member.users += 1
        try:
            # One login for all who wait for it; who hangs up does not stop it.
            yield await asyncio.shield(member.opening)
        finally:
            member.users -= 1
            self._released(visitor, member)

    @asynccontextmanager
    async def own(self, visitor: Visitor) -> AsyncIterator[Session]:
        """Open a session, and end it."""
        self._make_room()
        self._own += 1
        session: OpenSession | None = None
        try:
            session = await self._open(visitor)
            yield session
        finally:
            self._own -= 1
            if session is not None:
                self._end(session)

    async def close(self) -> None:
        """End all sessions."""
        for visitor in [*self._members]:
            self._retire(visitor)
        while self._ending:
            await asyncio.wait(self._ending)

    def _member(self, visitor: Visitor) -> _Member:
        now = asyncio.get_running_loop().time()
        member = self._members.pop(visitor, None)
        if member is not None and (not member.is_usable or now - member.opened > self._age):
            self._members[visitor] = member
            self._retire(visitor)
            member = None
        if member is None:
            self._make_room()
            member = _Member(asyncio.create_task(self._opened(visitor)), now)
        elif member.expiry is not None:
            member.expiry.cancel()
            member.expiry = None
        self._members[visitor] = member
        return member

    async def _opened(self, visitor: Visitor) -> OpenSession:
        return await self._open(visitor)

    def _make_room(self) -> None:
        if len(self) < self._most:
            return
        for visitor, member in self._members.items():
            if not member.users:
                self._retire(visitor)
                return
        raise TooManySessions(f"All {self._most} sessions of the HTTP server are in use.")

    def _released(self, visitor: Visitor, member: _Member) -> None:
        if member.users:
            return
        if self._members.get(visitor) is not member:
            self._retired -= 1
            self._end_member(member)
        elif not member.is_usable:
            self._retire(visitor)
        else:
            loop = asyncio.get_running_loop()
            member.expiry = loop.call_later(self._idle, self._retire, visitor)

    def _retire(self, visitor: Visitor) -> None:
        """Lend the session to nobody any more; end it if nobody uses it."""
        member = self._members.pop(visitor)
        if member.expiry is not None:
            member.expiry.cancel()
        if member.users:
            self._retired += 1
        else:
            self._end_member(member)

    def _end_member(self, member: _Member) -> None:
        opening = member.opening
        if not opening.done():
            opening.cancel()
        elif not opening.cancelled() and opening.exception() is None:
            self._end(opening.result())

    def _end(self, session: OpenSession) -> None:
        """End a session, which takes a moment, for which nobody waits."""
        task = asyncio.create_task(session.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
