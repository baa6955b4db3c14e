"""A realm for programs with asyncio: publishing, calling, subscribing, registering, locks.

Owns: what programs call. Never: connections (see `engine`), messages (see `core`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, final

from fox_shard.client.callee import Callee, Function, Procedure
from fox_shard.client.engine import ENDED, Engine
from fox_shard.client.handles import Handler, Registration, Subscription
from fox_shard.client.locking import Lock
from fox_shard.client.results import NOTHING, Result
from fox_shard.client.streams import EventStream, Parts

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

    @property
    def over(self) -> bool:
        """Whether the client has ended, or could not join at all."""
        return self._engine.over

    async def start(self) -> None:
        """Connect and join. Raises Unreachable."""
        await self._engine.start()

    async def stop(self, why: str = ENDED, *, leaves: bool = True) -> None:
        """Leave the realm; functions that run are canceled. why, leaves: as for `Engine.stop`."""
        await self._engine.stop(why, leaves=leaves)
        await self._callee.stop()
        for handler in [*self._handlers]:
            await handler.stop()

    # Events and keys

    async def publish(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NOTHING,
        **options: object,
    ) -> int | None:
        """Publish; return the publication id with `acknowledge=True`, else None at once.

        Raises Refused with `acknowledge=True`. The client's own subscriptions get the event only
        with `exclude_me=False`.
        """
        engine = self._engine
        await engine.ready()
        _check(args)
        if not options.get("acknowledge"):
            engine.perform(engine.core.publish(0, topic, args, kwargs, options))
            return None
        ticket = engine.new_ticket()
        try:
            answer = await engine.answer(
                ticket, lambda ticket: engine.core.publish(ticket, topic, args, kwargs, options)
            )
        except asyncio.CancelledError:
            engine.perform(engine.core.abandon(ticket))
            raise
        return int(answer[0])

    async def subscribe(self, pattern: str, function: Handler, **options: object) -> "Subscription":
        """Call a function with each Event, in order: the next one when it has returned.

        function: may be a coroutine function. What it raises is logged.
        """
        stream = EventStream(self._engine, pattern, options)
        await stream.begin()
        subscription = Subscription(self._engine, stream, pattern, function, self._handlers)
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
            page = await self.call("fox.table.rows", [table, asked])
            for row in page.value:
                yield row
            asked["after"] = page.kwargs["after"]
            more = page.kwargs["more"] and page.kwargs["after"] is not None

    def lock(self, name: str, value: object = True) -> Lock:  # noqa: FBT002 - the key's value
        """Hold a lock during a block: `async with realm.lock(name) as token:` (see `Lock`).

        value: what the key says while the lock is held; not None.
        """
        return Lock(self._engine, name, value)

    # Procedures

    async def call(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NOTHING,
        **options: object,
    ) -> Result:
        """Call a procedure. Raises Refused with the callee's error, or the router's.

        If the task that awaits the call is canceled, so is the call.
        """
        engine = self._engine
        await engine.ready()
        _check(args)
        ticket = engine.new_ticket()
        try:
            answer = await engine.answer(
                ticket, lambda ticket: engine.core.call(ticket, procedure, args, kwargs, options)
            )
        except asyncio.CancelledError:
            engine.perform(engine.core.abandon(ticket))
            raise
        return Result(*answer)

    def stream(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NOTHING,
        **options: object,
    ) -> Parts:
        """Call a procedure, and read its progressive results: `async for part in realm.stream(…)`.

        Each part is a Result.
        The last result is the last part, unless it is empty.
        """
        _check(args)
        return Parts(self._engine, procedure, args, kwargs, options)

    async def register(
        self, procedure: str, function: Function, *, details: bool = False, **options: object
    ) -> "Registration":
        """Register a function: `function(*args, **kwargs)`, which returns the result.

        It may be a coroutine function, or an async generator, which yields progressive results.
        Other functions run in the event loop, and must not block it. A Refused that it raises is
        the answer; of any other exception the caller is told the type and text, the log the rest.

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


def _check(args: Sequence[Any]) -> None:
    if not isinstance(args, list | tuple):
        raise TypeError(f"the arguments are a list or tuple, not {type(args).__name__}")
