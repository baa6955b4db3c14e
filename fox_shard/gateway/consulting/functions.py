"""Python functions that wait to be called, which may take too long for a turn.

Owns: their queue, and how many are called at a time. Never: calling them: the shell takes `due`,
runs each call beside the event loop, and says `finished` (the simulator does the same in virtual
time).
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

from fox_shard.gateway.consulting.outcomes import Advice, NoAdvice

AT_ONCE: Final = 16
"""Functions that are called at a time, each in a thread."""


@final
class FunctionCall:
    """One call. timeout: seconds. given_up: nobody waits for it any more."""

    __slots__ = ("args", "given_up", "kwargs", "name", "timeout", "told")

    def __init__(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        timeout: float,
        told: Callable[[Advice | NoAdvice], None],
    ) -> None:
        """name: `module:function`."""
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.timeout = timeout
        self.told = told
        self.given_up = False


@final
class FunctionCalls:
    """The calls of one gateway. The caller limits how many wait."""

    __slots__ = ("_running", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[FunctionCall] = deque()
        self._running = 0

    def add(self, call: FunctionCall) -> None:
        """Let a call wait."""
        self._waiting.append(call)

    def due(self) -> list[FunctionCall]:
        """Return the calls to be made now."""
        calls: list[FunctionCall] = []
        while self._waiting and self._running < AT_ONCE:
            call = self._waiting.popleft()
            if not call.given_up:
                self._running += 1
                calls.append(call)
        return calls

    def finished(self, call: FunctionCall, outcome: Advice | NoAdvice) -> None:
        """Note the outcome of a call that `due` has returned.

        A function that hangs counts as one of those that are called at a time until it ends.
        """
        self._running -= 1
        if not call.given_up:
            call.told(outcome)
