"""Frames: who is a member of which registration or subscription, for their meta events.

Owns: the frames by which the coordinator learns of memberships while somebody wants their meta
events. Never: behaviour.

kind: `registration` or `subscription`; in `Listening` and `Listened` also `session`. A *census* is
the time during which the coordinator is told of one kind in one realm. Its number is that of the
`Listening` that began it.
"""

from typing import TypeAlias

from msgspec import Struct


class Listening(Struct, array_like=True, tag=54, gc=False):
    """Somebody subscribes to the meta events of a kind: their topics' shard to the coordinator.

    number: grows with each time that somebody begins to subscribe; 0: nobody subscribes. Answered
    by `Listened`, unless the number is 0. This is state, which is told again in each new pair.
    """

    realm: str
    kind: str
    number: int


class Listened(Struct, array_like=True, tag=55, gc=False):
    """Whatever changes from now on is published: coordinator to shard, with the number it gave."""

    realm: str
    kind: str
    number: int


class TakeCensus(Struct, array_like=True, tag=56, gc=False):
    """The gateway is to tell all memberships, and then all changes: coordinator to gateway.

    number: of the census; 0: the census is over. Answered by `Counted`, unless the number is 0.
    This is state, which is told again in each new pair.
    """

    realm: str
    kind: str
    number: int


class Counted(Struct, array_like=True, tag=57, gc=False):
    """All memberships that there were at the `TakeCensus` precede this: gateway to coordinator."""

    realm: str
    kind: str
    number: int


class Membership(Struct, array_like=True, tag=58, gc=False):
    """A session has a registration or a subscription: gateway to coordinator. Idempotent.

    number: of the census. id, pattern (its text), invoke ("" for a subscription) and created
    (seconds since 1970): of the registration or subscription.
    """

    realm: str
    kind: str
    number: int
    session: int
    id: int
    pattern: str
    invoke: str
    created: float


class MembershipEnded(Struct, array_like=True, tag=59, gc=False):
    """A session that goes on has unregistered or unsubscribed: gateway to coordinator. Idempotent.

    The end of a session is a `Leave`.
    """

    realm: str
    kind: str
    number: int
    session: int
    id: int


MembershipFrame: TypeAlias = (
    Listening | Listened | TakeCensus | Counted | Membership | MembershipEnded
)
"""The frames of this module, in the order of their tags."""
