"""What becomes of the events of one webhook: delivered, tried again later, or given up.

Owns: that decision, the times between tries, whether the target is spared. Never: requests, clocks,
randomness (all are arguments); the queue, which is the shards'.

The shards show a webhook the first event of several topics. An event that fails is tried again
after a time that doubles. A target that fails with one event after the other is *spared*: until a
time that doubles as well, nothing is sent to it, and then one event, the *probe*, before all
others. So a target that is down costs a request now and then, however many topics wait for it.
"""

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple, TypeAlias, final

from fox_shard.config import Webhook

FIRST: Final = 1.0
"""Seconds before the second try, at most."""

SPARED_AFTER: Final = 5
"""Failures in a row after which the target is spared."""

REMEMBERED: Final = 10_000
"""Events whose failed tries are counted; of others, tries follow sooner than they should."""

SPREAD: Final = 0.1
"""The share of the time until the next probe over which the events that wait for it come back."""

TRIED_AGAIN: Final = frozenset({401, 403, 404, 408, 409, 423, 424, 425, 429})
"""Statuses 4xx that may be others for the same request later. By the rest of them, the target says
that it will never take this event."""

ASKS_FOR_TIME: Final = frozenset({429, 503})
"""Statuses whose Retry-After counts."""

GONE: Final = 410
"""The status by which a target wants no event any more."""


class Answered(NamedTuple):
    """The target has answered. retry_after: seconds that it asks for; 0: none."""

    status: int
    phrase: str = ""
    retry_after: float = 0.0

    @property
    def text(self) -> str:
        """The status for people."""
        redirected = ": redirects are not followed" if 300 <= self.status < 400 else ""
        return f"{self.status} {self.phrase}".rstrip() + redirected


class Unanswered(NamedTuple):
    """There is no answer. text: why, for people."""

    text: str


Outcome: TypeAlias = Answered | Unanswered


class Delivered(NamedTuple):
    """The target has taken the event."""


class Later(NamedTuple):
    """The event is to be shown again. seconds: after which time."""

    seconds: float
    why: str


class GivenUp(NamedTuple):
    """The event is given up."""

    why: str


Verdict: TypeAlias = Delivered | Later | GivenUp


class Now(Enum):
    """What may be done with an event at once."""

    SEND = auto()
    AWAIT_PROBE = auto()
    """Ask again when the probe has ended."""


class State(Enum):
    """How a target is, for people."""

    WELL = "well"
    FAILING = "failing"
    STOPPED = "stopped"
    """It has said that it is gone: nothing is sent until the worker starts anew."""


@final
class Target:
    """The target of one webhook. last_failure: the last one, in words; "": none yet."""

    def __init__(self, settings: Webhook, chance: Callable[[], float]) -> None:
        """chance: returns random numbers from 0 to 1."""
        self._settings = settings
        self._chance = chance
        # Publication -> its failed tries, of those that failed lately.
        self._tries: OrderedDict[int, int] = OrderedDict()
        # Failures without a success between them.
        self._failures = self._failed_probes = 0
        self._spared_until = 0.0
        # Probes that have failed since the target has last worked.
        self._failed_probes = 0
        self._probe = 0
        self._gone = False
        self.last_failure = ""

    @property
    def state(self) -> State:
        """How the target is."""
        if self._gone:
            return State.STOPPED
        return State.FAILING if self._failures else State.WELL

    def may_send(self, publication: int, age: float, now: float) -> Now | Later | GivenUp:
        """Return what may be done with an event. age: seconds since it was published.

        After SEND, `ended` must be told what has come of it.
        """
        if not (self._gone or self._failures >= SPARED_AFTER):
            return Now.SEND
        if age >= self._settings.give_up_after:
            return self._give_up(
                publication, f"{self._too_old}; the last failure: {self.last_failure}"
            )
        if self._gone:
            return Later(self._at_most(self._settings.longest_delay, age), self.last_failure)
        if now < self._spared_until:
            wait = self._spared_until - now
            return Later(
                self._at_most(wait * (1 + SPREAD * self._chance()), age), self.last_failure
            )
        if self._probe:
            return Now.AWAIT_PROBE
        self._probe = publication
        return Now.SEND

    def ended(self, publication: int, age: float, outcome: Outcome, now: float) -> Verdict:
        """Take what has come of a request, and return what becomes of its event."""
        was_probe = publication == self._probe
        self.abandoned(publication)
        if isinstance(outcome, Answered):
            if 200 <= outcome.status < 300:
                self._works()
                self._tries.pop(publication, None)
                return Delivered()
            if outcome.status == GONE:
                self._gone = True
                self.last_failure = f"{outcome.text}: nothing is sent until the server starts anew"
                return Later(self._at_most(self._settings.longest_delay, age), self.last_failure)
            if 400 <= outcome.status < 500 and outcome.status not in TRIED_AGAIN:
                self._works()
                self.last_failure = outcome.text
                return self._give_up(publication, outcome.text)
        self._spare(outcome, now, was_probe=was_probe)
        return self._failed(publication, age, outcome)

    def abandoned(self, publication: int) -> None:
        """Note that a request was broken off, as nobody waits for its end any more."""
        if publication == self._probe:
            self._probe = 0

    @property
    def _too_old(self) -> str:
        return f"not delivered within {self._settings.give_up_after} s (give_up_after)"

    def _works(self) -> None:
        self._failures = 0
        self._spared_until = 0.0

    def _spare(self, outcome: Outcome, now: float, *, was_probe: bool) -> None:
        """Note a failure, and spare the target if it was one too many.

        Requests that were under way when that began fail, too, and do not make it longer.
        """
        self.last_failure = outcome.text
        self._failures += 1
        self._failed_probes += was_probe
        wanted = self._wanted(outcome)
        if was_probe or self._failures == SPARED_AFTER:
            self._spared_until = now + self._delay(self._failed_probes)
        if wanted:
            # All events wait as long as the target asks for.
            self._failures = max(self._failures, SPARED_AFTER)
            self._spared_until = max(self._spared_until, now + wanted)

    def _wanted(self, outcome: Outcome) -> float:
        """Return the seconds for which the target asks; 0: for none."""
        if isinstance(outcome, Answered) and outcome.status in ASKS_FOR_TIME:
            return min(outcome.retry_after, self._settings.longest_delay)
        return 0.0

    def _failed(self, publication: int, age: float, outcome: Outcome) -> Verdict:
        if age >= self._settings.give_up_after:
            return self._give_up(publication, f"{self._too_old}; the last failure: {outcome.text}")
        tries = self._count(publication)
        delay = max(self._delay(tries), self._wanted(outcome))
        return Later(self._at_most(delay, age), outcome.text)

    def _count(self, publication: int) -> int:
        """Count a failed try; return how many there were before."""
        tries = self._tries.pop(publication, 0)
        self._tries[publication] = tries + 1
        if len(self._tries) > REMEMBERED:
            self._tries.popitem(last=False)
        return tries

    def _delay(self, doublings: int) -> float:
        longest = min(self._settings.longest_delay, FIRST * float(2 ** min(doublings, 30)))
        return longest * (1 - self._chance() / 2)

    def _at_most(self, delay: float, age: float) -> float:
        """Return the delay, or the time until the event is given up, if that is sooner."""
        return min(delay, max(FIRST, self._settings.give_up_after - age))

    def _give_up(self, publication: int, why: str) -> GivenUp:
        self._tries.pop(publication, None)
        return GivenUp(why)
