"""The retained keys of all realms on this shard: how publishes, time and sessions change them.

Owns: a key's next value, its row, its expiry and its owner. Never: who is told of a change, and
when.

A change takes effect at once for later publishes. If its row must be stored first, the caller
delays telling others, and reports the end of the transaction (`committed`, `commit_failed`).
"""

from collections import deque
from collections.abc import Callable
from typing import final

from msgspec.structs import replace

from fox_shard.backplane.frames import (
    CONDITION,
    EMPTY,
    RETAIN,
    UNSEEN,
    Event,
    Publish,
    RetainOptions,
)
from fox_shard.config import Keys as Limits
from fox_shard.documents.merge_patch import merged
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK, NONE, encode
from fox_shard.errors import InvalidPayload, LimitExceeded, Refusal
from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.keys.change import DELETED, EXPIRED, WEAK, KeyChange
from fox_shard.shard.keys.conditions import conditions_hold, is_shown
from fox_shard.shard.keys.expiry import Expiry
from fox_shard.shard.keys.observer import KeyObserver, Nobody
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.keys.realm import Realm, Realms
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.keys.unseen import without_contents
from fox_shard.shard.rows import KeyRef
from fox_shard.store.journal import Journal
from fox_shard.topics.ids import MAX_ID
from fox_shard.topics.topic import in_sequence

EXPIRED_AT_ONCE = ENDED_AT_ONCE = 1000
"""The most keys that expire, or end with their sessions, in one step."""

WRITABLE = (JSON, MSGPACK, CBOR)
"""The encodings in which a patched document can be written."""

Ends = tuple[list[KeyChange], list[Publish]]
"""The changes of keys that were erased, and the wills of keys that are to be published."""


def _everything(publish: Publish) -> None:
    """Accept any publish."""


def _folded(ref: KeyRef, encoding: int, args: bytes, reduced: int) -> Publish:
    """Return the publish that gives a key the value that a reducer has made."""
    realm, topic = ref
    flags = RETAIN if args else RETAIN | EMPTY
    publish = Publish(realm, topic, 0, 0, 0, flags, encoding if args else NONE, args)
    publish.retain = RetainOptions(reduced=reduced)
    return publish


