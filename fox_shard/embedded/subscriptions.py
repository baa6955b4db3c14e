"""The subscriptions of an application that has the router in its own process.

Owns: calling the application's functions with events, in order, and how many events may wait.
Never: requests and their answers (see `realm`).
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, final

from fox_shard.client.event import Event, event_of

_log = logging.getLogger("fox")


EventFunction = Callable[[Event], object]

GiveUp = Callable[["Subscription"], Awaitable[None]]


@final
class Subscription:
    """A subscription of the application. over: the router has revoked it, or it was given up."""

    def __init__(self, topic: str, function: EventFunction, give_up: GiveUp) -> None:
        """give_up: ends the subscription, and tells the router if it was the last of its id."""
        self.id = 0
        self.over = False
        self._topic = topic
        self._function = function
        self._give_up = give_up
        self._queue: asyncio.Queue[tuple[Event, int]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def unsubscribe(self) -> None:
        """Get no more events. Those that wait for the function are dropped."""
        if not self.over:
            await self._give_up(self)

    def begin(self, number: int, taken: Callable[[int], None]) -> None:
        """Begin to call the function, one event after the other.

        number: the subscription's id. taken(bytes): called for each event.
        """
        self.id = number
        self._task = asyncio.create_task(self._run(taken))

    def end(self) -> None:
        """Call the function no more, not even with what waits."""
        self.over = True
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def add(self, publication: int, details: dict[str, Any], payload: list[Any], size: int) -> None:
        """Let an event wait for the function. size: its bytes."""
        event = event_of(self._topic, publication, details, *payload[:2])
        self._queue.put_nowait((event, size))

    def drop(self) -> int:
        """Drop what waits for the function; return how many bytes that are."""
        total = 0
        while not self._queue.empty():
            total += self._queue.get_nowait()[1]
        return total

    async def _run(self, taken: Callable[[int], None]) -> None:
        while not self.over:
            event, size = await self._queue.get()
            taken(size)
            try:
                await outcome(self._function(event))
            except Exception as error:  # noqa: BLE001 - it concerns this event only
                fields = {"topic": event.topic, "reason": f"{type(error).__name__}: {error}"}
                _log.error("event_function_failed", exc_info=error, extra={"fox": fields})


@final
class Subscriptions:
    """All subscriptions of one session. waiting: bytes of events that wait for functions."""

    def __init__(self) -> None:
        # Several functions may have one subscription: those with the same topic and options.
        self._by_id: dict[int, list[Subscription]] = {}
        self.waiting = 0

    def add(self, number: int, subscription: Subscription) -> None:
        """Begin a subscription. number: its id."""
        self._by_id.setdefault(number, []).append(subscription)
        subscription.begin(number, self._taken)

    def _taken(self, size: int) -> None:
        self.waiting -= size

    def event(
        self, number: int, publication: int, details: dict[str, Any], payload: list[Any], size: int
    ) -> None:
        """Let an event wait for the functions of that subscription. size: its bytes."""
        for subscription in self._by_id.get(number, ()):
            self.waiting += size
            subscription.add(publication, details, payload, size)

    def remove(self, subscription: Subscription) -> bool:
        """End one; return whether the router is to be told, as it was the last of its id."""
        self._end(subscription)
        others = self._by_id.get(subscription.id, [])
        if subscription in others:
            others.remove(subscription)
        return not others and self._by_id.pop(subscription.id, None) is not None

    def revoked(self, number: int) -> None:
        """End those with that id, because the router has ended them."""
        for subscription in self._by_id.pop(number, []):
            self._end(subscription)

    def end_all(self) -> None:
        """End all, as the session has ended."""
        for number in list(self._by_id):
            self.revoked(number)

    def _end(self, subscription: Subscription) -> None:
        subscription.end()
        self.waiting -= subscription.drop()


async def outcome(value: object) -> object:
    """Return what a function has returned, or what that comes to if it is awaitable."""
    if inspect.isawaitable(value):
        awaitable: Awaitable[object] = value
        return await awaitable
    return value
