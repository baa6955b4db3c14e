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
    Frame,
    PatternAnnounced,
    Register,
    SessionAlive,
    Subscribe,
    SyncEnd,
    Will,
)
from fox_shard.shard.dispatch import Dispatcher
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.stored import StoredPublishes
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.sessions.wills import Wills
from fox_shard.topics.ids import MAX_ID

STATE = (Subscribe, Register, PatternAnnounced, Will, SessionAlive)
"""What a replay consists of; handled at once, also before everybody has replayed."""


@final
class Recovery:
    """Of one shard. until: when it goes on at the latest; None: it does, everybody is here."""

    __slots__ = (
        "_broker",
        "_dispatcher",
        "_ended",
        "_fences",
        "_outcomes",
        "_owners",
        "_peers",
        "_stored_publishes",
        "_subscriptions",
        "_wills",
        "until",
    )

    def __init__(
        self,
        peers: dict[str, Peer],
        dispatcher: Dispatcher,
        broker: Broker,
        subscriptions: Subscriptions,
        commits: StoredPublishes,
        owners: Owners,
        wills: Wills,
        outcomes: Outcomes,
        fences: Fences,
        until: float,
    ) -> None:
        """peers: all there are, by name."""
        self._peers = peers
        self._dispatcher = dispatcher
        self._broker = broker
        self._subscriptions = subscriptions
        self._stored_publishes = commits
        self._owners = owners
        self._wills = wills
        self._outcomes = outcomes
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
        self._dispatcher.replay(peer, [f for f in replay.frames if isinstance(f, STATE)], now)
        if replay.frames and type(replay.frames[-1]) is SyncEnd:
            self._told_again(peer)
            self._end_if_complete(now)
        if self.until is None and peer.synced:
            self._catch_up([peer], now)

    def _told_again(self, peer: Peer) -> None:
        """The peer has told all its state: what it had besides is no more."""
        peer.synced = True
        self._subscriptions.sync_ended(peer)
        self._wills.sync_ended(peer)
        self.end_sessions(self._owners.sync_ended(peer.name))

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
        self._stored_publishes.sync_ended()

    def _catch_up(self, peers: list[Peer], now: float) -> None:
        """First what was sent again, in the order in which it had its effects; then the rest."""
        for peer, arrival in in_order(peers, self._outcomes):
            self._stored_publishes.grants.give_again(
                self._outcomes.outcome(peer, arrival.durable) or 0
            )
            self._dispatcher.handle(peer, arrival, now)
        self._stored_publishes.grants.give_again(MAX_ID)
        self._broker.tell_state_again()
        self._subscriptions.welcome()
        for peer in peers:
            peer.may_repeat = peer.kind is Kind.COORDINATOR
            self._outcomes.caught_up(peer)
            waiting, peer.waiting = peer.waiting, []
            for arrival in waiting:
                self._dispatcher.handle(peer, arrival, now)
            self._fences.answer(peer)

    def end_sessions(self, sessions: list[int]) -> None:
        """They have ended with their gateway, or unheard. Idempotent."""
        if self.until is not None:
            self._ended.extend(sessions)
            return
        for session in sessions:
            self._dispatcher.session_ended(session)


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


def in_order(peers: list[Peer], outcomes: Outcomes) -> Iterator[tuple[Peer, Arrival]]:
    """What those peers have sent again, one frame each, and it is taken from them."""
    streams = []
    for number, peer in enumerate(peers):
        arrivals, peer.resent = peer.resent, []
        streams.append(_placed(number, peer, arrivals, outcomes))
    for _, number, arrival in merge(*streams, key=lambda placed: placed[:2]):
        yield peers[number], arrival


def _placed(
    number: int, peer: Peer, arrivals: list[Arrival], outcomes: Outcomes
) -> Iterator[tuple[int, int, Arrival]]:
    """(publication id, peer's number, frame); the id is that of the last recorded one."""
    place = 0
    watermark = outcomes.watermark(peer)
    for arrival in arrivals:
        for index, frame in enumerate(arrival.frames):
            rseq = arrival.rseq(index)
            place = MAX_ID if rseq > watermark else max(place, outcomes.outcome(peer, rseq) or 0)
            # Of this pair nothing has passed until the batch has.
            yield place, number, Arrival([frame], 0, rseq, [0] if rseq else [], rseq)