@final
class RetainedKeys:
    """The retained keys of one shard."""

    __slots__ = (
        "_changing",
        "_clock",
        "_ended_keys",
        "_expiry",
        "_journal",
        "_limits",
        "_max_message_size",
        "_pending_ends",
        "_unannounced",
        "_uncommitted_ends",
        "check",
        "check_value",
        "histories",
        "observer",
        "owners",
        "realms",
    )

    def __init__(
        self,
        realms: Realms,
        clock: PublicationClock,
        journal: Journal,
        unannounced: UnannouncedChanges,
        histories: Histories,
        limits: Limits,
        max_message_size: int,
    ) -> None:
        """histories: the recorded events, which commits and time concern just like keys.

        max_message_size: bytes of a patched key at most, as of a message.
        """
        self._limits = limits
        self._max_message_size = max_message_size
        self.realms = realms
        self.histories = histories
        self.observer: KeyObserver = Nobody()
        self._clock = clock
        self._journal = journal
        self._unannounced = unannounced
        # (ticket, realm, topic) of the changes in transactions that are not durable.
        self._changing: deque[tuple[int, Realm, str]] = deque()
        # (ticket, session, keys) of keys that ended with their sessions in transactions that are
        # not durable.
        self._uncommitted_ends: deque[tuple[int, int, list[KeyRef]]] = deque()
        # (session, keys) of ended sessions whose keys are still to end, the oldest first; and how
        # many keys have ended since the last `end_more`.
        self._pending_ends: deque[tuple[int, list[KeyRef]]] = deque()
        self._ended_keys = 0
        self._expiry = Expiry()
        self.owners = Owners()
        #: Raises a Refusal for a publish that is not valid; set by the shard.
        self.check: Callable[[Publish], None] = _everything
        #: Raises a Refusal for a value that a key must not have; set by the shard.
        self.check_value: Callable[[Publish], None] = _everything

    @property
    def keys_held(self) -> int:
        """The number of keys in all realms, less the server's own."""
        return sum(realm.keys.quota.count for realm in self.realms)

    def key(self, ref: KeyRef) -> Event | None:
        """Return the key's current value, durable or not; None: there is no such key."""
        return self.realms[ref[0]].keys.get(ref[1])

    def meets(self, publish: Publish) -> bool:
        """Whether the publish has no condition, or its topic's key meets the condition."""
        retain = publish.retain
        if retain is None:
            return True
        realm = self.realms[publish.realm]
        key = realm.keys.get(publish.topic)
        return conditions_hold(retain, key, publish.session, realm.document_of)

    # Publications

    def change(
        self, publish: Publish, gateway: str, incarnation: int, *, stored: bool
    ) -> Event | KeyChange:
        """Give the publish its id, and change its topic's key if the publish changes one.

        gateway, incarnation: the publisher's. stored: the change is written as a row of the present
        transaction. Returns the change, or the event if no key changed. Raises InvalidPayload,
        LimitExceeded, or what `check` raises; then nothing has changed.
        """
        retain = publish.retain
        if retain is None and not publish.flags & RETAIN:
            self.check(publish)
            self.histories.mark(publish)
            return Event(self._clock.next(), publish)
        if retain is not None and not publish.flags & EMPTY:
            self._check_owned(publish, retain)
        if retain is not None and retain.patch and not publish.flags & EMPTY:
            self._patch(publish)
        else:
            self.check(publish)
        self._check_quota(publish)
        event = Event(self._clock.next(), publish)
        if retain is not None:
            if retain.sequence:
                publish.topic = in_sequence(publish.topic, event.publication)
            publish.retain = self._retained_options(publish, retain, gateway, incarnation)
        self.histories.mark(publish)
        return self._change(event, stored=stored) if changes_key(publish) else event

    def _change(self, event: Event, *, stored: bool) -> KeyChange | Event:
        publish = event.publish
        realm = self.realms[publish.realm]
        keys, topic = realm.keys, publish.topic
        before, after = keys.get(topic), _value(event)
        realm.precede(topic)
        if stored:
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
        ref, publication = (realm.name, topic), event.publication
        change = KeyChange(ref, publication, event, before, after, removed, stored)
        if stored:
            self.observer.changed(realm, change)
            if realm.state_selectors or (realm.subscribers and change.computed):
                self._unannounced.add(change)
        return change

    def fold(
        self, ref: KeyRef, encoding: int, args: bytes, reduced: int, *, stored: bool
    ) -> KeyChange | None:
        """Give the key the value that a reducer has made; return the change; None: there is none.

        encoding, args: the value as the only argument; b"": the key is erased. reduced: the id of
        the event that was reduced. stored: the change is a row of the present transaction. The new
        value is kept for ever, and is shown to whom the old one was shown.
        """
        before = self.key(ref)
        publish = _folded(ref, encoding, args, reduced)
        if before is not None and not _is_private(before):
            publish.audience = before.publish.audience
        change = self._change(Event(self._clock.next(), publish), stored=stored)
        if isinstance(change, Event):
            return None
        change.event, change.reduced, change.uncommitted = None, reduced, stored
        return change

    def check_fold(self, ref: KeyRef, encoding: int, args: bytes, reduced: int) -> None:
        """Raise a Refusal if the key must not have a value that a reducer has made.

        The arguments are those of `fold`.
        """
        self.check_value(_folded(ref, encoding, args, reduced))

    def shown_to_reducers(self, ref: KeyRef) -> Event | None:
        """Return the key's value, unless it is another's private one."""
        key = self.key(ref)
        return None if key is None or _is_private(key) else key

    def _patch(self, publish: Publish) -> None:
        """Replace the publish's document by the key's, patched with it, and check the result.

        Raises InvalidPayload or LimitExceeded, or what `check` raises; with UNSEEN in the flags,
        without a word about what was stored.
        """
        try:
            self._merge(publish)
            self.check(publish)
        except Refusal as refusal:
            if not publish.flags & UNSEEN:
                raise
            raise without_contents(refusal) from None
        publish.flags &= ~UNSEEN

    def _merge(self, publish: Publish) -> None:
        """Replace the publish's document by the key's, patched with it (RFC 7386).

        Raises InvalidPayload if the publish has no document, or a payload cannot be read, and
        LimitExceeded if the result is larger than a message may be.
        """
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
        args, limit = encode([merged(target, patch)], {}, encoding)[0], self._max_message_size
        if len(args) + len(kwargs) > limit:
            raise LimitExceeded(
                f"the patched key would have {len(args) + len(kwargs)} bytes, and a message has at "
                f"most {limit} (gateway.max_message_size): the key is unchanged"
            ).beyond("max_message_size")
        publish.args, publish.encoding, publish.kwargs = args, encoding, kwargs

    def _check_owned(self, publish: Publish, retain: RetainOptions) -> None:
        """Raise LimitExceeded if the session would own too many keys."""
        if not (retain.weak or retain.will is not None):
            return
        limit, ref = self._limits.owned_per_session, (publish.realm, publish.topic)
        if not self.owners.has_room(publish.session, ref, limit):
            raise LimitExceeded(
                f"the session has {limit} keys at this shard that end with it, the most that it "
                "may have (keys.owned_per_session): erase some of them first"
            ).beyond("owned_per_session")

    def _check_quota(self, publish: Publish) -> None:
        """Raise LimitExceeded if the realm would have too many keys, or too large ones."""
        if not changes_key(publish):
            return
        keys, retain = self.realms[publish.realm].keys, publish.retain
        # The next key of a sequence is always a new one.
        sequence = retain is not None and retain.sequence
        keys.quota.check(publish, None if sequence else keys.get(publish.topic))

    def _retained_options(
        self, publish: Publish, retain: RetainOptions, gateway: str, incarnation: int
    ) -> RetainOptions | None:
        """Return the options that the key keeps: how it ends and who is shown it; None: none."""
        if publish.flags & EMPTY or not changes_key(publish):
            return None
        owned = retain.weak or retain.will is not None
        if not (retain.seconds or owned or retain.private):
            return None
        kept = RetainOptions(
            expires=self._clock.wall + retain.seconds if retain.seconds else 0.0,
            weak=retain.weak,
            will=retain.will,
            private=retain.private,
        )
        if owned:
            kept.gateway, kept.incarnation = gateway, incarnation
        self._plan(publish, kept)
        return kept

    def _plan(self, publish: Publish, retain: RetainOptions) -> None:
        """Note when the key expires, and with which session it ends."""
        ref = (publish.realm, publish.topic)
        if retain.expires:
            self._expiry.plan(ref, retain.expires)
        if retain.owned:
            self.owners.add(retain.gateway, retain.incarnation, publish.session, ref)

    def load(self, event: Event) -> None:
        """Take a key from the store; drop it if it expired while the shard was down."""
        publish = event.publish
        realm = self.realms[publish.realm]
        retain = publish.retain
        if not realm.stored:
            return
        ref = (realm.name, publish.topic)
        if (
            retain is not None
            and 0 < retain.expires <= self._clock.wall
            and not self.observer.keeps_expired(ref)
        ):
            self._journal.drop(rows.key(realm.name, publish.topic))
            self._unannounced.expired_while_down(ref, EXPIRED)
            return
        if retain is not None:
            self._plan(publish, retain)
        realm.keys.set(publish.topic, event)

    # Keys that end without a publish

    @property
    def next_expiry(self) -> float:
        """When `expire` or `end_more` is due, in seconds since 1970; 0: at once."""
        return 0.0 if self._pending_ends else min(self._expiry.next, self.histories.next_expiry)

    def expire(self, wall: float) -> list[KeyChange]:
        """Erase keys and trim history whose time is over, a limited number per call.

        wall: seconds since 1970.
        """
        self.histories.expire(wall)
        changes = []
        for ref in self._expiry.due(wall, EXPIRED_AT_ONCE):
            key = self.key(ref)
            expires = 0.0 if key is None else _expires(key)
            if key is not None and expires:
                if expires > wall:
                    self._expiry.plan(ref, expires)
                else:
                    changes.append(self.erase(ref, key, EXPIRED))
        return changes

    def erase(self, ref: KeyRef, key: Event, removed: str) -> KeyChange:
        """Erase the key without a publish, and return the change.

        key: its current value. removed: the reason, see `KeyChange`.
        """
        realm = self.realms[ref[0]]
        change = KeyChange(ref, self._clock.next(), None, key, None, removed)
        realm.precede(ref[1])
        if realm.keys.is_changing(ref[1]):
            # The key's latest value may still fail, so the removal has to wait for it.
            change.uncommitted = True
            ticket = self._journal.ticket
            realm.keys.change(ref[1], None, ticket)
            self._changing.append((ticket, realm, ref[1]))
            self._journal.put(rows.key(*ref), None)
        else:
            realm.keys.set(ref[1], None)
            self._disown(key, None)
            if realm.stored:
                self._journal.keep(rows.key(*ref), None)
        if realm.stored:
            self.observer.changed(realm, change)
            if realm.state_selectors:
                self._unannounced.add(change)
        return change

    def session_ended(self, session: int) -> Ends:
        """Erase the session's weak keys; return these changes, and the wills to be published.

        The number of keys per step is limited, over all sessions: the rest is left to `end_more`.
        """
        refs = self.owners.take(session)
        if not refs:
            return [], []
        self._pending_ends.append((session, refs[::-1]))
        return self._end_some()

    def end_more(self) -> Ends:
        """End more keys of ended sessions, a limited number per call."""
        self._ended_keys = 0
        return self._end_some()

    def _end_some(self) -> Ends:
        changes: list[KeyChange] = []
        wills: list[Publish] = []
        while self._pending_ends and self._ended_keys < ENDED_AT_ONCE:
            session, remaining = self._pending_ends[0]
            refs = [
                remaining.pop()
                for _ in range(min(len(remaining), ENDED_AT_ONCE - self._ended_keys))
            ]
            if not remaining:
                self._pending_ends.popleft()
            self._ended_keys += len(refs)
            self._uncommitted_ends.append((self._journal.ticket, session, refs))
            erased, willed = self._end(session, refs)
            changes += erased
            wills += willed
        return changes, wills

    def _end(self, session: int, refs: list[KeyRef]) -> Ends:
        """End those of the keys that the session still owns."""
        changes: list[KeyChange] = []
        wills: list[Publish] = []
        for ref in refs:
            key = self.key(ref)
            retain = None if key is None else key.publish.retain
            if key is None or retain is None or key.publish.session != session:
                continue
            if retain.will is not None and not retain.private:
                wills.append(_will(key, retain.will))
            elif retain.owned:
                # A private key is erased even if it has a will: nobody would be shown its value.
                changes.append(self.erase(ref, key, WEAK))
        return changes, wills

    def will_published(self, will: Publish) -> None:
        """Note that a delayed will is published in this transaction.

        If the commit fails, `commit_failed` returns the will again.
        """
        ref = (will.realm, will.topic)
        self._uncommitted_ends.append((self._journal.ticket, will.session, [ref]))

    def _disown(self, before: Event | None, after: Event | None) -> None:
        """Forget the owner of a durably replaced value, unless it owns the new value, too."""
        if before is None or not _is_owned(before):
            return
        publish = before.publish
        if after is None or after.publish.session != publish.session or not _is_owned(after):
            self.owners.discard(publish.session, (publish.realm, publish.topic))

    # The store

    def committed(self, ticket: int) -> None:
        """Take the changes of transactions up to that one as durable."""
        self.histories.committed(ticket)
        changing = self._changing
        while changing and changing[0][0] <= ticket:
            _, realm, topic = changing.popleft()
            before = realm.keys.durable_value(topic)
            realm.keys.committed(topic, ticket)
            self._disown(before, realm.keys.get(topic))
        while self._uncommitted_ends and self._uncommitted_ends[0][0] <= ticket:
            self._uncommitted_ends.popleft()

    def commit_failed(self) -> Ends:
        """Undo all transactions that are not durable: they have failed.

        Keys whose sessions have ended meanwhile end again: the result is that of `session_ended`.
        """
        self.histories.commit_failed()
        for _, realm, topic in self._changing:
            realm.keys.commit_failed(topic)
            key = realm.keys.get(topic)
            if key is not None and _expires(key):
                self._expiry.plan((realm.name, topic), _expires(key))
            self.observer.undone(realm, topic, key)
        self._changing.clear()
        self._unannounced.commit_failed()
        undone, self._uncommitted_ends = self._uncommitted_ends, deque()
        ends = [self._end(session, refs) for _, session, refs in undone]
        changes = [change for changes, _ in ends for change in changes]
        return changes, [will for _, wills in ends for will in wills]


