"""Two ends of a link, and between them a wire that the test controls."""

from collections import deque
from itertools import count
from random import Random

from fake_peer import FakePeer

from fox_shard.backplane.frames import Batch, Hello, Publish, SyncEnd, Unsubscribe, decode
from fox_shard.backplane.terms import LinkEvent, LinkSettings

SETTINGS = LinkSettings(shards=2)


def publish(number):
    """Return a frame that is kept while the peer is down."""
    return Publish("realm1", f"t{number}", 1, number, number, 0, 0, b"")


def state(number):
    """Return a frame that is not kept while the peer is down, because state is replayed."""
    return Unsubscribe("realm1", str(number))


def number_of(frame):
    return int(frame.topic[1:]) if isinstance(frame, Publish) else int(frame.pattern)


class End(FakePeer):
    """A link end and its process, with the frames that it has handled and sent."""

    def __init__(self, me, peer, *, connects, now=0.0, settings=SETTINGS, seed=0):
        self.me = me
        self._rng = Random(seed)
        self.incarnations = count(1)
        super().__init__(me, peer, settings, now, connects=connects)

    def start(self, now, *_):
        """Start another incarnation, whose first epoch is random."""
        super().start(now, next(self.incarnations), lambda: self._rng.randrange(1, 1 << 53))
        # The frames that were handled, in all and by epoch of this end; those sent, by epoch.
        self.handled = []
        self.by_pair = {}
        self.sent = {}

    def take(self, data, now):
        """Let a batch arrive and be handled."""
        frames = super().take(data, now)
        self.handled.extend(frames)
        self.by_pair.setdefault(self.link.epoch, []).extend(frames)

    def flush(self, now):
        """Return the batches to be put on the wire."""
        out = super().flush(now)
        for data in out:
            batch = decode(data)
            if batch.frames and not isinstance(batch.frames[0], Hello):
                self.sent.setdefault(batch.epoch, []).extend(batch.frames)
        return out

    def cut(self, now):
        """Tell the process that its connection is broken."""
        if self.link.open:
            self.link.break_off(now)
            self.changes.append(LinkEvent.BROKEN)

    @property
    def numbers(self):
        """The numbers of the frames that this end has handled."""
        return [number_of(frame) for frame in self.handled if not isinstance(frame, SyncEnd)]


class Ends:
    """Two link ends: `a` connects, `b` listens. Nothing moves unless the test says so."""

    def __init__(self, settings=SETTINGS, *, opened=True, b_settings=None):
        self.now = 100.0
        self.a = End("gateway-0", "shard-0", connects=True, now=self.now, settings=settings)
        self.b = End(
            "shard-0",
            "gateway-0",
            connects=False,
            now=self.now,
            settings=b_settings or settings,
            seed=1,
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
        """Flush both ends, and let every batch on the wire arrive."""
        self.flush()
        for wire, end in ((self.to_b, self.b), (self.to_a, self.a)):
            while wire:
                end.take(wire.popleft(), self.now)

    def settle(self, seconds=0.0, step=0.05):
        """Let time pass while both ends do their work, with a few turns at least."""
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
        """Lose every batch on the wire; neither end is told."""
        self.flush()
        self.to_a.clear()
        self.to_b.clear()

    def batches_to_b(self) -> list[Batch]:
        self.flush()
        return [decode(data) for data in self.to_b]
