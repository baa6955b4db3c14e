"""Consultations: questions that a gateway asks by itself, on no session's behalf.

Owns: how many are under way, and for how long. Never: what is asked, or what follows from an
answer; frames (see `rpc.own_calls`); threads (see `functions`).

Whoever consults decides by the answer, and must refuse if there is none (`NoAdvice`).
"""

from collections.abc import Callable
from typing import Any, Protocol, final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.consulting.functions import FunctionCall, FunctionCalls, always
from fox_shard.gateway.consulting.outcomes import Advice, Adviser, Function, NoAdvice, Told


class Procedures(Protocol):
    """Calls procedures (see `rpc.own_calls.OwnCalls`)."""

    def call(
        self,
        realm: str,
        procedure: str,
        args: list[Any],
        kwargs: dict[str, Any],
        timeout: float,
        told: Told,
    ) -> int:
        """Call a procedure, and return a number for `cancel`."""

    def cancel(self, number: int) -> None:
        """Cancel a call, if it is not over: `told` will not be called."""


@final
class Consultation:
    """A question that has been asked. login, is_wanted: see `FunctionCall`."""

    __slots__ = ("_call", "_consultations", "_is_wanted", "_number", "_told", "login")

    def __init__(
        self,
        consultations: "Consultations",
        told: Told,
        *,
        login: bool,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._consultations = consultations
        self._told: Told | None = told
        self.login = login
        self._is_wanted = is_wanted
        # What `cancel` needs: a call of a function, or the number of a call of a procedure.
        self._call: FunctionCall | None = None
        self._number: int | None = None

    @property
    def over(self) -> bool:
        """Whether `told` was called, or will never be."""
        return self._told is None

    def cancel(self) -> None:
        """Wait for no answer any more; nothing happens if there was one."""
        if self._told is not None:
            self._end()
            self._give_up()

    def time_out(self, _now: float) -> None:
        """Tell that time is over, unless there was an answer."""
        if self._told is not None:
            self._give_up()
            self.tell(NoAdvice("timeout", "there was no answer in time"))

    def tell(self, outcome: Advice | NoAdvice) -> None:
        """Tell the outcome, unless there was one."""
        told = self._told
        if told is not None:
            self._end()
            told(outcome)

    def _still_wanted(self) -> bool:
        if not self._is_wanted():
            self.cancel()
        return not self.over

    def _end(self) -> None:
        self._told = None
        self._consultations.ended(self)

    def _give_up(self) -> None:
        if self._call is not None:
            self._call.given_up = True
        if self._number is not None:
            self._consultations.procedures.cancel(self._number)

    def ask(
        self, adviser: Adviser, args: list[Any], kwargs: dict[str, Any], timeout: float
    ) -> None:
        """Put the question."""
        consultations = self._consultations
        if isinstance(adviser, Function):
            self._call = FunctionCall(
                adviser.name,
                args,
                kwargs,
                timeout,
                self.tell,
                login=self.login,
                is_wanted=self._still_wanted,
            )
            consultations.functions.add(self._call)
        else:
            self._number = consultations.procedures.call(
                adviser.realm, adviser.name, args, kwargs, timeout, self.tell
            )


@final
class Consultations:
    """The consultations of one gateway. functions: the calls that its shell has to make.

    Those about clients that log in may be half of all: anybody may begin to log in, and must not be
    able to have the requests of sessions refused by that.
    """

    __slots__ = (
        "_clock",
        "_limit",
        "_limit_counts",
        "_logins",
        "_timers",
        "_under_way",
        "functions",
        "procedures",
    )

    def __init__(
        self,
        procedures: Procedures,
        limit: int,
        limit_counts: LimitCounts,
        timers: Timers,
        clock: Callable[[], float],
    ) -> None:
        """limit: how many may be under way. clock: the time in monotonic seconds."""
        self.procedures = procedures
        self.functions = FunctionCalls()
        self._limit = limit
        self._limit_counts = limit_counts
        self._timers = timers
        self._clock = clock
        self._under_way: set[Consultation] = set()
        # How many of them are about logins.
        self._logins = 0

    def __len__(self) -> int:
        """Return how many are under way."""
        return len(self._under_way)

    def consult(
        self,
        adviser: Adviser,
        args: list[Any],
        kwargs: dict[str, Any],
        timeout: float,
        told: Told,
        *,
        login: bool = False,
        is_wanted: Callable[[], bool] = always,
    ) -> Consultation:
        """Ask, and call `told` with the outcome, once, at once or later.

        args, kwargs: values that JSON can express. timeout: seconds. login: the question is about a
        client that logs in. is_wanted: asked again before a function is called, as it may wait; if
        not, `told` is not called.
        """
        consultation = Consultation(self, told, login=login, is_wanted=is_wanted)
        most = max(1, self._limit // 2) if login else self._limit
        if len(self._under_way) >= self._limit or (login and self._logins >= most):
            self._limit_counts.add("max_consultations")
            consultation.tell(NoAdvice("busy", f"{most} consultations are under way"))
            return consultation
        self._under_way.add(consultation)
        self._logins += login
        consultation.ask(adviser, args, kwargs, timeout)
        if not consultation.over:
            self._timers.at(self._clock() + timeout, consultation.time_out)
        return consultation

    def ended(self, consultation: Consultation) -> None:
        """Note that a consultation is no longer under way."""
        if consultation in self._under_way:
            self._under_way.remove(consultation)
            self._logins -= consultation.login
