"""Recovery: how a shard takes its peers' state and their resent frames when links are new.

Owns: how long the sync lasts, what is put off until its end, and the order in which resent frames
are handled. Never: what a frame does (see `dispatch`).

Replayed state is handled at once; all other frames wait until every expected peer has replayed or
`peer_timeout` is over. A peer that works, but is too busy to replay, is waited for a while longer:
without its subscriptions, its sessions would miss events. Then the end of the sync is worked off,
a slice in each turn: frames that were sent again, and sessions that have ended. Nobody is served
before that is done.

The frames that several peers resend from before a restart are brought into one order. Recorded
frames have publication ids, and subscribers get the events in the order of ids. Frames that were
not handled before the restart will get higher ids, so they come after all recorded ones of any
peer. Frames that were handled but not recorded keep their places among the frames of their peer.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import final

from fox_shard.backplane.frames import (
    DefineTables,
    DropWills,
    FoldsHeld,
    Frame,
    PatternAnnounced,
    Register,
    RegisterReducer,
    SessionAlive,
    Subscribe,
    SyncEnd,
    Will,
)
from fox_shard.backplane.links import Links
from fox_shard.backplane.terms import LinkSettings
from fox_shard.deadline import NEVER
from fox_shard.shard.backlog import Backlog
from fox_shard.shard.budget import Budget
from fox_shard.shard.dispatch import Dispatcher
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.links.peers import Peers
from fox_shard.shard.publishing.stored import StoredPublishes
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.sessions.wills import Wills
from fox_shard.topics.ids import MAX_ID

STATE = (
    Subscribe,
    Register,
    RegisterReducer,
    FoldsHeld,
    PatternAnnounced,
    Will,
    DropWills,
    SessionAlive,
    DefineTables,
)
"""The frames of which a replay consists; they are handled at once, even during the sync."""


WAITED_FOR = 6
"""How many times `peer_timeout` a shard waits for the replay of a peer that works but is busy."""

SESSION_UNITS = 4
"""Units of the turn's budget for the end of a session, besides those of its keys and wills."""


