"""Meta events of registrations and subscriptions, for the time that somebody wants them.

Owns: the censuses, who is a member of what while a census lasts, and the events about that (WAMP
#registration-metapi, #subscription-metapi). Never: sessions (see `sessions`), links.

The gateways know the memberships. They tell them only during a census: first all that there are,
which is not published, and then each change, which is. A membership that has been published, or
needs no publishing, is a row, and the row is in the transaction that has the event. So whichever
process dies, what is told twice is published once.

Session meta events need no census, as the coordinator knows all sessions. What begins and ends
there is only the publishing, by the same means.

A session may end with very many memberships, so that work waits in a queue and is done in slices.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Final, final

from fox_shard.backplane.frames import (
    Counted,
    Frame,
    Listened,
    Listening,
    Membership,
    MembershipEnded,
    TakeCensus,
)
from fox_shard.backplane.meta_api import details
from fox_shard.backplane.placement import META_EVENTS, SESSION
from fox_shard.coordinator import rows
from fox_shard.store.journal import Journal

Effects = list[tuple[str, Frame]]

MetaEvent = Callable[[str, str, list[object]], tuple[str, Frame]]
"""Makes a meta event of realm, topic and args, with the name of the shard that it goes to."""

SLICE: Final = 500
"""Memberships that end, or rows that are deleted, in one turn."""

LINGER: Final = 30.0
"""Seconds for which a census goes on without a listener, as each new one costs all memberships.

