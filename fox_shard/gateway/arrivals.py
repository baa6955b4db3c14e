"""What has come on the links of a gateway and is not handled yet.

Owns: which frames are handled in which turn. Never: what a frame causes; sockets.

A shard may send any number of frames at once, and each may be for any number of clients. So a batch
is handled a piece at a time, until the turn's budget is used up. The rest goes on in the next
turns, a slice for each link, while clients are served in between. Batches that come meanwhile wait
as they are: their acknowledgements count, and they are acknowledged, when their turn comes.
"""

from collections import deque
from collections.abc import Callable, Collection
from typing import Final, final

from fox_shard.backplane.frames import Batch, Frame, Published
from fox_shard.backplane.link import Link
from fox_shard.gateway.sessions.budget import DeliveryBudget

SLICE_UNITS: Final = 5000
"""Units of one link in one turn, if several have something left."""

PIECE_UNITS: Final = 2000
"""What a piece should cost at most, as far as the one before it tells."""

FIRST_PIECE: Final = 64
MOST_FRAMES: Final = 1024
"""Frames of a link's first piece, and of any."""

PIECE_BYTES: Final = 1 << 18
"""Bytes of the first piece of a batch, about: what frames cost may be a matter of their size."""

DIVIDED_ABOVE: Final = 1 << 13
"""Bytes of a batch up to which no `Published` in it confirms so many publishes that it matters."""

ANSWERS: Final = 100
"""Publishes that one `Published` confirms after it was divided."""

Handle = Callable[[list[Frame], int], int]
"""A function that handles frames of a shard, and returns how many publishes they confirmed."""


@final
class Inbox:
    """What has come on one link.

    frames: those of the present batch, of which those from `at` on are not handled. size: their
    number on the link. batches: later ones, with their bytes. piece: how many frames come next.
    """

    __slots__ = ("at", "batches", "frames", "link", "number", "piece", "size")

    def __init__(self, link: Link, number: int) -> None:
        """number: the shard's."""
        self.link = link
        self.number = number
        self.frames: list[Frame] = []
        self.at = self.size = 0
        self.batches: deque[tuple[Batch, int]] = deque()
        self.piece = FIRST_PIECE


@final
class Arrivals:
    """The inboxes of one gateway."""

    __slots__ = ("_budget", "_earlier", "_handle", "_inboxes", "_take", "queue")

    def __init__(
        self,
        links: dict[int, Link],
        budget: DeliveryBudget,
        take: Callable[[Link, Batch, int, float], list[Frame]],
        handle: Handle,
        earlier: Collection[int],
    ) -> None:
        """links: by the number of the shard.

        take(link, batch, size, now): gives a batch to its link, and returns its frames. earlier:
        not empty while something that came before is left elsewhere.
        """
        self._inboxes = {number: Inbox(link, number) for number, link in links.items()}
        self._budget = budget
        self._take = take
        self._handle = handle
        self._earlier = earlier
        # The inboxes that have something left, in the order in which they go on: always the same
        # deque, as hot code looks at it.
        self.queue: deque[Inbox] = deque()

    def receive(self, number: int, batch: Batch, size: int, now: float) -> None:
        """Handle a batch of that shard, now or, if there is too much to do, later."""
        inbox = self._inboxes[number]
        if self.queue or self._earlier or self._budget.left <= 0:
            inbox.link.heard(now)
            if inbox not in self.queue:
                self.queue.append(inbox)
            inbox.batches.append((batch, size))
            return
        link = inbox.link
        frames = self._take(link, batch, size, now)
        if size > DIVIDED_ABOVE or len(frames) > inbox.piece:
            self._open(inbox, batch, frames, size)
            if not self._go_on_with(inbox, until=0):
                self.queue.append(inbox)
            return
        if frames:
            self._pass_on(inbox, frames)
        link.durable = link.watermark

    def go_on(self, now: float) -> None:
        """Go on with what is left, as far as the turn's budget reaches."""
        queue, budget = self.queue, self._budget
        while queue and budget.left > 0:
            inbox = queue.popleft()
            until = max(0, budget.left - SLICE_UNITS) if queue else 0
            done = self._go_on_with(inbox, until)
            while done and inbox.batches and budget.left > until:
                batch, size = inbox.batches.popleft()
                self._open(inbox, batch, self._take(inbox.link, batch, size, now), size)
                done = self._go_on_with(inbox, until)
            if inbox.frames or inbox.batches:
                queue.append(inbox)

    def finish(self, number: int) -> None:
        """Handle the rest of a batch at once: its pair has ended, and what it acknowledges counts.

        Batches behind it are of the ended pair, too: they are lost, as if they were on their way.
        """
        inbox = self._inboxes[number]
        if inbox.frames:
            frames, inbox.frames = inbox.frames, []
            self._handle(frames[inbox.at :], number)
            inbox.link.durable = inbox.link.watermark
            if not inbox.batches:
                self.queue.remove(inbox)

    @staticmethod
    def _open(inbox: Inbox, batch: Batch, frames: list[Frame], size: int) -> None:
        """Go on with the frames of that batch."""
        inbox.size = len(batch.frames)
        inbox.frames = _divided(frames) if size > DIVIDED_ABOVE else frames
        inbox.at = 0
        if size > PIECE_BYTES:
            inbox.piece = max(1, min(inbox.piece, PIECE_BYTES * len(inbox.frames) // size))

    def _go_on_with(self, inbox: Inbox, until: int) -> bool:
        """Handle frames until no more than `until` of the budget is left. Returns whether all."""
        frames, budget, link = inbox.frames, self._budget, inbox.link
        count = len(frames)
        while inbox.at < count:
            if budget.left <= until:
                # The credit for a batch goes back when all of it is handled.
                link.unhandled = inbox.size
                return False
            start = inbox.at
            end = inbox.at = min(count, start + inbox.piece)
            self._pass_on(inbox, frames[start:end] if end - start < count else frames)
        inbox.frames = []
        link.durable = link.watermark
        if link.unhandled:
            link.unhandled = 0
            link.acknowledge_soon()
        return True

    def _pass_on(self, inbox: Inbox, piece: list[Frame]) -> None:
        """Handle a piece, and choose the size of the next one by what this one has cost."""
        count = len(piece)
        units = self._budget.spend(count + self._handle(piece, inbox.number))
        fitting = PIECE_UNITS * count // units
        if fitting < inbox.piece:
            inbox.piece = max(1, fitting)
        elif count == inbox.piece:
            inbox.piece = min(fitting, 4 * count, MOST_FRAMES)


def _divided(frames: list[Frame]) -> list[Frame]:
    """Return the frames, but none of them confirms more than ANSWERS publishes."""
    if not any(type(frame) is Published and len(frame.requests) > ANSWERS for frame in frames):
        return frames
    divided: list[Frame] = []
    for frame in frames:
        if type(frame) is not Published:
            divided.append(frame)
            continue
        session, requests, publications = frame.session, frame.requests, frame.publications
        divided += [
            Published(session, requests[at : at + ANSWERS], publications[at : at + ANSWERS])
            for at in range(0, len(requests), ANSWERS)
        ]
    return divided