@final
class Recovery:
    """The recovery of one shard.

    until: when the sync ends (monotonic seconds), unless it waits longer for peers that work; None:
    no peer is waited for any more. synced: whether what that end consists of has been done, too.
    """

    __slots__ = (
        "_backlog",
        "_broker",
        "_budget",
        "_catching_up",
        "_dispatcher",
        "_ending",
        "_fences",
        "_links",
        "_now",
        "_outbox",
        "_outcomes",
        "_owners",
        "_peers",
        "_reducers",
        "_settings",
        "_stored_publishes",
        "_subscriptions",
        "_wills",
        "until",
    )

    def __init__(
        self,
        peers: Peers,
        links: Links,
        dispatcher: Dispatcher,
        broker: Broker,
        subscriptions: Subscriptions,
        stored_publishes: StoredPublishes,
        owners: Owners,
        reducers: Reducers,
        wills: Wills,
        outcomes: Outcomes,
        fences: Fences,
        budget: Budget,
        backlog: Backlog,
        outbox: ShardOutbox,
        settings: LinkSettings,
        now: float,
    ) -> None:
        """budget: the turn's. now: when the shard starts."""
        self._backlog = backlog
        self._outbox = outbox
        self._budget = budget
        self._peers = peers
        self._links = links
        self._settings = settings
        self._dispatcher = dispatcher
        self._broker = broker
        self._subscriptions = subscriptions
        self._stored_publishes = stored_publishes
        self._owners = owners
        self._reducers = reducers
        self._wills = wills
        self._outcomes = outcomes
        self._fences = fences
        self.until: float | None = now + settings.peer_timeout
        # Sessions that were found to have ended; they end with the sync or after it.
        self._ending: deque[int] = deque()
        # What is done for peers whose replays have ended, a step at a time; and the time of a step.
        self._catching_up: deque[Iterator[None]] = deque()
        self._now = 0.0

    def receive(self, peer: Peer, arrival: Arrival, now: float) -> None:
        """Take frames of a peer during the sync, or during the replay of this peer.

        State is handled at once, other frames when the replays have ended. Frames after the peer's
        `SyncEnd` are not separated into state and others: they keep their order.
        """
        peer.deliveries.arrived(arrival.last)
        end = 0 if peer.synced else _end_of_replay(arrival.frames)
        replay, rest = arrival.split(end)
        if replay.frames:
            peer.resent.append(without_state(replay, (*STATE, SyncEnd)))
        peer.waiting.append(rest)
        self._dispatcher.replay(peer, [f for f in replay.frames if isinstance(f, STATE)], now)
        if replay.frames and type(replay.frames[-1]) is SyncEnd:
            self._peer_synced(peer)
            if self.until is None:
                self._catching_up.append(self._catch_up(Resent([peer], self._outcomes)))
                self.go_on(now)
            else:
                self._end_if_complete(now)

    def _peer_synced(self, peer: Peer) -> None:
        """End the replay of the peer, and drop the earlier state that was not replayed."""
        peer.synced = True
        peer.link.missed = False
        self._subscriptions.sync_ended(peer)
        self._reducers.instances.sync_ended(peer)
        self._wills.sync_ended(peer)
        self.end_sessions(self._owners.sync_ended(peer.name))

    @property
    def synced(self) -> bool:
        """Whether the sync has ended."""
        return self._peers.synced

    def _end_if_complete(self, now: float) -> None:
        if all(peer.synced for peer in self._peers.by_name.values() if self.awaits(peer)):
            self._end_now(now)

    @staticmethod
    def awaits(peer: Peer) -> bool:
        """Whether the sync waits for the peer's replay: not if an attached gateway is gone."""
        return peer.kind is not Kind.COORDINATOR and not (peer.attached and peer.gone)

    def attached_gone(self, now: float) -> None:
        """End the sync if it waited only for that attached gateway, which is gone."""
        if self.until is not None:
            self._end_if_complete(now)

    def tick(self, now: float) -> None:
        """End the sync if it is due."""
        if now >= self.next_due(now):
            self._end_now(now)

    def next_due(self, now: float) -> float:
        """Return when the sync ends, although some peers have not replayed; NEVER: it has ended.

        The time in which this shard stood still does not count, and peers that work are waited for
        `WAITED_FOR` times as long.
        """
        if self.until is None:
            return NEVER
        due, settings = self.until + self._links.stood_still, self._settings
        if now < due or now >= due + (WAITED_FOR - 1) * settings.peer_timeout:
            return due
        working = any(
            not peer.synced and self._links.is_working(peer.link, now)
            for peer in self._peers.by_name.values()
            if self.awaits(peer)
        )
        return now + settings.heartbeat if working else due

    def _end_now(self, now: float) -> None:
        """Wait for no other peer, and begin to end the sync."""
        self.until = None
        peers = [peer for peer in self._peers.by_name.values() if peer.synced]
        self._catching_up.append(self._end(Resent(peers, self._outcomes)))
        self.go_on(now)

    def _end(self, resent: "Resent") -> Iterator[None]:
        """End the sync, a step at a time."""
        while self._outbox.catch_up_next():
            yield
        yield from self._handle(resent)
        while self._ending:
            # Before waiters are let through: those of ended sessions must not be.
            self._end_session()
            yield
        self._peers.synced = True
        for peer in self._peers.by_name.values():
            if not (peer.synced or peer.link.open):
                peer.link.missed = True
                self._fences.answer(peer)
        self._stored_publishes.sync_ended()
        self._serve(resent)

    def _catch_up(self, resent: "Resent") -> Iterator[None]:
        """Handle what was sent again by peers that have replayed after the sync, step by step."""
        yield from self._handle(resent)
        self._serve(resent)

    def _handle(self, resent: "Resent") -> Iterator[None]:
        """Handle what the peers sent again, in the order of its first effects."""
        grants = self._stored_publishes.grants
        for peer, arrival in resent.frames:
            before = self._outcomes.outcome(peer, arrival.durable) or 0
            while grants.send_next_again(before):
                yield
            if resent.is_valid(peer):
                self._dispatcher.handle(peer, arrival, self._now)
            yield
        while grants.send_next_again(MAX_ID):
            yield
        for _ in self._broker.announce_state_again():
            yield

    def _serve(self, resent: "Resent") -> None:
        """Begin to handle what has waited behind the frames that were sent again."""
        self._subscriptions.begin_replays()
        for peer in resent.peers:
            if resent.is_valid(peer):
                peer.caught_up = True
                peer.may_repeat = peer.kind is Kind.COORDINATOR
                self._outcomes.resent_handled(peer)
                self._backlog.go_on_with(peer, self._now)

    def end_sessions(self, sessions: list[int]) -> None:
        """End sessions that ended with their gateway or while the shard was down; idempotent.

        A gateway may have had many sessions, so they end in `go_on`; those of the sync with it.
        """
        self._ending.extend(sessions)

    def _end_session(self) -> None:
        self._budget.spend(SESSION_UNITS)
        self._dispatcher.session_ended(self._ending.popleft())

    def go_on(self, now: float) -> None:
        """Catch up and end sessions, as far as the turn's budget goes; call every turn."""
        budget, self._now = self._budget, now
        while self.busy and not budget.exhausted:
            if not self._catching_up:
                self._end_session()
                continue
            budget.spend(1)
            if next(self._catching_up[0], _DONE) is _DONE:
                self._catching_up.popleft()

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return bool(self._catching_up) or (self.synced and bool(self._ending))


