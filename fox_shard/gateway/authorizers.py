"""Authorizers: asking somebody whether a session may do what no rule decides.

Owns: when a session's requests wait, and in which order they go on. Never: what a request needs
(see `guard`); how somebody is asked (see `consulting`).

While an answer is awaited, the session's connection is not read, and what was read already waits in
its backlog. Other sessions go on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.gateway.authorization.answers import NAMES, Answers, Question, read_answer
from fox_shard.gateway.clients.connection import ADVICE
from fox_shard.gateway.clients.limited_lines import MAX_REASON, LimitedLines
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.consulting.consultations import Consultations
from fox_shard.gateway.consulting.outcomes import Advice, Function, NoAdvice, adviser, one_line
from fox_shard.gateway.sessions.session import Session

FAILED = "authorization_failed"
"""The name under which questions without an answer are counted."""

NO_ANSWER: Final = NoAdvice("unreadable", "the answer is neither true or false nor has `allow`")

Retry = Callable[[], None]
"""Carries out a request, from its beginning, by the answers that there are by then."""


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

    def waits(self, session: Session, retry: Retry) -> bool:
        """Whether a request must wait behind another one; `retry` is called then, in order."""
        answers = session.answers
        if answers is None or not answers.asks:
            return False
        answers.waiting.append(retry)
        return True

    def ask(self, session: Session, question: Question, retry: Retry) -> None:
        """Ask the session's authorizer, and call `retry` when there is an answer, or none."""
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
        told = partial(self._told, session, answers, question, permissions.cache, retry)
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
        retry: Retry,
        outcome: Advice | NoAdvice,
    ) -> None:
        answers.asks, answers.consultation = False, None
        read = self._read(session, question[0], outcome)
        if read is None:
            answers.note(question, None, 0)
        else:
            decision, cache = read
            answers.note(question, decision, seconds if cache else 0)
        self._go_on(answers, retry)
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
            fields["error"] = one_line(outcome.uri[:MAX_REASON])
        lines.add(fields | {"reason": one_line(outcome.message[:MAX_REASON])}, self._clock())
        return None

    def _go_on(self, answers: Answers, retry: Retry) -> None:
        """Carry out a request, and then those that waited behind it, until one asks again."""
        if answers.draining:
            # The answer came at once, within a request that the loop below carries out.
            retry()
            return
        answers.draining = True
        retry()
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
