"""The quotas of realms for what waits at one shard: calls for callees, publishes for their keys.

Owns: how many bytes of each realm wait, and how many may. Never: what waits.

A queue is at one shard, so each shard has the whole limit, other than the limits of keys.
"""

from collections.abc import Iterable
from typing import Final, final

from fox_shard.config import Realm, RealmLimits

NO_OWN_LIMITS: Final = RealmLimits()

LIMIT: Final = "max_queue_bytes"
"""The setting, by which refusals are counted."""


@final
class QueueQuotas:
    """The quotas of all realms on one shard."""

    __slots__ = ("_of_others", "_own", "_waiting")

    def __init__(self, realms: Iterable[Realm] = (), limits: RealmLimits = NO_OWN_LIMITS) -> None:
        """realms: the configured ones. limits: of realms that have none of their own."""
        self._own = {realm.name: realm.limits(limits).max_queue_bytes for realm in realms}
        self._of_others = limits.max_queue_bytes
        # The bytes of each realm that has any.
        self._waiting: dict[str, int] = {}

    @property
    def size(self) -> int:
        """The bytes of all realms that wait."""
        return sum(self._waiting.values())

    def waiting(self, realm: str) -> int:
        """Return how many bytes of the realm wait."""
        return self._waiting.get(realm, 0)

    def excess(self, realm: str, size: int) -> str:
        """Return why so many more bytes of the realm cannot wait; "": they can."""
        limit = self._own.get(realm, self._of_others)
        waiting = self.waiting(realm)
        if not limit or waiting + size <= limit:
            return ""
        return (
            f"{waiting} bytes of calls and publishes of the realm wait at this shard already "
            f"({LIMIT}: {limit})"
        )

    def add(self, realm: str, size: int) -> None:
        """Count bytes that begin to wait, or (negative) that do not wait any more."""
        waiting = self._waiting.get(realm, 0) + size
        if waiting:
            self._waiting[realm] = waiting
        else:
            del self._waiting[realm]
