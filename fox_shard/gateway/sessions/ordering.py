"""The order in which a subscriber or callee gets what one session sent.

Owns: the fences of frames that go out, and frames that are held back because they came in too
early. Never: what is delivered.

WAMP promises that what one session sends reaches another in order, over all topics and procedures
(#ordering-guarantees). Each shard keeps this order, but two shards know nothing of each other. So
if a sender has frames at other shards that may not have been delivered yet, its next frame carries
a fence that names them. A gateway that gets an event or invocation with a fence asks the named
shards to say when they have handled those frames; their answers come after everything that they
sent before. Until then the gateway holds back this frame and all later ones of the same sender.

That may take long if a named shard is down. So a sender is not read while a fence of it names a
shard that is down; and the bytes that are held back are counted (see `Gateway`).
"""

from collections import Counter
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import final

from fox_shard.backplane.frames import (
    Event,
    Fence,
    FencePassed,
    FenceQuery,
    Invocation,
    SelectedEvent,
    sent_bytes,
)
from fox_shard.backplane.link import Link
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.budget import DeliveryBudget
from fox_shard.gateway.sessions.held_events import HeldEvents
from fox_shard.gateway.sessions.session import Session

MARKS_LIMIT = 10_000
"""Entries of `_passed`. Beyond that all are dropped, since those of ended pairs would stay."""

OVERHEAD = 1000
"""Bytes that each frame that is held back counts for in addition to what its sender decides on."""

HeldFrame = Event | SelectedEvent | Invocation
HeldEntry = tuple[int, int, int, HeldFrame, Fence | None]
"""(order, arrival, shard, frame, fence)."""

Mark = tuple[str, int, int]
"""(origin, shard, epoch): the pair of a gateway and a shard, with the gateway's epoch."""


