"""What a program reads with `async for`: events, keys, changes, parts of a result.

Owns: when a subscription or call begins and ends with its reader. Never: how it outlives a
connection (see `standing`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, final

from fox_shard.client.engine import Engine
from fox_shard.client.event import Event
from fox_shard.client.failures import Failure
from fox_shard.client.inbox import Inbox
from fox_shard.client.results import Result


@final
class EventStream:
    """The events of a subscription, in order.

    With `async with`, the subscription begins at the beginning of the block: what is published
    in the block is seen. With `async for` alone, it begins at the first step. Both end it.

    The stream ends by itself if it is a snapshot. It raises Refused if the router refuses or
    revokes the subscription, and TooSlow if the program reads too slowly.
    """

    def __init__(
        self, engine: Engine, pattern: str, options: dict[str, Any], *, stays: bool = True
    ) -> None:
        """stays: it goes on after a lost connection."""
        self._engine = engine
        self._pattern = pattern
        self._options = options
        self._stays = stays
        self._ticket = 0
        self._inbox: Inbox[Event]

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    async def __aiter__(self) -> AsyncIterator[Event]:
        begins = not self._ticket
        if begins:
            await self.begin()
        try:
            while True:
                try:
                    event = await self._inbox.get()
                except StopAsyncIteration:
                    return
                yield event
        finally:
            if begins:
                self.end()

    async def begin(self) -> None:
        """Subscribe. Raises Refused."""
        engine, ticket = self._engine, self._engine.new_ticket()
        self._ticket = ticket
        self._inbox = engine.open_inbox(ticket, self.end)
        core = engine.core
        try:
            await engine.answer(
                ticket,
                lambda ticket: core.subscribe(
                    ticket, self._pattern, self._options, stays=self._stays
                ),
            )
        except BaseException:
            self.end()
            raise

    async def next(self) -> Event:
        """Wait for the next event and return it. Raises StopAsyncIteration at the end."""
        return await self._inbox.get()

    async def ended(self) -> None:
        """End the subscription, and wait until the router has done so."""
        ticket, self._ticket = self._ticket, 0
        if ticket:
            engine = self._engine
            engine.close_inbox(ticket)
            await engine.ended(lambda answer: engine.core.unsubscribe(ticket, answer))

    def end(self) -> None:
        """End the subscription. What has arrived and was not read is forgotten."""
        ticket, self._ticket = self._ticket, 0
        if ticket:
            self._engine.close_inbox(ticket)
            self._engine.perform(self._engine.core.unsubscribe(ticket))


@final
class Parts:
    """The progressive results of a call, and the last one unless it is empty: `async for`, once.

    Whoever stops reading cancels the call. Raises Refused.
    """

    def __init__(
        self,
        engine: Engine,
        procedure: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: dict[str, Any],
    ) -> None:
        self._engine = engine
        self._call = (procedure, args, kwargs, {**options, "receive_progress": True})

    async def __aiter__(self) -> AsyncIterator[Result]:
        engine = self._engine
        await engine.ready()
        ticket = engine.new_ticket()
        inbox = engine.open_inbox(ticket, lambda: None, asks=True)
        calling = asyncio.create_task(self._answer(ticket, inbox))
        try:
            while True:
                try:
                    found = await inbox.get()
                except StopAsyncIteration:
                    return
                yield Result(*found)
        finally:
            calling.cancel()
            engine.close_inbox(ticket)

    async def _answer(self, ticket: int, inbox: Inbox[Any]) -> None:
        engine = self._engine
        try:
            args, kwargs = await engine.answer(
                ticket, lambda ticket: engine.core.call(ticket, *self._call), asks=False
            )
        except Failure as error:
            inbox.finish(error)
        except asyncio.CancelledError:
            engine.perform(engine.core.abandon(ticket))
            raise
        else:
            if args or kwargs:
                inbox.put((args, kwargs), 0)
            inbox.finish(None)
