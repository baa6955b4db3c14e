"""One end of the link between two processes.

Owns: numbering, acknowledgement, credit, reliable frames and their repetition, epochs, heartbeats.
Never: sockets, clocks, random numbers, or what a frame means.

A *pair* is an unbroken period of a link, named by the epochs that its two ends chose for it. Within
a pair frames are numbered from 1 without holes. A hole, or a peer that is silent or has restarted,
ends the pair, and both ends begin a new one. Plain frames on their way are then lost. Reliable
frames are sent again in the new pair. Their own numbers (`rseq`) go on from pair to pair, so that
the receiver recognizes frames that it has already applied.

The end that connects sends `Hello` until the other answers. The end that listens sends `Hello` when
a batch is not of its pair, upon which the connecting end begins a new pair.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, final

from fox_shard.backplane.attached import is_attached
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
from fox_shard.backplane.parcel import parcel_of
from fox_shard.backplane.terms import KEY, NOTHING, LinkEvent, LinkSettings
from fox_shard.deadline import NEVER, Deadline

LAZY_ACK = 0.2
"""Seconds that an acknowledgement may wait for a batch with frames, if no process waits for it and
less than a quarter of the credit is to be given back."""

DUE: Final = 0.9
"""How much of a heartbeat nothing was sent on a link whose heartbeat is due."""

HELLO_INTERVAL = 0.1
"""Seconds between two attempts to open a link."""

UNLIMITED: Final = 1 << 62

NO_MARKS: list[int] = []
"""The empty list that all links share; never added to."""

WAITING_FRAMES = (Publish, Will, Join, Leave)
"""Plain frames that wait for a peer that is down, as reliable frames do. Others are state, which is
replayed, or requests, which are answered with an error."""


@final
class Link:
    """One end of a link. The owner hands it batches and the time, and flushes it every turn."""

    __slots__ = (
        "_ack_due",
        "_acked",
        "_hellos",
        "_highest",
        "_in_flight",
        "_last_received",
        "_last_sent",
        "_rseq",
        "_unacked",
        "_unreturned",
        "asked",
        "connects",
        "deadline",
        "delivered",
        "durable",
        "epoch",
        "extra_work",
        "gone",
        "handled",
        "held",
        "hold_credit",
        "identity",
        "in_flight",
        "incarnation",
        "known",
        "left_out",
        "lost_at",
        "missed",
        "missed_by_peer",
        "name",
        "open",
        "outbox",
        "peer",
        "peer_delivered",
        "peer_epoch",
        "peer_forgotten",
        "peer_identity",
        "peer_incarnation",
        "prompt",
        "received",
        "refusal",
        "reliable",
        "reliable_indexes",
        "rfirst",
        "sent",
        "settings",
        "unhandled",
        "urgent",
        "watermark",
        "work_in_flight",
        "work_limit",
    )

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        name: str,
        peer: str,
        *,
        incarnation: int,
        settings: LinkSettings,
        new_epoch: Callable[[], int],
        deadline: Deadline,
        connects: bool,
        now: float,
        identity: int = 0,
    ) -> None:
        """me, peer: process names. incarnation: this process's. now: monotonic seconds.

        new_epoch: returns a random number of 53 bits, never 0. connects: whether this end connects
        to the other. identity: of the store that keeps this end's reliable frames through restarts;
        0: they end with the incarnation.
        """
        self.name = name
        self.peer = peer
        self.incarnation = incarnation
        self.identity = identity or incarnation
        self.settings = settings
        self.connects = connects
        self.deadline = deadline
        self.epoch = new_epoch()
        self.peer_epoch = 0
        self.peer_incarnation = 0
        self.peer_identity = 0
        # The incarnation of the peer with which this end's incarnation was last linked; 0: none.
        self.known = 0
        self.open = False
        self.refusal = ""
        # When the pair ended, while the peer may come back; maintained by `Links`.
        self.lost_at: float | None = None
        # The incarnation of the peer that is not let in again; 0: none.
        self.gone = 0
        # Whether this process has ended its sync without the peer (maintained by the owner), and
        # whether the peer has.
        self.missed = False
        self.missed_by_peer = False
        # After a standstill: whether the peer has yet to answer, and whether frames are held back
        # because some peer has; maintained by `Links`.
        self.asked = False
        self.held = False
        # Sending. Hot code appends to `outbox` directly (see `send`).
        self.outbox: list[Frame] = []
        self.reliable: list[int] = []
        # What the frames in the outbox count beyond 1 each (see `terms.KEY`).
        self.extra_work = 0
        self.sent = 0
        self.prompt = False
        # Whether there is something to `flush` besides the outbox.
        self.urgent = False
        # Reliable numbers: of the last flushed frame, in this pair (`_rseq`) and ever (`_highest`),
        # and the one up to which the peer has frames durably; `_unacked` has the frames in between.
        self._rseq = 0
        self._highest = 0
        self._acked = 0
        self._unacked: deque[Frame] = deque()
        # Batches for which the peer has given no credit back: (last sequence number, bytes, work);
        # and bytes and work of all. The owner may limit the work.
        self._in_flight: deque[tuple[int, int, int]] = deque()
        self.in_flight = self.work_in_flight = 0
        self.work_limit = UNLIMITED
        self._hellos: list[bytes] = []
        # Receiving. The watermark is the highest reliable number that was applied.
        self.received = 0
        # How many of the received frames the owner has put off; maintained by the owner.
        self.unhandled = 0
        self.watermark = 0
        self.handled = 0
        self.peer_delivered = 0
        self.hold_credit = False
        # Indexes of the reliable frames in the last result of `receive`, numbered from `rfirst` on.
        self.reliable_indexes = NO_MARKS
        self.rfirst = 1
        # How many frames were left out of this result, because they were applied before.
        self.left_out = 0
        # The reliable number up to which the peer will send no frame again.
        self.peer_forgotten = 0
        # What this end tells the peer about the frames that it received (see `frames.Batch`).
        self.delivered = 0
        self.durable = 0
        self._unreturned = 0
        self._ack_due = NEVER
        self._last_received = now
        self._last_sent = -1e9
        deadline.by(now)

    # Sending

    def send(self, frame: Frame) -> int:
        """Send a frame at the end of the turn; return its sequence number in this pair.

        Hot code that needs no number calls `outbox.append` instead.
        """
        self.outbox.append(frame)
        return self.sent + len(self.outbox)

    def send_reliable(self, frame: Frame) -> int:
        """Send a frame as `send` does, and again in each new pair until the peer has it durably."""
        outbox = self.outbox
        self.reliable.append(len(outbox))
        self.extra_work += KEY
        outbox.append(frame)
        return self.sent + len(outbox)

    @property
    def last(self) -> int:
        """The sequence number of the last frame that was given to this end in this pair."""
        return self.sent + len(self.outbox)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be sent, and the peer has handled all frames, durably."""
        return not (self.outbox or self._unacked or self.in_flight)

    @property
    def congested(self) -> bool:
        """Whether the causes of more frames should stop: there is no open pair, or no credit."""
        return not self.open or self.held or self.out_of_credit

    @property
    def out_of_credit(self) -> bool:
        """Whether as much is in flight as may be."""
        return self.in_flight > self.settings.credit or self.work_in_flight > self.work_limit

    def flush(self, now: float) -> list[bytes]:  # noqa: PLR0915 - hot, so without calls
        """Return the encoded batches to be sent now, in order.

        To be called at the end of each turn if `outbox` is not empty, or `urgent` is set.
        """
        self.urgent = False
        out, self._hellos = self._hellos, []
        if not self.open or self.held:
            return out
        outbox = self.outbox
        if not self.hold_credit:
            self._unreturned = 0
        work = len(outbox) + self.extra_work
        if self.work_in_flight + work > self.work_limit >> 2:
            # The causes of more frames may have to wait for the credit.
            self.prompt = True
        batch = Batch(
            self.name,
            self.epoch,
            self.peer_epoch,
            self.sent + 1,
            self.received - self.unhandled,
            self.delivered,
            self.durable,
            self.prompt,
            self._rseq + 1,
            self.reliable,
            outbox,
            self._acked,
            self.hold_credit,
        )
        data = encode(batch)
        if self.settings.hands_over:
            data = parcel_of(data, batch)
        if outbox:
            self.sent += len(outbox)
            self._in_flight.append((self.sent, len(data), work))
            self.in_flight += len(data)
            self.work_in_flight += work
            self.extra_work = 0
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
        self._last_sent = now
        return [*out, data] if out else [data]

    def drop_plain(self, since: int) -> None:
        """Drop the plain frames that wait in the outbox behind the frame with that number."""
        start = since - self.sent
        kept = [self.outbox[i] for i in self.reliable if i >= start]
        earlier = [i for i in self.reliable if i < start]
        self.outbox[start:] = kept
        self.reliable[:] = [*earlier, *range(start, len(self.outbox))]

    def peer_gone(self) -> None:
        """Drop all that waits for the peer, which will not come back."""
        self.outbox.clear()
        self.reliable.clear()
        self.extra_work = 0
        self._unacked.clear()

    def disown(self) -> None:
        """Never let this incarnation of the peer in again: it is gone, and others may know."""
        self.gone = self.peer_incarnation

    def ask(self, now: float) -> None:
        """Hold all frames back and ask the peer whether it still knows this incarnation.

        For the end that connects. The peer answers in the open pair, in a new one, or with
        DISOWNED. An answer to an earlier question does not count if no pair is open.
        """
        self.asked = self.held = True
        if self.open:
            self._say_hello(self.peer_epoch, now, reply=False)
        else:
            self.break_off(now)

    def excuse(self, seconds: float, now: float) -> None:
        """Do not count so many seconds as the peer's silence: this process could not listen."""
        self._last_received = min(now, self._last_received + seconds)
        if self.lost_at is not None:
            self.lost_at = min(now, self.lost_at + seconds)

    def renew(self, incarnation: int, now: float) -> None:
        """Start over as a new incarnation without a store: no frame is sent again."""
        self.incarnation = self.identity = incarnation
        self.peer_gone()
        self.known = 0
        # The peer may have forgotten the former incarnation, and then numbers its frames anew.
        self.peer_identity = 0
        self._rseq = self._highest = self._acked = 0
        self.break_off(now)

    def restore(self, last: int, frames: Sequence[Frame]) -> None:
        """Load, before the first pair, the reliable frames that the store has kept.

        last: the reliable number of the last frame that was ever sent, and of the last of `frames`.
        """
        self._rseq = self._highest = last
        self._unacked.extend(frames)

    @property
    def reliably_sent(self) -> int:
        """The reliable number of the last reliable frame that was given to this end."""
        return self._rseq + len(self.reliable)

    @property
    def forgotten(self) -> int:
        """The reliable number up to which frames are durable at the peer, so need not be kept."""
        return self._acked

    def acknowledge_soon(self) -> None:
        """Flush this turn: `delivered` or `durable` has moved, and the peer waits for it."""
        self.urgent = True

    # Receiving

    def heard(self, now: float) -> None:
        """Note that the peer has said something, which the owner will pass on later."""
        self._last_received = now

    def receive(  # noqa: C901, PLR0915 - the states of a pair, without calls for the usual one
        self, batch: Batch, size: int, now: float
    ) -> tuple[LinkEvent, list[Frame]]:
        """Take a batch of the peer; return what became of the pair, and the frames to handle.

        size: bytes on the wire. Reliable frames that were applied before are left out (see
        `watermark`); `reliable_indexes`, `rfirst` and `left_out` describe those that remain.
        """
        self._last_received = now
        self.reliable_indexes = NO_MARKS
        self.left_out = 0
        frames = batch.frames
        if frames and type(frames[0]) is Hello:
            return self._hello(batch, frames[0], now), []
        if not (self.open and batch.target == self.epoch and batch.epoch == self.peer_epoch):
            if not self.connects:
                self._say_hello(batch.epoch, now, reply=False)
            return LinkEvent.NONE, []
        if batch.first != self.received + 1:
            self.break_off(now)
            if not self.connects:
                self._say_hello(batch.epoch, now, reply=False)
            return LinkEvent.BROKEN, []
        self._take_acknowledgements(batch)
        if not frames:
            return NOTHING, frames
        self.received += len(frames)
        self._unreturned += size
        if batch.prompt or self._unreturned > self.settings.credit // 4:
            self.urgent = True
        elif self._ack_due == NEVER:
            self._ack_due = now + LAZY_ACK
            self.deadline.by(self._ack_due)
        reliable = batch.reliable
        if reliable:
            self.reliable_indexes = reliable
            first = self.rfirst = batch.rfirst
            if first > self.watermark:
                self.watermark = first + len(reliable) - 1
            else:
                frames = self._without_known(batch)
                self.left_out = len(batch.frames) - len(frames)
        return NOTHING, frames

    def _take_acknowledgements(self, batch: Batch) -> None:
        """Apply what the peer says about the frames that it has received."""
        handled, in_flight = batch.handled, self._in_flight
        if handled > self.handled:
            self.handled = handled
        while in_flight and in_flight[0][0] <= handled and not batch.withheld:
            _, size, work = in_flight.popleft()
            self.in_flight -= size
            self.work_in_flight -= work
        if batch.delivered > self.peer_delivered:
            self.peer_delivered = batch.delivered
        if batch.durable > self._acked:
            self._acked = batch.durable
            unacked = self._unacked
            # If it is empty, its frames may be in the outbox again (see `resume`).
            if unacked:
                # After a restart the peer may know of frames that this end has yet to send.
                for _ in range(min(len(unacked), len(unacked) + batch.durable - self._rseq)):
                    unacked.popleft()
        if batch.forgotten > self.peer_forgotten:
            self.peer_forgotten = batch.forgotten

    def _without_known(self, batch: Batch) -> list[Frame]:
        """Return the batch's frames without the reliable ones that were applied before."""
        count = self.watermark - batch.rfirst + 1
        known = set(batch.reliable[:count])
        self.reliable_indexes = [
            i - bisect_left(batch.reliable, i, hi=min(count, len(batch.reliable)))
            for i in batch.reliable[count:]
        ]
        self.rfirst = self.watermark + 1
        self.watermark = max(self.watermark, batch.rfirst + len(batch.reliable) - 1)
        return [frame for i, frame in enumerate(batch.frames) if i not in known]

    # The pair

    def _hello(self, batch: Batch, hello: Hello, now: float) -> LinkEvent:
        if self.connects and hello.refusal:
            self.refusal = hello.refusal
            return LinkEvent.REFUSED
        if (hello.version, hello.generation, hello.shards) != self._layout():
            self.refusal = (
                f"{self.peer} speaks protocol {hello.version}, layout {hello.generation} with "
                f"{hello.shards} shards; this process {self._layout()}: stop all processes and "
                "start them from one configuration"
            )
            if is_attached(self.peer):
                self._say_hello(batch.epoch, now, reply=False, refusal=self.refusal)
            return LinkEvent.REFUSED
        if self.connects:
            return self._hello_answered(batch, hello, now)
        if hello.incarnation == self.gone:
            self._say_hello(batch.epoch, now, reply=True)
            return LinkEvent.NONE
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
        if hello.gone == self.incarnation:
            return LinkEvent.DISOWNED
        if hello.reply and not self.open:
            self.asked = False
            self._begin(batch.epoch, hello)
            return LinkEvent.OPENED
        if hello.reply and batch.epoch == self.peer_epoch:
            self.asked = False
            return LinkEvent.NONE
        was_open = self.open
        self.break_off(now)
        return LinkEvent.BROKEN if was_open else LinkEvent.NONE

    def _layout(self) -> tuple[int, int, int]:
        return (VERSION, self.settings.generation, self.settings.shards)

    def _say_hello(self, target: int, now: float, *, reply: bool, refusal: str = "") -> None:
        version, generation, shards = self._layout()
        hello = Hello(
            self.incarnation,
            self.identity,
            reply,
            version,
            generation,
            shards,
            self.gone,
            self.missed,
            self.known,
            refusal,
        )
        frames: list[Frame] = [hello]
        batch = Batch(self.name, self.epoch, target, 0, 0, 0, 0, prompt=False, frames=frames)
        self._hellos.append(encode(batch))
        self.urgent = True
        self._last_sent = now

    def _begin(self, peer_epoch: int, hello: Hello) -> None:
        if hello.identity != self.peer_identity:
            self.watermark = self.durable = self.peer_forgotten = 0
        self.peer_epoch = peer_epoch
        self.peer_incarnation = self.known = hello.incarnation
        self.peer_identity = hello.identity
        self.missed_by_peer = hello.missed
        self.open = True
        self.refusal = ""
        self.deadline.by(self._last_sent + self.settings.heartbeat)

    def break_off(self, now: float) -> None:
        """End the pair, if there is one, and choose a higher epoch for the next."""
        self.open = False
        self.epoch += 1
        self.peer_epoch = 0
        self.sent = self.received = self.handled = self.delivered = self.peer_delivered = 0
        self._in_flight.clear()
        self.in_flight = self.work_in_flight = 0
        self._unreturned = self.unhandled = 0
        self._ack_due = NEVER
        self._hellos.clear()
        self.urgent = False
        self.deadline.by(now + HELLO_INTERVAL)
        self._keep_what_waits()
        if self.connects:
            self._say_hello(0, now, reply=False)

    def _keep_what_waits(self) -> None:
        """Drop from the outbox the frames that do not wait for a pair (see WAITING_FRAMES)."""
        marked = set(self.reliable)
        kept = [
            (frame, i in marked)
            for i, frame in enumerate(self.outbox)
            if i in marked or isinstance(frame, WAITING_FRAMES)
        ]
        self.outbox[:] = [frame for frame, _ in kept]
        self.reliable[:] = [i for i, (_, reliable) in enumerate(kept) if reliable]
        self.extra_work = KEY * len(self.reliable)

    def resume(self, replay: Sequence[Frame]) -> None:
        """Begin a new pair after OPENED.

        The outbox is then: the state in `replay`, the frames to be sent again because they are not
        known to be durable, `SyncEnd`, and the frames that have waited for the pair.
        """
        if any(not isinstance(frame, WAITING_FRAMES) for frame in self.outbox):
            self._keep_what_waits()
        again = self._take_again()
        first: list[Frame] = [*replay, *again, SyncEnd()]
        shift = len(first)
        reliable_indexes = range(len(replay), len(replay) + len(again))
        self.reliable[:] = [*reliable_indexes, *(i + shift for i in self.reliable)]
        self.outbox[:0] = first
        self.extra_work = KEY * len(self.reliable)

    def _take_again(self) -> list[Frame]:
        """Take out the reliable frames that have been sent and are not known to be durable.

        If the last pair ended before its first flush, these frames are still in the outbox, where
        `resume` had put them. The peer may have said in that pair that some are durable.
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

    def is_idle(self, now: float, seconds: float) -> bool:
        """Whether this end of an open pair has sent nothing for so long."""
        return self.open and now - self._last_sent >= seconds

    def is_silent(self, now: float) -> bool:
        """Whether the peer of the open pair has said nothing for `peer_timeout`."""
        return self.open and now - self._last_received > self.settings.peer_timeout

    def is_missed(self, now: float) -> bool:
        """Whether the peer has said nothing for `heartbeat`, as one that works does not."""
        return now - self._last_received > self.settings.heartbeat

    def tick(self, now: float) -> LinkEvent:
        """Do what is due: a heartbeat, another `Hello`, or the end of a silent peer's pair.

        The owner flushes afterwards.
        """
        if not self.open:
            if self.connects and now - self._last_sent >= HELLO_INTERVAL:
                self._say_hello(0, now, reply=False)
            return LinkEvent.NONE
        if self.is_silent(now):
            self.break_off(now)
            return LinkEvent.BROKEN
        if self.asked and now - self._last_sent >= HELLO_INTERVAL:
            self._say_hello(self.peer_epoch, now, reply=False)
        elif self.is_idle(now, self.settings.heartbeat * DUE) or now >= self._ack_due:
            self.urgent = True
        return LinkEvent.NONE

    def next_tick(self) -> float:
        """Return when `tick` and `flush` are due, in the unit and origin of `now`."""
        if not self.open:
            return self._last_sent + HELLO_INTERVAL if self.connects else NEVER
        if self.held:
            return self._last_sent + HELLO_INTERVAL if self.asked else NEVER
        due = min(
            self._last_sent + self.settings.heartbeat,
            self._last_received + self.settings.peer_timeout + 0.1,
        )
        return min(due, self._ack_due)