@final
class Ordering:
    """Keeps the order of each sender's frames, for all sessions of one gateway."""

    __slots__ = (
        "_arrivals",
        "_asked",
        "_blocked",
        "_budget",
        "_deliver",
        "_links",
        "_name",
        "_passed",
        "_pause",
        "_wanted",
        "held_bytes",
        "held_events",
        "held_frames",
        "held_invocations",
        "unfinished",
    )

    def __init__(
        self,
        name: str,
        links: list[Link],
        deliver: Callable[[HeldFrame, int], None],
        budget: DeliveryBudget,
        pause: Callable[[Connection, int], None],
    ) -> None:
        """name: this gateway's. links: to the shards, by number.

        deliver(frame, shard): called with each frame that is released, and the shard it came from.
        budget: bounds how many are released in one turn. pause(connection, shard): stops reading a
        client until that shard is up.
        """
        self._name = name
        self._links = links
        self._deliver = deliver
        # Sender -> a heap of its frames: (their order, arrival, shard, frame, fence).
        self.held_frames: dict[int, list[HeldEntry]] = {}
        # The events among them, for subscriptions that must not begin before they are delivered.
        self.held_events = HeldEvents()
        # (shard, its number for the invocation) -> how many of its parts are held back.
        self.held_invocations: Counter[tuple[int, int]] = Counter()
        self.held_bytes = 0
        # Frames with the same order (one was sent again) are released in the order of arrival.
        self._arrivals = 0
        # The sequence number up to which the shard has said that it has handled all.
        self._passed: dict[Mark, int] = {}
        # The sequence number in the question that the shard has not answered yet.
        self._asked: dict[Mark, int] = {}
        # The highest sequence number for which a frame is held back.
        self._wanted: dict[Mark, int] = {}
        # The senders that have a frame whose fence names that pair.
        self._blocked: dict[Mark, dict[int, None]] = {}
        self._budget = budget
        self._pause = pause
        # The senders of which more frames can be released than the turn's budget pays for: always
        # the same dict, as hot code looks at it.
        self.unfinished: dict[int, None] = {}

    # Frames that go out

    def fence(self, session: Session, shard: int) -> Fence | None:
        """Return the fence for the session's next frame, which goes to that shard; None: no fence.

        Call this only if `session.last_shard` is another shard or `session.unconfirmed` is not
        None. Afterwards `shard` is the last shard, and the caller is to set `session.last_seq`.
        """
        unconfirmed = session.unconfirmed or {}
        if session.last_shard >= 0:
            unconfirmed[session.last_shard] = session.last_seq
        session.last_shard = shard
        unconfirmed.pop(shard, None)
        links = self._links
        for other in [s for s, seq in unconfirmed.items() if links[s].peer_delivered >= seq]:
            del unconfirmed[other]
        session.unconfirmed = unconfirmed or None
        if not unconfirmed:
            return None
        for other in unconfirmed:
            if not links[other].open:
                # Whoever gets this frame has to hold it back for as long.
                self._pause(session.connection, other)
        # Frames that wait for a pair have no numbers yet, but all of them will be in its first
        # batch, and shards say of its frames that they have passed when all of them have: so 1
        # will do.
        marks = [(s, links[s].epoch, seq if links[s].open else 1) for s, seq in unconfirmed.items()]
        return Fence(self._name, marks)

    def renumber(self, session: Session, shard: int) -> None:
        """Renumber the session's frames to that shard, as a new pair begins with them."""
        last = self._links[shard].last
        if session.last_shard == shard:
            session.last_seq = last
        if session.unconfirmed is not None and shard in session.unconfirmed:
            session.unconfirmed[shard] = last

    def at(self, session: Session) -> set[int]:
        """Return the shards where the session has frames that may not be delivered yet."""
        sent = dict(session.unconfirmed or {})
        if session.last_shard >= 0:
            sent[session.last_shard] = session.last_seq
        return {shard for shard, seq in sent.items() if self._links[shard].peer_delivered < seq}

    # Frames that come in

    @property
    def idle(self) -> bool:
        """Whether nothing is held back and no shard owes an answer."""
        return not (
            self.held_frames or self._asked or self._wanted or self._blocked or self.unfinished
        )

    def hold(
        self, frame: HeldFrame, shard: int, sender: int, order: int, fence: Fence | None
    ) -> bool:
        """Hold the frame back if it must wait. Returns whether it is held back.

        shard: where it came from. order: its number among the frames of the sender.
        """
        held_frames = self.held_frames.get(sender)
        if held_frames is None:
            if fence is None or self._satisfied(fence):
                return False
            held_frames = self.held_frames[sender] = []
        self._arrivals += 1
        heappush(held_frames, (order, self._arrivals, shard, frame, fence))
        self.held_bytes += _size(frame)
        if isinstance(frame, Invocation):
            self.held_invocations[shard, frame.invocation] += 1
        else:
            self.held_events.add(frame, shard)
        if fence is not None:
            self._want(fence, sender)
        return True

    def link_broken(self, shard: int) -> None:
        """Drop that shard's invocations, since the pair has ended: nobody awaits their results."""
        for key in [key for key in self.held_invocations if key[0] == shard]:
            del self.held_invocations[key]
        for sender, held_frames in list(self.held_frames.items()):
            kept = [one for one in held_frames if one[2] != shard or type(one[3]) is not Invocation]
            if len(kept) < len(held_frames):
                self.held_bytes += _sizes(kept) - _sizes(held_frames)
                heapify(kept)
                self.held_frames[sender] = kept
                self._release(sender)

    def _satisfied(self, fence: Fence) -> bool:
        passed = self._passed
        origin = fence.origin
        return all(
            passed.get((origin, shard, epoch), 0) >= seq for shard, epoch, seq in fence.marks
        )

    def _want(self, fence: Fence, sender: int) -> None:
        for shard, epoch, seq in fence.marks:
            mark = (fence.origin, shard, epoch)
            if self._passed.get(mark, 0) >= seq:
                continue
            self._blocked.setdefault(mark, {})[sender] = None
            if self._wanted.get(mark, 0) < seq:
                self._wanted[mark] = seq
                if mark not in self._asked:
                    self._ask(mark)

    def _ask(self, mark: Mark) -> None:
        """Ask a shard how far it is: one question at a time, about all that is wanted by then."""
        link = self._links[mark[1]]
        if link.open:
            self._asked[mark] = self._wanted[mark]
            link.send(FenceQuery(mark[0], mark[2], self._wanted[mark]))
            link.prompt = True

    def fence_passed(self, answer: FencePassed, shard: int) -> None:
        """Take a shard's answer, and deliver what no longer has to wait."""
        mark = (answer.origin, shard, answer.epoch)
        self._asked.pop(mark, None)
        if len(self._passed) > MARKS_LIMIT:
            self._passed.clear()
        self._passed[mark] = max(answer.seq, self._passed.get(mark, 0))
        if self._wanted.get(mark, 0) <= answer.seq:
            self._wanted.pop(mark, None)
        else:
            self._ask(mark)
        for sender in self._blocked.pop(mark, ()):
            if sender in self.held_frames:
                self._release(sender)

    def _release(self, sender: int) -> None:
        held_frames = self.held_frames[sender]
        while held_frames:
            fence = held_frames[0][4]
            if fence is not None and not self._satisfied(fence):
                self._want(fence, sender)
                return
            if self._budget.left <= 0:
                self.unfinished[sender] = None
                return
            _, _, shard, frame, _ = heappop(held_frames)
            self.held_bytes -= _size(frame)
            if isinstance(frame, Invocation):
                self._released(shard, frame.invocation)
            self._deliver(frame, shard)
            self._budget.spend(1)
        del self.held_frames[sender]

    def _released(self, shard: int, invocation: int) -> None:
        self.held_invocations[shard, invocation] -= 1
        if not self.held_invocations[shard, invocation]:
            del self.held_invocations[shard, invocation]

    def release_more(self) -> None:
        """Deliver what earlier turns have left, as far as this turn's budget reaches."""
        senders = [*self.unfinished]
        self.unfinished.clear()
        for sender in senders:
            if sender in self.held_frames:
                self._release(sender)

    def ask_again(self, shard: int) -> None:
        """Ask that shard again, as a new pair begins: questions of the old one are lost."""
        for mark in [mark for mark in self._wanted if mark[1] == shard]:
            self._asked.pop(mark, None)
            self._ask(mark)


def _size(frame: HeldFrame) -> int:
    """Return the bytes that a frame counts for."""
    if isinstance(frame, Invocation):
        call = frame.call
        attributes = call.attributes or b""
        return OVERHEAD + len(call.procedure) + len(call.args) + len(call.kwargs) + len(attributes)
    publish = (frame if isinstance(frame, Event) else frame.event).publish
    return OVERHEAD + len(publish.topic) + sent_bytes(publish)


def _sizes(held_frames: list[HeldEntry]) -> int:
    return sum(_size(one[3]) for one in held_frames)
