"""Publishes that change the store, or depend on it.

Owns: what becomes of each: whether it has its effect, waits for its condition, or is refused;
whether that waits for the store; and what becomes of it if the commit fails. Never: what it makes
of a key (see `retained`); who waits for a key (see `conditional`); who is sent what (see `broker`).
"""

from typing import final

from msgspec.structs import replace

from fox_shard.backplane.frames import (
    CONDITION,
    RECORDED,
    RETAIN,
    TRACE,
    Again,
    Event,
    Frame,
    Publish,
    Refused,
)
from fox_shard.errors import InvalidPayload
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.histories import Archive
from fox_shard.shard.keys.change import Change
from fox_shard.shard.keys.conditions import is_shown
from fox_shard.shard.keys.retained import Retention, changes_key
from fox_shard.shard.keys.unannounced import Untold
from fox_shard.shard.links.deliveries import EVERYTHING
from fox_shard.shard.links.outcomes import HIDDEN, REFUSED, Ledger, condition_failed
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.commit_queue import Gate, Group
from fox_shard.shard.publishing.conditional import Turns
from fox_shard.shard.publishing.effects import (
    PLAIN,
    Effect,
    Granted,
    OfSession,
    Outcome,
    Parked,
    event_of,
)
from fox_shard.shard.publishing.grants import Grants
from fox_shard.shard.publishing.refusals import Refusals
from fox_shard.shard.publishing.resent import ResentPublishes
from fox_shard.shard.publishing.settled import SettledEvents
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.rows import Place, Waiter

OF_STORE = RETAIN | CONDITION | TRACE
"""Publishes that change a key, or depend on one, or are to be recorded."""

UNSTORED = "$"
"""Topics that begin with it are the server's own: it tells them again after a restart."""


