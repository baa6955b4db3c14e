"""All links of one process.

Owns: the making of links, and when one opens, breaks, or has lost its peer for good. Never: what a
peer's frames mean; sockets; a clock.

After a pair has ended, the same incarnation of the peer may open another. A peer that has not come
back for `peer_timeout` is *gone*: this process does not wait for that incarnation any longer.

Slow is not dead. A silent peer that is known to work keeps its pair, and is not gone. A process
that stood still itself (a suspended machine, SIGSTOP, a long turn) does not count that time as the
silence of others. If it stood still so long that others may have declared it gone, it sends nothing
until each peer that it connects to has said whether it has.
"""

from collections.abc import Callable
from typing import Final, Protocol, final

from fox_shard.backplane.attached import HasEnded, is_attached, nobody_knows
from fox_shard.backplane.frames import VERSION, Batch, Frame, Hello, encode
from fox_shard.backplane.link import DUE, Link
from fox_shard.backplane.node import Notice
from fox_shard.backplane.terms import NOTHING, LinkEvent, LinkSettings
from fox_shard.backplane.tracing import Tracer
from fox_shard.deadline import NEVER, Deadline

EARLY: Final = 0.5
"""How much of a heartbeat before it is due it goes along with another one."""

LOOK: Final = 0.1
"""Seconds between two looks at whether missed attached gateways have ended."""

IsWorking = Callable[[str, int, float], bool]
"""Tells whether that incarnation of that process is alive and at work, though it says nothing now.

Its arguments are the process's name, the incarnation (0: whichever), and the time (`now`).
"""


