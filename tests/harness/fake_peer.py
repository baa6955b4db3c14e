"""A stand-in for another process: its end of the link, and the frames that arrived there."""

from fox_shard.backplane.frames import SyncEnd, decode
from fox_shard.backplane.link import Link
from fox_shard.backplane.terms import LinkEvent
from fox_shard.deadline import Deadline


def epoch_of(incarnation):
    """Return the first epoch of a fake peer's incarnation; each further pair counts up by one."""
    return incarnation << 40


class FakePeer:
    """A process called `name` with a link to `peer`."""

    def __init__(self, name, peer, settings, now, *, connects=False, incarnation=1, new_epoch=None):
        self.name, self.peer, self.settings, self.connects = name, peer, settings, connects
        self.replay = []
        # A silent peer sends nothing: its frames wait. What is sent to a deaf peer is lost.
        self.silent = False
        self.deaf = False
        # Whether the peer confirms frames as soon as it has handled them.
        self.confirms = True
        self.start(now, incarnation, new_epoch or (lambda: epoch_of(incarnation)))

    def start(self, now, incarnation, new_epoch):
        """Start the process, for the first time or again."""
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
        # All link events but NONE, and all frames that were handled but SyncEnd.
        self.changes = []
        self.got = []

    def take(self, data, now):
        """Let a batch arrive and be handled; return the frames that the link passed on."""
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
        """Report everything that was handled as delivered and durable."""
        self.link.delivered, self.link.durable = self.link.received, self.link.watermark

    def flush(self, now):
        """Return the batches to be put on the wire."""
        return self.link.flush(now) if self.link.outbox or self.link.urgent else []

    def tick(self, now):
        """Tick the link, and note its event."""
        change = self.link.tick(now)
        if change is not LinkEvent.NONE:
            self.changes.append(change)
