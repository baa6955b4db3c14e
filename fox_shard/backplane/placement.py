"""Placement: which shard owns a topic, a procedure or a pattern.

Owns: slots and their shards; no other module decides this. Never: I/O.
"""

from typing import final
from zlib import crc32

from fox_shard.topics.topic import SEQUENCE_LENGTH, is_in_sequence

ON_JOIN = "wamp.session.on_join"
ON_LEAVE = "wamp.session.on_leave"
"""The topics of session meta events (WAMP #session-metapi)."""

REGISTRATION_EVENTS = (
    "wamp.registration.on_create",
    "wamp.registration.on_register",
    "wamp.registration.on_unregister",
    "wamp.registration.on_delete",
)
"""The topics of registration meta events (WAMP #registration-metapi), in the order of a life."""

SUBSCRIPTION_EVENTS = (
    "wamp.subscription.on_create",
    "wamp.subscription.on_subscribe",
    "wamp.subscription.on_unsubscribe",
    "wamp.subscription.on_delete",
)
"""The topics of subscription meta events (WAMP #subscription-metapi), in the order of a life."""

META_EVENTS = {"registration": REGISTRATION_EVENTS, "subscription": SUBSCRIPTION_EVENTS}
"""The topics of meta events of registrations and subscriptions, by kind."""

SESSION = "session"
"""The kind of session meta events, of which no gateway has to tell the causes."""

ALL_META_EVENTS = {SESSION: (ON_JOIN, ON_LEAVE), **META_EVENTS}
"""The topics of all meta events, by kind."""

_TOGETHER = {topic: topics[0] for topics in ALL_META_EVENTS.values() for topic in topics}
"""Topics that have the slot of another one, so that their events come in order."""

SLOTS = 1024
MAX_SHARDS = 64


def jump_hash(key: int, buckets: int) -> int:
    """Return a bucket by Lamping and Veach's jump consistent hash.

    Few keys move to another bucket when `buckets` changes.
    """
    b, j = -1, 0
    while j < buckets:
        b = j
        key = (key * 2862933555777941757 + 1) & 0xFFFFFFFFFFFFFFFF
        j = int((b + 1) * (1 << 31) / ((key >> 33) + 1))
    return b


def slot_of(realm: str, key: str) -> int:
    """Return a slot, 0 to 1023. key: a topic, a procedure or a pattern's text.

    A sequence key has the slot of its sequence, so that the shard that gives it its id owns it.
    The end of a session, a registration or a subscription is announced by the shard that announced
    its beginning, and so behind it.
    """
    if key in _TOGETHER:
        key = _TOGETHER[key]
    elif is_in_sequence(key):
        key = key[:-SEQUENCE_LENGTH]
    return crc32(f"{realm}\0{key}".encode()) % SLOTS


@final
class Placement:
    """The placement of all topics and procedures on a number of shards."""

    __slots__ = ("_shard_of_slot", "shards")

    def __init__(self, shards: int) -> None:
        if not 1 <= shards <= MAX_SHARDS:
            raise ValueError(f"shards must be 1 to {MAX_SHARDS}, not {shards}")
        self.shards = shards
        self._shard_of_slot = [jump_hash(slot, shards) for slot in range(SLOTS)]

    def shard_of(self, realm: str, key: str) -> int:
        """Return the number of the shard that owns a topic, a procedure or a pattern's text."""
        return self._shard_of_slot[slot_of(realm, key)]
