"""Realms that are in no file, and are made when the first client wants to join them.

Owns: how many there may be. Never: which names they may have, what a realm consists of.
"""

from collections.abc import Callable, Mapping
from typing import final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.topics.realm_names import may_be_made


@final
class RealmsOnDemand:
    """The realms that one gateway makes. They stay until it ends."""

    __slots__ = ("_authentication", "_counts", "_limit", "_made", "_make", "_realms")

    def __init__(
        self,
        limit: int,
        realms: Mapping[str, Realm],
        authentication: Authentication,
        counts: LimitCounts,
        make: Callable[[str], None],
    ) -> None:
        """limit: how many there may be; 0: none. realms: all of the gateway. make: makes one."""
        self._limit = limit
        self._made = 0
        self._realms = realms
        self._authentication = authentication
        self._counts = counts
        self._make = make

    def open(self, name: str | None) -> None:
        """Make the realm of that name, unless there is one, or may not be.

        If there are users, the realm has to be that of one of them: others could not join it.
        """
        if not self._limit or name is None or name in self._realms or not may_be_made(name):
            return
        users = self._authentication.users
        if users is not None and all(user.realm != name for user in users.all):
            return
        if self._made >= self._limit:
            self._counts.add("realms_on_demand")
            return
        self._made += 1
        self._make(name)
