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

LOGINS_AT_ONCE: Final = 12
"""Those among them that decide about clients that log in. Anybody may do that, so the others are
left to sessions."""


def always() -> bool:
    """Whether somebody wants what nobody can stop wanting."""
    return True


@final
class FunctionCall:
    """One call. timeout: seconds. given_up: nobody waits for it any more.

    login: it decides about a client that logs in. is_wanted: whether to call the function after
    all, asked when its turn has come.
    """

    __slots__ = ("args", "given_up", "is_wanted", "kwargs", "login", "name", "timeout", "told")

    def __init__(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        timeout: float,
        told: Callable[[Advice | NoAdvice], None],
        *,
        login: bool = False,
        is_wanted: Callable[[], bool] = always,
    ) -> None:
        """name: `module:function`."""
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.timeout = timeout
        self.told = told
        self.login = login
        self.is_wanted = is_wanted
        self.given_up = False


@final
class FunctionCalls:
    """The calls of one gateway. The caller limits how many wait.

    Those for sessions go first: a function that decides about logins may be slow on purpose, and
    many clients log in at once after a restart.
    """

    __slots__ = ("_logins", "_running", "_running_logins", "_sessions")

    def __init__(self) -> None:
        # The calls that wait.
        self._sessions: deque[FunctionCall] = deque()
        self._logins: deque[FunctionCall] = deque()
        self._running = self._running_logins = 0

    def add(self, call: FunctionCall) -> None:
        """Let a call wait."""
        (self._logins if call.login else self._sessions).append(call)

    def due(self) -> list[FunctionCall]:
        """Return the calls to be made now."""
        calls: list[FunctionCall] = []
        while self._running < AT_ONCE:
            if self._sessions:
                call = self._sessions.popleft()
            elif self._logins and self._running_logins < LOGINS_AT_ONCE:
                call = self._logins.popleft()
            else:
                break
            if not call.given_up and call.is_wanted():
                self._running += 1
                self._running_logins += call.login
                calls.append(call)
        return calls

    def finished(self, call: FunctionCall, outcome: Advice | NoAdvice) -> None:
        """Note the outcome of a call that `due` has returned.

        A function that hangs counts as one of those that are called at a time until it ends.
        """
        self._running -= 1
        self._running_logins -= call.login
        if not call.given_up:
            call.told(outcome)
