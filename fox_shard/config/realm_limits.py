"""What one realm may have: the section [limits], and what a [[realm]] says instead.

Owns: these settings, which of the two applies, and the share that each of several processes has.
Never: counting what a realm has.
"""

from typing import Annotated

from msgspec import Meta, Struct

Number = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 44)]

OptionalNumber = Number | None
OptionalBytes = Bytes | None
"""Settings of a realm; None: the section [limits] says it."""


class RealmLimits(Struct, frozen=True, kw_only=True):
    """Section [limits]: what each realm may have, unless its [[realm]] says otherwise; 0: no limit.

    max_keys: number of retained keys. max_key_bytes: of all of them. max_subscriptions: of all its
    sessions. max_queue_bytes: of the calls and publishes that wait at one shard.
    """

    max_keys: Number = 10_000_000
    max_key_bytes: Bytes = 1 << 34
    max_subscriptions: Number = 10_000_000
    max_queue_bytes: Bytes = 0


def share(limit: int, processes: int) -> int:
    """Return how much of a realm's limit each of so many processes may have; 0: no limit."""
    return -(-limit // processes)
