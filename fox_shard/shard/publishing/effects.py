"""Effects that wait in the commit queue until they can be announced or carried out.

Owns: the kinds of effects, and which of them survive the end of a pair. Never: carrying them out.
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
    Registered,
    Unregister,
)
from fox_shard.errors import Refusal
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.rows import Waiter

SessionFrame = Call | Cancel | Register | Unregister | Leave
"""Frames that must not overtake a publish of their session."""


class Granted(Struct, gc=False):
    """A waiter that was let through, with its effect, or its refusal if it cannot have one.

    stored: the grant has a row.
    """

    waiter: Waiter
    effect: Event | KeyChange | Refusal
    stored: bool

    @property
    def event(self) -> Event | None:
        """The event that the publish became; None: it was refused."""
        return event_of(self.effect)


class Parked(Struct, gc=False):
    """A publish that waits for its condition from now on."""

    waiter: Waiter


PublishEffect = Event | KeyChange | Again | Granted | Parked | Refused | Registered
"""What results from a publish, from a reducer, from the end of a session, or as time passes."""

OUTLIVES_PAIR = PublishEffect | Leave
"""Effects that stay when the pair in which they were caused has ended."""

NOT_STORED = -1
"""In place of a reliable number: the effect does not depend on the commit, but waits behind it."""

Effect = tuple[PublishEffect | SessionFrame, int]
"""An effect that is held, and the reliable number of its frame: 0 if the frame has none, NOT_STORED
if the effect does not depend on the commit."""


def event_of(effect: object) -> Event | None:
    """Return the event of the effect; None: the effect is not that of a publish."""
    if isinstance(effect, Again | KeyChange | Granted):
        effect = effect.event
    return effect if isinstance(effect, Event) else None
