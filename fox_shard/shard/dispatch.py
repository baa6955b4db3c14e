"""Handling: what the frames of a batch do, and which noun does it.

Owns: the way of a batch through broker, dealer and registrar, what of it waits for the store, and
who has to confirm what it caused. Never: peers' coming and going, time.
"""

from functools import partial
from typing import final

from fox_shard.backplane.frames import (
    CONDITION,
    RETAIN,
    TRACE,
    Again,
    Announce,
    Ask,
    Call,
    Cancel,
    Event,
    Failed,
    Forward,
    Frame,
    Leave,
    More,
    Present,
    Publish,
    Recall,
    Refused,
    Register,
    Settled,
    Subscribe,
    Unregister,
    Unsubscribe,
    Will,
    Yield,
)
from fox_shard.backplane.refusals import refused
from fox_shard.errors import Refusal
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.change import Change
from fox_shard.shard.keys.retained import Retention
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.deliveries import EVERYTHING, Touched
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.outcomes import Ledger
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.commit_queue import (
    Gate,
    Granted,
    Group,
    HeldEffect,
    OfSession,
    Parked,
)
from fox_shard.shard.publishing.conditional import Turns
from fox_shard.shard.publishing.grants import Grants
from fox_shard.shard.publishing.stored import Commits
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.rows import GrantRow
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.registrar import Registrar
from fox_shard.shard.sessions.wills import Wills

OF_STORE = RETAIN | CONDITION | TRACE
"""Publishes that change a key, or depend on one, or are to be recorded."""


