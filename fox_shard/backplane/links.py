"""All links of one process.

Owns: the making of links, and when one opens, breaks, or has lost its peer for good. Never: what a
peer's frames mean; sockets; a clock.

After a pair has ended, the same incarnation of the peer may open another. A peer that has not come
back for `peer_timeout` is *gone*: this process does not wait for that incarnation any longer.
"""

from collections.abc import Callable
from typing import Protocol, final

from fox_shard.backplane.frames import Batch, Frame
from fox_shard.backplane.link import Link
from fox_shard.backplane.node import Notice
from fox_shard.backplane.terms import LinkEvent, LinkSettings
from fox_shard.deadline import Deadline


class LinkOwner(Protocol):
    """A node, which is told when one of its links changes. now: monotonic seconds."""

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """Replay the node's state with `Link.resume`, because a new pair is open.

        before: the incarnation of the peer in the pair before, 0 if there was none.
        """

    def link_broken(self, link: Link, now: float) -> None:
        """Handle the end of the pair. The peer may come back."""

    def peer_gone(self, link: Link, now: float) -> None:
        """Drop what waits for the peer, which has not come back for `peer_timeout`."""


@final
class Links:
    """The links of one process, by the names of its peers."""

    __slots__ = (
        "_deadline",
        "_identity",
        "_incarnation",
        "_name",
        "_new_epoch",
        "_notices",
        "_owner",
        "_settings",
        "by_name",
    )

    def __init__(
        self,
        name: str,
        owner: LinkOwner,
        *,
        settings: LinkSettings,
        incarnation: int,
        identity: int = 0,
        new_epoch: Callable[[], int],
        deadline: Deadline,
        notices: list[Notice],
    ) -> None:
        """name, incarnation, identity, deadline, notices: the process's (see `Link`, `Node`)."""
        self.by_name: dict[str, Link] = {}
        self._name = name
        self._owner = owner
        self._settings = settings
        self._incarnation = incarnation
        self._identity = identity
        self._new_epoch = new_epoch
        self._deadline = deadline
        self._notices = notices

    def add(self, peer: str, now: float, *, connects: bool = False) -> Link:
        """Make the link to that peer. connects: whether this process is the one that connects."""
        link = self.by_name[peer] = Link(
            self._name,
            peer,
            incarnation=self._incarnation,
            settings=self._settings,
            new_epoch=self._new_epoch,
            deadline=self._deadline,
            connects=connects,
            now=now,
            identity=self._identity,
        )
        return link

    def await_incarnation(self, link: Link, incarnation: int, now: float) -> None:
        """Wait for that incarnation of the peer, which the store names, to come back or be gone."""
        link.peer_incarnation = incarnation
        link.lost_at = now

    def states(self) -> dict[str, bool]:
        """Return, for each peer, whether the link is open."""
        return {name: link.open for name, link in self.by_name.items()}

    # In

    def receive(self, link: Link, batch: Batch, size: int, now: float) -> list[Frame]:
        """Take a batch of the link's peer; return the frames to handle. size: bytes on the wire."""
        before = link.peer_incarnation
        event, frames = link.receive(batch, size, now)
        if event is not LinkEvent.NONE:
            self._changed(link, event, before, now)
        return frames

    def _changed(self, link: Link, event: LinkEvent, before: int, now: float) -> None:
        match event:
            case LinkEvent.REFUSED:
                self._notices.append(("refused", {"peer": link.peer, "reason": link.refusal}))
            case LinkEvent.BROKEN:
                self._broken(link, now)
            case LinkEvent.OPENED:
                link.lost_at = None
                self._owner.link_opened(link, before, now)
                self._notices.append(("linked", {"peer": link.peer}))

    def _broken(self, link: Link, now: float) -> None:
        link.lost_at = now
        self._deadline.by(now + self._settings.peer_timeout)
        self._notices.append(("lost", {"peer": link.peer}))
        self._owner.link_broken(link, now)

    def connection_lost(self, peer: str, now: float) -> None:
        """End the pair with that peer, because the connection to it is broken."""
        link = self.by_name[peer]
        if link.open:
            link.break_off(now)
            self._broken(link, now)

    def renew(self, incarnation: int, now: float) -> None:
        """Start over on all links as a new incarnation (see `Link.renew`)."""
        self._incarnation = incarnation
        for link in self.by_name.values():
            was_open = link.open
            link.renew(incarnation, now)
            if was_open:
                self._broken(link, now)

    # Time and out

    def tick(self, now: float) -> None:
        """Do what is due on all links, and tell the owner of ended pairs and of peers now gone."""
        for link in self.by_name.values():
            if link.tick(now) is LinkEvent.BROKEN:
                self._broken(link, now)
            if link.lost_at is not None and now >= link.lost_at + self._settings.peer_timeout:
                link.lost_at = None
                self._owner.peer_gone(link, now)

    def next_tick(self) -> float:
        """Return when `tick` is due."""
        links = self.by_name.values()
        due = min(link.next_tick() for link in links)
        lost = [link.lost_at for link in links if link.lost_at is not None]
        return min(due, min(lost) + self._settings.peer_timeout) if lost else due

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """Return (peer, batch) for all that is to be sent now. To be called once a turn."""
        out: list[tuple[str, bytes]] = []
        for name, link in self.by_name.items():
            if link.outbox or link.urgent:
                for data in link.flush(now):
                    out.append((name, data))
        return out
