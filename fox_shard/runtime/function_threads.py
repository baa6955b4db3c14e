"""Calling Python functions in threads, beside the event loop of a gateway.

Owns: the threads, and the event loop of functions that are async. Never: which functions are called
and when (see `gateway.consulting`), what an answer means.

Threads are daemons: a function that hangs does not hold up the end of the gateway, only one of the
`AT_ONCE` threads. An async function is canceled when its time is over.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, final

from fox_shard.config import Config
from fox_shard.gateway.consulting.functions import AT_ONCE, FunctionCall
from fox_shard.gateway.consulting.outcomes import Advice, NoAdvice
from fox_shard.gateway.core import Gateway
from fox_shard.worker.functions import FAILED, MAX_TEXT

Function = Callable[..., Any]


def consulted_functions(config: Config) -> list[tuple[str, str]]:
    """Return the functions that the gateways consult, each with a word for what it is."""
    authenticators = [
        (realm.authenticator, "authenticator")
        for realm in config.realms
        if ":" in realm.authenticator
    ]
    authorizers = [
        (role.authorizer, f"authorizer of the role {role.name}")
        for realm in config.realms
        for role in realm.role
        if ":" in role.authorizer
    ]
    return authenticators + authorizers


@final
class FunctionThreads:
    """The threads of one gateway, which exist from the first call on."""

    def __init__(
        self,
        gateway: Gateway,
        functions: Mapping[str, Function],
        schedule_flush: Callable[[], None],
    ) -> None:
        """functions: by their names, `module:function`."""
        self._gateway = gateway
        self._calls = gateway.consultations.functions
        self._functions = functions
        self._schedule_flush = schedule_flush
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[FunctionCall | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._async_loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Begin to make the calls that are due."""
        for call in self._calls.due():
            if not self._threads:
                self._start()
            self._queue.put(call)

    def stop(self) -> None:
        """Make no further calls. The threads end with the calls that they have begun."""
        for _ in self._threads:
            self._queue.put(None)
        if self._async_loop is not None:
            self._async_loop.call_soon_threadsafe(self._async_loop.stop)

    def _start(self) -> None:
        self._async_loop = asyncio.new_event_loop()
        bodies = [self._run_async] + [self._run] * AT_ONCE
        for number, body in enumerate(bodies):
            thread = threading.Thread(target=body, name=f"function {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    # In the threads

    def _run_async(self) -> None:
        assert self._async_loop is not None
        self._async_loop.run_forever()
        self._async_loop.close()

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            outcome = self._call(call)
            try:
                self._loop.call_soon_threadsafe(self._finished, call, outcome)
            except RuntimeError:
                return  # The gateway has ended.

    def _call(self, call: FunctionCall) -> Advice | NoAdvice:
        function = self._functions.get(call.name)
        if function is None:
            return NoAdvice("no_callee", f"no function {call.name} was loaded")
        try:
            value = function(*call.args, **call.kwargs)
            if inspect.isawaitable(value):
                assert self._async_loop is not None
                value = asyncio.run_coroutine_threadsafe(
                    _within(call.timeout, value), self._async_loop
                ).result()
        except TimeoutError:
            return NoAdvice("timeout", "the function did not come to an end in time")
        # Whatever it is concerns this call only. If the thread ended, nobody would be told.
        except BaseException as error:  # noqa: BLE001
            cause = error.__cause__ if isinstance(error, _Left) else error
            return NoAdvice("error", f"{type(cause).__name__}: {cause}"[:MAX_TEXT], FAILED)
        return Advice(value)

    # In the event loop's thread

    def _finished(self, call: FunctionCall, outcome: Advice | NoAdvice) -> None:
        now = self._loop.time()
        self._gateway.now = now
        self._calls.finished(call, outcome)
        self._schedule_flush()


class _Left(Exception):
    """An async function has raised what would end the event loop; it is the cause."""


async def _within(timeout: float, value: Any) -> Any:  # noqa: ANN401, ASYNC109 (any function's)
    return await asyncio.wait_for(_kept(value), timeout)


async def _kept(value: Any) -> Any:  # noqa: ANN401 (any function's)
    """Await the value. asyncio lets these two errors end the event loop, which others need."""
    try:
        return await value
    except (KeyboardInterrupt, SystemExit) as error:
        raise _Left from error
