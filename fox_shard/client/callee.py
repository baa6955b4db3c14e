"""The functions of a program that others call.

Owns: calling them, and what their results and exceptions mean. Never: registrations.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, final

from msgspec import Struct

from fox_shard.client.effects import Invoked
from fox_shard.client.engine import Engine
from fox_shard.client.failures import ConnectionLost, Refused
from fox_shard.client.results import Result, result_of

_log = logging.getLogger("fox.client")

FAILED: Final = "wamp.error.runtime_error"
CANCELED: Final = "wamp.error.canceled"

MAX_TEXT: Final = 400
"""Characters of an exception's text that callers are told."""

Function = Callable[..., Any]


class CallDetails(Struct, frozen=True):
    """What a function is told of a call, or (topic, publication, retained) of an event to reduce.

    procedure: what was called. caller, caller_authid, caller_authrole: who calls, if that is
    disclosed; else 0 and "". progress: the caller wants progressive results. retained: the key's
    present value. more: all details of the message.
    """

    procedure: str = ""
    caller: int = 0
    caller_authid: str = ""
    caller_authrole: str = ""
    progress: bool = False
    topic: str = ""
    publication: int = 0
    retained: Any = None
    more: dict[str, Any] = {}


@final
class Procedure:
    """A function with how it is called."""

    def __init__(self, name: str, function: Function, *, details: bool, reduces: bool) -> None:
        """details: it gets a keyword argument `details`. reduces: see `Callee`."""
        self.name = name
        self.function = function
        self._details = details
        self._reduces = reduces

    def call(self, effect: Invoked) -> object:
        """Call the function, and return its result, an awaitable or an async generator."""
        if self._reduces:
            return self.function(effect.args, effect.kwargs, self._told(effect.details))
        if self._details:
            return self.function(*effect.args, **effect.kwargs, details=self._told(effect.details))
        return self.function(*effect.args, **effect.kwargs)

    def _told(self, details: dict[str, Any]) -> CallDetails:
        return CallDetails(
            procedure=details.get("procedure", self.name),
            caller=details.get("caller", 0),
            caller_authid=details.get("caller_authid", ""),
            caller_authrole=details.get("caller_authrole", ""),
            progress=bool(details.get("receive_progress")),
            topic=details.get("topic", ""),
            publication=details.get("publication", 0),
            retained=details.get("retained"),
            more=details,
        )


@final
class Callee:
    """Calls functions. Those that are not coroutines run at once, in the event loop.

    A reducer gets the arguments, the keyword arguments, and CallDetails.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # By the ticket of the registration.
        self.procedures: dict[int, Procedure] = {}
        self._running: dict[int, asyncio.Task[None]] = {}

    def invoked(self, effect: Invoked) -> None:
        """Begin to call a function."""
        procedure = self.procedures[effect.ticket]
        request = effect.request
        try:
            found = procedure.call(effect)
            if not (inspect.isasyncgen(found) or inspect.isawaitable(found)):
                self._answer(request, result_of(found))
                return
        except Exception as error:  # noqa: BLE001 - whatever the program raises
            self._fail(procedure, request, error)
            return
        task = asyncio.create_task(self._await(procedure, effect, found))
        self._running[request] = task
        task.add_done_callback(lambda task: self._ended(task, request, found))

    def _ended(
        self, task: asyncio.Task[None], request: int, found: Awaitable[Any] | AsyncIterator[Any]
    ) -> None:
        self._running.pop(request, None)
        if task.cancelled():
            # Before `_await` has begun, which would have answered.
            if inspect.iscoroutine(found):
                found.close()
            self._cancel(request)

    def interrupted(self, request: int) -> None:
        """Cancel a function that runs."""
        task = self._running.get(request)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """Cancel all that run, and wait until they have ended."""
        running = [*self._running.values()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _await(
        self, procedure: Procedure, effect: Invoked, found: Awaitable[Any] | AsyncIterator[Any]
    ) -> None:
        request = effect.request
        try:
            if inspect.isasyncgen(found):
                progress = bool(effect.details.get("receive_progress"))
                result = await self._progress(request, found, wanted=progress)
            else:
                assert inspect.isawaitable(found)
                result = result_of(await found)
            self._answer(request, result)
        except asyncio.CancelledError:
            self._cancel(request)
        except ConnectionLost:
            pass  # There is nobody any more who could be answered.
        except Exception as error:  # noqa: BLE001 - whatever the program raises
            self._fail(procedure, request, error)

    async def _progress(self, request: int, parts: AsyncIterator[Any], *, wanted: bool) -> Result:
        """Send the parts, and return the empty result; or the last part, if none is wanted."""
        last = Result()
        async for part in parts:
            last = result_of(part)
            if wanted:
                await self._send_part(request, last)
        return Result() if wanted else last

    async def _send_part(self, request: int, part: Result) -> None:
        """Send a progressive result; return when the next one may be sent."""
        engine = self._engine
        await engine.answer(
            engine.new_ticket(),
            lambda ticket: engine.core.yields(
                request, part.args, part.kwargs, progress=True, ticket=ticket
            ),
            asks=False,
        )

    def _answer(self, request: int, result: Result) -> None:
        core = self._engine.core
        self._engine.perform(core.yields(request, result.args, result.kwargs, progress=False))

    def _cancel(self, request: int) -> None:
        core = self._engine.core
        self._engine.perform(core.refuses(request, CANCELED, ["The call was canceled."], None))

    def _fail(self, procedure: Procedure, request: int, error: Exception) -> None:
        """Answer with an error. Where it has happened is for the log only."""
        core = self._engine.core
        if isinstance(error, Refused):
            try:
                effects = core.refuses(request, error.uri, error.arguments, error.kwargs)
            except (TypeError, OverflowError, ValueError) as cannot_be_sent:
                self._fail(procedure, request, cannot_be_sent)
            else:
                self._engine.perform(effects)
            return
        _log.error("%s has failed.", procedure.name, exc_info=error)
        text = f"{type(error).__name__}: {error}"[:MAX_TEXT]
        self._engine.perform(core.refuses(request, FAILED, [text], None))
