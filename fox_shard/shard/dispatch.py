"""Handling: what the frames of a batch do, and which noun does it.

Owns: the way of a batch through its nouns, and who has to confirm what it caused. Never: what
becomes of a publish (see `stored`); peers' coming and going, time.
"""

from typing import final

from fox_shard.backplane.frames import (
    Announce,
    Ask,
    Call,
    Cancel,
    Failed,
    Forward,
    Frame,
    Leave,
    More,
    Present,
    Publish,
    Recall,
    Register,
    Subscribe,
    Unregister,
    Unsubscribe,
    Will,
    Yield,
)
from fox_shard.shard.history.histories import Archive
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.outcomes import Ledger
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.links.touched import marks, touched
from fox_shard.shard.publishing.commit_queue import Group
from fox_shard.shard.publishing.effects import OfSession
from fox_shard.shard.publishing.stored import Commits
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.registrar import Registrar
from fox_shard.shard.sessions.wills import Wills


@final
class Handling:
    """See the module."""

    __slots__ = (
        "_archive",
        "_broker",
        "_commits",
        "_dealer",
        "_fences",
        "_gate",
        "_ledger",
        "_owners",
        "_peers",
        "_registrar",
        "_subscriptions",
        "_wills",
    )

    def __init__(
        self,
        peers: dict[str, Peer],
        broker: Broker,
        subscriptions: Subscriptions,
        commits: Commits,
        owners: Owners,
        archive: Archive,
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
        self._commits = commits
        self._gate = commits.gate
        self._owners = owners
        self._archive = archive
        self._dealer = dealer
        self._registrar = registrar
        self._wills = wills
        self._ledger = ledger
        self._fences = fences

    def handle(self, peer: Peer, arrival: Arrival, now: float) -> None:
        """Do what the frames of a batch say."""
        since = marks(self._peers.values(), peer)
        replies: list[Frame] = []
        is_plain, publish = self._commits.is_plain, self._broker.publish
        gate = self._gate
        gate.peer = peer
        for index, frame in enumerate(arrival.frames):
            if type(frame) is Publish:
                # Whether the store has to do with it is for `Commits` alone to say.
                if is_plain(peer, frame):
                    publish(frame, replies)
                else:
                    self._commits.publish(peer, frame, arrival.rseq(index), replies)
            elif not (gate.active and isinstance(frame, OfSession) and gate.holds_up(frame)):
                self._dispatch(peer, frame, replies, now)
        if arrival.durable:
            peer.applied = arrival.durable
            self._ledger.close(peer, arrival.durable)
        self._commits.give_all()
        groups = gate.close()
        reached = touched(since)
        entry = peer.passing.close(arrival.last, arrival.durable, replies, reached, len(groups))
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
                    self._commits.settled.say(peer)
                self._subscriptions.subscribe(peer, frame)
            case More():
                self._subscriptions.more(peer, frame)
            case Unsubscribe():
                self._subscriptions.unsubscribe(peer, frame)
            case Recall():
                peer.reply(self._archive.recall(frame))
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
                self._owners.present(peer.name, frame.session)
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
        self._commits.session_left(leave.session, replies)
        if will is not None and not leave.graceful:
            self._commits.publish(peer, will, 0, replies)

    def session_gone(self, session: int) -> None:
        """It has ended with its gateway, or while this shard was down. Nobody asks about it."""
        will = self._wills.drop(session)
        self._commits.session_left(session, [])
        if will is not None:
            self._commits.publish(None, will, 0, [])
        self._commits.end_turn()

    def forget(self, peer: Peer) -> None:
        """The pair with that peer has ended; see `Gate.forget`. It asks for replays again."""
        self._gate.forget(peer)
        self._subscriptions.end_replays(peer)

    # The store

    def durable(self, ticket: int, now: float) -> None:
        """Transactions up to that one are: what waited for them has its effects."""
        for group in self._commits.settle(ticket):
            self._release(group, [], now)
        self._commits.go_on_if_possible()

    def failed(self, why: str, now: float) -> None:
        """All that are not durable have failed: undo them, and refuse who caused them."""
        for group, replies in self._commits.undo(why):
            self._release(group, replies, now)

    def _release(self, group: Group, replies: list[Frame], now: float) -> None:
        peer, entry = group.peer, group.entry
        since = marks(self._peers.values(), peer)
        self._gate.peer = peer
        for effect, _ in group.effects:
            frame = self._commits.finish(effect, replies)
            if frame is not None and peer is not None:
                self._dispatch(peer, frame, replies, now)
        self._commits.give_all()
        # A session that has left has a will, perhaps.
        again = self._gate.close()
        reached = touched(since)
        if entry is not None and peer is not None:
            entry.parts += len(again)
            entry.unreached += len(again)
            for later in again:
                later.entry = entry
            peer.passing.release(entry, replies, reached)
