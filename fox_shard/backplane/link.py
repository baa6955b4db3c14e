"""One end of the link between two processes.

Owns: numbering, acknowledgement, credit, reliable frames and their repetition, epochs, heartbeats.
Never: sockets, clocks, chance, and what a frame means.

A *pair* is one acquaintance of two link ends, named by the random epochs that the ends chose for
it. Within a pair frames are numbered from 1 and none is missing; a hole, a silent or a restarted
peer ends the pair, and both ends begin a new one. Plain frames that were on the way are gone then.
Reliable frames are sent again in the new pair, and have numbers of their own (`rseq`) that go on,
by which the receiver recognizes what it has applied already.

The end that connects says `Hello` until the other answers; the end that listens says `Hello` when
it is addressed by an epoch it does not know, upon which the first begins anew.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import final

from fox_shard.backplane.frames import (
    VERSION,
    Batch,
    Frame,
    Hello,
    Join,
    Leave,
    Publish,
    SyncEnd,
    Will,
    encode,
)
from fox_shard.backplane.terms import LinkEvent, LinkSettings
from fox_shard.deadline import NEVER, Deadline

LAZY_ACK = 0.02
"""Seconds for which an acknowledgement nobody waits for may wait for a batch to ride on."""

HELLO_INTERVAL = 0.1
"""Seconds between two attempts to open a link."""

NO_MARKS: list[int] = []

KEPT = (Publish, Will, Join, Leave)
"""What waits for a peer that is down. All else is state, which is replayed, or is answered."""


@final
class Link:
    """See the module."""

    __slots__ = (
        "_ack_due",
        "_acked",
        "_heard",
        "_highest",
        "_in_flight",
        "_out",
        "_rseq",
        "_said",
        "_unacked",
        "_unreturned",
        "connects",
        "deadline",
        "durable",
        "epoch",
        "handled",
        "hold_credit",
        "identity",
        "in_flight",
        "incarnation",
        "lost_at",
        "marks",
        "me",
        "open",
        "outbox",
        "passed",
        "peer",
        "peer_epoch",
        "peer_forgot",
        "peer_identity",
        "peer_incarnation",
        "peer_passed",
        "prompt",
        "received",
        "refusal",
        "reliable",
        "rfirst",
        "sent",
        "terms",
        "urgent",
        "watermark",
    )

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        me: str,
        peer: str,
        *,
        incarnation: int,
        terms: LinkSettings,
        new_epoch: Callable[[], int],
        deadline: Deadline,
        connects: bool,
        now: float,
        identity: int = 0,
    ) -> None:
        """me, peer: process names. incarnation: this process's. connects: this end says hello.

        new_epoch: yields a random number of 53 bits, never 0. identity: of the store that keeps
        this end's reliable frames through restarts; 0: they end with the incarnation.
        """
        self.me = me
        self.peer = peer
        self.incarnation = incarnation
        self.identity = identity or incarnation
        self.terms = terms
        self.connects = connects
        self.deadline = deadline
        self.epoch = new_epoch()
        self.peer_epoch = 0
        self.peer_incarnation = 0
        self.peer_identity = 0
        self.open = False
        self.refusal = ""
        # When the pair ended whose peer may come back; kept by `Links`.
        self.lost_at: float | None = None
        # What is sent. `outbox` is appended to directly where speed counts (see `send`).
        self.outbox: list[Frame] = []
        self.reliable: list[int] = []
        self.sent = 0
        self.prompt = False
        # Is there something to `flush` besides the outbox?
        self.urgent = False
        # Reliable frames that were flushed and are not known to be durable; the last is `_rseq`.
        self._rseq = 0
        self._highest = 0
        self._acked = 0
        self._unacked: deque[Frame] = deque()
        self._in_flight: deque[tuple[int, int]] = deque()
        self.in_flight = 0
        self._out: list[bytes] = []
        # What is received.
        self.received = 0
        self.watermark = 0
        self.handled = 0
        self.peer_passed = 0
        self.hold_credit = False
        # Of what `receive` returned last: where the reliable frames are, numbered from `rfirst`.
        self.marks = NO_MARKS
        self.rfirst = 1
        # The reliable number up to which the peer will send nothing again.
        self.peer_forgot = 0
        # What this end tells the peer about what it received; see `frames.Batch`.
        self.passed = 0
        self.durable = 0
        self._unreturned = 0
        self._ack_due = NEVER
        self._heard = now
        self._said = -1e9
        deadline.by(now)

    # Sending

    def send(self, frame: Frame) -> int:
        """Send at the end of the turn; returns the frame's number in this pair.

        Where a frame is sent for every message, `outbox.append` does the same.
        """
        self.outbox.append(frame)
        return self.sent + len(self.outbox)

    def send_reliable(self, frame: Frame) -> int:
        """As `send`, and again in the next pair until the peer says that it is durable."""
        outbox = self.outbox
        self.reliable.append(len(outbox))
        outbox.append(frame)
        return self.sent + len(outbox)

    @property
    def last(self) -> int:
        """Number of the last frame that was given to this end in this pair."""
        return self.sent + len(self.outbox)

    @property
    def idle(self) -> bool:
        """Nothing is to be sent, and the peer has handled all that was, durably."""
        return not (self.outbox or self._unacked or self.in_flight)

    @property
    def congested(self) -> bool:
        """No credit, or nobody there: who causes more frames for the peer should stop."""
        return not self.open or self.in_flight > self.terms.credit

    def flush(self, now: float) -> list[bytes]:
        """Everything to be put on the wire now, in order.

        Call at the end of each turn if there is something in `outbox`, or `urgent`.
        """
        out, self._out = self._out, []
        if self.open:
            out.append(self._encode(now))
        self.urgent = False
        return out

    def _encode(self, now: float) -> bytes:
        outbox = self.outbox
        if not self.hold_credit:
            self._unreturned = 0
        data = encode(
            Batch(
                self.me,
                self.epoch,
                self.peer_epoch,
                self.sent + 1,
                0 if self.hold_credit else self.received,
                self.passed,
                self.durable,
                self.prompt,
                self._rseq + 1,
                self.reliable,
                outbox,
                self._acked,
            )
        )
        if outbox:
            self.sent += len(outbox)
            self._in_flight.append((self.sent, len(data)))
            self.in_flight += len(data)
            if self.reliable:
                before = self._rseq
                self._rseq += len(self.reliable)
                self._highest = max(self._highest, self._rseq)
                known = max(0, self._acked - before)
                self._unacked.extend([outbox[i] for i in self.reliable[known:]])
                self.reliable.clear()
            outbox.clear()
        self.prompt = False
        self._ack_due = NEVER
        self._said = now
        return data

    def keep_reliable(self, since: int) -> None:
        """Of what waits behind the frame of that number, keep what is reliable."""
        start = since - self.sent
        kept = [self.outbox[i] for i in self.reliable if i >= start]
        earlier = [i for i in self.reliable if i < start]
        self.outbox[start:] = kept
        self.reliable[:] = [*earlier, *range(start, len(self.outbox))]

    def forget(self) -> None:
        """The peer that all this was for will not come back."""
        self.outbox.clear()
        self.reliable.clear()
        self._unacked.clear()

    def renew(self, incarnation: int, now: float) -> None:
        """Begin again as a process that has just started, of no store: nothing is sent again."""
        self.incarnation = self.identity = incarnation
        self.forget()
        self._rseq = self._highest = self._acked = 0
        self.break_off(now)

    def restore(self, last: int, frames: Sequence[Frame]) -> None:
        """Before the first pair: reliable frames that were kept through a restart of this process.

        last: the number of the last one there ever was; the others' are those before it.
        """
        self._rseq = self._highest = last
        self._unacked.extend(frames)

    @property
    def reliably_sent(self) -> int:
        """The number of the last reliable frame that was given to this end."""
        return self._rseq + len(self.reliable)

    @property
    def forgotten(self) -> int:
        """The reliable number up to which the peer has what it was sent, durably."""
        return self._acked

    def acknowledge_soon(self) -> None:
        """`passed` or `durable` moved and somebody at the peer waits for it."""
        self.urgent = True

    # Receiving

    def receive(  # noqa: C901 - the states of a pair
        self, batch: Batch, size: int, now: float
    ) -> tuple[LinkEvent, list[Frame]]:
        """Take a batch of the peer; returns what became of the pair, and the frames to handle.

        size: bytes on the wire. Frames that were applied before are left out (see `watermark`).
        """
        self._heard = now
        self.marks = NO_MARKS
        frames = batch.frames
        if frames and type(frames[0]) is Hello:
            return self._hello(batch, frames[0], now), []
        if not self._is_of_this_pair(batch):
            if not self.connects:
                self._say_hello(batch.epoch, now, reply=False)
            return LinkEvent.NONE, []
        if batch.first != self.received + 1:
            self.break_off(now)
            if not self.connects:
                self._say_hello(batch.epoch, now, reply=False)
            return LinkEvent.BROKEN, []
        self._settle(batch)
        if not frames:
            return LinkEvent.NONE, frames
        self.received += len(frames)
        self._unreturned += size
        if batch.prompt or self._unreturned > self.terms.credit // 4:
            self.urgent = True
        elif self._ack_due is NEVER:
            self._ack_due = now + LAZY_ACK
            self.deadline.by(self._ack_due)
        if batch.reliable:
            self.marks = batch.reliable
            self.rfirst = batch.rfirst
            frames = self._without_known(batch)
        return LinkEvent.NONE, frames

    def _is_of_this_pair(self, batch: Batch) -> bool:
        return self.open and batch.target == self.epoch and batch.epoch == self.peer_epoch

    def _settle(self, batch: Batch) -> None:
        """What the peer says of the frames it got."""
        if batch.handled > self.handled:
            self.handled = batch.handled
            in_flight = self._in_flight
            while in_flight and in_flight[0][0] <= batch.handled:
                self.in_flight -= in_flight.popleft()[1]
        if batch.passed > self.peer_passed:
            self.peer_passed = batch.passed
        if batch.durable > self._acked:
            self._acked = batch.durable
            unacked = self._unacked  # if it is empty: they may be in the outbox again (`resume`)
            if unacked:
                for _ in range(len(unacked) + batch.durable - self._rseq):
                    unacked.popleft()
        if batch.forgotten > self.peer_forgot:
            self.peer_forgot = batch.forgotten

    def _without_known(self, batch: Batch) -> list[Frame]:
        """The batch's frames less the reliable ones that were applied in an earlier pair."""
        frames = batch.frames
        top = batch.rfirst + len(batch.reliable) - 1
        if batch.rfirst <= self.watermark:
            count = self.watermark - batch.rfirst + 1
            known = set(batch.reliable[:count])
            self.marks = [
                i - bisect_left(batch.reliable, i, hi=min(count, len(batch.reliable)))
                for i in batch.reliable[count:]
            ]
            self.rfirst = self.watermark + 1
            frames = [frame for i, frame in enumerate(frames) if i not in known]
        self.watermark = max(self.watermark, top)
        return frames

    # The pair

    def _hello(self, batch: Batch, hello: Hello, now: float) -> LinkEvent:
        if (hello.version, hello.generation, hello.shards) != self._layout():
            self.refusal = (
                f"{self.peer} speaks protocol {hello.version}, layout {hello.generation} with "
                f"{hello.shards} shards; this process {self._layout()}: stop all processes and "
                "start them from one configuration"
            )
            return LinkEvent.REFUSED
        if self.connects:
            return self._hello_answered(batch, hello, now)
        if self.open and batch.epoch == self.peer_epoch:
            self._say_hello(batch.epoch, now, reply=True)
            return LinkEvent.NONE
        if self.open:
            self.break_off(now)
        self._begin(batch.epoch, hello)
        self._say_hello(batch.epoch, now, reply=True)
        return LinkEvent.OPENED

    def _hello_answered(self, batch: Batch, hello: Hello, now: float) -> LinkEvent:
        if batch.target != self.epoch:
            return LinkEvent.NONE
        if hello.reply:
            if self.open:
                return LinkEvent.NONE
            self._begin(batch.epoch, hello)
            return LinkEvent.OPENED
        was_open = self.open
        self.break_off(now)
        return LinkEvent.BROKEN if was_open else LinkEvent.NONE

    def _layout(self) -> tuple[int, int, int]:
        return (VERSION, self.terms.generation, self.terms.shards)

    def _say_hello(self, target: int, now: float, *, reply: bool) -> None:
        version, generation, shards = self._layout()
        hello = Hello(self.incarnation, self.identity, reply, version, generation, shards)
        frames: list[Frame] = [hello]
        batch = Batch(self.me, self.epoch, target, 0, 0, 0, 0, prompt=False, frames=frames)
        self._out.append(encode(batch))
        self.urgent = True
        self._said = now

    def _begin(self, peer_epoch: int, hello: Hello) -> None:
        if hello.identity != self.peer_identity:
            self.watermark = self.durable = self.peer_forgot = 0
        self.peer_epoch = peer_epoch
        self.peer_incarnation = hello.incarnation
        self.peer_identity = hello.identity
        self.open = True
        self.refusal = ""
        self.deadline.by(self._said + self.terms.heartbeat)

    def break_off(self, now: float) -> None:
        """End the pair, if there is one, and choose an epoch for the next: a higher one."""
        self.open = False
        self.epoch += 1
        self.peer_epoch = 0
        self.sent = self.received = self.handled = self.passed = self.peer_passed = 0
        self._in_flight.clear()
        self.in_flight = 0
        self._unreturned = 0
        self._ack_due = NEVER
        self._out.clear()
        self.urgent = False
        self.deadline.by(now + HELLO_INTERVAL)
        self._keep_what_waits()
        if self.connects:
            self._say_hello(0, now, reply=False)

    def _keep_what_waits(self) -> None:
        marked = set(self.reliable)
        kept = [
            (frame, i in marked)
            for i, frame in enumerate(self.outbox)
            if i in marked or isinstance(frame, KEPT)
        ]
        self.outbox[:] = [frame for frame, _ in kept]
        self.reliable[:] = [i for i, (_, reliable) in enumerate(kept) if reliable]

    def resume(self, replay: Sequence[Frame]) -> None:
        """After OPENED: send the replayed state, what was not durable, `SyncEnd`, what waited."""
        if any(not isinstance(frame, KEPT) for frame in self.outbox):
            self._keep_what_waits()
        again = self._take_again()
        first: list[Frame] = [*replay, *again, SyncEnd()]
        shift = len(first)
        marks = range(len(replay), len(replay) + len(again))
        self.reliable[:] = [*marks, *(i + shift for i in self.reliable)]
        self.outbox[:0] = first

    def _take_again(self) -> list[Frame]:
        """What has been sent and is not known to be durable.

        If the last pair ended before anything was flushed, that is in the outbox again; some of it
        may be durable, as the peer may have said in that pair.
        """
        again = list(self._unacked)
        self._unacked.clear()
        self._rseq -= len(again)
        sent = self.reliable[: self._highest - self._rseq - len(again)]
        known = max(0, self._acked - self._rseq)
        again += [self.outbox[place] for place in sent[known:]]
        for place in reversed(sent):
            del self.outbox[place]
        self.reliable[:] = [place - len(sent) for place in self.reliable[len(sent) :]]
        self._rseq += known
        return again

    def tick(self, now: float) -> LinkEvent:
        """Heartbeat, hello again, and silence of the peer. Then `flush`."""
        if not self.open:
            if self.connects and now - self._said >= HELLO_INTERVAL:
                self._say_hello(0, now, reply=False)
            return LinkEvent.NONE
        if now - self._heard > self.terms.peer_timeout:
            self.break_off(now)
            return LinkEvent.BROKEN
        if now - self._said >= self.terms.heartbeat * 0.9 or now >= self._ack_due:
            self.urgent = True
        return LinkEvent.NONE

    def next_tick(self) -> float:
        """When `tick` and `flush` are due, in the unit and origin of `now`."""
        if not self.open:
            return self._said + HELLO_INTERVAL if self.connects else NEVER
        due = min(self._said + self.terms.heartbeat, self._heard + self.terms.peer_timeout + 0.1)
        return min(due, self._ack_due)
