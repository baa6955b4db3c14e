"""The order in which a subscriber or callee gets what one session sent.

Owns: fences of what goes out, and holding back what comes in too early. Never: what is delivered.

WAMP promises that what one session sends reaches another in order, over all topics and procedures
(#ordering-guarantees). Each shard keeps order, but two shards know nothing of each other. So a
frame whose sender has frames at other shards that may not have passed yet carries a fence that
names them. A gateway that gets such an event asks the named shards to say when they are that far;
the answer comes behind everything they had sent. Until then it holds back what that sender sent.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import final

from fox_shard.backplane.frames import Ask, Event, Fence, Invocation, Reached, Selected
from fox_shard.backplane.link import Link
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.pattern import Pattern

RELEASED_A_TURN = 1000
"""Frames that were held back and are delivered before the links and clients get their turn."""

MARKS_LIMIT = 10_000
"""Pairs remembered; an ended pair stays until then."""

Held = Event | Selected | Invocation
Mark = tuple[str, int, int]
"""(origin, shard, epoch): one pair of link ends."""


@final
class Order:
    """See the module."""

    __slots__ = (
        "_arrivals",
        "_asked",
        "_budget",
        "_deliver",
        "_links",
        "_name",
        "_reached",
        "_unfinished",
        "_wanted",
        "held",
    )

    def __init__(self, name: str, links: list[Link], deliver: Callable[[Held, int], None]) -> None:
        """name: this gateway's. links: to the shards. deliver(frame, shard): what was held back."""
        self._name = name
        self._links = links
        self._deliver = deliver
        # Sender -> what is held back of it: (its order, arrival, shard, frame, fence).
        self.held: dict[int, list[tuple[int, int, int, Held, Fence | None]]] = {}
        # Of two with one order (one of them came again) the first is first.
        self._arrivals = 0
        self._reached: dict[Mark, int] = {}
        self._asked: dict[Mark, int] = {}
        self._wanted: dict[Mark, int] = {}
        # How many may be delivered in this turn, and senders of whom more could be.
        self._budget = RELEASED_A_TURN
        self._unfinished: dict[int, None] = {}

    # Out

    def fence(self, session: Session, shard: int) -> Fence | None:
        """What the next frame of the session, to that shard, must not overtake.

        Call only if `session.lane` is another shard or `session.unpassed` is not None.
        """
        unpassed = session.unpassed or {}
        if session.lane >= 0:
            unpassed[session.lane] = session.lane_seq
        session.lane = shard
        unpassed.pop(shard, None)
        links = self._links
        for other in [s for s, seq in unpassed.items() if links[s].peer_passed >= seq]:
            del unpassed[other]
        session.unpassed = unpassed or None
        if not unpassed:
            return None
        # What waits for a pair will be in its first batch, with numbers that nobody knows yet.
        marks = [(s, links[s].epoch, seq if links[s].open else 1) for s, seq in unpassed.items()]
        return Fence(self._name, marks)

    def renumber(self, session: Session, shard: int) -> None:
        """The pair with the shard is new: all that waited for it is in its first batch."""
        last = self._links[shard].last
        if session.lane == shard:
            session.lane_seq = last
        if session.unpassed is not None and shard in session.unpassed:
            session.unpassed[shard] = last

    # In

    @property
    def idle(self) -> bool:
        """Nothing is held back, and no shard is asked anything."""
        return not (self.held or self._asked or self._wanted or self._unfinished)

    def hold(self, frame: Held, shard: int, sender: int, order: int, fence: Fence | None) -> bool:
        """Hold the frame back if it must wait; returns whether it was."""
        held = self.held.get(sender)
        if held is None:
            if fence is None or self._satisfied(fence):
                return False
            held = self.held[sender] = []
        self._arrivals += 1
        heappush(held, (order, self._arrivals, shard, frame, fence))
        if fence is not None:
            self._want(fence)
        return True

    def forget_invocations(self, shard: int) -> None:
        """The pair with the shard has ended: nobody waits for what it invoked."""
        for sender, held in list(self.held.items()):
            kept = [one for one in held if one[2] != shard or type(one[3]) is not Invocation]
            if len(kept) < len(held):
                heapify(kept)
                self.held[sender] = kept
                self._release(sender)

    def held_events(self, shard: int, pattern: Pattern, *, selective: bool = False) -> set[int]:
        """Publications of that shard, on topics that match, which are held back.

        selective: those that were selected, as negative numbers.
        """
        frames = [
            frame for held in self.held.values() for _, _, of, frame, _ in held if of == shard
        ]
        if selective:
            events = [frame.event for frame in frames if type(frame) is Selected]
        else:
            events = [frame for frame in frames if type(frame) is Event]
        sign = -1 if selective else 1
        return {sign * one.publication for one in events if pattern.matches(one.publish.topic)}

    def _satisfied(self, fence: Fence) -> bool:
        reached = self._reached
        origin = fence.origin
        return all(
            reached.get((origin, shard, epoch), 0) >= seq for shard, epoch, seq in fence.marks
        )

    def _want(self, fence: Fence) -> None:
        for shard, epoch, seq in fence.marks:
            mark = (fence.origin, shard, epoch)
            if self._reached.get(mark, 0) < seq and self._wanted.get(mark, 0) < seq:
                self._wanted[mark] = seq
                if mark not in self._asked:
                    self._ask(mark)

    def _ask(self, mark: Mark) -> None:
        """One question at a time about one pair; the next names all that is wanted by then."""
        link = self._links[mark[1]]
        if link.open:
            self._asked[mark] = self._wanted[mark]
            link.send(Ask(mark[0], mark[2], self._wanted[mark]))
            link.prompt = True

    def reached(self, answer: Reached, shard: int) -> None:
        """Deliver what no longer waits."""
        mark = (answer.origin, shard, answer.epoch)
        self._asked.pop(mark, None)
        if len(self._reached) > MARKS_LIMIT:
            self._reached.clear()
        self._reached[mark] = max(answer.seq, self._reached.get(mark, 0))
        if self._wanted.get(mark, 0) <= answer.seq:
            self._wanted.pop(mark, None)
        else:
            self._ask(mark)
        for sender in list(self.held):
            self._release(sender)

    def _release(self, sender: int) -> None:
        held = self.held[sender]
        while held:
            fence = held[0][4]
            if fence is not None and not self._satisfied(fence):
                self._want(fence)
                return
            if not self._budget:
                self._unfinished[sender] = None
                return
            self._budget -= 1
            _, _, shard, frame, _ = heappop(held)
            self._deliver(frame, shard)
        del self.held[sender]

    def end_turn(self) -> bool:
        """Returns whether `go_on` has something to do in the next."""
        self._budget = RELEASED_A_TURN
        return bool(self._unfinished)

    def go_on(self) -> None:
        """Deliver what was left in an earlier turn."""
        senders, self._unfinished = self._unfinished, {}
        for sender in senders:
            if sender in self.held:
                self._release(sender)

    def ask_again(self, shard: int) -> None:
        """The pair with that shard is new: what was asked is not known there."""
        for mark in [mark for mark in self._wanted if mark[1] == shard]:
            self._asked.pop(mark, None)
            self._ask(mark)