def unknown(peer: str, incarnation: int, now: float) -> bool:
    """Say that nothing is known but what the peer says: an `IsWorking`."""
    return False


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
        "_asked_at",
        "_deadline",
        "_has_ended",
        "_identity",
        "_is_working",
        "_last_turn",
        "_look_at",
        "_name",
        "_new_epoch",
        "_notices",
        "_on_disowned",
        "_owner",
        "_settings",
        "_tellable",
        "_to_strangers",
        "by_name",
        "forgotten",
        "held",
        "incarnation",
        "stood_still",
        "tracer",
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
        now: float,
        is_working: IsWorking = unknown,
        has_ended: HasEnded = nobody_knows,
        on_disowned: Callable[[float], None] | None = None,
    ) -> None:
        """name, incarnation, identity, deadline, notices: the process's (see `Link`, `Node`).

        on_disowned(now): a peer has declared this process's incarnation gone, or may have, so it
        must go on in another; None: the peers let every incarnation in again.
        """
        self.by_name: dict[str, Link] = {}
        # Sees all frames that come and go; None: nobody does.
        self.tracer: Tracer | None = None
        # Answers to attached gateways that are not let in: (name, batch).
        self._to_strangers: list[tuple[str, bytes]] = []
        # Names of attached gateways to which there is no link any more; the shell takes them.
        self.forgotten: list[str] = []
        self._name = name
        self._owner = owner
        self._settings = settings
        self.incarnation = incarnation
        self._identity = identity
        self._is_working = is_working
        self._has_ended = has_ended
        # Attached gateways that were told to run when they came: so their end will be told, too.
        self._tellable: set[str] = set()
        self._look_at = now
        self._on_disowned = on_disowned
        self._last_turn = now
        # Seconds in which this process could not listen to anybody, since it began.
        self.stood_still = 0.0
        # When this process began to ask its peers whether they have declared it gone.
        self._asked_at = NEVER
        # Whether nothing is sent until all peers have said that this incarnation lives.
        self.held = False
        self._new_epoch = new_epoch
        self._deadline = deadline
        self._notices = notices

    def add(self, peer: str, now: float, *, connects: bool = False, identity: int = 0) -> Link:
        """Make the link to that peer. connects: whether this process is the one that connects.

        identity: see `Link`; 0: that of this process. An attached gateway is waited for, as if it
        had just been lost, until the pair is open.
        """
        attached = is_attached(peer)
        link = self.by_name[peer] = Link(
            self._name,
            peer,
            incarnation=self.incarnation,
            settings=self._settings.for_attached() if attached else self._settings,
            new_epoch=self._new_epoch,
            deadline=self._deadline,
            connects=connects,
            now=now,
            identity=identity or self._identity,
        )
        if attached:
            link.lost_at = now
            if not self._has_ended(peer):
                self._tellable.add(peer)
        return link

    def forget(self, peer: str) -> None:
        """Drop the link to an attached gateway that is gone."""
        del self.by_name[peer]
        self._tellable.discard(peer)
        self.forgotten.append(peer)

    def knocks(self, batch: Batch, gone: int) -> bool:
        """Return whether an attached gateway without a link is to be let in; else it is answered.

        batch: has come of it. gone: its incarnation that was declared gone, or 0. An incarnation
        that was linked with this one of this process, but is not known any more, is gone, too.
        """
        hello = batch.frames[0] if batch.frames else None
        if type(hello) is not Hello:
            self._answer_stranger(batch)
            return False
        if hello.incarnation == gone or hello.known == self.incarnation:
            self._answer_stranger(batch, gone=hello.incarnation)
            return False
        limit = self._settings.attached_gateways
        if sum(map(is_attached, self.by_name)) >= limit:
            why = (
                f"there are {limit} attached gateways already, and no more are let in "
                "(see backplane.attached_gateways)"
            )
            self._answer_stranger(batch, refusal=why)
            return False
        return True

    def _answer_stranger(self, batch: Batch, gone: int = 0, refusal: str = "") -> None:
        """Answer with a `Hello`: not of its pair, gone, or refused. It may knock again."""
        settings, mine = self._settings, self.incarnation
        hello = Hello(
            mine,
            mine,
            reply=False,
            version=VERSION,
            generation=settings.generation,
            shards=settings.shards,
            gone=gone,
            refusal=refusal,
        )
        epoch = self._new_epoch()
        answer = Batch(self._name, epoch, batch.epoch, 0, 0, 0, 0, prompt=False, frames=[hello])
        self._to_strangers.append((batch.source, encode(answer)))
        self.forgotten.append(batch.source)

    def await_incarnation(self, link: Link, incarnation: int, now: float) -> None:
        """Wait for that incarnation of the peer, which the store names, to come back or be gone."""
        link.peer_incarnation = incarnation
        link.lost_at = now

    @property
    def refusal(self) -> str:
        """Why some peer does not let this process in, in words; "": none has refused."""
        return next((link.refusal for link in self.by_name.values() if link.refusal), "")

    def states(self) -> dict[str, bool]:
        """Return, for each peer, whether the link is open."""
        return {name: link.open for name, link in self.by_name.items()}

    # In

    def receive(self, link: Link, batch: Batch, size: int, now: float) -> list[Frame]:
        """Take a batch of the link's peer; return the frames to handle. size: bytes on the wire."""
        before, asked = link.peer_incarnation, link.asked
        event, frames = link.receive(batch, size, now)
        if event is not NOTHING:
            restarted = before not in (0, link.peer_incarnation)
            # It did not know this incarnation, so it could not declare it gone. An attached gateway
            # is waited for so shortly that it may have missed what others were acknowledged.
            matters = asked or is_attached(self._name)
            if event is LinkEvent.OPENED and matters and restarted and link.missed_by_peer:
                event = LinkEvent.DISOWNED
            self._changed(link, event, before, now)
        if asked and not link.asked:
            self._answered()
        if self.tracer is not None:
            self.tracer.arrived(link.peer, frames, now)
        if not frames and link.is_idle(now, link.settings.heartbeat * EARLY):
            self._beat(now)
        return frames

    def _beat(self, now: float) -> None:
        """Send the heartbeats that would be due soon.

        So the processes of an idle server send theirs in one moment, and each wakes a few times for
        all of them, not twice for each link.
        """
        for link in self.by_name.values():
            if link.is_idle(now, link.settings.heartbeat * EARLY):
                link.urgent = True

    def _changed(self, link: Link, event: LinkEvent, before: int, now: float) -> None:
        match event:
            case LinkEvent.DISOWNED:
                self._disowned(now)
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
        self._deadline.by(now + link.settings.peer_timeout)
        self._notices.append(("lost", {"peer": link.peer}))
        self._owner.link_broken(link, now)

    def connection_lost(self, peer: str, now: float) -> None:
        """End the pair with that peer, because the connection to it is broken."""
        link = self.by_name.get(peer)
        if link is not None and link.open:
            link.break_off(now)
            self._broken(link, now)
            if peer in self._tellable:
                self._deadline.by(now + LOOK)

    def give_up(self, link: Link, now: float) -> None:
        """Take the incarnation of an attached gateway for gone, although it may live."""
        if link.open:
            link.break_off(now)
            self._broken(link, now)
        link.lost_at = None
        self._deadline.by(now)
        self._owner.peer_gone(link, now)

    def renew(self, incarnation: int, now: float) -> None:
        """Start over on all links as a new incarnation (see `Link.renew`)."""
        self.incarnation = incarnation
        self._asked_at = NEVER
        self.held = False
        for link in self.by_name.values():
            was_open = link.open
            link.asked = link.held = False
            link.renew(incarnation, now)
            if was_open:
                self._broken(link, now)

    def is_working(self, link: Link, now: float) -> bool:
        """Whether the link's peer works, as far as is known, though it says nothing now."""
        return self._is_working(link.peer, link.peer_incarnation, now)

    # Standstills

    def turn(self, now: float) -> bool:
        """Note that this process makes a turn, which it does at least once per `heartbeat`.

        Returns whether it has not stood still.
        """
        gap = now - self._last_turn
        self._last_turn = now
        if gap > self._settings.heartbeat:
            self._stood_still(gap, now)
            return False
        return True

    def _stood_still(self, gap: float, now: float) -> None:
        """Excuse the silence of others. gap: seconds since the last turn."""
        lost = gap - self._settings.heartbeat
        self.stood_still += lost
        for link in self.by_name.values():
            link.excuse(lost, now)
        if gap > self._settings.peer_timeout:
            self._notices.append(("stood_still", {"seconds": round(gap, 1)}))
            self._ask(now)

    def _ask(self, now: float) -> None:
        """Ask all peers whether they have declared this incarnation gone, if they may do that."""
        if self._on_disowned is None:
            return
        self._asked_at = now
        self.held = True
        self._deadline.by(now)
        for link in self.by_name.values():
            link.ask(now)

    def _disowned(self, now: float) -> None:
        if self._on_disowned is not None:
            self._on_disowned(now)

    def _give_up(self, now: float) -> None:
        """Take this incarnation for gone: a peer does not answer, and nobody knows what it did."""
        asked = [link for link in self.by_name.values() if link.asked]
        if not any(self._is_working(link.peer, link.peer_incarnation, now) for link in asked):
            self._disowned(now)

    def _answered(self) -> None:
        """Send again what is held back, if this was the last answer."""
        links = self.by_name.values()
        if not any(link.asked for link in links):
            self._asked_at = NEVER
            self.held = False
            for link in links:
                link.held = False

    # Time and out

    def tick(self, now: float) -> None:
        """Do what is due on all links, and tell the owner of ended pairs and of peers now gone."""
        # After a standstill there may be something to read of those that have ended meanwhile.
        if self.turn(now) and now >= self._look_at:
            self._look_for_ended(now)
        timeout = self._settings.peer_timeout
        if now > self._asked_at + timeout:
            self._give_up(now)
        due = self._settings.heartbeat * DUE
        if any(link.is_idle(now, due) for link in self.by_name.values()):
            self._beat(now)
        for link in self.by_name.values():
            silent = link.is_silent(now)
            gone = link.lost_at is not None and now >= link.lost_at + link.settings.peer_timeout
            if (silent or gone) and self._is_excused(link, now):
                # It is asked again in a second.
                link.excuse(self._settings.heartbeat, now)
                gone = False
            if link.tick(now) is LinkEvent.BROKEN:
                self._broken(link, now)
            if gone:
                link.lost_at = None
                self._owner.peer_gone(link, now)

    def _look_for_ended(self, now: float) -> None:
        """Give up the attached gateways that are missed and whose processes have ended.

        They will never come back: no other process ever has their names.
        """
        self._look_at = now + LOOK
        for peer in sorted(self._tellable):
            link = self.by_name[peer]
            missed = link.is_missed(now) if link.open else link.lost_at is not None
            if missed and self._has_ended(peer):
                self.give_up(link, now)

    def _is_excused(self, link: Link, now: float) -> bool:
        """Whether the silent peer works.

        Others do not wait that long for an attached gateway, unless it has yet to come back to this
        process, which has just started.
        """
        excusable = not is_attached(link.peer) or not link.peer_incarnation
        return excusable and self.is_working(link, now)

    def next_tick(self) -> float:
        """Return when `tick` is due: at least once per `heartbeat`."""
        links = self.by_name.values()
        due = min(link.next_tick() for link in links)
        for link in links:
            if link.lost_at is not None:
                due = min(due, link.lost_at + link.settings.peer_timeout)
        return min(due, self._last_turn + self._settings.heartbeat)

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """Return (peer, batch) for all that is to be sent now. To be called once a turn."""
        # This is `turn`, without the call.
        gap = now - self._last_turn
        self._last_turn = now
        if gap > self._settings.heartbeat:
            self._stood_still(gap, now)
        out, self._to_strangers = self._to_strangers, []
        for name, link in self.by_name.items():
            if link.outbox or link.urgent:
                if self.tracer is not None and link.open and not link.held:
                    self.tracer.leaving(name, link.outbox, now)
                for data in link.flush(now):
                    out.append((name, data))
        return out
