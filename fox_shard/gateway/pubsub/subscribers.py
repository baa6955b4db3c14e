"""The sessions of one gateway that have one subscription.

Owns: its members and those that wait for it, and up to where followers have got the history. Never:
which subscriptions there are (see `subscriptions`), links.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import TRACE, Event
from fox_shard.gateway.pubsub.members import SubscriptionMembers
from fox_shard.gateway.pubsub.pending import PendingSubscription
from fox_shard.gateway.sessions.memberships import Facts
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import Subscription


@final
class Subscribers:
    """The sessions of this gateway that have one subscription, or wait for it.

    established: all shards have confirmed the subscription.
    """

    __slots__ = (
        "_caught_up",
        "_last_recorded",
        "_settled",
        "created",
        "established",
        "members",
        "pending",
        "subscription",
    )

    def __init__(self, subscription: Subscription, settled: dict[int, int], created: float) -> None:
        """settled: that of `Subscriptions`. created: seconds since 1970."""
        self.subscription = subscription
        self.created = created
        # For followers, by shard: the id of the last recorded event that has come, and which id was
        # settled when the history had come.
        self._last_recorded: dict[int, int] = {}
        self._caught_up: dict[int, int] = {}
        self._settled = settled
        self.established = False
        self.members = SubscriptionMembers()
        # By token.
        self.pending: dict[int, PendingSubscription] = {}

    def followers(self, shard: int) -> list[Session]:
        """Return the sessions that have got all of that shard's history."""
        # They are granted quality of service 0, as MQTT sessions do not follow.
        members = [session for session, _ in self.members.members()]
        pending = [
            one for one in self.pending.values() if one.confirmed and shard not in one.replaying
        ]
        return members + [one.session for one in pending]

    def history_caught_up(self, shard: int, publication: int) -> None:
        """Note that the shard's history has come up to that id, where followers go on."""
        if shard not in self._last_recorded:
            self._last_recorded[shard] = publication
            self._caught_up[shard] = self._settled.get(shard, 0)

    def last_recorded(self, shard: int) -> int:
        """Return the id up to which all recorded events have come; 0: there is no follower yet."""
        last = self._last_recorded.get(shard)
        if last is None:
            return 0
        settled = self._settled.get(shard, 0)
        return max(last, settled) if settled > self._caught_up.get(shard, 0) else last

    def is_next(self, event: Event, shard: int) -> bool:
        """Whether an event is new to followers. It counts as seen from now on."""
        if not event.publish.flags & TRACE:
            return True
        if event.publication <= self.last_recorded(shard):
            return False
        self._last_recorded[shard] = event.publication
        return True

    def sessions(self) -> Iterator[Session]:
        """Yield the members, and the sessions that have been told and get the history now."""
        for session, _ in self.members.members():
            yield session
        for pending in self.pending.values():
            if pending.confirmed and not pending.options.snapshot:
                yield pending.session

    def count(self) -> int:
        """Return the number of `sessions`."""
        followers = [
            one for one in self.pending.values() if one.confirmed and not one.options.snapshot
        ]
        return self.members.count() + len(followers)

    def is_told(self, session: Session) -> bool:
        """Whether the session is among `sessions`."""
        return self.members.has(session) or any(
            one.session is session and one.confirmed and not one.options.snapshot
            for one in self.pending.values()
        )

    def facts(self, session: Session) -> Facts:
        """Return what is told of a session's membership."""
        subscription = self.subscription
        return session.id, subscription.id, subscription.pattern.text, "", self.created

    @property
    def unused(self) -> bool:
        """Whether no session has the subscription or waits for it."""
        return self.members.empty and not self.pending
