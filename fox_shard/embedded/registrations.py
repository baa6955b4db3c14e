"""The procedures of an application that has the router in its own process.

Owns: calling the application's functions, and what their results and exceptions become. Never:
requests and their answers (see `realm`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, final

from fox_shard.client.failures import Refused
from fox_shard.client.results import result_of
from fox_shard.embedded.subscriptions import outcome
from fox_shard.gateway.wamp import messages as wamp

FAILED: Final = "wamp.error.runtime_error"
CANCELED: Final = "wamp.error.canceled"

MAX_TEXT: Final = 400
"""Characters of an exception's text that callers are told."""

Function = Callable[..., object]


@final
class Registration:
    """A procedure of the application. id: the registration's."""

    def __init__(
        self, function: Function, unregister: Callable[["Registration"], Awaitable[None]]
    ) -> None:
        self.id = 0
        self.function = function
        self._unregister = unregister

    async def unregister(self) -> None:
        """Take no more calls; those that have begun go on. Raises Refused."""
        await self._unregister(self)


@final
class Registrations:
    """All procedures of one session, and the calls that are not answered yet."""

    def __init__(self, answer: Callable[..., None]) -> None:
        """answer(*message): sends a message, unless the session has ended."""
        self._answer = answer
        self._by_id: dict[int, Registration] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def add(self, number: int, registration: Registration) -> None:
        """Begin to take calls. number: the registration's id."""
        registration.id = number
        self._by_id[number] = registration

    def remove(self, number: int) -> None:
        """Take no more calls for the registration with that id."""
        self._by_id.pop(number, None)

    def invocation(self, request: int, number: int, payload: list[Any]) -> None:
        """Call the function of that registration, in a task of its own."""
        registration = self._by_id.get(number)
        if registration is None:
            self._answer(wamp.ERROR, wamp.INVOCATION, request, {}, CANCELED)
            return
        args = payload[0] if payload else []
        kwargs = payload[1] if len(payload) > 1 else {}
        task = asyncio.create_task(self._invoke(request, registration.function, args, kwargs))
        self._tasks[request] = task
        task.add_done_callback(lambda _: self._tasks.pop(request, None))

    def interrupt(self, request: int) -> None:
        """Cancel the call, unless it is over."""
        task = self._tasks.get(request)
        if task is not None:
            task.cancel()

    def end_all(self) -> None:
        """Cancel all calls, as the session has ended."""
        self._by_id.clear()
        for task in self._tasks.values():
            task.cancel()

    async def _invoke(
        self, request: int, function: Function, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        try:
            value = await outcome(function(*args, **kwargs))
            result = result_of(value)
            self._answer(wamp.YIELD, request, {}, list(result.args), dict(result.kwargs))
        except asyncio.CancelledError:
            self._answer(wamp.ERROR, wamp.INVOCATION, request, {}, CANCELED)
        except Refused as refused:
            error = (refused.uri, list(refused.arguments), dict(refused.kwargs))
            self._answer(wamp.ERROR, wamp.INVOCATION, request, {}, *error)
        except Exception as error:  # noqa: BLE001 - it concerns this call only
            text = f"{type(error).__name__}: {error}"[:MAX_TEXT]
            self._answer(wamp.ERROR, wamp.INVOCATION, request, {}, FAILED, [text])
