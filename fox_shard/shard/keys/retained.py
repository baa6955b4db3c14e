"""The keys of all realms on this shard: what changes them, and when they go by themselves.

Owns: a key's next value, its row, its time and its owner. Never: who is told of a change, and when.

A change counts at once for those that come after it. Where its row has to be stored first, whoever
holds it back until then says how that went (`settle`, `undo`).
"""

from collections import deque
from typing import final

from msgspec.structs import replace

from fox_shard.backplane.frames import CONDITION, EMPTY, LAST, RETAIN, Event, Keep, Publish
from fox_shard.documents.merge_patch import merged
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK, encode
from fox_shard.errors import InvalidPayload
from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.histories import Archive
from fox_shard.shard.keys.change import DELETED, EXPIRED, WEAK, Change
from fox_shard.shard.keys.conditions import hold, is_shown
from fox_shard.shard.keys.expiry import Expiry
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.keys.unannounced import Untold
from fox_shard.shard.pubsub.realms import Realm, Realms
from fox_shard.shard.rows import Place
from fox_shard.store.journal import Journal
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import in_sequence

EXPIRED_AT_ONCE = ENDED_AT_ONCE = 1000
"""Keys that are erased, or take the values that sessions willed, before others get their turn."""

UNSTORED = "$"
"""Topics that begin with it are the server's own: it tells them again after a restart."""

OWN = Pattern.wamp("$SYS.#")
"""The keys among them."""

WRITABLE = (JSON, MSGPACK, CBOR)
"""Encodings in which a patched document can be written."""

Ends = tuple[list[Change], list[Publish]]
"""Keys that have gone, and wills of keys that are to be published."""


