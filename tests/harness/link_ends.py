"""Two ends of a link with a wire between them that the test has in its hand."""

from collections import deque
from itertools import count
from random import Random

from fox_shard.backplane.frames import Batch, Hello, Publish, SyncEnd, Unsubscribe, decode
from fox_shard.backplane.link import Link
from fox_shard.backplane.terms import LinkEvent, LinkSettings
from fox_shard.deadline import Deadline

TERMS = LinkSettings(shards=2)


def publish(number):
    """A frame that is kept while the peer is down."""
    return Publish("realm1", f"t{number}", 1, number, number, 0, 0, b"")


def state(number):
    """A frame that is not kept: it is replayed, or answered."""
    return Unsubscribe("realm1", str(number))


def number_of(frame):
    return int(frame.topic[1:]) if isinstance(frame, Publish) else int(frame.pattern)


class End:
    """A link end and its process: what it was given, and what it gave to the wire."""

    def __init__(self, me, peer, *, connects, now=0.0, terms=TERMS, seed=0):
        self.me, self.peer, self.connects, self.terms = me, peer, connects, terms
        self._rng = Random(seed)
        self.incarnations = count(1)
        self.replay = []
        self.confirms = True
        self.start(now)

    def start(self, now):
        """The process begins, for the first time or again."""
        self.deadline = Deadline()
        self.link = Link(
            self.me,
            self.peer,
            incarnation=next(self.incarnations),
            terms=self.terms,
            new_epoch=lambda: self._rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            connects=self.connects,
            now=now,
        )
        # What became of the pair, and the frames that were to be handled, by the pair's epoch.
        self.changes = []
        self.handled = []
        self.by_pair = {}
        self.sent = {}

    def take(self, data, now):
        """A batch arrives; the process handles it."""
        change, frames = self.link.receive(decode(data), len(data), now)
        if change is not LinkEvent.NONE:
            self.changes.append(change)
        if change is LinkEvent.OPENED:
            self.link.resume(self.replay)
        self.handled.extend(frames)
        self.by_pair.setdefault(self.link.epoch, []).extend(frames)
        if self.confirms:
            self.confirm()

    def confirm(self):
        """Everything that was handled has passed, and is durable."""
        link = self.link
        if (link.passed, link.durable) != (link.received, link.watermark):
            link.passed, link.durable = link.received, link.watermark

    def flush(self, now):
        """The batches for the wire."""
        if not (self.link.outbox or self.link.urgent):
            return []
        out = self.link.flush(now)
        for data in out:
            batch = decode(data)
            if batch.frames and not isinstance(batch.frames[0], Hello):
                self.sent.setdefault(batch.epoch, []).extend(batch.frames)
        return out

    def tick(self, now):
        change = self.link.tick(now)
        if change is not LinkEvent.NONE:
            self.changes.append(change)

    def cut(self, now):
        """The process hears that the connection is broken."""
        if self.link.open:
            self.link.break_off(now)
            self.changes.append(LinkEvent.BROKEN)

    @property
    def numbers(self):
        """Of the frames it handled."""
        return [number_of(frame) for frame in self.handled if not isinstance(frame, SyncEnd)]


class Ends:
    """`a` connects, `b` listens. Nothing moves by itself, but for `settle`."""

    def __init__(self, terms=TERMS, *, opened=True, b_terms=None):
        self.now = 100.0
        self.a = End("gateway-0", "shard-0", connects=True, now=self.now, terms=terms)
        self.b = End(
            "shard-0", "gateway-0", connects=False, now=self.now, terms=b_terms or terms, seed=1
        )
        self.to_a, self.to_b = deque(), deque()
        if opened:
            self.settle()
            assert self.a.link.open
            assert self.b.link.open

    def flush(self):
        self.to_b.extend(self.a.flush(self.now))
        self.to_a.extend(self.b.flush(self.now))

    def turn(self):
        """Both flush, and all that is on the way arrives."""
        self.flush()
        for wire, end in ((self.to_b, self.b), (self.to_a, self.a)):
            while wire:
                end.take(wire.popleft(), self.now)

    def settle(self, seconds=0.0, step=0.05):
        """Let time pass, with all that the ends do in it, and at least a few turns."""
        until = self.now + seconds
        while True:
            for _ in range(4):
                self.turn()
            self.now += step
            self.a.tick(self.now)
            self.b.tick(self.now)
            if self.now > until:
                break
        for _ in range(3):
            self.turn()

    def lose(self):
        """What is on the way is lost; nobody is told."""
        self.flush()
        self.to_a.clear()
        self.to_b.clear()

    def batches_to_b(self) -> list[Batch]:
        self.flush()
        return [decode(data) for data in self.to_b]
