"""The dispatch of frames: which object of a shard handles which frame of a batch.

Owns: the order in which a batch is handled, and which peers have to confirm its effects. Never: the
handling of publishes (see `stored`); the coming and going of peers; time.
"""

from typing import Final, final

from fox_shard.backplane.frames import (
    WILL,
    Call,
    Cancel,
    DefineTables,
    DropWills,
    FenceQuery,
    FoldsHeld,
    Forward,
    Frame,
    Inquiry,
    InvocationError,
    Leave,
    Listened,
    More,
    NotReduced,
    PatternAnnounced,
    Publish,
    ReadHistory,
    Reduced,
    Register,
    Registered,
    RegisterReducer,
    RelayedInquiry,
    RelayedPage,
    RouterPublish,
    SessionAlive,
    Subscribe,
    Unregister,
    UnregisterReducer,
    Unsubscribe,
    Will,
    Yield,
)
from fox_shard.shard.budget import Budget
from fox_shard.shard.inquiries import Inquiries
from fox_shard.shard.keys.owners import Owners
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.fences import Fences
from fox_shard.shard.links.inbox import Inbox
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.links.recipients import Outboxes, last_numbers, recipients
from fox_shard.shard.links.relays import Relays
from fox_shard.shard.publishing.commit_queue import CommitGroup
from fox_shard.shard.publishing.effects import SessionFrame
from fox_shard.shard.publishing.stored import StoredPublishes
from fox_shard.shard.pubsub.broker import Broker
from fox_shard.shard.pubsub.history_pages import HistoryPages
from fox_shard.shard.pubsub.subscriptions import Subscriptions
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.registrar import Registrar
from fox_shard.shard.sessions.wills import Wills
from fox_shard.shard.tables.definitions import Definitions

CHUNK: Final = 64
FIRST_CHUNK: Final = 8
"""Plain publishes after which it is looked whether the turn's budget goes further."""

PLAIN_PER_UNIT: Final = 8
"""Plain publishes that cost a unit, besides the filters that look at them."""

FRAME_UNITS: Final = 2
STORED_UNITS: Final = 4
"""Units of a frame that is no publish, and of a publish that is not plain."""

UNLIMITED: Final = -(1 << 62)
"""A budget that is never reached."""

QUIET: Final = (Call, Yield)
"""Frames that, like plain publishes, leave no work for the end of a batch or of a turn, unless some
wait for the store."""


