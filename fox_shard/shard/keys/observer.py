"""The observer of keys: what tables want to know of keys.

Owns: when the observer is told. Never: what tables make of it (see `shard.tables`).
"""

from typing import Protocol, final

from fox_shard.backplane.frames import Event
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.keys.realm import Realm
from fox_shard.shard.rows import KeyRef


class KeyObserver(Protocol):
    """Who is told of the keys of all realms that are stored."""

    def changed(self, realm: Realm, change: KeyChange) -> None:
        """Note a change; one that is `uncommitted` fails with the present transaction."""

    def undone(self, realm: Realm, topic: str, key: Event | None) -> None:
        """Note that changes of the key have failed. key: the durable value, which it has again."""

    def keeps_expired(self, ref: KeyRef) -> bool:
        """Whether a key that expired while the shard was down is to expire like any other.

        Otherwise it is simply dropped.
        """


@final
class Nobody:
    """An observer that does nothing."""

    def changed(self, realm: Realm, change: KeyChange) -> None:
        """Do nothing."""

    def undone(self, realm: Realm, topic: str, key: Event | None) -> None:
        """Do nothing."""

    def keeps_expired(self, ref: KeyRef) -> bool:
        """Let all such keys be dropped."""
        return False