@final
class Retention:
    """See the module."""

    __slots__ = (
        "_changing",
        "_clock",
        "_ended",
        "_ending",
        "_expiry",
        "_journal",
        "_left",
        "_untold",
        "archive",
        "owners",
        "realms",
    )

    def __init__(
        self,
        realms: Realms,
        clock: PublicationClock,
        journal: Journal,
        untold: Untold,
        archive: Archive,
    ) -> None:
        """archive: what else than keys publications change."""
        self.realms = realms
        self.archive = archive
        self._clock = clock
        self._journal = journal
        self._untold = untold
        # Keys that have changed in transactions that are not durable.
        self._changing: deque[tuple[int, Realm, str]] = deque()
        # Sessions that left in such transactions, with the places of what they owned.
        self._left: deque[tuple[int, int, list[Place]]] = deque()
        # Of sessions that have left, places of what they owned that is still to end, the first one
        # first; and how many have ended since `end_more`.
        self._ending: deque[tuple[int, list[Place]]] = deque()
        self._ended = 0
        self._expiry = Expiry()
        self.owners = Owners()

    @property
    def keys_held(self) -> int:
        """How many there are, in all realms, without the server's own."""
        return sum(
            len(realm.keys) - sum(1 for _ in realm.keys.topics(OWN)) for realm in self.realms
        )

    def key(self, place: Place) -> Event | None:
        """Its value, durable or not."""
        return self.realms[place[0]].keys.get(place[1])

    def meets(self, publish: Publish) -> bool:
        """Does the key of its topic meet the publish's condition, if it has one?"""
        keep = publish.keep
        if keep is None:
            return True
        realm = self.realms[publish.realm]
        key = realm.keys.get(publish.topic)
        return hold(keep, key, publish.session, headers=realm.headers)

    def is_stored(self, publish: Publish) -> bool:
        """Does the publish change a row of the store, or depend on one?"""
        return (
            (changes_key(publish) or publish.flags & CONDITION > 0 or self.archive.wants(publish))
            and self.realms[publish.realm].stored
            and not publish.topic.startswith(UNSTORED)
        )

    # Publications

    def change(self, publish: Publish, gateway: str, incarnation: int) -> Event | Change:
        """Give the publish its id, and let it change its key, if it does.

        gateway, incarnation: the publisher's. Raises InvalidPayload, and nothing is changed.
        """
        keep = publish.keep
        if keep is None and not publish.flags & RETAIN:
            self.archive.mark(publish)
            return Event(self._clock.next(), publish)
        if keep is not None and keep.patch and not publish.flags & EMPTY:
            self._patch(publish)
        event = Event(self._clock.next(), publish)
        if keep is not None:
            if keep.sequence:
                publish.topic = in_sequence(publish.topic, event.publication)
            publish.keep = self._kept(publish, keep, gateway, incarnation)
        self.archive.mark(publish)
        return self._change(event) if changes_key(publish) else event

    def _change(self, event: Event) -> Change | Event:
        publish = event.publish
        realm = self.realms[publish.realm]
        keys, topic = realm.keys, publish.topic
        before, after = keys.get(topic), _value(event)
        unsettled = self.is_stored(publish)
        realm.precede(topic)
        if unsettled:
            ticket = self._journal.ticket
            keys.change(topic, after, ticket)
            self._changing.append((ticket, realm, topic))
            row = rows.key(realm.name, topic)
            self._journal.put(row, None if after is None else rows.encode(after))
        else:
            keys.set(topic, after)
            self._disown(before, after)
        if before is None and after is None:
            return event
        removed = DELETED if after is None else ""
        place, publication = (realm.name, topic), event.publication
        change = Change(place, publication, event, before, after, removed, unsettled)
        if realm.states and unsettled:
            self._untold.note(change)
        return change

    def _patch(self, publish: Publish) -> None:
        """The event becomes what the key is with its document merged into it (RFC 7386)."""
        realm = self.realms[publish.realm]
        patch = realm.document_of(publish)
        if patch is None:
            raise InvalidPayload("a patch is an object: the first argument, or keyword arguments")
        key = realm.keys.get(publish.topic)
        target: object = None
        if key is not None and is_shown(key, publish.session):
            target = realm.document_of(key.publish)
        kwargs = publish.kwargs if realm.headers else b""
        encoding = publish.encoding if publish.encoding in WRITABLE else JSON
        publish.args = encode([merged(target, patch)], {}, encoding)[0]
        publish.encoding, publish.kwargs = encoding, kwargs

    def _kept(self, publish: Publish, keep: Keep, gateway: str, incarnation: int) -> Keep | None:
        """What is left of it when the condition has been met: how the key is to go."""
        if publish.flags & EMPTY or not changes_key(publish):
            return None
        owned = keep.weak or keep.will is not None
        if not (keep.seconds or owned or keep.private):
            return None
        kept = Keep(
            expires=self._clock.wall + keep.seconds if keep.seconds else 0.0,
            weak=keep.weak,
            will=keep.will,
            private=keep.private,
        )
        if owned:
            kept.gateway, kept.incarnation = gateway, incarnation
        self._plan(publish, kept)
        return kept

    def _plan(self, publish: Publish, keep: Keep) -> None:
        place = (publish.realm, publish.topic)
        if keep.expires:
            self._expiry.plan(place, keep.expires)
        if keep.owned:
            self.owners.add(keep.gateway, keep.incarnation, publish.session, place)

    def load(self, event: Event) -> None:
        """A key from the store, unless it has expired."""
        publish = event.publish
        realm = self.realms[publish.realm]
        keep = publish.keep
        if not realm.stored:
            return
        if keep is not None and 0 < keep.expires <= self._clock.wall:
            self._journal.drop(rows.key(realm.name, publish.topic))
            self._untold.went_meanwhile((realm.name, publish.topic), EXPIRED)
            return
        if keep is not None:
            self._plan(publish, keep)
        realm.keys.set(publish.topic, event)

    # Keys that go by themselves

    @property
    def next_expiry(self) -> float:
        """When `expire`, or `end_more`, has something to do, in seconds since 1970."""
        return 0.0 if self._ending else min(self._expiry.next, self.archive.next_expiry)

    def expire(self, wall: float) -> list[Change]:
        """Erase keys whose time has come, some of them at a time; so with what was recorded."""
        self.archive.expire(wall)
        changes = []
        for place in self._expiry.due(wall, EXPIRED_AT_ONCE):
            key = self.key(place)
            expires = 0.0 if key is None else _expires(key)
            if key is not None and expires:
                if expires > wall:
                    self._expiry.plan(place, expires)
                else:
                    changes.append(self.erase(place, key, EXPIRED))
        return changes

    def erase(self, place: Place, key: Event, removed: str) -> Change:
        """The key is no more. key: its value."""
        realm = self.realms[place[0]]
        change = Change(place, self._clock.next(), None, key, None, removed)
        realm.precede(place[1])
        if realm.keys.is_changing(place[1]):
            # What it has just become may fail yet.
            change.unsettled = True
            ticket = self._journal.ticket
            realm.keys.change(place[1], None, ticket)
            self._changing.append((ticket, realm, place[1]))
            self._journal.put(rows.key(*place), None)
        else:
            realm.keys.set(place[1], None)
            self._disown(key, None)
            if realm.stored:
                self._journal.keep(rows.key(*place), None)
        if realm.states and realm.stored:
            self._untold.note(change)
        return change

    def session_left(self, session: int) -> Ends:
        """Erase the keys that are its own; wills of its keys are to be published.

        Where these are many, or others', that have left before it, the rest is for `end_more`.
        """
        places = self.owners.take(session)
        if not places:
            return [], []
        self._ending.append((session, places[::-1]))
        return self._end_some()

    def end_more(self) -> Ends:
        """Of sessions that have left: go on, some keys at a time."""
        self._ended = 0
        return self._end_some()

    def _end_some(self) -> Ends:
        changes: list[Change] = []
        wills: list[Publish] = []
        while self._ending and self._ended < ENDED_AT_ONCE:
            session, left = self._ending[0]
            places = [left.pop() for _ in range(min(len(left), ENDED_AT_ONCE - self._ended))]
            if not left:
                self._ending.popleft()
            self._ended += len(places)
            self._left.append((self._journal.ticket, session, places))
            erased, willed = self._end(session, places)
            changes += erased
            wills += willed
        return changes, wills

    def _end(self, session: int, places: list[Place]) -> Ends:
        changes: list[Change] = []
        wills: list[Publish] = []
        for place in places:
            key = self.key(place)
            keep = None if key is None else key.publish.keep
            if key is None or keep is None or key.publish.session != session:
                continue
            if keep.will is not None and not keep.private:
                wills.append(_will(key, keep.will))
            elif keep.owned:
                # What is private would be shown to nobody from now on.
                changes.append(self.erase(place, key, WEAK))
        return changes, wills

    def ends_now(self, will: Publish) -> None:
        """A will that was put off is published in this transaction; see `undo` if that fails."""
        place = (will.realm, will.topic)
        self._left.append((self._journal.ticket, will.session, [place]))

    def _disown(self, before: Event | None, after: Event | None) -> None:
        """A key is for good not what it was: perhaps it is not its session's any more."""
        if before is None or not _is_owned(before):
            return
        publish = before.publish
        if after is None or after.publish.session != publish.session or not _is_owned(after):
            self.owners.discard(publish.session, (publish.realm, publish.topic))

    # The store

    def settle(self, ticket: int) -> None:
        """Transactions up to that one are durable."""
        self.archive.settle(ticket)
        changing = self._changing
        while changing and changing[0][0] <= ticket:
            _, realm, topic = changing.popleft()
            before = realm.keys.durable_value(topic)
            realm.keys.settle(topic, ticket)
            self._disown(before, realm.keys.get(topic))
        while self._left and self._left[0][0] <= ticket:
            self._left.popleft()

    def undo(self) -> Ends:
        """All transactions that are not durable have failed. Returns what has to end all the same.

        As `session_left` does, of sessions that have left meanwhile.
        """
        self.archive.undo()
        for _, realm, topic in self._changing:
            realm.keys.undo(topic)
            key = realm.keys.get(topic)
            if key is not None and _expires(key):
                self._expiry.plan((realm.name, topic), _expires(key))
        self._changing.clear()
        self._untold.undo()
        left, self._left = self._left, deque()
        ends = [self._end(session, places) for _, session, places in left]
        changes = [change for changes, _ in ends for change in changes]
        return changes, [will for _, wills in ends for will in wills]


