"""Who is a member of which registration or subscription, told to the coordinator when it wants it.

Owns: what is wanted, and the frames about that. Never: the memberships (see `subscriptions` and
`registrations`), meta events.

Nothing is told unless somebody in the cluster subscribes to meta events of that kind. Then all
memberships are told first, a part at a time, and each change at once. The frames are reliable, so a
change is told once, even if the coordinator is down meanwhile. So that no more than `limit` frames
wait for it, nobody is let subscribe or register then; what there is may end.
"""

from collections.abc import Callable, Container, Iterator
from itertools import islice
from typing import Final, final

from fox_shard.backplane.frames import Counted, Membership, MembershipEnded, TakeCensus
from fox_shard.backplane.link import Link

REGISTRATION: Final = "registration"
SUBSCRIPTION: Final = "subscription"
"""The kinds of memberships, as in `frames.memberships`."""

AT_ONCE: Final = 100
"""Memberships that are told at a time: this takes half a millisecond, like any chore."""

Facts = tuple[int, int, str, str, float]
"""Session, id, pattern, invoke and created of a membership, as in `frames.Membership`."""

AllMemberships = Callable[[str], Iterator[Facts | None]]
"""Yields the memberships in a realm, each as it is when it is yielded; None: it has just ended."""

NONE: Final[Iterator[None]] = iter(())
"""No memberships."""


@final
class Memberships:
    """What one gateway tells of its sessions' memberships."""

    __slots__ = ("_add_chore", "_all", "_censuses", "_coordinator", "_limit", "_realms", "_told")

    def __init__(
        self,
        coordinator: Link,
        realms: Container[str],
        limit: int,
        add_chore: Callable[[Callable[[], bool]], None],
    ) -> None:
        """realms: their names. limit: frames that may wait for the coordinator.

        add_chore: does something in the next turns, a part at a time (see `Turns`).
        """
        self._limit = limit
        self._realms = realms
        self._coordinator = coordinator
        self._add_chore = add_chore
        # Kind -> what yields all memberships.
        self._all: dict[str, AllMemberships] = {}
        # (realm, kind) -> the number of the census; and of the last one for which all is told.
        self._censuses: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, str], int] = {}

    def source(self, kind: str, memberships: AllMemberships) -> None:
        """Set what yields the memberships of a kind."""
        self._all[kind] = memberships

    def take_census(self, frame: TakeCensus) -> None:
        """Begin to tell, or cease to. Idempotent."""
        key = (frame.realm, frame.kind)
        if not frame.number:
            self._censuses.pop(key, None)
        elif self._censuses.get(key) != frame.number:
            self._censuses[key] = frame.number
            # The realm may have been removed from the configuration since somebody listened there.
            memberships = (
                self._all[frame.kind](frame.realm) if frame.realm in self._realms else NONE
            )
            self._add_chore(lambda: self._tell_some(key, frame.number, memberships))
        elif self._told.get(key) == frame.number:
            self._coordinator.send_reliable(Counted(*key, frame.number))

    def _tell_some(
        self, key: tuple[str, str], number: int, memberships: Iterator[Facts | None]
    ) -> bool:
        """Tell some memberships, or that these were all. Return whether there may be more."""
        if self._censuses.get(key) != number:
            return False
        taken = 0
        for facts in islice(memberships, AT_ONCE):
            taken += 1
            if facts is not None:
                self._coordinator.send_reliable(_frame(key, number, facts))
        if taken == AT_ONCE:
            return True
        self._told[key] = number
        self._coordinator.send_reliable(Counted(*key, number))
        return False

    @property
    def active(self) -> bool:
        """Whether anything is wanted."""
        return bool(self._censuses)

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the coordinator that nothing else may begin."""
        link = self._coordinator
        return bool(self._censuses) and link.reliably_sent - link.forgotten >= self._limit

    def began(self, realm: str, kind: str, facts: Facts) -> None:
        """Tell a membership that has just begun, if that is wanted."""
        number = self._censuses.get((realm, kind))
        if number is not None:
            self._coordinator.send_reliable(_frame((realm, kind), number, facts))

    def ended(self, realm: str, kind: str, session: int, id_: int) -> None:
        """Tell a membership that has just ended, though its session goes on, if that is wanted."""
        number = self._censuses.get((realm, kind))
        if number is not None:
            self._coordinator.send_reliable(MembershipEnded(realm, kind, number, session, id_))


def _frame(key: tuple[str, str], number: int, facts: Facts) -> Membership:
    realm, kind = key
    session, id_, pattern, invoke, created = facts
    return Membership(realm, kind, number, session, id_, pattern, invoke, created)
