"""Recovery: how a shard takes its peers' state and their resent frames when links are new.

Owns: how long the sync lasts, what is put off until its end, and the order in which resent frames
are handled. Never: what a frame does (see `dispatch`).

Replayed state is handled at once; all other frames wait until every expected peer has replayed or
`peer_timeout` is over. A peer that works, but is too busy to replay, is waited for a while longer:
without its subscriptions, its sessions would miss events.

The frames that several peers resend from before a restart are brought into one order. Recorded
frames have publication ids, and subscribers get the events in the order of ids. Frames that were
not handled before the restart will get higher ids, so they come after all recorded ones of any
peer. Frames that were handled but not recorded keep their places among the frames of their peer.
"""

from collections import deque
from collections.abc import Callable, Iterator
from heapq import merge
from typing import final

from fox_shard.backplane.frames import (
    DefineTables,
    Frame,
    PatternAnnounced,
    Register,
    SessionAlive,
    Subscribe,
    SyncEnd,
    Will,
)
from fox_shard.shard.budget import Budget
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

STATE = (Subscribe, Register, PatternAnnounced, Will, SessionAlive, DefineTables)
"""The frames of which a replay consists; they are handled at once, even during the sync."""


SESSION_UNITS = 4
"""Units of the turn's budget for the end of a session, besides those of its keys and will."""


@final
class Recovery:
    """The recovery of one shard.

    until: when the sync ends at the latest (monotonic seconds); None: it has ended.
    """

    __slots__ = (
        "_broker",
        "_budget",
        "_dispatcher",
        "_ended",
        "_ending",
        "_fences",
        "_go_on_with",
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
        stored_publishes: StoredPublishes,
        owners: Owners,
        wills: Wills,
        outcomes: Outcomes,
        fences: Fences,
        until: float,
        budget: Budget,
        go_on_with: Callable[[Peer, float], None],
    ) -> None:
        """peers: all peers, by name. until: see the class. budget: the turn's.

        go_on_with(peer, now): handles what has waited of a peer, as far as the budget goes.
        """
        self._go_on_with = go_on_with
        self._budget = budget
        self._peers = peers
        self._dispatcher = dispatcher
        self._broker = broker
        self._subscriptions = subscriptions
        self._stored_publishes = stored_publishes
        self._owners = owners
        self._wills = wills
        self._outcomes = outcomes
        self._fences = fences
        self.until: float | None = until
        # Sessions that were found to have ended during the sync, and since then.
        self._ended: list[int] = []
        self._ending: deque[int] = deque()

    def receive(self, peer: Peer, arrival: Arrival, now: float) -> None:
        """Take frames of a peer during the sync, or during the replay of this peer.

        State is handled at once, other frames when the replays have ended. Frames after the peer's
        `SyncEnd` are not separated into state and others: they keep their order.
        """
        end = 0 if peer.synced else _end_of_replay(arrival.frames)
        replay, rest = arrival.split(end)
        if replay.frames:
            peer.resent.append(without_state(replay, (*STATE, SyncEnd)))
        peer.waiting.append(rest)
        self._dispatcher.replay(peer, [f for f in replay.frames if isinstance(f, STATE)], now)
        if replay.frames and type(replay.frames[-1]) is SyncEnd:
            self._peer_synced(peer)
            self._end_if_complete(now)
        if self.until is None and peer.synced:
            self._catch_up([peer], now)

    def _peer_synced(self, peer: Peer) -> None:
        """End the replay of the peer, and drop the earlier state that was not replayed."""
        peer.synced = True
        peer.link.missed = False
        self._subscriptions.sync_ended(peer)
        self._wills.sync_ended(peer)
        self.end_sessions(self._owners.sync_ended(peer.name))

    def _end_if_complete(self, now: float) -> None:
        if self.until is not None and all(
            peer.synced for peer in self._peers.values() if peer.kind is not Kind.COORDINATOR
        ):
            self.end(now)

    def end(self, now: float) -> None:
        """End the sync: handle what has waited, and wait for no other peer."""
        self.until = None
        self._fences.synced = True
        self._catch_up([peer for peer in self._peers.values() if peer.synced], now)
        for peer in self._peers.values():
            if not (peer.synced or peer.link.open):
                peer.link.missed = True
                self._fences.answer(peer)
        ended, self._ended = self._ended, []
        for session in ended:
            # Before waiters are let through: those of ended sessions must not be.
            self._dispatcher.session_ended(session)
        self._stored_publishes.sync_ended()

    def _catch_up(self, peers: list[Peer], now: float) -> None:
        """Handle what the peers resent, in the order of its first effects; then what waited."""
        for peer, arrival in in_order(peers, self._outcomes):
            self._stored_publishes.grants.send_again(
                self._outcomes.outcome(peer, arrival.durable) or 0
            )
            self._dispatcher.handle(peer, arrival, now)
        self._stored_publishes.grants.send_again(MAX_ID)
        self._broker.announce_state_again()
        self._subscriptions.begin_replays()
        for peer in peers:
            peer.may_repeat = peer.kind is Kind.COORDINATOR
            self._outcomes.resent_handled(peer)
            self._go_on_with(peer, now)

    def end_sessions(self, sessions: list[int]) -> None:
        """End sessions that ended with their gateway or while the shard was down; idempotent.

        A gateway may have had many sessions, so they end in `go_on`; those of the sync with it.
        """
        if self.until is not None:
            self._ended.extend(sessions)
        else:
            self._ending.extend(sessions)

    def go_on(self) -> None:
        """End sessions, as far as the turn's budget goes; call every turn."""
        budget = self._budget
        while self._ending and not budget.exhausted:
            budget.spend(SESSION_UNITS)
            self._dispatcher.session_ended(self._ending.popleft())

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return bool(self._ending)


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
    """Take the resent frames from the peers, and yield them in order, one frame at a time."""
    streams = []
    for number, peer in enumerate(peers):
        arrivals, peer.resent = peer.resent, []
        streams.append(_ordered(number, peer, arrivals, outcomes))
    for _, number, arrival in merge(*streams, key=lambda ordered: ordered[:2]):
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
