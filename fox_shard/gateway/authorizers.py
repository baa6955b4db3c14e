"""Authorizers: asking somebody whether a session may do what no rule decides.

Owns: when a session's requests wait, and in which order they go on. Never: what a request needs
(see `guard`); how somebody is asked (see `consulting`).

While an answer is awaited, the session's connection is not read, and what was read already waits in
its backlog. Other sessions go on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar, cast, final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.gateway.authorization.answers import NAMES, Answers, Question, Undecided, read_answer
from fox_shard.gateway.clients.connection import ADVICE
from fox_shard.gateway.clients.limited_lines import MAX_REASON, LimitedLines
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.consulting.consultations import Consultations
from fox_shard.gateway.consulting.outcomes import Advice, Function, NoAdvice, adviser
from fox_shard.gateway.sessions.session import Session
from fox_shard.printable import printable

FAILED = "authorization_failed"
"""The name under which questions without an answer are counted."""

NO_ANSWER: Final = NoAdvice("unreadable", "the answer is neither true or false nor has `allow`")

Method = TypeVar("Method", bound=Callable[..., None])


@final
class Authorizers:
    """The authorizers of all roles, for one gateway."""

    __slots__ = ("_clock", "_consultations", "_counts", "_lines", "_new_lines", "_turns")

    def __init__(
        self,
        consultations: Consultations,
        counts: LimitCounts,
        turns: Turns,
        clock: Callable[[], float],
        new_lines: Callable[[], LimitedLines],
    ) -> None:
        """clock: the time in monotonic seconds. new_lines: makes those about one authorizer."""
        self._consultations = consultations
        self._counts = counts
        self._turns = turns
        self._clock = clock
        self._new_lines = new_lines
        # By realm and authorizer: the failures of one do not hide those of another.
        self._lines: dict[tuple[str, str], LimitedLines] = {}

    def session_opened(self, session: Session, more: dict[str, Any]) -> None:
        """Note what the authorizer is told of a session, if its role has one."""
        if session.permissions is not None and session.permissions.authorizer:
            details = {
                "realm": session.realm.name,
                "session": session.id,
                "authid": session.authid,
                "authrole": session.authrole,
                **more,
            }
            session.answers = Answers(details, session.permissions.authorizer, self._clock)

    def session_ended(self, session: Session) -> None:
        """Drop all that waits for an answer."""
        answers = session.answers
        if answers is None:
            return
        answers.waiting.clear()
        if answers.consultation is not None:
            answers.consultation.cancel()
        self._release(session, answers)

    def asking(self, method: Method) -> Method:
        """Return a method that carries out the requests of `method`, now or later, in order.

        method: of a session, its first argument; by the answers that there are by then. Raises
        Undecided, before there is any effect, if one more is needed.
        """

        def carry_out(session: Session, *args: object, **kwargs: object) -> None:
            answers = session.answers
            if answers is None or not answers.asks:
                try:
                    method(session, *args, **kwargs)
                except Undecided as undecided:
                    again = partial(carry_out, session, *args, **kwargs)
                    self._ask(session, undecided.question, again)
            else:
                answers.waiting.append(partial(carry_out, session, *args, **kwargs))

        return cast(Method, carry_out)

    def _ask(self, session: Session, question: Question, again: Callable[[], None]) -> None:
        """Ask the session's authorizer, and call `again` when there is an answer, or none."""
        answers, permissions = session.answers, session.permissions
        assert answers is not None
        assert permissions is not None
        action, uri, match = question
        answers.asks = True
        whom = adviser(permissions.authorizer, session.realm.name)
        if isinstance(whom, Function):
            args: list[Any] = [dict(answers.details), NAMES[action], uri]
        else:
            options = {"match": match} if match else {}
            args = [answers.details, uri, NAMES[action], options]
        told = partial(self._told, session, answers, question, permissions.cache, again)
        consultation = self._consultations.consult(whom, args, {}, permissions.timeout, told)
        if not consultation.over:
            answers.consultation = consultation
            if not answers.holds:
                answers.holds = True
                session.connection.hold(ADVICE)

    def _told(
        self,
        session: Session,
        answers: Answers,
        question: Question,
        seconds: float,
        again: Callable[[], None],
        outcome: Advice | NoAdvice,
    ) -> None:
        answers.asks, answers.consultation = False, None
        read = self._read(session, question[0], outcome)
        if read is None:
            answers.note(question, None, 0)
        else:
            decision, cache = read
            answers.note(question, decision, seconds if cache else 0)
        self._go_on(answers, again)
        if not (answers.asks or answers.draining):
            self._release(session, answers)

    def _read(
        self, session: Session, action: int, outcome: Advice | NoAdvice
    ) -> tuple[int, bool] | None:
        """Read an answer (see `read_answer`). None, counted and logged: there is none."""
        if isinstance(outcome, Advice):
            read = read_answer(outcome.value, action)
            if read is not None:
                return read
            outcome = NO_ANSWER
        self._counts.add(FAILED)
        assert session.permissions is not None
        who = session.realm.name, session.permissions.authorizer
        lines = self._lines.get(who)
        if lines is None:
            lines = self._lines[who] = self._new_lines()
        fields: dict[str, object] = {"realm": who[0], "authorizer": who[1], "why": outcome.why}
        if outcome.uri:
            fields["error"] = printable(outcome.uri[:MAX_REASON])
        lines.add(fields | {"reason": printable(outcome.message[:MAX_REASON])}, self._clock())
        return None

    def _go_on(self, answers: Answers, again: Callable[[], None]) -> None:
        """Carry out a request, and then those that waited behind it, until one asks again."""
        if answers.draining:
            # The answer came at once, within a request that the loop below carries out.
            again()
            return
        answers.draining = True
        again()
        while not answers.asks:
            answers.request_done()
            if not answers.waiting:
                break
            answers.waiting.popleft()()
        answers.draining = False

    def _release(self, session: Session, answers: Answers) -> None:
        if answers.holds:
            answers.holds = False
            self._turns.release(session.connection, ADVICE)