@final
class Dispatcher:
    """The dispatcher of one shard."""

    __slots__ = (
        "_broker",
        "_budget",
        "_commit_queue",
        "_dealer",
        "_definitions",
        "_fences",
        "_history_pages",
        "_inbox",
        "_inquiries",
        "_invocations",
        "_outboxes",
        "_outcomes",
        "_owners",
        "_peers",
        "_reducers",
        "_registrar",
        "_relays",
        "_stored_publishes",
        "_subscriptions",
        "_wills",
        "stirred",
    )

    def __init__(
        self,
        peers: dict[str, Peer],
        broker: Broker,
        subscriptions: Subscriptions,
        stored_publishes: StoredPublishes,
        owners: Owners,
        history_pages: HistoryPages,
        dealer: Dealer,
        registrar: Registrar,
        reducers: Reducers,
        wills: Wills,
        outcomes: Outcomes,
        inbox: Inbox,
        inquiries: Inquiries,
        relays: Relays,
        fences: Fences,
        definitions: Definitions,
        budget: Budget,
        outboxes: Outboxes,
    ) -> None:
        """peers: all peers, by name. budget: the turn's. outboxes: of all peers."""
        # Whether anything has happened since the last turn that may have left work for its end (see
        # `QUIET`); set wherever that is, and kept by the shard while there is work.
        self.stirred = True
        self._outboxes = outboxes
        self._inbox = inbox
        self._inquiries = inquiries
        self._relays = relays
        inbox.handlers[RouterPublish] = self._router_publish
        self._budget = budget
        self._peers = peers
        self._broker = broker
        self._subscriptions = subscriptions
        self._stored_publishes = stored_publishes
        self._commit_queue = stored_publishes.commit_queue
        self._owners = owners
        self._history_pages = history_pages
        self._dealer = dealer
        self._invocations = dealer.invocations
        self._registrar = registrar
        self._reducers = reducers
        self._wills = wills
        self._outcomes = outcomes
        self._fences = fences
        self._definitions = definitions

    def handle(
        self, peer: Peer, arrival: Arrival, now: float, until: int = UNLIMITED
    ) -> Arrival | None:
        """Handle the frames of a batch, until no more than `until` of the turn's budget is left.

        now: monotonic seconds. Return the frames that were not handled; None: all were.
        """
        sizes = self._outboxes.sizes()
        replies: list[Frame] = []
        self._commit_queue.peer = peer
        rest, frames, budget = None, arrival.frames, self._budget
        # The hot path looks at the budget once a chunk; chunks grow while they cost little.
        start, chunk = 0, min(FIRST_CHUNK, budget.units)
        while start < len(frames):
            if start and budget.left <= until:
                arrival, rest = arrival.split(start)
                break
            budget.left -= 1 + chunk // PLAIN_PER_UNIT
            start = self._handle_chunk(peer, arrival, start, start + chunk, replies, now, until)
            chunk = min(CHUNK, 2 * chunk)
        durable = arrival.durable
        if durable:
            peer.applied = durable
            if peer.kind is Kind.SHARD:
                self._inbox.batch_handled(peer, durable)
                # The inbox tells when that is durable.
                durable = 0
            else:
                self._outcomes.batch_handled(peer, durable)
        reached = self._outboxes.recipients
        if not self.stirred:
            self._commit_queue.peer = None
            peer.deliveries.batch_handled(arrival.last, durable, replies, reached(sizes, peer))
            return rest
        self._stored_publishes.send_grants()
        groups = self._commit_queue.take_groups()
        batch = peer.deliveries.batch_handled(
            arrival.last, durable, replies, reached(sizes, peer), len(groups)
        )
        for group in groups:
            group.batch = batch
        self._fences.batch_handled()
        return rest

    def _handle_chunk(
        self,
        peer: Peer,
        arrival: Arrival,
        start: int,
        end: int,
        replies: list[Frame],
        now: float,
        until: int,
    ) -> int:
        """Handle the frames from the index `start` to before `end`, or less; return where to go on.

        The rest is left if a frame was expensive, see `handle`.
        """
        is_plain, publish = self._stored_publishes.is_plain, self._broker.publish
        commit_queue, budget = self._commit_queue, self._budget
        for index, frame in enumerate(arrival.frames[start:end], start):
            if type(frame) is Publish:
                # `StoredPublishes` alone decides whether a publish concerns the store.
                if is_plain(peer, frame):
                    publish(frame, replies)
                    continue
                self.stirred = True
                budget.left -= STORED_UNITS
                if frame.flags & WILL:
                    self._wills.published(frame)
                self._stored_publishes.publish(peer, frame, arrival.rseq(index), replies)
            else:
                if commit_queue.waiting or type(frame) not in QUIET:
                    self.stirred = True
                if not (
                    commit_queue.waiting
                    and isinstance(frame, SessionFrame)
                    and commit_queue.holds_up(frame)
                ):
                    budget.left -= FRAME_UNITS
                    self._dispatch(peer, frame, replies, now)
            if budget.left <= until:
                return index + 1
        return end

    def replay(self, peer: Peer, state: list[Frame], now: float) -> None:
        """Handle state that the peer replays. The replies wait for nothing."""
        replies: list[Frame] = []
        for frame in state:
            self._dispatch(peer, frame, replies, now)
        for reply in replies:
            peer.reply(reply)

    def _dispatch(self, peer: Peer, frame: Frame, replies: list[Frame], now: float) -> None:  # noqa: C901, PLR0915 - a table
        # The most frequent ones first: a case takes three times as long as a comparison.
        if type(frame) is Call:
            self._dealer.call(peer, frame, now)
            return
        if type(frame) is Yield:
            self._invocations.yielded(frame, now)
            return
        match frame:
            case InvocationError():
                self._invocations.invocation_error(frame)
            case Subscribe():
                if frame.token and peer.caught_up:
                    self._stored_publishes.settled.announce(peer)
                self._subscriptions.subscribe(peer, frame)
            case More():
                self._subscriptions.more(peer, frame)
            case Unsubscribe():
                self._subscriptions.unsubscribe(peer, frame)
            case Listened():
                self._subscriptions.listened(frame)
            case ReadHistory():
                self._history_pages.ask(peer, frame)
                self._history_pages.go_on(now)
            case Inquiry():
                peer.reply(self._inquiries.page(frame))
            case RelayedInquiry():
                self._relays.ask(peer, frame)
            case RelayedPage():
                self._relays.page(peer, frame)
            case FenceQuery():
                self._fences.ask(peer, frame)
            case Forward():
                self._dealer.forwarded(peer, frame, now)
            case Cancel():
                self._dealer.cancel(peer, frame)
            case Register():
                self._registrar.register(peer, frame, replies)
            case Unregister():
                self._registrar.unregister(frame, replies)
            case PatternAnnounced():
                self._registrar.announced(frame)
            case Reduced() | NotReduced():
                self._reducers.invocations.answered(frame)
            case RegisterReducer():
                self._register_reducer(peer, frame, replies)
            case UnregisterReducer():
                self._reducers.instances.unregister(frame)
            case FoldsHeld():
                self._reducers.folds_held(frame, int(peer.name.partition("-")[2]))
            case DefineTables():
                self._definitions.define(peer, frame)
            case SessionAlive():
                self._owners.session_alive(peer.name, frame.session)
            case Will():
                self._wills.set(peer, frame)
            case DropWills():
                self._wills.drop(peer, frame)
            case Leave():
                self._leave(peer, frame, replies)
            case _:
                if peer.kind is not Kind.SHARD:
                    raise TypeError(f"{peer.name} sent a {type(frame).__name__} to a shard")
                self._inbox.handle(frame, int(peer.name.partition("-")[2]))

    def _router_publish(self, frame: RouterPublish, _shard: int) -> None:
        self._stored_publishes.publish(None, frame.publish, 0, [])

    def _register_reducer(self, peer: Peer, frame: RegisterReducer, replies: list[Frame]) -> None:
        """Register an instance of a reducer, and answer when the reducer is durable."""
        answer = self._reducers.instances.register(peer, frame)
        if isinstance(answer, Registered):
            self._stored_publishes.answer_when_durable(answer, replies)
        elif answer is not None:
            replies.append(answer)

    def _leave(self, peer: Peer, leave: Leave, replies: list[Frame]) -> None:
        self._dealer.session_ended(peer, leave.session)
        self._registrar.session_ended(leave.session)
        self._reducers.instances.session_ended(leave.session)
        wills = [] if leave.wills_follow else self._wills.take(leave.session)
        self._stored_publishes.ended_keys.session_ended(leave.session, replies)
        if not leave.graceful:
            for will in wills:
                self._budget.spend(STORED_UNITS)
                self._stored_publishes.publish(peer, will, 0, replies)

    def session_ended(self, session: int) -> None:
        """End a session that ended with its gateway, or while this shard was down.

        No peer waits for the effects.
        """
        wills = self._wills.take(session)
        self._stored_publishes.ended_keys.session_ended(session, [])
        for will in wills:
            self._budget.spend(STORED_UNITS)
            self._stored_publishes.publish(None, will, 0, [])
        self._stored_publishes.end_turn()

    def link_broken(self, peer: Peer) -> None:
        """Drop what ends with the peer's pair (see `CommitQueue.link_broken`)."""
        self._commit_queue.link_broken(peer)
        self._subscriptions.link_broken(peer)
        self._history_pages.link_broken(peer)
        self._relays.link_broken(peer)

    # The store

    def committed(self, ticket: int, now: float) -> None:
        """Release the effects that waited for this transaction, which is durable as all before."""
        self._definitions.committed(ticket)
        for group in self._stored_publishes.commits.committed(ticket):
            self._release(group, [], now)
        self._stored_publishes.go_on_if_possible()

    def commit_failed(self, why: str, now: float) -> None:
        """Undo all transactions that are not durable, and refuse what caused them."""
        for group, replies in self._stored_publishes.commits.commit_failed(why):
            self._release(group, replies, now)

    def _release(self, group: CommitGroup, replies: list[Frame], now: float) -> None:
        peer, batch = group.peer, group.batch
        since = last_numbers(self._peers.values(), peer)
        self._commit_queue.peer = peer
        self._budget.spend(len(group.effects))
        for effect, _ in group.effects:
            frame = self._stored_publishes.commits.finish(effect, replies)
            if frame is not None and peer is not None:
                self._dispatch(peer, frame, replies, now)
        self._stored_publishes.send_grants()
        # A held `Leave` may have published a will, which waits for a commit in turn.
        new_groups = self._commit_queue.take_groups()
        reached = recipients(since)
        if batch is not None and peer is not None:
            batch.parts += len(new_groups)
            batch.without_effect += len(new_groups)
            for new_group in new_groups:
                new_group.batch = batch
            peer.deliveries.release(batch, replies, reached)
