"""Handling: what the frames of a batch do, and which noun does it.

Owns: the way of a batch through broker, dealer and registrar, what of it waits for the store, and
who has to confirm what it caused. Never: peers' coming and going, time.
"""

from typing import final

from fox_shard.backplane.frames import (
    CONDITION,
    RETAIN,
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
    Publish,
    Refused,
    Register,
    Settled,
    Subscribe,
    Unregister,
    Unsubscribe,
    Will,
    Yield,
)
from fox_shard.shard.broker import Broker
from fox_shard.shard.commits import Commits
from fox_shard.shard.dealer import Dealer
from fox_shard.shard.gate import Gate, Group, OfSession
from fox_shard.shard.ledger import Ledger
from fox_shard.shard.passing import EVERYTHING, Touched
from fox_shard.shard.peer import Arrival, Peer
from fox_shard.shard.registrar import Registrar
from fox_shard.shard.wills import Wills

OF_KEYS = RETAIN | CONDITION
"""Publishes that change a key, or depend on one."""


@final
class Handling:
    """See the module."""

    __slots__ = (
        "_asks",
        "_broker",
        "_dealer",
        "_gate",
        "_journal",
        "_ledger",
        "_peers",
        "_registrar",
        "_wills",
        "commits",
    )

    def __init__(
        self,
        peers: dict[str, Peer],
        broker: Broker,
        dealer: Dealer,
        registrar: Registrar,
        wills: Wills,
        ledger: Ledger,
    ) -> None:
        """peers: all there are, by name."""
        self._peers = peers
        self._broker = broker
        self._dealer = dealer
        self._registrar = registrar
        self._wills = wills
        self._ledger = ledger
        self._journal = ledger.journal
        self._gate = Gate()
        self.commits = Commits(broker, self._gate, ledger, self._journal)
        # Of the batch that is being handled.
        self._asks: list[Ask] = []

    def handle(self, peer: Peer, arrival: Arrival, now: float) -> list[Ask]:
        """Returns the questions in it: now that all of the batch is known, they may be about it."""
        marks = self._marks(peer)
        replies: list[Frame] = []
        publish = self._broker.publish
        gate = self._gate
        for index, frame in enumerate(arrival.frames):
            if type(frame) is Publish:
                if frame.flags & OF_KEYS or gate.active or peer.careful:
                    self.commits.publish(peer, frame, arrival.rseq(index), replies)
                else:
                    publish(frame, replies)
            elif not (gate.active and isinstance(frame, OfSession) and gate.holds_up(peer, frame)):
                self._dispatch(peer, frame, replies, now)
        if arrival.durable:
            peer.applied = arrival.durable
            self._ledger.close(peer, arrival.durable)
        groups = gate.close()
        touched = self._touched(marks)
        waiting = sum(group.has_effects for group in groups)
        entry = peer.passing.close(
            arrival.last, arrival.durable, replies, touched, len(groups), waiting
        )
        for group in groups:
            group.entry = entry
        asks, self._asks = self._asks, []
        return asks

    def replay(self, peer: Peer, state: list[Frame], now: float) -> None:
        """What the peer tells again; nothing of it waits for anybody."""
        replies: list[Frame] = []
        for frame in state:
            self._dispatch(peer, frame, replies, now)
        for reply in replies:
            peer.reply(reply)

    def _marks(self, origin: Peer) -> list[tuple[Peer, int]]:
        """Where the links to all others are, before something is sent that `origin` caused."""
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
                self._broker.subscribe(peer, frame)
            case Unsubscribe():
                self._broker.unsubscribe(peer, frame)
            case Ask():
                self._asks.append(frame)
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
        if self._broker.session_left(leave.session):
            # Its keys are not to be found again after a restart, when the gateway does not tell any
            # more that it has left. (A will may be: see `Wills.told_again`.)
            self._gate.group(self._journal.ticket, peer).kept = True
        if will is not None and not leave.graceful:
            self.commits.publish(peer, will, 0, replies)

    def publish_will(self, peer: Peer, session: int) -> None:
        """That gateway has gone, and its session with it."""
        will = self._wills.drop(session)
        if will is not None:
            self.commits.publish(peer, will, 0, [])
            self._gate.close()

    def say_what_is_settled(self, peer: Peer) -> None:
        """A gateway hears of what it has not missed, if that is news."""
        if self.commits.last <= peer.settled:
            return
        unsettled = [one for one in (self._gate.lowest, self._ledger.lowest) if one is not None]
        peer.settled = min(unsettled) - 1 if unsettled else self.commits.last
        peer.reply(Settled(peer.settled))

    def forget(self, peer: Peer) -> None:
        """The pair with that peer has ended; see `Gate.forget`."""
        self._gate.forget(peer)

    # The store

    def durable(self, ticket: int, now: float) -> None:
        """Transactions up to that one are: what waited for them has its effects."""
        self._broker.settle(ticket)
        for group in self._gate.release(ticket):
            self._release(group, [], now)

    def failed(self, why: str, now: float) -> None:
        """All that are not durable have failed: undo them, and refuse who caused them."""
        self._broker.undo()
        for group in self._gate.release(EVERYTHING):
            replies: list[Frame] = []
            group.effects = self.commits.failed(group, why, replies)
            if group.kept:
                self._gate.group(self._journal.ticket, group.peer).kept = True
            self._release(group, replies, now)

    def _release(self, group: Group, replies: list[Frame], now: float) -> None:
        peer, entry = group.peer, group.entry
        marks = self._marks(peer)
        for frame, _ in group.effects:
            if isinstance(frame, Event):
                self._broker.send(frame, replies)
            elif isinstance(frame, Again):
                self._broker.send_again(frame.event, replies)
            elif isinstance(frame, Refused):
                replies.append(frame)
            else:
                self._dispatch(peer, frame, replies, now)
        # What is kept waits for the retry; a session that has left has a will, perhaps.
        again = self._gate.close()
        touched = self._touched(marks)
        if entry is not None:
            entry.parts += len(again)
            entry.unreached += sum(later.has_effects for later in again)
            for later in again:
                later.entry = entry
            peer.passing.release(entry, replies, touched, reached=group.has_effects)
