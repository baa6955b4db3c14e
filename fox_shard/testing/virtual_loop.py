"""An event loop of asyncio in virtual time: programs run in the simulated world as they are.

Owns: when callbacks run. Never: sockets, threads, what is not decided by the seed.

Callbacks run in the order in which they were scheduled, as asyncio promises. Between two that are
due at the same time, other things may happen in the world. What would run in a thread runs at once,
and its result comes after a delay.
"""

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar, TypeVarTuple, final

from fox_shard.testing.timing import Timing

LAST_ROUNDS: Final = 5
"""How often the tasks of a dead process are canceled, as some of them wait when they end."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@final
class VirtualLoop(asyncio.AbstractEventLoop):  # type: ignore[misc]  # no sockets
    """The event loop of one simulated process, from its start to `die`.

    failed: called with a sentence about an exception that nobody has caught.
    """

    def __init__(self, timing: Timing, failed: Callable[[str], None]) -> None:
        self._timing = timing
        self._failed = failed
        self._dead = False
        # What is scheduled without a delay, and has not run.
        self._soon: dict[asyncio.Handle, None] = {}
        # What the coroutines of a dead process still have to do to end.
        self._last: deque[asyncio.Handle] = deque()
        self._paused_until = 0.0
        # What waits while the process is paused; None: it is not.
        self._waiting: list[asyncio.Handle] | None = None

    # The process

    def die(self) -> None:
        """End the process, as SIGKILL does: nothing runs any more.

        Its coroutines end now, so that Python does not end them later. Whatever they do reaches
        nobody, if their connections were closed before.
        """
        self._dead = True
        self._last += self._soon
        self._soon.clear()
        self._waiting = None
        for _ in range(LAST_ROUNDS):
            for task in asyncio.all_tasks(self):
                task.cancel()
            while self._last:
                self.call(self._last.popleft()._run)  # noqa: SLF001 - as loops have to

    def pause(self, seconds: float) -> None:
        """Let nothing run for so long, as SIGSTOP and SIGCONT do; then run what has waited."""
        self._paused_until = max(self._paused_until, self._timing.now + seconds)
        if self._waiting is None:
            self._waiting = []
        self._timing.at(self._timing.now + seconds, self._go_on)

    def _go_on(self) -> None:
        if self._timing.now < self._paused_until:
            return
        waiting, self._waiting = self._waiting, None
        for handle in waiting or ():
            self._run(handle)

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in a task, from outside of the loop."""
        return asyncio.Task(coroutine, loop=self)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function at once, as a callback would."""
        before = events._get_running_loop()  # noqa: SLF001 - as loops have to
        events._set_running_loop(self)  # noqa: SLF001
        try:
            return function()
        finally:
            events._set_running_loop(before)  # noqa: SLF001

    # asyncio

    def time(self) -> float:
        """Return the virtual time."""
        return self._timing.now

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Schedule a callback."""
        handle = asyncio.Handle(callback, args, self, context)
        if self._dead:
            self._last.append(handle)
            return handle
        self._soon[handle] = None
        self._timing.at(self._timing.now, lambda: self._run(handle))
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule a callback after a delay in seconds."""
        return self.call_at(self._timing.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule a callback at a time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timing.at(max(when, self._timing.now), lambda: self._run(handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - as asyncio has it
        """Return a task of this loop."""
        return asyncio.Task(coro, loop=self, **more)

    def run_in_executor(
        self,
        executor: object,
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Call a function, and return its result after a delay, as if by a thread."""
        future: asyncio.Future[T] = self.create_future()

        def done() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - it is the caller's
                future.set_exception(error)

        self.call_later(self._timing.delay(), done)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of an exception that nobody has caught."""
        # A task that is pending when its process ends is no failure.
        if context.get("exception") is not None and not self._dead:
            self._failed(f"{context.get('message')}: {context['exception']!r}")

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def is_running(self) -> bool:
        """Return whether the process lives."""
        return not self._dead

    def is_closed(self) -> bool:
        """Return whether the process is dead."""
        return self._dead

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a handle that is canceled is left out when it is due."""

    def _run(self, handle: asyncio.Handle) -> None:
        if self._waiting is not None and not self._dead:
            self._waiting.append(handle)
            return
        self._soon.pop(handle, None)
        if self._dead or handle.cancelled():
            return
        self.call(handle._run)  # noqa: SLF001 - as loops have to
