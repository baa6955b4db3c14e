"""The quota of keys that one realm has on one shard.

Owns: how many keys the realm has here, how many bytes, and which publishes would be too much.
Never: the keys.

A realm's limits are for all shards together. Each shard has an equal share, so that it decides
alone and at once. What the server writes (the rows of aggregates, the results of reducers) counts,
but is never refused: it follows from what clients have written before, and must not be lost.
"""

from typing import Final, final

from fox_shard.backplane.frames import COMPUTED, EMPTY, Event, Publish, audience_bytes
from fox_shard.config import RealmLimits, share
from fox_shard.errors import LimitExceeded

OVERHEAD: Final = 500
"""Bytes that each key counts for in addition to what its client has sent."""

LARGEST: Final = 1 << 30
"""Bytes that no key has, as a message has a quarter of that at most. As long as so many are free,
nothing has to be added up for a publish."""

NO_OWN_LIMITS: Final = RealmLimits()

UNCOUNTED: Final = "$"
"""Prefix of the server's own keys, which are not counted."""


@final
class KeyQuota:
    """The quota of one realm. count, size: the number and the bytes of its keys on this shard."""

    __slots__ = ("_limits", "_most", "_most_bytes", "count", "size")

    def __init__(self, limits: RealmLimits = NO_OWN_LIMITS, shards: int = 1) -> None:
        """limits: the realm's. shards: how many there are."""
        self._limits = limits
        self._most = share(limits.max_keys, shards)
        self._most_bytes = share(limits.max_key_bytes, shards)
        self.count = self.size = 0

    def replaced(self, topic: str, before: Event | None, after: Event | None) -> None:
        """Count a key whose value is replaced. before, after: None: there is no key."""
        if topic.startswith(UNCOUNTED):
            return
        self.count += (after is not None) - (before is not None)
        if before is not None:
            self.size -= size_of(before.publish)
        if after is not None:
            self.size += size_of(after.publish)

    def check(self, publish: Publish, key: Event | None) -> None:
        """Raise LimitExceeded if the publish would make one key, or some bytes, too many.

        key: the present value of the key that the publish changes; None: there is none. Whatever
        the quota, a key may be erased, and be replaced by a value that is not larger. The errors
        do not tell how large the key is, which the publisher may not be allowed to see.
        """
        if publish.flags & (EMPTY | COMPUTED) or publish.topic.startswith(UNCOUNTED):
            return
        if key is None and self._most and self.count >= self._most:
            raise LimitExceeded(
                f"the realm has {self._most} keys at this shard, its share of max_keys "
                f"({self._limits.max_keys}), or more: erase some of them first"
            ).beyond("max_keys")
        if self._most_bytes and self.size + LARGEST > self._most_bytes:
            grows = size_of(publish) - (0 if key is None else size_of(key.publish))
            if grows > 0 and self.size + grows > self._most_bytes:
                raise LimitExceeded(
                    "the realm's keys at this shard would have more than "
                    f"{self._most_bytes} bytes, its share of max_key_bytes "
                    f"({self._limits.max_key_bytes}): erase some of them first"
                ).beyond("max_key_bytes")


def size_of(publish: Publish) -> int:
    """Return the bytes that a key with this value counts for.

    Those of its will are among them, so that a will that is published makes no key larger.
    """
    size = OVERHEAD + len(publish.topic) + len(publish.args) + len(publish.kwargs)
    attributes, retain, audience = publish.attributes, publish.retain, publish.audience
    if attributes is not None:
        size += len(attributes)
    if retain is not None and retain.will is not None:
        size += len(retain.will)
    return size if audience is None else size + audience_bytes(audience)
