"""What the simulated clients did and saw: the ledger that checks are made from.

Owns: one record for each publication, subscription, event, call, registration and invocation.
Never: behaviour. All times are the world's seconds.
"""

from dataclasses import dataclass, field
from typing import Any

from fox_shard.topics.pattern import Pattern

WILL = 1_000_000
"""The number of a will: it comes after all else."""


@dataclass(slots=True)
class Sent:
    """A publication. number: counts its publisher's publications, over all topics (a will: WILL).

    answers: times of its acknowledgements (there is one if it is `safe`, and the world is).
    """

    publisher: str
    number: int
    topic: str
    at: float
    safe: bool
    quality: int
    retain: bool
    empty: bool
    exclude_me: bool
    answers: list[float] = field(default_factory=list)
    refused: str = ""


@dataclass(slots=True)
class Window:
    """A subscription, from the wish for it to its end.

    confirmed: SUBSCRIBED came; ended: UNSUBSCRIBE was sent; over: that was answered.
    grant: MQTT quality of service.
    """

    subscriber: str
    pattern: Pattern
    asked: float
    replay: bool
    grant: int
    confirmed: float | None = None
    ended: float | None = None
    over: float | None = None


@dataclass(slots=True)
class Got:
    """An event. window: what it was sent for (WAMP says that, MQTT does not).

    publisher: "" where the event is empty.
    """

    at: float
    window: Window | None
    topic: str
    publisher: str
    number: int
    retained: bool
    quality: int


@dataclass(slots=True)
class Called:
    """A call. plan: what the callee is to do. answers: (kind, contents), in order of arrival.

    Kinds: `progress`, `result`, `error`.
    """

    caller: str
    number: int
    procedure: str
    at: float
    plan: "Plan"
    timeout: int
    progress: bool
    cancel: str = ""
    canceled: float = 0.0
    answers: list[tuple[str, Any]] = field(default_factory=list)
    answered: float | None = None

    @property
    def final(self) -> tuple[str, Any] | None:
        """The last answer, if it is one that ends the call."""
        return self.answers[-1] if self.answered is not None else None


@dataclass(slots=True, frozen=True)
class Plan:
    """What a callee does: so many progressive results, and then `yield`, `error` or `never`.

    delay: seconds before each.
    """

    end: str = "yield"
    steps: int = 0
    delay: float = 0.0


@dataclass(slots=True)
class Offer:
    """A registration. out: requests of the invocations that the callee has not answered."""

    callee: str
    pattern: Pattern
    invoke: str
    concurrency: int
    id: int = 0
    confirmed: float | None = None
    ended: float | None = None
    refused: str = ""
    out: set[int] = field(default_factory=set)
    most: int = 0


@dataclass(slots=True)
class Invoked:
    """An invocation at its callee. interrupted: the mode of an INTERRUPT that came.

    idle: its plan says `never`, and there is nothing else to do.
    """

    at: float
    offer: Offer
    caller: str
    number: int
    procedure: str
    request: int
    interrupted: str = ""
    idle: bool = False
    done: bool = False
