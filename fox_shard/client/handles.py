"""What a program has in hand while a function of its own is subscribed or registered.

Owns: ending that, by name or at the end of a block; calling the functions of subscriptions. Never:
how both outlive a connection (see `standing`), calls (see `callee`).
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias, final

from fox_shard.client.callee import Callee
from fox_shard.client.engine import Engine
from fox_shard.client.event import Event
from fox_shard.client.failures import Failure
from fox_shard.client.streams import EventStream

_log = logging.getLogger("fox.client")

Handler: TypeAlias = Callable[[Event], Awaitable[object] | object]


class _Block(ABC):
    """Something that the end of a block ends: `async with await realm.subscribe(…):`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end_block()

    @abstractmethod
    async def _end_block(self) -> None:
        """End it."""


@final
class Subscription(_Block):
    """A function that is called with events, until `unsubscribe`, also at the end of a block."""

    def __init__(
        self,
        engine: Engine,
        stream: EventStream,
        pattern: str,
        function: Handler,
        handlers: "set[Subscription]",
    ) -> None:
        self._engine = engine
        self._stream = stream
        self._pattern = pattern
        self._function = function
        self._handlers = handlers
        self._task = asyncio.create_task(self._handle())

    async def _end_block(self) -> None:
        await self.unsubscribe()

    @property
    def over(self) -> bool:
        """Whether the function gets no more events: the router, or the client, has ended that."""
        return self not in self._handlers

    async def unsubscribe(self) -> None:
        """Get no more events. A function that runs may finish; what waits for it is dropped."""
        self._handlers.discard(self)
        await self._stream.ended()

    async def stop(self) -> None:
        """End the subscription, and cancel the function."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _handle(self) -> None:
        try:
            while True:
                await self._handle_one(await self._stream.next())
        except StopAsyncIteration:
            pass
        except Failure as error:
            if not self._engine.over:
                _log.error("The subscription to %s is over: %s", self._pattern, error)
        finally:
            self._stream.end()
            self._handlers.discard(self)

    async def _handle_one(self, event: Event) -> None:
        try:
            found = self._function(event)
            if isinstance(found, Awaitable):
                await found
        except Exception:  # noqa: BLE001 - whatever the program raises
            _log.exception("What handles %s has failed.", self._pattern)


@final
class Registration(_Block):
    """A function that is registered, until `unregister`, also at the end of a block.

    is_over: set when the router has ended the registration for good.
    """

    def __init__(self, engine: Engine, callee: Callee, ticket: int, procedure: str) -> None:
        self._engine = engine
        self._callee = callee
        self._ticket = ticket
        self._procedure = procedure
        self.is_over = asyncio.Event()

    async def _end_block(self) -> None:
        await self.unregister()

    async def unregister(self) -> None:
        """Take no more calls; those that have begun go on."""
        engine = self._engine
        await engine.ended(lambda answer: engine.core.unregister(self._ticket, answer))
        self._forget()

    def end(self) -> None:
        """End the registration, confirmed or not."""
        self._engine.perform(self._engine.core.unregister(self._ticket))
        self._forget()

    def over(self, error: Failure | None) -> None:
        """Note that the router has ended the registration."""
        _log.error("The registration of %s is over: %s", self._procedure, error)
        self._forget()
        self.is_over.set()

    def _forget(self) -> None:
        self._engine.on_over.pop(self._ticket, None)
        self._callee.procedures.pop(self._ticket, None)
