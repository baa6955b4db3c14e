"""Taking turns at keys: publishes with `watch` wait until their conditions hold.

Owns: that a publish waits, whom a change of a key lets through, and that both are stored. Never:
the order of those who wait (see `wait_queues`); what a publish does then (see `stored`).

Each change of a key that makes a condition hold lets one publish through, the first of those who
wait for it. Letting it through may change the key again. What cannot be stored now, or might be too
early because not everybody has replayed, is put off: then the keys are looked at once more.
"""

from typing import final

from fox_shard.backplane.frames import Event, Publish
from fox_shard.errors import Refusal
from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.change import Change
from fox_shard.shard.keys.retained import Retention
from fox_shard.shard.keys.wait_queues import Waiting
from fox_shard.shard.links.outcomes import PARKED, Ledger
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.commit_queue import Gate
from fox_shard.shard.publishing.effects import Granted, Parked
from fox_shard.shard.rows import Place, Waiter


@final
class Turns:
    """See the module."""

    __slots__ = (
        "_clock",
        "_gate",
        "_journal",
        "_ledger",
        "_owners",
        "_put_off",
        "_realms",
        "_taken",
        "_undone",
        "granted",
        "waiting",
    )

    def __init__(
        self, retention: Retention, clock: PublicationClock, gate: Gate, ledger: Ledger
    ) -> None:
        self._realms = retention.realms
        self._owners = retention.owners
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
        self._owners.add(waiter.gateway, waiter.incarnation, session, None)

    def session_left(self, session: int) -> None:
        """Nothing of that session waits any more."""
        taken = self._taken.pop(session, {})
        for waiter in [*self.waiting.session_left(session), *taken.values()]:
            self._journal.keep(rows.waiter(waiter.arrival), None)

    def drop(self, waiter: Waiter) -> bool:
        """It cannot wait after all. Returns whether it did, or was let through."""
        return self._forget_taken(waiter) or self.waiting.remove(waiter)

    # Letting through

    def next(self, place: Place) -> Waiter | None:
        """That key has another value: whose turn is it? None: nobody's, or it is put off."""
        if self._put_off is not None or self._journal.failing:
            self._put_off = self._put_off or {}
            self._put_off[place] = None
            return None
        realm = self._realms[place[0]]
        return self.waiting.take(place, realm.keys.get(place[1]), headers=realm.headers)

    def grant(self, waiter: Waiter, effect: Event | Change, *, stored: bool) -> Granted:
        """It has its effect. stored: in the present transaction."""
        granted = Granted(waiter, effect, stored)
        if stored:
            event = granted.event
            assert event is not None
            self._taken.setdefault(waiter.publish.session, {})[waiter.arrival] = waiter
            row = rows.GrantRow(waiter.gateway, waiter.incarnation, event)
            self._journal.put(rows.waiter(waiter.arrival), None)
            self._journal.put(rows.grant(event.publication), rows.encode(row))
        return granted

    def refuse(self, waiter: Waiter, error: Refusal) -> None:
        """It cannot have its effect."""
        self._journal.keep(rows.waiter(waiter.arrival), None)
        self.granted.append(Granted(waiter, error, stored=False))

    def take_granted(self) -> list[Granted]:
        """To be sent now."""
        granted, self.granted = self.granted, []
        return granted

    def durable(self, granted: Granted) -> None:
        """It will not be undone."""
        self._forget_taken(granted.waiter)

    def undo(self, granted: Granted) -> None:
        """It has failed: it waits again (see `take_undone`), unless its session has left."""
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

    def take_undone(self) -> list[Waiter]:
        """All has been undone that failed together: those that wait again, the last one first."""
        undone, self._undone = self._undone, []
        return undone[::-1]

    # What was put off

    @property
    def has_put_off(self) -> bool:
        """Are there keys to be looked at when the store works and everybody is here?"""
        return self._put_off is not None

    def take_put_off(self) -> dict[Place, None]:
        """The keys that have changed meanwhile."""
        places, self._put_off = self._put_off or {}, None
        return places

    def look_everywhere(self) -> None:
        """Keys may have gone while nobody looked: they are put off, too."""
        self._put_off = {**(self._put_off or {}), **dict.fromkeys(self.waiting.places)}