_DONE = object()


@final
class Resent:
    """What peers have sent again in their present pairs. frames: in order, with their peers."""

    __slots__ = ("_pairs", "frames")

    def __init__(self, peers: list[Peer], outcomes: Outcomes) -> None:
        """Take the frames from the peers. outcomes: decide about the order, see `in_order`."""
        self._pairs = {peer: (peer.link.epoch, peer.link.peer_epoch) for peer in peers}
        self.frames = in_order(peers, outcomes)

    @property
    def peers(self) -> list[Peer]:
        """The peers that have sent frames again, or none."""
        return list(self._pairs)

    def is_valid(self, peer: Peer) -> bool:
        """Whether the peer's pair lasts: in the next one, the peer sends all of it again."""
        return peer.synced and self._pairs[peer] == (peer.link.epoch, peer.link.peer_epoch)


def _end_of_replay(frames: list[Frame]) -> int:
    """Return the index behind `SyncEnd`, or behind the last frame if there is no `SyncEnd`."""
    return next((i for i, frame in enumerate(frames, 1) if type(frame) is SyncEnd), len(frames))


def without_state(arrival: Arrival, state: tuple[type[Frame], ...]) -> Arrival:
    """Return the frames that are not of those types. None of those types is reliable."""
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
    """Take the resent frames from the peers, and return them in order, one frame at a time."""
    streams = []
    for number, peer in enumerate(peers):
        arrivals, peer.resent = peer.resent, []
        streams.append(_ordered(number, peer, arrivals, outcomes))
    return _with_peers(peers, merge(*streams, key=lambda one: one[:2]))


def _with_peers(
    peers: list[Peer], ordered: Iterable[tuple[int, int, Arrival]]
) -> Iterator[tuple[Peer, Arrival]]:
    for _, number, arrival in ordered:
        yield peers[number], arrival


def _ordered(
    number: int, peer: Peer, arrivals: list[Arrival], outcomes: Outcomes
) -> Iterator[tuple[int, int, Arrival]]:
    """Yield (order, number, frame) for the resent frames of one peer.

    order: the highest publication id among the outcomes of this frame and earlier ones; MAX_ID
    from the first frame on that was not handled before the restart.
    """
    order = 0
    watermark = outcomes.watermark(peer)
    for arrival in arrivals:
        for index, frame in enumerate(arrival.frames):
            rseq = arrival.rseq(index)
            order = MAX_ID if rseq > watermark else max(order, outcomes.outcome(peer, rseq) or 0)
            # Sequence number 0: the batch counts as handled only with its last frames, which wait.
            yield order, number, Arrival([frame], 0, rseq, [0] if rseq else [], rseq)