@final
class Handling:
    """See the module."""

    __slots__ = (
        "_broker",
        "_dealer",
        "_fences",
        "_gate",
        "_here",
        "_journal",
        "_ledger",
        "_peers",
        "_registrar",
        "_retention",
        "_subscriptions",
        "_wills",
        "commits",
        "grants",
        "turns",
    )

    def __init__(
        self,
        peers: dict[str, Peer],
        broker: Broker,
        subscriptions: Subscriptions,
        retention: Retention,
        clock: PublicationClock,
        dealer: Dealer,
        registrar: Registrar,
        wills: Wills,
        ledger: Ledger,
        fences: Fences,
    ) -> None:
        """peers: all there are, by name."""
        self._peers = peers
        self._broker = broker
        self._subscriptions = subscriptions
        self._retention = retention
        self._dealer = dealer
        self._registrar = registrar
        self._wills = wills
        self._ledger = ledger
        self._fences = fences
        self._journal = ledger.journal
        self._gate = Gate()
        self.turns = Turns(retention, clock, self._gate, ledger)
        self.commits = Commits(broker, retention, self.turns, self._gate, ledger)
        self.grants = Grants(self._journal)
        # Is everybody here?
        self._here = False

    def handle(self, peer: Peer, arrival: Arrival, now: float) -> None:
        """Do what the frames of a batch say."""
        marks = self._marks(peer)
        replies: list[Frame] = []
        ruled, wants = self._retention.archive.ruled, self._retention.archive.wants
        publish = self._broker.publish
        gate = self._gate
        gate.peer = peer
        for index, frame in enumerate(arrival.frames):
            if type(frame) is Publish:
                if (
                    frame.flags & OF_STORE
                    or gate.active
                    or peer.careful
                    or (ruled and frame.realm in ruled and wants(frame))
                ):
                    self.commits.publish(peer, frame, arrival.rseq(index), replies)
                else:
                    publish(frame, replies)
            elif not (gate.active and isinstance(frame, OfSession) and gate.holds_up(frame)):
                self._dispatch(peer, frame, replies, now)
        if arrival.durable:
            peer.applied = arrival.durable
            self._ledger.close(peer, arrival.durable)
        self._give_all()
        groups = gate.close()
        touched = self._touched(marks)
        entry = peer.passing.close(arrival.last, arrival.durable, replies, touched, len(groups))
        for group in groups:
            group.entry = entry
        self._fences.close()

    def replay(self, peer: Peer, state: list[Frame], now: float) -> None:
        """What the peer tells again; nothing of it waits for anybody."""
        replies: list[Frame] = []
        for frame in state:
            self._dispatch(peer, frame, replies, now)
        for reply in replies:
            peer.reply(reply)

    def _marks(self, origin: Peer | None) -> list[tuple[Peer, int]]:
        """Where the links to all others are, before something is sent that `origin` caused.

        None: nobody has.
        """
        return [(peer, peer.link.last) for peer in self._peers.values() if peer is not origin]

    def _touched(self, marks: list[tuple[Peer, int]]) -> Touched:
        """Who got something since then, and has to confirm it."""
        return [
            (peer.passing, peer.link.last)
            for peer, mark in marks
            if peer.link.last > mark and (peer.link.open or self._await_return(peer, mark))
        ]

    @staticmethod
    def _await_return(peer: Peer, mark: int) -> bool:
        """Keep what is reliable for a gateway that may come back; returns whether it is any.

        mark: what it was sent before.
        """
        peer.link.keep_reliable(mark)
        return peer.link.last > mark

    def _dispatch(self, peer: Peer, frame: Frame, replies: list[Frame], now: float) -> None:  # noqa: C901, PLR0915 - a table
        match frame:
            case Call():
                self._dealer.call(peer, frame, now)
            case Yield():
                self._dealer.yielded(frame)
            case Failed():
                self._dealer.failed(frame)
            case Subscribe():
                if frame.token and peer.synced:
                    self.say_what_is_settled(peer)
                self._subscriptions.subscribe(peer, frame)
            case More():
                self._subscriptions.more(peer, frame)
            case Unsubscribe():
                self._subscriptions.unsubscribe(peer, frame)
            case Recall():
                peer.reply(self._retention.archive.recall(frame))
            case Ask():
                self._fences.ask(peer, frame)
            case Forward():
                self._dealer.forwarded(frame, now)
            case Cancel():
                self._dealer.cancel(frame)
            case Register():
                self._registrar.register(peer, frame, replies)
            case Unregister():
                self._registrar.unregister(frame, replies)
            case Announce():
                self._registrar.announced(frame)
            case Present():
                self._retention.owners.present(peer.name, frame.session)
            case Will():
                self._wills.keep(peer, frame.publish)
            case Leave():
                self._left(peer, frame, replies)
            case _:
                raise TypeError(f"{peer.name} sent a {type(frame).__name__} to a shard")

    def _left(self, peer: Peer, leave: Leave, replies: list[Frame]) -> None:
        self._dealer.caller_left(leave.session)
        self._registrar.session_left(leave.session)
        will = self._wills.drop(leave.session)
        self.commits.session_left(leave.session, replies)
        if will is not None and not leave.graceful:
            self.commits.publish(peer, will, 0, replies)

    def session_gone(self, session: int) -> None:
        """It has ended with its gateway, or while this shard was down. Nobody asks about it."""
        will = self._wills.drop(session)
        self.commits.session_left(session, [])
        if will is not None:
            self.commits.publish(None, will, 0, [])
        self._end_turn()

    def expire(self, wall: float) -> None:
        """Erase the keys whose time has come, or whose sessions have left."""
        for change in self._retention.expire(wall):
            self.commits.went(change)
        self.commits.end_more()
        self._end_turn()

    def everybody_is_here(self) -> None:
        """All have replayed: what has to do with keys goes on."""
        self._here = True
        self.turns.look_everywhere()
        if not self._journal.failing:
            self.commits.go_on()
        self._end_turn()

    def _end_turn(self) -> None:
        """Of what happened in no batch."""
        self._give_all()
        self._gate.close()

    def say_what_is_settled(self, peer: Peer) -> None:
        """A gateway hears of what it has not missed, if that is news."""
        if self.commits.last <= peer.settled:
            return
        lowest = (self._gate.lowest, self._ledger.lowest, self._broker.lowest_untold)
        unsettled = [one for one in lowest if one is not None]
        peer.settled = min(unsettled) - 1 if unsettled else self.commits.last
        peer.reply(Settled(peer.settled))

    def forget(self, peer: Peer) -> None:
        """The pair with that peer has ended; see `Gate.forget`. It asks for replays again."""
        self._gate.forget(peer)
        self._subscriptions.end_replays(peer)

    # The store

    def durable(self, ticket: int, now: float) -> None:
        """Transactions up to that one are: what waited for them has its effects."""
        self._retention.settle(ticket)
        for group in self._gate.release(ticket):
            self._release(group, [], now)
        if self.commits.has_put_off and self._here:
            self.commits.go_on()
            self._end_turn()

    def failed(self, why: str, now: float) -> None:
        """All that are not durable have failed: undo them, and refuse who caused them."""
        groups = self._gate.release(EVERYTHING)
        refusals = self.commits.undo(groups, why)
        self._end_turn()
        for group, replies in zip(groups, refusals, strict=True):
            self._release(group, replies, now)

    def _release(self, group: Group, replies: list[Frame], now: float) -> None:
        peer, entry = group.peer, group.entry
        marks = self._marks(peer)
        self._gate.peer = peer
        for effect, _ in group.effects:
            self._perform(effect, peer, replies, now)
        self._give_all()
        # A session that has left has a will, perhaps.
        again = self._gate.close()
        touched = self._touched(marks)
        if entry is not None and peer is not None:
            entry.parts += len(again)
            entry.unreached += len(again)
            for later in again:
                later.entry = entry
            peer.passing.release(entry, replies, touched)

    def _perform(
        self, effect: HeldEffect, peer: Peer | None, replies: list[Frame], now: float
    ) -> None:
        match effect:
            case Event() | Change():
                self._broker.tell(effect, replies)
            case Again(event=Event() as event):
                self._broker.send_again(event, replies)
            case Refused():
                replies.append(effect)
            case Granted():
                self.turns.durable(effect)
                self._give(effect)
            case Parked():
                pass  # it waits, safely
            case _ if peer is not None:
                self._dispatch(peer, effect, replies, now)

    # Publishes that have waited

    def _give_all(self) -> None:
        for granted in self.turns.take_granted():
            self._give(granted)

    def _give(self, granted: Granted) -> None:
        """Send the event; its publisher hears of it when that has passed, as of any other."""
        waiter, effect = granted.waiter, granted.effect
        peer = self._peers[waiter.gateway]
        replies: list[Frame] = []
        marks = self._marks(peer)
        event = granted.event
        stored = event is not None and self._retention.is_stored(event.publish)
        if isinstance(effect, Refusal):
            publish = waiter.publish
            replies.append(refused(Publish, publish.session, publish.request, effect))
        else:
            self._broker.tell(effect, replies)
            if stored:
                self.commits.note(effect)

        def told() -> None:
            if event is not None and stored:
                self.grants.told(peer, event.publication)

        peer.passing.aside(replies, self._touched(marks), told)

    def give_again(self, before: int) -> None:
        """Send what was let through before the restart, up to that publication id."""
        for row in self.grants.take_loaded(before):
            self._give_again(row)

    def _give_again(self, row: GrantRow) -> None:
        peer, publication = self._peers[row.gateway], row.event.publication
        replies: list[Frame] = []
        marks = self._marks(peer)
        self._broker.send_again(row.event, replies)
        if row.incarnation != peer.incarnation:
            replies.clear()  # its session has gone
        told = partial(self.grants.told, peer, publication)
        peer.passing.aside(replies, self._touched(marks), told)
