"""What waits for a commit, and what must not overtake it.

Owns: effects that are held until the transaction they belong to is durable, and whom they hold up.
Never: doing them.

A publish that changes a key is delivered and acknowledged when the change is durable. Until then
all else of its session, and all else on its topic, waits with it, so that nothing overtakes; other
traffic goes on. What waits is itself waited for: it holds up its own session and topic.
"""

from typing import final

from fox_shard.backplane.frames import Again, Event
from fox_shard.shard.keys.change import Change
from fox_shard.shard.links.deliveries import Entry
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.publishing.effects import (
    PLAIN,
    STANDS,
    Effect,
    Granted,
    OfSession,
    event_of,
)


@final
class Group:
    """What one inbound batch caused that waits for one transaction.

    peer: whose batch, None: nobody's, it was time. identity: of the peer then (see `Link`). entry:
    None: nobody asks.
    """

    __slots__ = ("effects", "entry", "identity", "peer")

    def __init__(self, peer: Peer | None) -> None:
        self.peer = peer
        self.identity = peer.link.peer_identity if peer is not None else 0
        self.entry: Entry | None = None
        self.effects: list[Effect] = []


@final
class Gate:
    """See the module."""

    __slots__ = ("_open", "_sessions", "_topics", "peer", "waiting")

    def __init__(self) -> None:
        # Whose batch is being handled, None: nobody's.
        self.peer: Peer | None = None
        # Ticket -> groups, in the order in which they came; empty: nothing waits.
        self.waiting: dict[int, list[Group]] = {}
        # Those of the batch that is being handled, by ticket.
        self._open: dict[int, Group] = {}
        # Who is held up, by the last ticket: sessions, and (realm, topic).
        self._sessions: dict[int, int] = {}
        self._topics: dict[tuple[str, str], int] = {}

    @property
    def active(self) -> bool:
        """Does anything wait?"""
        return bool(self.waiting)

    def group(self, ticket: int) -> Group:
        """The group of the present batch for that transaction."""
        group = self._open.get(ticket)
        if group is None:
            group = self._open[ticket] = Group(self.peer)
            self.waiting.setdefault(ticket, []).append(group)
        return group

    def close(self) -> list[Group]:
        """The present batch has been handled: its groups."""
        groups = list(self._open.values())
        self._open.clear()
        self.peer = None
        return groups

    def hold(self, ticket: int, effect: Event | Change | Again | Granted, rseq: int) -> None:
        """Hold it until that transaction is durable. rseq: see `Effect`."""
        self.group(ticket).effects.append((effect, rseq))
        event = event_of(effect)
        if event is not None:
            self._sessions[event.publish.session] = ticket
            self._topics[event.publish.realm, event.publish.topic] = ticket
        elif isinstance(effect, Change):
            self._topics[effect.place] = ticket

    def ticket_of(self, session: int, realm: str, topic: str) -> int:
        """The transaction for which a publish of the session on the topic has to wait; 0: none."""
        return max(self._sessions.get(session, 0), self._topics.get((realm, topic), 0))

    def holds_up(self, frame: OfSession) -> bool:
        """Hold the frame behind what its session has published, if that waits."""
        ticket = self._sessions.get(frame.session, 0)
        if ticket:
            self.group(ticket).effects.append((frame, PLAIN))
        return bool(ticket)

    def release(self, ticket: int) -> list[Group]:
        """What waited for transactions up to that one, in order."""
        done = sorted(one for one in self.waiting if one <= ticket)
        groups = [group for one in done for group in self.waiting.pop(one)]
        self._sessions = {s: last for s, last in self._sessions.items() if last > ticket}
        self._topics = {t: last for t, last in self._topics.items() if last > ticket}
        return groups

    @property
    def lowest(self) -> int | None:
        """The lowest id of the recorded events, and of changes, that are held; None: none is."""
        for ticket in sorted(self.waiting):
            for group in self.waiting[ticket]:
                for effect, rseq in group.effects:
                    if rseq == PLAIN:
                        continue
                    one = effect if isinstance(effect, Change) else event_of(effect)
                    if one is not None:
                        return one.publication
        return None

    def forget(self, peer: Peer) -> None:
        """The pair with that peer has ended: its calls and registrations are answered, or told
        again. What it published, and that sessions have left, stands.
        """
        for groups in self.waiting.values():
            for group in groups:
                if group.peer is peer:
                    group.effects = [
                        effect for effect in group.effects if isinstance(effect[0], STANDS)
                    ]
