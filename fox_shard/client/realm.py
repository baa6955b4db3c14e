"""A realm for programs with asyncio: publishing, calling, subscribing, registering, locks.

Owns: what programs call. Never: connections (see `engine`), messages (see `core`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, final, overload

from fox_shard.client.callee import Callee, Function, Procedure
from fox_shard.client.engine import Engine
from fox_shard.client.event import Event
from fox_shard.client.failures import Failure
from fox_shard.client.locking import Lock
from fox_shard.client.results import value_of
from fox_shard.client.streams import EventStream, Parts

_log = logging.getLogger("fox.client")

Kwargs: TypeAlias = dict[str, Any] | None
Handler: TypeAlias = Callable[[Event], Awaitable[object] | object]

ROWS_AT_A_TIME: Final = 500
"""Rows of a table in one answer."""


@final
class Realm:
    """A realm, in one session after the other: when the connection is lost, there is another one.

    Subscriptions and registrations are made again then, in order. What was under way raises
    ConnectionLost, as it may have happened or not; nothing is sent twice. Whatever is asked for
    while there is no session waits for the next one; use `asyncio.timeout` to wait less.

    All methods raise Refused if the router refuses, and ConnectionLost after the end of the client.
    Options are those of the server's contract (docs/semantics.md).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._callee = engine.invocations = Callee(engine)
        self._handlers: set[Subscription] = set()

    @property
    def session(self) -> int:
        """The id of the present session; 0: there is none at the moment."""
        return self._engine.session

    @property
    def details(self) -> dict[str, Any]:
        """What the router has said in WELCOME: `authid`, `authrole` …; of the last session."""
        return self._engine.details

    async def start(self) -> None:
        """Connect and join. Raises Unreachable."""
        await self._engine.start()

    async def stop(self) -> None:
        """Leave the realm. Handlers and functions that run are canceled."""
        self._callee.stop()
        for handler in [*self._handlers]:
            handler.stop()
        await self._engine.stop()

    # Events and keys

    @overload
    async def publish(
        self,
        topic: str,
        args: Sequence[Any] = ...,
        kwargs: Kwargs = ...,
        *,
        acknowledge: Literal[False],
        **options: object,
    ) -> None: ...

    @overload
    async def publish(
        self,
        topic: str,
        args: Sequence[Any] = ...,
        kwargs: Kwargs = ...,
        *,
        acknowledge: Literal[True] = ...,
        **options: object,
    ) -> int: ...

    async def publish(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Kwargs = None,
        *,
        acknowledge: bool = True,
        **options: object,
    ) -> int | None:
        """Publish, and return the publication id, when all subscribers have been sent the event.

        acknowledge: False: return None as soon as the event is sent; nobody says whether the router
        has refused it.
        """
        engine = self._engine
        await engine.ready()
        _check(args)
        sent = {"acknowledge": True, **options} if acknowledge else options
        ticket = engine.new_ticket()
        try:
            answer = await engine.answer(
                ticket,
                lambda ticket: engine.core.publish(ticket, topic, args, kwargs, sent),
                asks=acknowledge,
            )
        except asyncio.CancelledError:
            engine.perform(engine.core.abandon(ticket))
            raise
        return int(answer[0]) if acknowledge else None

    async def subscribe(self, pattern: str, function: Handler, **options: object) -> "Subscription":
        """Call a function with each Event, in order: the next one when it has returned.

        function: may be a coroutine function. What it raises is logged.
        """
        stream = EventStream(self._engine, pattern, options)
        await stream.begin()
        subscription = Subscription(stream, pattern, function, self._handlers)
        self._handlers.add(subscription)
        return subscription

    def events(self, pattern: str, **options: object) -> EventStream:
        """Read events. With `after`, none is missed, even while there is no connection."""
        return EventStream(self._engine, pattern, options)

    def watch(self, pattern: str, **options: object) -> EventStream:
        """Read keys, and then their changes: a state stream, which misses nothing.

        After a lost connection it goes on with what has changed meanwhile. `removed` of a key that
        has gone in that time is `missed`.
        """
        return EventStream(self._engine, pattern, {**options, "retained": True})

    def keys(self, pattern: str, **options: object) -> EventStream:
        """Read the keys that there are now: a snapshot, after which the stream ends.

        A lost connection raises ConnectionLost.
        """
        asked = {**options, "retained": True, "snapshot": True}
        return EventStream(self._engine, pattern, asked, stays=False)

    async def rows(
        self, table: str, filter: dict[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Read the rows of a table that there are now, in the order of their keys."""
        asked: dict[str, Any] = {"limit": ROWS_AT_A_TIME}
        if filter is not None:
            asked["filter"] = filter
        more = True
        while more:
            (rows,), told = await self._call("fox.table.rows", [table, asked], None, {})
            for row in rows:
                yield row
            asked["after"] = told["after"]
            more = told["more"] and told["after"] is not None

    def lock(self, name: str, value: object = True) -> Lock:  # noqa: FBT002 - the key's value
        """Hold a lock during a block: `async with realm.lock(name) as token:` (see `Lock`).

        value: what the key says while the lock is held; not None.
        """
        return Lock(self._engine, name, value)

    # Procedures

    async def call(
        self, procedure: str, args: Sequence[Any] = (), kwargs: Kwargs = None, **options: object
    ) -> Any:  # noqa: ANN401 - whatever the callee answers
        """Call a procedure, and return the only argument of its result.

        None if the result is empty; a Result if it has several arguments, or keyword arguments.
        Whoever is canceled while waiting cancels the call. Raises CallError.
        """
        return value_of(*await self._call(procedure, args, kwargs, options))

    def stream(
        self, procedure: str, args: Sequence[Any] = (), kwargs: Kwargs = None, **options: object
    ) -> Parts:
        """Call a procedure, and read its progressive results: `async for part in realm.stream(…)`.

        The last result is the last part, unless it is empty.
        """
        _check(args)
        return Parts(self._engine, procedure, args, kwargs, options)

    async def register(
        self, procedure: str, function: Function, *, details: bool = False, **options: object
    ) -> "Registration":
        """Register a function: `function(*args, **kwargs)`, which returns the result.

        It may be a coroutine function, or an async generator, which yields progressive results.
        Other functions run in the event loop, and must not block it. A CallError that it raises is
        the answer; of any other exception the caller is told the type, and the log the rest.

        details: the function gets a keyword argument `details` (CallDetails). With `reducer=True`
        it is called as `function(args, kwargs, details)`.
        """
        engine, ticket = self._engine, self._engine.new_ticket()
        reduces = bool(options.get("reducer"))
        self._callee.procedures[ticket] = Procedure(
            procedure, function, details=details, reduces=reduces
        )
        registration = Registration(engine, self._callee, ticket, procedure)
        engine.on_over[ticket] = registration.over
        try:
            await engine.answer(
                ticket, lambda ticket: engine.core.register(ticket, procedure, options)
            )
        except BaseException:
            registration.end()
            raise
        return registration

    async def _call(
        self, procedure: str, args: Sequence[Any], kwargs: Kwargs, options: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        engine = self._engine
        await engine.ready()
        _check(args)
        ticket = engine.new_ticket()
        try:
            found = await engine.answer(
                ticket, lambda ticket: engine.core.call(ticket, procedure, args, kwargs, options)
            )
        except asyncio.CancelledError:
            engine.perform(engine.core.abandon(ticket))
            raise
        return found[0], found[1]


@final
class Subscription:
    """A function that is called with events, until `unsubscribe`, also at the end of a block."""

    def __init__(
        self, stream: EventStream, pattern: str, function: Handler, handlers: "set[Subscription]"
    ) -> None:
        self._stream = stream
        self._pattern = pattern
        self._function = function
        self._handlers = handlers
        self._task = asyncio.create_task(self._handle())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unsubscribe()

    def unsubscribe(self) -> None:
        """End the subscription. A function that runs may finish."""
        self._stream.end()
        self._handlers.discard(self)

    def stop(self) -> None:
        """End the subscription, and cancel the function."""
        self.unsubscribe()
        self._task.cancel()

    async def _handle(self) -> None:
        try:
            while True:
                await self._handle_one(await self._stream.next())
        except StopAsyncIteration:
            pass
        except Failure as error:
            _log.error("The subscription to %s is over: %s", self._pattern, error)
        finally:
            self.unsubscribe()

    async def _handle_one(self, event: Event) -> None:
        try:
            found = self._function(event)
            if isinstance(found, Awaitable):
                await found
        except Exception:  # noqa: BLE001 - whatever the program raises
            _log.exception("What handles %s has failed.", self._pattern)


@final
class Registration:
    """A function that is registered, until `unregister`, also at the end of a block."""

    def __init__(self, engine: Engine, callee: Callee, ticket: int, procedure: str) -> None:
        self._engine = engine
        self._callee = callee
        self._ticket = ticket
        self._procedure = procedure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unregister()

    def unregister(self) -> None:
        """End the registration. Calls that run are answered."""
        self.end()

    def end(self) -> None:
        """End the registration, confirmed or not."""
        self._engine.perform(self._engine.core.unregister(self._ticket))
        self._forget()

    def over(self, error: Failure | None) -> None:
        """Note that the router has ended the registration."""
        _log.error("The registration of %s is over: %s", self._procedure, error)
        self._forget()

    def _forget(self) -> None:
        self._engine.on_over.pop(self._ticket, None)
        self._callee.procedures.pop(self._ticket, None)


def _check(args: Sequence[Any]) -> None:
    if not isinstance(args, list | tuple):
        raise TypeError(f"the arguments are a list or tuple, not {type(args).__name__}")
