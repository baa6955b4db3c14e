"""The outbox of a shard: frames that have their effect in another shard exactly once.

Owns: which shard a frame goes to, and the frames of this shard for itself. Never: what a frame
does (see `inbox`).

A frame for another shard is a row of this store until it is in the other one (see
`backplane.outbox`). A frame for this shard needs no row, since it is handled at once, in the
present transaction. Only if it is revocable, because a failed commit would undo its cause, it waits
for the commit, as a row: what handles a frame need not undo anything. What is sent while such a
frame waits, waits behind it.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final, final

from fox_shard.backplane.frames import OutboxFrame
from fox_shard.backplane.link import Link
from fox_shard.backplane.outbox import Outbox
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.terms import LinkSettings
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.links.inbox import Inbox
from fox_shard.store.journal import Journal

WINDOW: Final = 1 << 20
"""Bytes that may be given to a link and not be confirmed; so much is sent again in a new pair."""

OWN: Final = ""
"""In place of a peer's name: this shard itself."""

FRAME_UNITS: Final = 2
"""Units of the turn's budget for a frame that has waited for its commit, besides its effects."""


@final
class ShardOutbox:
    """The outbox of one shard."""

    __slots__ = (
        "_budget",
        "_inbox",
        "_journal",
        "_last_own",
        "_limit",
        "_loaded",
        "_number",
        "_others",
        "_own_size",
        "_placement",
        "_stored",
        "_to_catch_up",
        "_uncommitted",
        "own",
    )

    def __init__(
        self,
        number: int,
        placement: Placement,
        journal: Journal,
        links: Mapping[str, Link],
        inbox: Inbox,
        budget: Budget,
        terms: LinkSettings,
    ) -> None:
        """number: this shard's. links: by the peers' names. budget: the turn's."""
        self._number = number
        self._placement = placement
        self._journal = journal
        self._inbox = inbox
        self._budget = budget
        self._limit = terms.outbox_limit
        self._others = Outbox(journal, links, rows, WINDOW)
        self._stored: dict[str, int] = {}
        self._loaded: dict[str, list[tuple[int, OutboxFrame]]] = {}
        # This shard's frames for itself: until their rows are durable, with the tickets and whether
        # they are revocable; then (number, frame, bytes) until they are handled.
        self._uncommitted: deque[tuple[int, bool, int, OutboxFrame, int]] = deque()
        self.own: deque[tuple[int, OutboxFrame, int]] = deque()
        self._last_own = 0
        self._own_size = 0
        # How many of them are from before the restart. No peer's frame is handled before these,
        # which another number of shards may have brought here, as if they came from that peer.
        self._to_catch_up = 0

    def send(self, shard: int, frame: OutboxFrame, *, revocable: bool = False) -> None:
        """Send the frame when the present transaction, which has its row, is durable.

        To this shard itself: handle the frame at once; or, if it is revocable or others wait, when
        the transaction is durable. revocable: the frame is dropped if the commit fails, because the
        request that caused it is refused then; to be used only while the store works.
        """
        if shard != self._number:
            self._others.send(_name(shard), frame, revocable=revocable)
        elif revocable or self.own or self._uncommitted:
            self._put_own(frame, revocable=revocable)
        else:
            self._inbox.handle(frame, shard)

    def send_to_owner(self, frame: OutboxFrame, *, revocable: bool = False) -> None:
        """Send the frame to the shard that owns its target topic, as `send` does."""
        self.send(self.owner_of(frame.realm, frame.target_topic), frame, revocable=revocable)

    def owner_of(self, realm: str, topic: str) -> int:
        """Return the number of the shard that owns the topic."""
        return self._placement.shard_of(realm, topic)

    def is_full(self, shard: int, more: int = 0) -> bool:
        """Whether requests that cause further frames for that shard are to be refused.

        more: bytes that are about to be sent there.
        """
        return self.waiting(shard) + more > self._limit

    @property
    def is_any_full(self) -> bool:
        """Whether `is_full` may be true of a shard."""
        return self.total > self._limit

    def waiting(self, shard: int) -> int:
        """Return the bytes of the frames that the shard is not known to have in its store."""
        return self._own_size if shard == self._number else self._others.waiting(_name(shard))

    def _put_own(self, frame: OutboxFrame, *, revocable: bool) -> None:
        number = self._last_own = self._last_own + 1
        value = rows.encode(frame)
        write = self._journal.put if revocable else self._journal.keep
        write(rows.outbox(OWN, number), value)
        self._uncommitted.append((self._journal.ticket, revocable, number, frame, len(value)))
        self._own_size += len(value)

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return bool(self.own) and not self._to_catch_up

    def go_on(self, _now: float) -> None:
        """Handle this shard's durable frames for itself, as far as the turn's budget goes."""
        while self.busy and not self._budget.exhausted:
            self._handle_own()

    def catch_up_next(self) -> bool:
        """Handle the next frame from before the restart; return whether there was one."""
        if not self._to_catch_up:
            return False
        self._to_catch_up -= 1
        self._handle_own()
        return True

    def _handle_own(self) -> None:
        number, frame, size = self.own.popleft()
        self._budget.spend(FRAME_UNITS)
        self._inbox.handle(frame, self._number)
        self._journal.keep(rows.outbox(OWN, number), None)
        self._own_size -= size

    # The store

    def committed(self, ticket: int) -> None:
        """Send the frames whose transactions, up to that ticket, are durable."""
        self._others.committed(ticket)
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0][0] <= ticket:
            self.own.append(uncommitted.popleft()[2:])

    def commit_failed(self) -> None:
        """Drop the revocable frames that are not durable; write the others again."""
        self._others.commit_failed()
        ticket = self._journal.ticket
        self._own_size -= sum(size for _, revocable, _, _, size in self._uncommitted if revocable)
        self._uncommitted = deque((ticket, *one[1:]) for one in self._uncommitted if not one[1])

    def confirmed(self, peer: str) -> None:
        """Delete the rows of frames that the peer has in its store."""
        self._others.confirmed(peer)

    # Loading

    def load_frame(self, name: str, number: int, frame: OutboxFrame, size: int) -> None:
        """Take a frame from the store. They come in the order of their numbers. size: bytes."""
        if name == OWN:
            self.own.append((number, frame, size))
            self._last_own = number
            self._own_size += size
            self._to_catch_up += 1
        else:
            self._loaded.setdefault(name, []).append((number, frame))

    def load_last(self, name: str, number: int) -> None:
        """Take the number of the last frame for that shard from the store."""
        self._stored[name] = number

    def loaded(self) -> None:
        """Give the loaded frames to the links, before their first pairs."""
        self._others.load(self._stored, self._loaded)
        self._stored, self._loaded = {}, {}

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not (self.own or self._uncommitted or self._others.total)

    @property
    def total(self) -> int:
        """The bytes of all frames that wait."""
        return self._own_size + self._others.total


def _name(shard: int) -> str:
    return f"shard-{shard}"
