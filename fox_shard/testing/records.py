"""Records of what the simulated clients did and received, for the checks.

Owns: one class each for publications, subscriptions, events, calls, registrations and invocations.
Never: behaviour. All times are seconds of virtual time.
"""

from dataclasses import dataclass, field
from typing import Any

from fox_shard.topics.pattern import Pattern

WILL = 1_000_000
"""The number of a will, which is higher than those of all other publications."""


@dataclass(slots=True)
class PublicationRecord:
    """A publication.

    number: counts the publisher's publications over all topics; a will has the number `WILL`.
    acknowledge: an acknowledgement was requested. empty: without payload. answers: the times of all
    acknowledgements and refusals. refused: the error URI, or why a will is not due; "": neither.
    """

    publisher: str
    number: int
    topic: str
    at: float
    acknowledge: bool
    qos: int
    retain: bool
    empty: bool
    exclude_me: bool
    answers: list[float] = field(default_factory=list)
    refused: str = ""


@dataclass(slots=True)
class SubscriptionRecord:
    """A subscription.

    asked, confirmed, ended, over: the times of SUBSCRIBE, its answer, UNSUBSCRIBE, and its answer.
    replay: keys were requested. granted_qos: 0 for WAMP. refused: the error URI, or, in MQTT, that
    the return code was a failure.
    """

    subscriber: str
    pattern: Pattern
    asked: float
    replay: bool
    granted_qos: int
    confirmed: float | None = None
    ended: float | None = None
    over: float | None = None
    refused: str = ""


@dataclass(slots=True)
class EventRecord:
    """A received event.

    subscription: the one that the event was sent for; None: MQTT does not say. publisher, number:
    the publication's; "" and 0 if the event is empty.
    """

    at: float
    subscription: SubscriptionRecord | None
    topic: str
    publisher: str
    number: int
    retained: bool
    qos: int


@dataclass(slots=True)
class CallRecord:
    """A call.

    timeout: milliseconds; 0: none. progress: progressive results were requested. cancel, canceled:
    mode and time of CANCEL. answers: (kind, contents) in order of arrival, where the kind is
    `progress`, `result` or `error`. progressed: the time of the last progressive result. answered:
    the time of the final answer.
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
    progressed: float | None = None
    answered: float | None = None

    @property
    def final(self) -> tuple[str, Any] | None:
        """The final answer; None: the call has not ended."""
        return self.answers[-1] if self.answered is not None else None


@dataclass(slots=True, frozen=True)
class Plan:
    """A callee's behaviour during one call: some progressive results, and then an end.

    end: `yield`, `error`, or `never` (no answer). steps: number of progressive results. delay:
    average seconds before each answer.
    """

    end: str = "yield"
    steps: int = 0
    delay: float = 0.0


@dataclass(slots=True)
class RegistrationRecord:
    """A registration.

    concurrency: 0 for no limit. asked: the time of REGISTER. refused: the error URI. outstanding:
    request ids of the invocations that the callee has not answered; most_outstanding: the highest
    number of them at any time.
    """

    callee: str
    pattern: Pattern
    invoke: str
    concurrency: int
    asked: float
    id: int = 0
    confirmed: float | None = None
    ended: float | None = None
    refused: str = ""
    outstanding: set[int] = field(default_factory=set)
    most_outstanding: int = 0


@dataclass(slots=True)
class InvocationRecord:
    """An invocation at its callee.

    interrupted: the mode of INTERRUPT. idle: the plan says `never`, and all progressive results
    have been sent. done: the final answer has been sent.
    """

    at: float
    registration: RegistrationRecord
    caller: str
    number: int
    procedure: str
    request: int
    interrupted: str = ""
    idle: bool = False
    done: bool = False