This is no setting: a listener that reconnects is back within it, and the rest of a census costs
only the changes.
"""

Key = tuple[str, str]
"""Realm and kind of a census."""


@final
class Census:
    """One census.

    by_gateways: whether gateways tell what there is; sessions the coordinator knows itself, so
    their census awaits nobody. shard: the owner of the events' topics. listening: the number that
    it waits for in `Listened`, or gave last; 0: nobody listens, and the census ends at `until`.
    awaited: gateways that have not told all memberships. ready: none is awaited, and changes are
    published. groups: the sessions of each registration or subscription, by its id.
    """

    __slots__ = (
        "awaited",
        "by_gateways",
        "groups",
        "key",
        "listening",
        "number",
        "ready",
        "shard",
        "until",
    )

    def __init__(self, key: Key, number: int) -> None:
        self.key = key
        self.by_gateways = key[1] != SESSION
        self.number = number
        self.shard = ""
        self.listening = 0
        self.until = inf
        self.awaited: dict[str, None] = {}
        self.ready = False
        self.groups: dict[int, dict[int, None]] = {}


@final
class Memberships:
    """The censuses of one coordinator."""

    __slots__ = (
        "_became_ready",
        "_censuses",
        "_dropping",
        "_ending",
        "_gateways",
        "_journal",
        "_meta_event",
        "_of_session",
        "_unheard",
    )

    def __init__(self, journal: Journal, meta_event: MetaEvent) -> None:
        self._journal = journal
        self._meta_event = meta_event
        self._censuses: dict[Key, Census] = {}
        # The kinds of meta events to which nobody listens, by realm.
        self._unheard: set[Key] = set()
        # Session -> its memberships: (census, id).
        self._of_session: dict[int, dict[tuple[Census, int], None]] = {}
        # Sessions that have ended and still have memberships.
        self._ending: deque[int] = deque()
        # Keys of the rows of censuses that are over.
        self._dropping: deque[Iterator[bytes]] = deque()
        # Censuses that are ready as soon as the transaction with that ticket is durable.
        self._became_ready: deque[tuple[int, Census]] = deque()
        # The gateways that are linked, or may have sessions.
        self._gateways: dict[str, None] = {}

    # Loading

    def load(
        self,
        censuses: dict[Key, rows.CensusRow],
        members: list[tuple[bytes, rows.MemberRow]],
        sessions: Iterable[tuple[int, str]],
    ) -> None:
        """Take the state before the restart. sessions: those that are known, with their gateways.

        A census that was not ready ends: its shard asks for it again.
        """
        known: set[int] = set()
        for session, gateway in sessions:
            known.add(session)
            self._gateways[gateway] = None
        for key, row in censuses.items():
            if row.ready:
                census = self._censuses[key] = Census(key, row.number)
                census.ready = True
            else:
                self._journal.keep(rows.census(*key), None)
        stale: list[bytes] = []
        for member, _ in members:
            number, session, id_ = rows.member_of(member)
            found = self._censuses.get(rows.census_of(member))
            if found is None or found.number != number:
                stale.append(member)
                continue
            self._add(found, session, id_)
            if session not in known:
                known.add(session)
                self._ending.append(session)
        if stale:
            self._dropping.append(iter(stale))

    # Listeners

    def listening(self, shard: str, frame: Listening, now: float) -> Effects:
        """Begin the census if there is none; if nobody listens, let it end in `LINGER` seconds."""
        key = (frame.realm, frame.kind)
        census = self._censuses.get(key)
        if not frame.number:
            if census is None:
                self._unheard.add(key)
            else:
                census.listening, census.until = 0, min(census.until, now + LINGER)
            return []
        self._unheard.discard(key)
        begins = census is None
        if census is None:
            census = self._censuses[key] = Census(key, frame.number)
            if census.by_gateways:
                census.awaited = dict(self._gateways)
            self._keep(census)
        census.shard, census.listening, census.until = shard, frame.number, inf
        if not begins:
            waits = any(one is census for _, one in self._became_ready)
            return [self._listened(census)] if census.ready and not waits else []
        self._look(census)
        return [(name, TakeCensus(*key, census.number)) for name in census.awaited]

    @staticmethod
    def _listened(census: Census) -> tuple[str, Frame]:
        return census.shard, Listened(*census.key, census.listening)

    def _keep(self, census: Census) -> None:
        row = rows.CensusRow(census.number, census.ready)
        self._journal.keep(rows.census(*census.key), rows.encode(row))

    def _look(self, census: Census) -> None:
        """Note that the census is ready if no gateway is awaited; see `committed`."""
        if not (census.awaited or census.ready):
            census.ready = True
            self._keep(census)
            self._became_ready.append((self._journal.ticket, census))

    def committed(self, ticket: int) -> Effects:
        """Tell the shards whose censuses are durably ready."""
        effects: Effects = []
        waiting = self._became_ready
        while waiting and waiting[0][0] <= ticket:
            _, census = waiting.popleft()
            if census.listening and self._censuses.get(census.key) is census:
                effects.append(self._listened(census))
        return effects

    def commit_failed(self) -> None:
        """Wait for the next transaction, in which the journal writes all these rows again."""
        ticket = self._journal.ticket
        self._became_ready = deque((ticket, census) for _, census in self._became_ready)

    def listened(self, realm: str) -> bool:
        """Whether somebody listens to the realm's session meta events, or did a moment ago.

        It is so until the topics' shard has said that nobody does.
        """
        return (realm, SESSION) not in self._unheard

    def unheard(self, realm: str) -> bool:
        """Whether nobody waits for the news of a session: no listener, and no census anywhere.

        During a census, gateways tell no more while much of what they have told is not durable.
        """
        return not self._censuses and (realm, SESSION) in self._unheard

    # Gateways

    def gateway_opened(self, gateway: str) -> list[Frame]:
        """Return what a gateway must know when its link opens."""
        self._gateways[gateway] = None
        censuses = [census for census in self._censuses.values() if census.by_gateways]
        for census in censuses:
            if not census.ready:
                census.awaited[gateway] = None
        return [TakeCensus(*census.key, census.number) for census in censuses]

    def gateway_gone(self, gateway: str) -> None:
        """Expect nothing more of the gateway. Its sessions end, see `session_ended`."""
        self._gateways.pop(gateway, None)
        for census in self._censuses.values():
            census.awaited.pop(gateway, None)
            self._look(census)

    def counted(self, gateway: str, frame: Counted) -> Effects:
        """Note that the gateway has told all memberships."""
        census = self._censuses.get((frame.realm, frame.kind))
        if census is None or census.number != frame.number:
            return self._correct(gateway, frame.realm, frame.kind)
        census.awaited.pop(gateway, None)
        self._look(census)
        return []

    def _correct(self, gateway: str, realm: str, kind: str) -> Effects:
        """Tell a gateway that censuses for what is over which census there is."""
        census = self._censuses.get((realm, kind))
        return [(gateway, TakeCensus(realm, kind, 0 if census is None else census.number))]

    # Memberships

    def began(self, gateway: str, frame: Membership) -> Effects:
        """Add a membership, and publish that if it is news. The session is there."""
        census = self._censuses.get((frame.realm, frame.kind))
        if census is None or census.number != frame.number:
            return self._correct(gateway, frame.realm, frame.kind)
        session, id_ = frame.session, frame.id
        group = census.groups.get(id_)
        if group is not None and session in group:
            return []
        self._add(census, session, id_)
        row = rows.MemberRow(frame.pattern, frame.invoke, frame.created)
        self._journal.keep(_row(census, session, id_), rows.encode(row))
        if not census.ready:
            return []
        effects: Effects = []
        on_create, on_join, _, _ = META_EVENTS[frame.kind]
        if group is None:
            described = details(id_, frame.created, frame.pattern)
            if frame.invoke:
                described["invoke"] = frame.invoke
            effects.append(self._meta_event(frame.realm, on_create, [session, described]))
        effects.append(self._meta_event(frame.realm, on_join, [session, id_]))
        return effects

    def _add(self, census: Census, session: int, id_: int) -> None:
        group = census.groups.get(id_)
        if group is None:
            group = census.groups[id_] = {}
        group[session] = None
        self._of_session.setdefault(session, {})[census, id_] = None

    def ended(self, gateway: str, frame: MembershipEnded) -> Effects:
        """Remove a membership, and publish that if it was known."""
        census = self._censuses.get((frame.realm, frame.kind))
        if census is None or census.number != frame.number:
            return self._correct(gateway, frame.realm, frame.kind)
        mine = self._of_session.get(frame.session, {})
        if mine.pop((census, frame.id), _NO_MEMBERSHIP) is _NO_MEMBERSHIP:
            return []
        if not mine:
            del self._of_session[frame.session]
        return self._remove(census, frame.session, frame.id)

    def _remove(self, census: Census, session: int, id_: int) -> Effects:
        group = census.groups[id_]
        del group[session]
        if not group:
            del census.groups[id_]
        self._journal.keep(_row(census, session, id_), None)
        if not census.ready:
            return []
        realm, kind = census.key
        _, _, on_leave, on_delete = META_EVENTS[kind]
        topics = (on_leave,) if group else (on_leave, on_delete)
        return [self._meta_event(realm, topic, [session, id_]) for topic in topics]

    def session_ended(self, session: int) -> None:
        """Let the session's memberships end, in `go_on`."""
        if session in self._of_session:
            self._ending.append(session)

    # Work of any length

    def expire(self, now: float) -> None:
        """End the censuses for which nobody has listened for long."""
        for key in [key for key, census in self._censuses.items() if census.until <= now]:
            census = self._censuses.pop(key)
            self._unheard.add(key)
            census.ready = False  # What is still to end with its session is not published any more.
            self._journal.keep(rows.census(*key), None)
            self._dropping.append(self._drop(census))

    def _drop(self, census: Census) -> Iterator[bytes]:
        """Forget the census's memberships one by one; yield the keys of their rows."""
        while census.groups:
            id_, group = census.groups.popitem()
            for session in group:
                mine = self._of_session.get(session)
                if mine is not None:
                    mine.pop((census, id_), None)
                    if not mine:
                        del self._of_session[session]
                yield _row(census, session, id_)

    @property
    def next_expiry(self) -> float:
        """When `expire` is due."""
        return min((census.until for census in self._censuses.values()), default=inf)

    @property
    def busy(self) -> bool:
        """Whether `go_on` has something to do."""
        return bool(self._ending or self._dropping)

    def go_on(self) -> Effects:
        """Do a slice of what waits."""
        effects: Effects = []
        for _ in range(SLICE):
            if self._ending:
                self._end_one(effects)
            elif self._dropping:
                key = next(self._dropping[0], None)
                if key is None:
                    self._dropping.popleft()
                else:
                    self._journal.keep(key, None)
            else:
                break
        return effects

    def _end_one(self, effects: Effects) -> None:
        """End a membership of the first session that has ended."""
        session = self._ending[0]
        mine = self._of_session.get(session)
        if mine:
            (census, id_), _ = mine.popitem()
            if id_ in census.groups and session in census.groups[id_]:
                effects += self._remove(census, session, id_)
        if not mine:
            self._of_session.pop(session, None)
            self._ending.popleft()


_NO_MEMBERSHIP: Final = object()


def _row(census: Census, session: int, id_: int) -> bytes:
    return rows.member(*census.key, census.number, session, id_)
