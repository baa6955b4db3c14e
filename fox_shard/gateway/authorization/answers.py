"""What an authorizer has answered about one session.

Owns: answers that are kept, and the session's requests that wait for one. Never: asking (see
`authorizers`), rules.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

from fox_shard.errors import AuthorizationFailed, NotAuthorized
from fox_shard.gateway.authorization.rules import ACTIONS, DISCLOSED
from fox_shard.gateway.consulting.consultations import Consultation
from fox_shard.topics.pattern import Pattern

MOST_KEPT: Final = 100
"""The most answers that are kept for a session; the oldest one goes first."""

KEPT_CHARACTERS: Final = 1 << 14
"""The most characters of their topics and patterns, together."""

NAMES: Final = {bit: name for name, bit in ACTIONS.items()}

Question = tuple[int, str, str]
"""Action (a bit, see `rules`), URI, and match policy; "": a topic or procedure."""


class Undecided(Exception):
    """No rule and no kept answer decides: the authorizer is to be asked."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


@final
class Answers:
    """The answers about one session.

    details: of the session, for its authorizer. asks: whether a request waits for an answer;
    others of the session wait behind it.

    A session that serves its own authorizer could not answer while it waits for an answer, so
    nobody is asked about it: only rules, and answers that are kept, allow it anything.
    """

    __slots__ = (
        "_authorizer",
        "_characters",
        "_clock",
        "_kept",
        "_once",
        "_serves",
        "asks",
        "consultation",
        "details",
        "draining",
        "holds",
        "waiting",
    )

    def __init__(
        self, details: dict[str, Any], authorizer: str, clock: Callable[[], float]
    ) -> None:
        """authorizer: its name. clock: the time in monotonic seconds."""
        self.details = details
        self._authorizer = authorizer
        # Ids of the session's registrations that the authorizer's name matches.
        self._serves: set[int] = set()
        self._clock = clock
        # Question -> (decision, until when).
        self._kept: dict[Question, tuple[int, float]] = {}
        self._characters = 0
        # The answers about the request that is being carried out; None: nobody could say.
        self._once: dict[Question, int | None] = {}
        self.asks = False
        self.consultation: Consultation | None = None
        self.waiting: deque[Callable[[], None]] = deque()
        # Whether `waiting` is being worked off; whether the connection waits.
        self.draining = self.holds = False

    def decide(self, action: int, uri: str, match: str = "") -> int:
        """Return the action's bit, perhaps with DISCLOSED, if it is allowed, or else 0.

        Raises Undecided, AuthorizationFailed, NotAuthorized.
        """
        question = (action, uri, match)
        if question in self._once:
            decision = self._once[question]
            if decision is None:
                raise AuthorizationFailed(f"nobody could say whether you may {NAMES[action]} here")
            return decision
        kept = self._kept.get(question)
        if kept is None or kept[1] <= self._clock():
            if self._serves:
                raise NotAuthorized(
                    f"no rule says that you may {NAMES[action]} here, and nobody is asked about "
                    "who serves the authorizer"
                )
            raise Undecided(question)
        return kept[0]

    def registers(self, pattern: Pattern, registration: int) -> None:
        """Note that the session registers a procedure or pattern, perhaps its authorizer."""
        if pattern.matches(self._authorizer):
            self._serves.add(registration)

    def unregistered(self, registration: int) -> None:
        """Note that the session does not have a registration any more, or will not have it."""
        self._serves.discard(registration)

    def note(self, question: Question, decision: int | None, seconds: float) -> None:
        """Note an answer for the request that waits for it, and for that long for others."""
        self._once[question] = decision
        size = len(question[1])
        if decision is None or seconds <= 0 or size > KEPT_CHARACTERS:
            return
        self._forget(question)
        self._kept[question] = (decision, self._clock() + seconds)
        self._characters += size
        while len(self._kept) > MOST_KEPT or self._characters > KEPT_CHARACTERS:
            self._forget(next(iter(self._kept)))

    def request_done(self) -> None:
        """Forget the answers that were for one request only."""
        self._once.clear()

    def _forget(self, question: Question) -> None:
        if self._kept.pop(question, None) is not None:
            self._characters -= len(question[1])


def read_answer(value: object, action: int) -> tuple[int, bool] | None:
    """Return the decision of an answer, and whether it may be kept; None: it is no answer.

    An answer is true or false, or a dictionary with `allow`, and perhaps `disclose` and `cache`.
    """
    if isinstance(value, bool):
        return action if value else 0, False
    if not isinstance(value, dict):
        return None
    read = [value.get(name, False) for name in ("allow", "disclose", "cache")]
    if "allow" not in value or not all(isinstance(one, bool) for one in read):
        return None
    allow, disclose, cache = read
    return (action | DISCLOSED * disclose if allow else 0), cache
