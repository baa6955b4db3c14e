"""Another process, in the place of a real one: its end of the link, and what arrived there."""

from fox_shard.backplane.frames import SyncEnd, decode
from fox_shard.backplane.link import Link
from fox_shard.backplane.terms import LinkEvent
from fox_shard.deadline import Deadline


def epoch_of(incarnation):
    """The first epoch of a fake peer's incarnation; they count up by one for each pair."""
    return incarnation << 40


class FakePeer:
    """A process called `name` with a link to `peer`."""

    def __init__(self, name, peer, settings, now, *, connects=False, incarnation=1, new_epoch=None):
        self.name, self.peer, self.settings, self.connects = name, peer, settings, connects
        self.replay = []
        # Silent: what the peer says does not arrive. Deaf: what it is told does not.
        self.silent = False
        self.deaf = False
        # Does the peer confirm what it got?
        self.confirms = True
        self.start(now, incarnation, new_epoch or (lambda: epoch_of(incarnation)))

    def start(self, now, incarnation, new_epoch):
        """The process begins, for the first time or again."""
        self.deadline = Deadline()
        self.link = Link(
            self.name,
            self.peer,
            incarnation=incarnation,
            settings=self.settings,
            new_epoch=new_epoch,
            deadline=self.deadline,
            connects=self.connects,
            now=now,
        )
        # What became of the pair, and the frames that were to be handled.
        self.changes = []
        self.got = []

    def take(self, data, now):
        """A batch arrives; the process handles it. Returns all its frames."""
        change, frames = self.link.receive(decode(data), len(data), now)
        if change is not LinkEvent.NONE:
            self.changes.append(change)
        if change is LinkEvent.OPENED:
            self.link.resume(self.replay)
        self.got.extend(frame for frame in frames if not isinstance(frame, SyncEnd))
        if self.confirms:
            self.confirm()
        return frames

    def confirm(self):
        """Everything that was handled is delivered, and durable."""
        self.link.delivered, self.link.durable = self.link.received, self.link.watermark

    def flush(self, now):
        """The batches for the wire."""
        return self.link.flush(now) if self.link.outbox or self.link.urgent else []

    def tick(self, now):
        change = self.link.tick(now)
        if change is not LinkEvent.NONE:
            self.changes.append(change)
