"""The members of one subscription: sessions that have it, grouped by what they may see.

Owns: which members may see a topic that the pattern matches. Never: the rules (see
`authorization`), encoding events.

The groups that may see a topic become a part of the plan of this topic. So nothing is decided for
each event, neither for those whose subscription is narrowed nor for others.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.sessions.session import EventEncoder, Session

Members = dict[Session, int]
"""Session -> quality of service granted to it."""


@final
class Group:
    """Members with the same permissions. plain, granted: see `Subscribers`."""

    __slots__ = ("granted", "plain")

    def __init__(self) -> None:
        self.plain: dict[EventEncoder, Members] = {}
        self.granted: dict[EventEncoder, Members] = {}

    def has(self, session: Session) -> bool:
        """Whether the session is a member."""
        encoder = session.encoder
        return session in self.plain.get(encoder, ()) or session in self.granted.get(encoder, ())

    def add(self, session: Session, granted_qos: int) -> None:
        """Add a member."""
        groups = self.granted if granted_qos else self.plain
        groups.setdefault(session.encoder, {})[session] = granted_qos

    def remove(self, session: Session) -> None:
        """Remove a member. Idempotent."""
        for groups in (self.plain, self.granted):
            members = groups.get(session.encoder)
            if members is not None and members.pop(session, None) is not None and not members:
                del groups[session.encoder]

    def members(self) -> Iterator[tuple[Session, int]]:
        """Yield the members, each with the quality of service granted to it."""
        for groups in (self.plain, self.granted):
            for members in groups.values():
                yield from members.items()

    def count(self) -> int:
        """Return the number of members."""
        return sum(len(one) for groups in (self.plain, self.granted) for one in groups.values())

    @property
    def empty(self) -> bool:
        """Whether there are no members."""
        return not (self.plain or self.granted)


@final
class SubscriptionMembers:
    """The members of one subscription.

    all_seeing: those that may see all topics that the pattern matches.
    """

    __slots__ = ("_narrowed", "all_seeing")

    def __init__(self) -> None:
        self.all_seeing = Group()
        # Made when first needed: by the permissions of the others.
        self._narrowed: dict[Permissions, Group] | None = None

    def add(self, session: Session, granted_qos: int, narrowed_by: Permissions | None) -> None:
        """Add a member, or change its granted quality of service.

        narrowed_by: its permissions, if it may not see all topics.
        """
        self.remove(session)
        if narrowed_by is None:
            self.all_seeing.add(session, granted_qos)
            return
        if self._narrowed is None:
            self._narrowed = {}
        self._narrowed.setdefault(narrowed_by, Group()).add(session, granted_qos)

    def remove(self, session: Session) -> None:
        """Remove a member. Idempotent."""
        self.all_seeing.remove(session)
        permissions = session.permissions
        group = self._narrowed and permissions and self._narrowed.get(permissions)
        if self._narrowed and permissions and group:
            group.remove(session)
            if group.empty:
                del self._narrowed[permissions]

    def has(self, session: Session) -> bool:
        """Whether the session is a member."""
        if self.all_seeing.has(session):
            return True
        return self._narrowed is not None and any(
            group.has(session) for group in self._narrowed.values()
        )

    def groups(self) -> list[Group]:
        """Return all groups."""
        return [self.all_seeing, *(self._narrowed or {}).values()]

    def groups_at(self, topic: str) -> list[Group]:
        """Return the groups that may see a topic, which the pattern matches."""
        if not self._narrowed:
            return [self.all_seeing]
        allowed = [group for one, group in self._narrowed.items() if one.may_see(topic)]
        return [self.all_seeing, *allowed]

    def members(self) -> Iterator[tuple[Session, int]]:
        """Yield the members, each with the quality of service granted to it."""
        for group in self.groups():
            yield from group.members()

    def count(self) -> int:
        """Return the number of members."""
        return sum(group.count() for group in self.groups())

    @property
    def empty(self) -> bool:
        """Whether there are no members."""
        return self.all_seeing.empty and not self._narrowed
