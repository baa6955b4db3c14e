"""What publishes come to, as long as something of it is still to be done.

Owns: which kinds of effects there are, and which of them stay when a pair ends. Never: doing them.
"""

from msgspec import Struct

from fox_shard.backplane.frames import (
    Again,
    Call,
    Cancel,
    Event,
    Leave,
    Refused,
    Register,
    Unregister,
)
from fox_shard.errors import Refusal
from fox_shard.shard.keys.change import Change
from fox_shard.shard.rows import Waiter

OfSession = Call | Cancel | Register | Unregister | Leave
"""What must not overtake a publish of its session."""


class Granted(Struct, gc=False):
    """A publish that has waited has its effect, or cannot have it. stored: there is a row of it."""

    waiter: Waiter
    effect: Event | Change | Refusal
    stored: bool

    @property
    def event(self) -> Event | None:
        """What it has become."""
        return event_of(self.effect)


class Parked(Struct, gc=False):
    """A publish waits from now on."""

    waiter: Waiter


Outcome = Event | Change | Again | Granted | Parked | Refused
"""Of a publish, or of time."""

STANDS = Outcome | Leave
"""What stays when the pair ends in which it was caused."""

PLAIN = -1
"""In place of a reliable number: the effect does not depend on the commit, it only waits for it."""

Effect = tuple[Outcome | OfSession, int]
"""What is still to be done, sent or handled; its reliable number if it is recorded, 0 if it has
none, PLAIN if it is not."""


def event_of(effect: object) -> Event | None:
    """The publication whose effect that is; None: it is of none."""
    if isinstance(effect, Again | Change | Granted):
        effect = effect.event
    return effect if isinstance(effect, Event) else None