@final
class Commits:
    """See the module."""

    __slots__ = (
        "_archive",
        "_broker",
        "_here",
        "_journal",
        "_ledger",
        "_realms",
        "_resent",
        "_retention",
        "_ruled",
        "_waiting",
        "_wills",
        "gate",
        "grants",
        "refusals",
        "settled",
        "turns",
    )

    def __init__(
        self,
        broker: Broker,
        retention: Retention,
        archive: Archive,
        clock: PublicationClock,
        ledger: Ledger,
        untold: Untold,
        peers: dict[str, Peer],
    ) -> None:
        """peers: all there are, by name."""
        self._broker = broker
        self._retention = retention
        self._realms = retention.realms
        self._archive = archive
        self._ruled = archive.ruled
        self._ledger = ledger
        self._journal = ledger.journal
        self.gate = Gate()
        self._waiting = self.gate.waiting
        self.turns = Turns(retention, clock, self.gate, ledger)
        self.grants = Grants(broker, peers, ledger.journal)
        self.refusals = Refusals()
        self.settled = SettledEvents(self.gate, ledger, untold)
        self._resent = ResentPublishes(broker, retention, archive, ledger, self.gate, self.refusals)
        # What keys are to become that could not be stored.
        self._wills: list[Publish] = []
        # Has everybody replayed?
        self._here = False

    # What becomes of a publish

    def is_plain(self, peer: Peer, publish: Publish) -> bool:
        """Has the publish nothing to do with the store, nor with what waits for it?

        Then `Broker.publish` is all there is to do. Asked for every publish, so it is quick, and
        may say no to a plain one: `publish` comes to the same.
        """
        return not (
            publish.flags & OF_STORE
            or self._waiting
            or peer.careful
            or (self._ruled and publish.realm in self._ruled and self._archive.wants(publish))
        )

    def is_stored(self, publish: Publish) -> bool:
        """Does the publish change a row of the store, or depend on one?"""
        return (
            (changes_key(publish) or publish.flags & CONDITION > 0 or self._archive.wants(publish))
            and self._realms[publish.realm].stored
            and not publish.topic.startswith(UNSTORED)
        )

    def publish(self, peer: Peer | None, publish: Publish, rseq: int, replies: list[Frame]) -> None:
        """As `Broker.publish`, for any publish. rseq: its reliable number, 0: none.

        peer: who has sent it, None: nobody, it is of a session that has gone. replies: gets what is
        to be answered when the batch has passed. What has to wait is held.
        """
        stored = self.is_stored(publish)
        # What comes from an outbox comes again if that is not recorded, whatever it is.
        from_outbox = rseq > 0 and peer is not None and peer.kind is Kind.COORDINATOR
        keep, failing = publish.keep, self._journal.failing
        watches = keep is not None and keep.watch and peer is not None
        met = self._retention.meets(publish)
        if (
            peer is not None
            and peer.careful
            and (stored or from_outbox)
            and self._ledger.is_recorded(peer, rseq)
        ):
            self._resent.answer(peer, publish, rseq, replies)
        elif not (met or watches):
            self._condition_failed(publish, rseq, replies, stored=stored)
        elif stored and failing:
            self._ledger.note(rseq, REFUSED)
            replies += self.refusals.unavailable(publish, failing)
        elif met or peer is None:
            recorded = stored or (from_outbox and not failing)
            try:
                effect = self._apply(peer, publish, rseq, replies, stored=stored, recorded=recorded)
            except InvalidPayload as error:
                replies += self.refusals.refuse(publish, error)
            else:
                if isinstance(effect, Change):
                    self._take_turns(effect.place)
        else:
            self.turns.park(peer, publish, rseq, stored=stored)

    def _condition_failed(
        self, publish: Publish, rseq: int, replies: list[Frame], *, stored: bool
    ) -> None:
        key = self._retention.key((publish.realm, publish.topic))
        present = 0 if key is None else key.publication
        if key is not None and not is_shown(key, publish.session):
            present = HIDDEN
        answers = self.refusals.condition_failed(publish, present)
        if not stored or self._journal.failing:
            replies += answers
            return
        # That it failed is recorded, too: what the publisher is told must stay true.
        self._ledger.note(rseq, condition_failed(present))
        self.gate.group(self._journal.ticket).effects.extend((answer, PLAIN) for answer in answers)

    def _apply(
        self,
        by: Peer | Waiter | None,
        publish: Publish,
        rseq: int,
        replies: list[Frame],
        *,
        stored: bool,
        recorded: bool,
    ) -> Event | Change:
        """Let a publish have its effect, which others hear of when nothing can undo it any more.

        by: who has sent it, or as what it has waited; None: nobody. rseq, replies: see `publish`.
        recorded: that it has its effect is in the present transaction; stored: the effect is, too.
        Raises InvalidPayload, and it has none.
        """
        if recorded:
            publish.flags |= RECORDED
        gateway, incarnation, waiter = _origin(by)
        effect = self._retention.change(publish, gateway, incarnation, stored=stored)
        event = event_of(effect)
        assert event is not None
        if recorded:
            ticket = self._journal.ticket
        else:
            # It does not overtake what waits for a commit.
            ticket = self.gate.ticket_of(publish.session, publish.realm, publish.topic)
        self._archive.record(event, ticket)
        granted = None if waiter is None else self.turns.grant(waiter, effect, stored=stored)
        if recorded and granted is None:
            self.settled.note(event.publication)
            self._ledger.note(rseq, event.publication)
        if ticket:
            self.gate.hold(ticket, granted or effect, rseq if recorded else PLAIN)
        elif granted is not None:
            self.turns.granted.append(granted)
        else:
            self._broker.tell(effect, replies)
        return effect

    # Those that wait

    def _take_turns(self, place: Place) -> None:
        """That key has another value, which may let somebody through, who may change it again."""
        waiter = self.turns.next(place)
        while waiter is not None and self._let_through(waiter):
            waiter = self.turns.next(place)

    def _let_through(self, waiter: Waiter) -> bool:
        """Returns whether that changes the key, or did not come about."""
        # A copy: if the commit fails, the publish waits again as it was.
        publish = replace(waiter.publish)
        stored = self.is_stored(publish)
        try:
            effect = self._apply(waiter, publish, 0, [], stored=stored, recorded=stored)
        except InvalidPayload as error:
            self.turns.refuse(waiter, error)
            return True
        return isinstance(effect, Change)

    def give_all(self) -> None:
        """Publishes were let through that depend on no commit: all of the batch is known now."""
        for granted in self.turns.take_granted():
            self._give(granted)

    def _give(self, granted: Granted) -> None:
        self.grants.give(granted)
        if granted.stored and granted.event is not None:
            self.settled.note(granted.event.publication)

    # Sessions end, time passes

    def session_left(self, session: int, replies: list[Frame]) -> None:
        """It waits for nothing any more, its weak keys go, its keys take the values it willed."""
        self.turns.session_left(session)
        self._end(*self._retention.session_left(session), replies)

    def expire(self, wall: float) -> None:
        """Erase the keys whose time has come, or whose sessions have left.

        wall: seconds since 1970.
        """
        for change in self._retention.expire(wall):
            self._went(change)
        # Sessions that have left had more keys than could go at once.
        self._end(*self._retention.end_more(), [])
        self.end_turn()

    def _end(self, changes: list[Change], wills: list[Publish], replies: list[Frame]) -> None:
        for change in changes:
            self._went(change)
        for will in wills:
            if self._journal.failing and self.is_stored(will):
                self._wills.append(will)
            else:
                self.publish(None, will, 0, replies)

    def _went(self, change: Change) -> None:
        """A key has gone by itself."""
        if change.unsettled:
            self.gate.hold(self._journal.ticket, change, 0)
        else:
            self._broker.tell(change, [])
        self._take_turns(change.place)

    def end_turn(self) -> None:
        """Of what happened in no batch: nobody asks how it ends."""
        self.give_all()
        self.gate.close()

    # The store

    def settle(self, ticket: int) -> list[Group]:
        """Transactions up to that one are durable. Returns what waited for them."""
        self._retention.settle(ticket)
        return self.gate.release(ticket)

    def finish(self, effect: Outcome | OfSession, replies: list[Frame]) -> OfSession | None:
        """What that has waited for is durable: whom it concerns hears of it.

        Returns it, if it is not of a publish, but of a session that must not overtake one.
        """
        match effect:
            case Event() | Change():
                self._broker.tell(effect, replies)
            case Again():
                assert isinstance(effect.event, Event)
                self._broker.send_again(effect.event, replies)
            case Refused():
                replies.append(effect)
            case Granted():
                self.turns.durable(effect)
                self._give(effect)
            case Parked():
                pass  # it waits, safely
            case _:
                return effect
        return None

    def everybody_is_here(self) -> None:
        """All have replayed: what has to do with keys goes on."""
        self._here = True
        self.turns.look_everywhere()
        if not self._journal.failing:
            self._go_on()
        self.end_turn()

    def go_on_if_possible(self) -> None:
        """The store works (again): do what was put off, unless it might be too early."""
        if self._here and (self._wills or self.turns.has_put_off):
            self._go_on()
            self.end_turn()

    def _go_on(self) -> None:
        wills, self._wills = self._wills, []
        for will in wills:
            self._retention.ends_now(will)
        self._end([], wills, [])
        for place in self.turns.take_put_off():
            self._take_turns(place)

    def undo(self, why: str) -> list[tuple[Group, list[Frame]]]:
        """All transactions that are not durable have failed.

        Returns what waited for them, of which only effects are left that did not depend on them,
        and the refusals of the others.
        """
        groups = self.gate.release(EVERYTHING)
        ends = self._retention.undo()
        undone = [(group, self._undo_group(group, why)) for group in groups]
        for waiter in self.turns.take_undone():
            self.turns.waiting.put_back(waiter)
            self._take_turns(waiter.place)
        self._end(*ends, [])
        self.end_turn()
        return undone

    def _undo_group(self, group: Group, why: str) -> list[Frame]:
        replies: list[Frame] = []
        remaining: list[Effect] = []
        rseqs: list[int] = []
        for effect, rseq in group.effects:
            if rseq == PLAIN or not self._undone(effect, why, replies):
                remaining.append((effect, rseq))
            elif rseq:
                rseqs.append(rseq)
        if rseqs and group.peer is not None:
            self._ledger.refused(group.peer.name, group.identity, rseqs)
        group.effects = remaining
        return replies

    def _undone(self, effect: object, why: str, replies: list[Frame]) -> bool:
        """Returns whether that effect depended on the commit; it is dealt with then."""
        if isinstance(effect, Granted):
            self.turns.undo(effect)
            return True
        if isinstance(effect, Parked):
            if self.turns.drop(effect.waiter):
                replies += self.refusals.unavailable(effect.waiter.publish, why)
            return True
        if isinstance(effect, Change) and effect.event is None:
            return True  # it ends again: see `Retention.undo`
        event = event_of(effect)
        if event is None or not self.is_stored(event.publish):
            return False
        replies += self.refusals.unavailable(event.publish, why)
        return True


def _origin(by: Peer | Waiter | None) -> tuple[str, int, Waiter | None]:
    """The gateway of a publish, its incarnation, and as what the publish has waited."""
    if isinstance(by, Peer):
        return by.name, by.link.peer_incarnation, None
    return ("", 0, None) if by is None else (by.gateway, by.incarnation, by)
