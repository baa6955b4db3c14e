"""Keys that end: with their sessions, as time passes, or with a will.

Owns: what follows from their end, and wills that the store could not take. Never: which keys end
(see `retained`).
"""

from collections import deque
from collections.abc import Callable
from typing import final

from fox_shard.backplane.frames import Frame, Publish
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys.change import WEAK, KeyChange
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.applying import KEY_UNITS, Applying
from fox_shard.shard.publishing.chains import Chains
from fox_shard.shard.publishing.conditional import ConditionalPublishes
from fox_shard.store.journal import Journal

PublishAny = Callable[[Peer | None, Publish, int, list[Frame]], None]
"""Publishes wills: `StoredPublishes.publish`."""


@final
class EndedKeys:
    """The ends of keys on one shard."""

    __slots__ = (
        "_applying",
        "_budget",
        "_chains",
        "_conditional",
        "_journal",
        "_postponed_wills",
        "_publish",
        "_retained_keys",
    )

    def __init__(
        self,
        retained_keys: RetainedKeys,
        applying: Applying,
        chains: Chains,
        conditional: ConditionalPublishes,
        publish: PublishAny,
        journal: Journal,
        budget: Budget,
    ) -> None:
        """budget: the turn's."""
        self._retained_keys = retained_keys
        self._applying = applying
        self._chains = chains
        self._conditional = conditional
        self._publish = publish
        self._journal = journal
        self._budget = budget
        # Wills of keys that could not be published because the store failed.
        self._postponed_wills: deque[Publish] = deque()

    def session_ended(self, session: int, replies: list[Frame]) -> None:
        """Drop the session's waiters, erase its weak keys, and publish the wills of its keys."""
        self._conditional.session_ended(session)
        self.end(*self._retained_keys.session_ended(session), replies)

    def expire(self, wall: float) -> None:
        """Erase the keys whose time has come, and further keys of sessions that have ended.

        wall: seconds since 1970.
        """
        for change in self._retained_keys.expire(wall):
            self._key_removed(change)
        # Sessions may have had more keys than could be erased at once.
        self.end(*self._retained_keys.end_more(), [])
        self._chains.end_turn()

    def end(self, changes: list[KeyChange], wills: list[Publish], replies: list[Frame]) -> None:
        """Announce keys that were erased, and publish wills of others."""
        for change in changes:
            self._key_removed(change)
        for will in wills:
            if self._journal.failing and self._applying.is_stored(will):
                self._postponed_wills.append(will)
            else:
                self._publish(None, will, 0, replies)
                self._erase_if_refused(will)

    def _erase_if_refused(self, will: Publish) -> None:
        """Erase the key if its will was refused, as by a newer schema: its session has ended."""
        key = self._retained_keys.key((will.realm, will.topic))
        retain = will.retain
        if key is not None and retain is not None and key.publication == retain.when_id:
            change = self._retained_keys.erase((will.realm, will.topic), key, WEAK)
            self._key_removed(change)

    def _key_removed(self, change: KeyChange) -> None:
        """Announce a key that was erased by time or by the end of its session."""
        self._applying.send_change(change)
        self._chains.let_waiters_through(change.ref)

    @property
    def can_publish_wills(self) -> bool:
        """Whether wills of keys were postponed and can be published now, if the sync has ended."""
        return bool(self._postponed_wills) and not self._journal.failing

    def go_on(self) -> None:
        """Publish postponed wills, as far as the turn's budget goes."""
        budget = self._budget
        while self.can_publish_wills and not budget.exhausted:
            budget.spend(KEY_UNITS)
            will = self._postponed_wills.popleft()
            self._retained_keys.will_published(will)
            self.end([], [will], [])
