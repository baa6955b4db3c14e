"""Effects that wait for a commit, and the frames that must not overtake them.

Owns: the effects that are held until their transactions are durable, and which sessions and topics
wait behind them. Never: carrying out the effects.

A publish that changes a key is delivered and acknowledged when the change is durable. Until then
everything else of its session and on its topic waits behind it, so that nothing overtakes it; other
traffic goes on. A publish that waits behind another holds up its own session and topic in turn.
"""

from typing import final

from fox_shard.backplane.frames import Again, Event
from fox_shard.shard.keys.change import KeyChange
from fox_shard.shard.links.deliveries import InboundBatch
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.effects import (
    NOT_STORED,
    OUTLIVES_PAIR,
    Effect,
    Granted,
    SessionFrame,
    event_of,
)
from fox_shard.topics.ids import MAX_ID

NOT_HELD = MAX_ID + 1
"""In place of a ticket: nobody is held up."""


@final
class CommitGroup:
    """The effects of one inbound batch that wait for one transaction.

    peer: the peer that sent the batch; None: no batch caused the effects, but time or the end of a
    session. identity: the peer's identity at that time (see `Link`). entry: the batch, once it has
    been handled; None: no peer waits for the effects.
    """

    __slots__ = ("batch", "effects", "identity", "peer")

    def __init__(self, peer: Peer | None) -> None:
        self.peer = peer
        self.identity = peer.link.peer_identity if peer is not None else 0
        self.batch: InboundBatch | None = None
        self.effects: list[Effect] = []


@final
class CommitQueue:
    """The effects of one shard that wait for commits, and who is held up behind them."""

    __slots__ = ("_open", "_sessions", "_topics", "peer", "waiting")

    def __init__(self) -> None:
        # The peer whose batch is being handled; None: no batch is.
        self.peer: Peer | None = None
        # Ticket -> groups, in the order of arrival; empty if nothing waits.
        self.waiting: dict[int, list[CommitGroup]] = {}
        # Ticket -> group, for the batch that is being handled.
        self._open: dict[int, CommitGroup] = {}
        # Sessions and (realm, topic) pairs that are held up, each until its last ticket is durable.
        self._sessions: dict[int, int] = {}
        self._topics: dict[tuple[str, str], int] = {}

    def group(self, ticket: int) -> CommitGroup:
        """Return the present batch's group for the transaction; make it if there is none."""
        group = self._open.get(ticket)
        if group is None:
            group = self._open[ticket] = CommitGroup(self.peer)
            self.waiting.setdefault(ticket, []).append(group)
        return group

    def take_groups(self) -> list[CommitGroup]:
        """Close the present batch, which has been handled, and return its groups."""
        groups = list(self._open.values())
        self._open.clear()
        self.peer = None
        return groups

    def hold(self, ticket: int, effect: Event | KeyChange | Again | Granted, rseq: int) -> None:
        """Hold the effect until the transaction is durable. rseq: see `Effect`."""
        self.group(ticket).effects.append((effect, rseq))
        event = event_of(effect)
        if event is not None:
            self._sessions[event.publish.session] = ticket
            self._topics[event.publish.realm, event.publish.topic] = ticket
        elif isinstance(effect, KeyChange):
            self._topics[effect.ref] = ticket

    def ticket_of(self, session: int, realm: str, topic: str) -> int:
        """Return the transaction that a publish of the session on the topic waits for; 0: none."""
        return max(self._sessions.get(session, 0), self._topics.get((realm, topic), 0))

    def holds_up(self, frame: SessionFrame) -> bool:
        """Hold the frame if a publish of its session waits; return whether the frame is held."""
        ticket = self._sessions.get(frame.session, 0)
        if ticket:
            self.group(ticket).effects.append((frame, NOT_STORED))
        return bool(ticket)

    def committed(self, ticket: int) -> list[CommitGroup]:
        """Remove and return the groups of all transactions up to this one, in order."""
        done = sorted(one for one in self.waiting if one <= ticket)
        groups = [group for one in done for group in self.waiting.pop(one)]
        for group in groups:
            for effect, _ in group.effects:
                self._let_go(effect, ticket)
        return groups

    def _let_go(self, effect: object, ticket: int) -> None:
        """Let others pass where only this effect, and those of earlier transactions, held them."""
        event = event_of(effect)
        if event is not None:
            session, topic = event.publish.session, (event.publish.realm, event.publish.topic)
            if self._sessions.get(session, NOT_HELD) <= ticket:
                del self._sessions[session]
        elif isinstance(effect, KeyChange):
            topic = effect.ref
        else:
            return
        if self._topics.get(topic, NOT_HELD) <= ticket:
            del self._topics[topic]

    @property
    def lowest(self) -> int | None:
        """The lowest id of the recorded events and key changes that are held; None: none."""
        for ticket in sorted(self.waiting):
            for group in self.waiting[ticket]:
                for effect, rseq in group.effects:
                    if rseq == NOT_STORED:
                        continue
                    one = effect if isinstance(effect, KeyChange) else event_of(effect)
                    if one is not None:
                        return one.publication
        return None

    def link_broken(self, peer: Peer) -> None:
        """Drop the held calls and registrations of the peer, whose pair has ended.

        The peer answers such calls itself and replays registrations. Its publishes and the ends of
        its sessions stay.
        """
        for groups in self.waiting.values():
            for group in groups:
                if group.peer is peer:
                    group.effects = [
                        effect for effect in group.effects if isinstance(effect[0], OUTLIVES_PAIR)
                    ]
