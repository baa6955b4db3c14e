"""Taking turns at keys: publishes with `watch` wait until their conditions hold.

Owns: when a publish begins to wait, whom a change of a key lets through, and that both are stored.
Never: the order of those who wait (see `waiting`); who is told (see `handling`).

Each change of a key that makes a condition hold lets one publish through, the first of those who
wait for it. Letting it through may change the key again. What cannot be stored now, or might be too
early because not everybody has replayed, is put off: then the keys are looked at once more.
"""

from typing import final

from msgspec.structs import replace

from fox_shard.backplane.frames import RECORDED, Publish
from fox_shard.errors import InvalidPayload
from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.change import Change
from fox_shard.shard.keys.retained import Retention
from fox_shard.shard.keys.wait_queues import Waiting
from fox_shard.shard.links.outcomes import PARKED, Ledger
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.commit_queue import PLAIN, Gate, Granted, Parked
from fox_shard.shard.rows import Place, Waiter


@final
class Turns:
    """See the module."""

    __slots__ = (
        "_clock",
        "_gate",
        "_journal",
        "_ledger",
        "_put_off",
        "_retention",
        "_taken",
        "_undone",
        "granted",
        "waiting",
    )

    def __init__(
        self, retention: Retention, clock: PublicationClock, gate: Gate, ledger: Ledger
    ) -> None:
        self._retention = retention
        self._clock = clock
        self._gate = gate
        self._ledger = ledger
        self._journal = ledger.journal
        self.waiting = Waiting()
        # Keys to be looked at later; None: nothing is put off.
        self._put_off: dict[Place, None] | None = {}
        # Let through in transactions that are not durable, by session and arrival; and what of that
        # has failed.
        self._taken: dict[int, dict[int, Waiter]] = {}
        self._undone: list[Waiter] = []
        # Those that depend on no commit: to be sent at once.
        self.granted: list[Granted] = []

    # Waiting

    def park(self, peer: Peer, publish: Publish, rseq: int, *, stored: bool) -> None:
        """Let it wait. Nothing else of its session waits with it, and its batch passes.

        rseq: its reliable number. stored: it depends on a row.
        """
        publish.fence = None
        waiter = Waiter(self._clock.next(), peer.name, peer.link.peer_incarnation, publish)
        self.load(waiter)
        if stored:
            self._journal.put(rows.waiter(waiter.arrival), rows.encode(waiter))
            self._ledger.note(rseq, PARKED)
            self._gate.group(self._journal.ticket).effects.append((Parked(waiter), rseq))

    def load(self, waiter: Waiter) -> None:
        """It waits from now on. From the store: in the order of arrival."""
        self.waiting.add(waiter)
        session = waiter.publish.session
        self._retention.owners.add(waiter.gateway, waiter.incarnation, session, None)

    def session_left(self, session: int) -> None:
        """Nothing of that session waits any more."""
        taken = self._taken.pop(session, {})
        for waiter in [*self.waiting.session_left(session), *taken.values()]:
            self._journal.keep(rows.waiter(waiter.arrival), None)

    def drop(self, waiter: Waiter) -> bool:
        """It cannot wait after all. Returns whether it did, or was let through."""
        return self._forget_taken(waiter) or self.waiting.remove(waiter)

    # Letting through

    def changed(self, place: Place) -> None:
        """That key has another value: whose turn is it?"""
        if self._put_off is not None or self._journal.failing:
            self._put_off = self._put_off or {}
            self._put_off[place] = None
            return
        realm = self._retention.realms[place[0]]
        changes = True
        while changes:
            key = realm.keys.get(place[1])
            waiter = self.waiting.take(place, key, headers=realm.headers)
            changes = waiter is not None and self._grant(waiter)

    def _grant(self, waiter: Waiter) -> bool:
        """Returns whether that changes the key, or did not come about."""
        stored = self._retention.is_stored(waiter.publish)
        # A copy: if the commit fails, the publish waits again as it was.
        publish = replace(waiter.publish)
        if stored:
            publish.flags |= RECORDED
        try:
            effect = self._retention.change(publish, waiter.gateway, waiter.incarnation)
        except InvalidPayload as error:
            self._journal.keep(rows.waiter(waiter.arrival), None)
            self.granted.append(Granted(waiter, error))
            return True
        granted = Granted(waiter, effect)
        event = granted.event
        assert event is not None
        ticket = self._gate.ticket_of(publish.session, publish.realm, publish.topic)
        self._retention.archive.record(event, self._journal.ticket if stored else ticket)
        if stored:
            self._taken.setdefault(publish.session, {})[waiter.arrival] = waiter
            row = rows.GrantRow(waiter.gateway, waiter.incarnation, event)
            self._journal.put(rows.waiter(waiter.arrival), None)
            self._journal.put(rows.grant(event.publication), rows.encode(row))
            self._gate.hold(self._journal.ticket, granted, 0)
        elif ticket:
            self._gate.hold(ticket, granted, PLAIN)
        else:
            self.granted.append(granted)
        return isinstance(effect, Change)

    def take_granted(self) -> list[Granted]:
        """To be sent now."""
        granted, self.granted = self.granted, []
        return granted

    def durable(self, granted: Granted) -> None:
        """It will not be undone."""
        self._forget_taken(granted.waiter)

    def undo(self, granted: Granted) -> None:
        """It has failed: it waits again (see `undone`), unless its session has left."""
        if self._forget_taken(granted.waiter):
            self._undone.append(granted.waiter)

    def _forget_taken(self, waiter: Waiter) -> bool:
        """Returns whether it was let through, and its session has not left since then."""
        session = waiter.publish.session
        taken = self._taken.get(session, {})
        was = taken.pop(waiter.arrival, None) is not None
        if was and not taken:
            del self._taken[session]
        return was

    def undone(self) -> None:
        """All has been undone that failed together."""
        undone, self._undone = self._undone, []
        for waiter in reversed(undone):
            self.waiting.put_back(waiter)
            self.changed(waiter.place)

    # What was put off

    @property
    def has_put_off(self) -> bool:
        """Is `go_on` due when the store works and everybody is here?"""
        return self._put_off is not None

    def go_on(self) -> None:
        """Look at the keys that have changed meanwhile."""
        places, self._put_off = self._put_off or {}, None
        for place in places:
            self.changed(place)

    def look_everywhere(self) -> None:
        """Keys may have gone while nobody looked: look at them in `go_on`."""
        self._put_off = {**(self._put_off or {}), **dict.fromkeys(self.waiting.places)}