def changes_key(publish: Publish) -> bool:
    """Is the event its topic's key from now on, or none?"""
    if not publish.flags & RETAIN:
        return False
    audience = publish.audience
    # Limited to sessions of now, it means nothing to a late joiner.
    return (
        audience is None
        or (audience.eligible is None and audience.exclude is None)
        or (publish.keep is not None and publish.keep.private)
    )


def _is_owned(event: Event) -> bool:
    """Does it end with its publisher's session?"""
    keep = event.publish.keep
    return keep is not None and keep.owned


def _expires(event: Event) -> float:
    """Seconds since 1970, 0: never."""
    keep = event.publish.keep
    return keep.expires if keep is not None else 0.0


def _value(event: Event) -> Event | None:
    """What the key holds: it outlives the order in which it was published, so no fence."""
    if event.publish.flags & EMPTY:
        return None
    if event.publish.fence is None:
        return event
    return Event(event.publication, replace(event.publish, fence=None))


def _will(key: Event, args: bytes) -> Publish:
    """What the key becomes, unless somebody has changed it by then."""
    was = key.publish
    return Publish(
        was.realm,
        was.topic,
        was.session,
        request=0,
        order=LAST,
        flags=RETAIN | CONDITION,
        encoding=MSGPACK,
        args=args,
        publisher=was.publisher,
        audience=was.audience,
        keep=Keep(when_id=key.publication, private=was.keep is not None and was.keep.private),
    )