def changes_key(publish: Publish) -> bool:
    """Whether the publish sets or erases its topic's key."""
    if not publish.flags & RETAIN:
        return False
    audience = publish.audience
    # An event that is limited to present sessions means nothing to later ones.
    return (
        audience is None
        or (audience.eligible is None and audience.exclude is None)
        or (publish.retain is not None and publish.retain.private)
    )


def _is_owned(event: Event) -> bool:
    """Whether the key ends with its publisher's session."""
    retain = event.publish.retain
    return retain is not None and retain.owned


def _is_private(event: Event) -> bool:
    """Whether only the publisher is shown the key."""
    retain = event.publish.retain
    return retain is not None and retain.private


def _expires(event: Event) -> float:
    """Return when the key expires, in seconds since 1970; 0: never."""
    retain = event.publish.retain
    return retain.expires if retain is not None else 0.0


def _value(event: Event) -> Event | None:
    """Return the key's value after the event; None: the event erases the key.

    The value has no fence, which concerns only the delivery of the event itself.
    """
    if event.publish.flags & EMPTY:
        return None
    if event.publish.fence is None:
        return event
    return Event(event.publication, replace(event.publish, fence=None))


def _will(key: Event, args: bytes) -> Publish:
    """Return the publish of a key's will, with the condition that the key has not changed."""
    value = key.publish
    return Publish(
        value.realm,
        value.topic,
        value.session,
        request=0,
        order=MAX_ID,
        flags=RETAIN | CONDITION,
        encoding=MSGPACK,
        args=args,
        publisher=value.publisher,
        audience=value.audience,
        retain=RetainOptions(when_id=key.publication),
    )
