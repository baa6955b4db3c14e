"""What peers tell a shard when their links are new: their state, and what they send again.

Owns: until when everybody is waited for, what is put off until then, and in which order what has
been sent again is handled. Never: what a frame does (see `dispatch`).

State is handled at once; the rest when everybody has replayed who is expected. What several peers
have sent again of a time before a restart has one order: what is recorded has publication ids, in
whose order subscribers are to get the events. What was not handled before the restart will get
higher ones, so it comes behind all that is recorded, of whatever peer. What was, and is not
recorded, keeps its place among what its own peer sent.
"""

from collections.abc import Iterator
from heapq import merge
from typing import final

from fox_shard.backplane.frames import (
    Announce,
    Frame,
    Present,
    Register,
    Subscribe,
    SyncEnd,
    Will,
)
from fox_shard.shard.dispatch import Handling
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.deliveries import EVERYTHING
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.outcomes import Ledger
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.stored import Commits
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.sessions.wills import Wills

BEYOND = (1 << 53) - 1
"""A publication id that is higher than any."""

STATE = (Subscribe, Register, Announce, Will, Present)
"""What a replay consists of; handled at once, also before everybody has replayed."""


@final
class Recovery:
    """Of one shard. until: when it goes on at the latest; None: it does, everybody is here."""

    __slots__ = (
        "_broker",
        "_commits",
        "_ended",
        "_fences",
        "_handling",
        "_ledger",
        "_owners",
        "_peers",
        "_subscriptions",
        "_wills",
        "until",
    )

    def __init__(
        self,
        peers: dict[str, Peer],
        handling: Handling,
        broker: Broker,
        subscriptions: Subscriptions,
        commits: Commits,
        owners: Owners,
        wills: Wills,
        ledger: Ledger,
        fences: Fences,
        until: float,
    ) -> None:
        """peers: all there are, by name."""
        self._peers = peers
        self._handling = handling
        self._broker = broker
        self._subscriptions = subscriptions
        self._commits = commits
        self._owners = owners
        self._wills = wills
        self._ledger = ledger
        self._fences = fences
        self.until: float | None = until
        # Sessions that were found gone before everybody had replayed.
        self._ended: list[int] = []

    def receive(self, peer: Peer, arrival: Arrival, now: float) -> None:
        """State at once; the rest when all that is expected has been replayed.

        Behind the end of its replay a peer's frames are not told apart: they keep their order.
        """
        end = 0 if peer.synced else _end_of_replay(arrival.frames)
        replay, rest = split(arrival, end)
        if replay.frames:
            peer.resent.append(without_state(replay, (*STATE, SyncEnd)))
        peer.waiting.append(rest)
        self._handling.replay(peer, [f for f in replay.frames if isinstance(f, STATE)], now)
        if replay.frames and type(replay.frames[-1]) is SyncEnd:
            self._told_again(peer)
            self._end_if_complete(now)
        if self.until is None and peer.synced:
            self._catch_up([peer], now)

    def _told_again(self, peer: Peer) -> None:
        """The peer has told all its state: what it had besides is no more."""
        peer.synced = True
        self._subscriptions.told_again(peer)
        self._wills.told_again(peer)
        self.end_sessions(self._owners.told_again(peer.name))

    def _end_if_complete(self, now: float) -> None:
        if self.until is not None and all(
            peer.synced for peer in self._peers.values() if peer.kind is not Kind.COORDINATOR
        ):
            self.end(now)

    def end(self, now: float) -> None:
        """Nobody else is waited for."""
        self.until = None
        self._fences.everybody_is_here = True
        self._catch_up([peer for peer in self._peers.values() if peer.synced], now)
        for peer in self._peers.values():
            if not (peer.synced or peer.link.open):
                self._fences.answer(peer)
        ended, self._ended = self._ended, []
        self.end_sessions(ended)
        self._commits.everybody_is_here()

    def _catch_up(self, peers: list[Peer], now: float) -> None:
        """First what was sent again, in the order in which it had its effects; then the rest."""
        for peer, arrival in in_order(peers, self._ledger):
            self._commits.grants.give_again(self._ledger.outcome(peer, arrival.durable) or 0)
            self._handling.handle(peer, arrival, now)
        self._commits.grants.give_again(EVERYTHING)
        self._broker.tell_state_again()
        self._subscriptions.welcome()
        for peer in peers:
            peer.careful = peer.kind is Kind.COORDINATOR
            self._ledger.caught_up(peer)
            waiting, peer.waiting = peer.waiting, []
            for arrival in waiting:
                self._handling.handle(peer, arrival, now)
            self._fences.answer(peer)

    def end_sessions(self, sessions: list[int]) -> None:
        """They have ended with their gateway, or unheard. Idempotent."""
        if self.until is not None:
            self._ended.extend(sessions)
            return
        for session in sessions:
            self._handling.session_gone(session)


def _end_of_replay(frames: list[Frame]) -> int:
    """Where in a batch it ends."""
    return next((i for i, frame in enumerate(frames, 1) if type(frame) is SyncEnd), len(frames))


def split(arrival: Arrival, end: int) -> tuple[Arrival, Arrival]:
    """The frames before that index, and the others, which are the end of the batch."""
    inside = [mark for mark in arrival.marks if mark < end]
    outside = [mark - end for mark in arrival.marks if mark >= end]
    rfirst = arrival.rfirst + len(inside)
    frames = arrival.frames
    first = Arrival(frames[:end], arrival.last, rfirst - 1 if inside else 0, inside, arrival.rfirst)
    durable = arrival.durable if outside else 0
    return first, Arrival(frames[end:], arrival.last, durable, outside, rfirst)


def without_state(arrival: Arrival, state: tuple[type[Frame], ...]) -> Arrival:
    """The frames that are not of those types. State is never reliable."""
    kept = [i for i, frame in enumerate(arrival.frames) if not isinstance(frame, state)]
    place = {i: new for new, i in enumerate(kept)}
    return Arrival(
        [arrival.frames[i] for i in kept],
        arrival.last,
        arrival.durable,
        [place[mark] for mark in arrival.marks],
        arrival.rfirst,
    )


def in_order(peers: list[Peer], ledger: Ledger) -> Iterator[tuple[Peer, Arrival]]:
    """What those peers have sent again, one frame each, and it is taken from them."""
    streams = []
    for number, peer in enumerate(peers):
        arrivals, peer.resent = peer.resent, []
        streams.append(_placed(number, peer, arrivals, ledger))
    for _, number, arrival in merge(*streams, key=lambda placed: placed[:2]):
        yield peers[number], arrival


def _placed(
    number: int, peer: Peer, arrivals: list[Arrival], ledger: Ledger
) -> Iterator[tuple[int, int, Arrival]]:
    """(publication id, peer's number, frame); the id is that of the last recorded one."""
    place = 0
    watermark = ledger.watermark(peer)
    for arrival in arrivals:
        for index, frame in enumerate(arrival.frames):
            rseq = arrival.rseq(index)
            place = BEYOND if rseq > watermark else max(place, ledger.outcome(peer, rseq) or 0)
            # Of this pair nothing has passed until the batch has.
            yield place, number, Arrival([frame], 0, rseq, [0] if rseq else [], rseq)
