"""When what a peer sent has passed: all it caused has been confirmed by whom it went to.

Owns: for each inbound batch, whom it waits for, and the replies that wait with it. Never: frames'
meanings.

A publisher is told `Published`, and need not fence what it sends elsewhere, once the gateways that
must deliver the event have confirmed it. The origin itself needs no confirming: its link is first
in, first out, so the events it gets are before the reply.
"""

from collections import deque
from typing import final

from fox_shard.backplane.frames import Ask, Frame, Published, Reached
from fox_shard.backplane.link import Link

EVERYTHING = (1 << 53) - 1
"""A number that is beyond any frame's."""

EPOCHS = 1 << 20
"""More pairs than one incarnation of a process opens."""


@final
class Entry:
    """One batch of an origin, until it has passed."""

    __slots__ = ("before", "durable", "forwards", "last", "replies", "waiting")

    def __init__(self, before: int, last: int, durable: int, replies: list[Frame]) -> None:
        """before: the last number of the batch before it."""
        self.before = before
        self.last = last
        self.durable = durable
        self.replies = replies
        self.waiting = 0
        self.forwards = 0


@final
class Passing:
    """One peer's side of it: as an origin of batches, and as a destination of what they caused."""

    __slots__ = (
        "_asked",
        "_awaited",
        "_done",
        "_entries",
        "_owed",
        "link",
        "through_shards",
    )

    def __init__(self, link: Link, *, through_shards: bool) -> None:
        """through_shards: the peer is a shard; what goes there has passed when it says `passed`."""
        self.link = link
        self.through_shards = through_shards
        self._done = 0
        self._entries: deque[Entry] = deque()
        self._awaited: deque[tuple[int, Entry, Passing]] = deque()
        self._asked: list[tuple[Link, Ask]] = []
        # What has not passed yet of earlier pairs.
        self._owed: deque[Entry] = deque()

    @property
    def passed(self) -> bool:
        """Has all that the peer sent passed, in the batches that have been handled?"""
        return not self._entries

    @property
    def idle(self) -> bool:
        """Everything has passed, and nobody has asked."""
        return not (self._entries or self._awaited or self._asked or self._owed)

    def close(
        self, last: int, durable: int, replies: list[Frame], touched: "list[tuple[Passing, int]]"
    ) -> None:
        """A batch up to `last` has been handled.

        durable: its highest reliable number. replies: to be sent to this peer when it has passed.
        touched: the other peers that got frames because of it, with the number of the last one.
        """
        before, self._done = self._done, last
        if not (touched or self._entries or self._owed):
            self._pass(last, durable, replies)
            self.answer()
            return
        entry = Entry(before, last, durable, replies)
        self._entries.append(entry)
        for destination, number in touched:
            entry.waiting += 1
            entry.forwards += destination.through_shards
            destination.await_(number, entry, self)
        self.answer()

    def await_(self, number: int, entry: Entry, origin: "Passing") -> None:
        """`entry` of `origin` waits for this peer's confirmation of `number`."""
        self._awaited.append((number, entry, origin))
        if entry.replies or origin.through_shards:
            self.link.prompt = True

    def settle(self) -> None:
        """This peer has confirmed more (see `Link.handled`, `Link.peer_passed`)."""
        awaited = self._awaited
        if not awaited:
            return
        confirmed = self.link.peer_passed if self.through_shards else self.link.handled
        while awaited and awaited[0][0] <= confirmed:
            self._confirmed(*awaited.popleft()[1:])

    def pause(self) -> list[tuple[Link, Ask]]:
        """The pair has ended; returns the questions, which its return may yet answer.

        The peer still hears what is safe when that has passed. A gateway that comes back is sent
        again what it has to confirm; what went to a shard is lost.
        """
        self._done = 0
        self._owed.extend(self._entries)
        self._entries.clear()
        asked, self._asked = self._asked, []
        if self.through_shards:
            self._confirm_all()
        return asked

    def resume(self) -> None:
        """The pair is new, of the same incarnation: what was not confirmed is in its outbox."""
        last = self.link.last
        self._awaited = deque((last, entry, origin) for _, entry, origin in self._awaited)

    def abandon(self) -> None:
        """The peer has gone for good: nobody waits for it any more, and it waits for nobody."""
        for asker, ask in self.pause():
            if asker.open:
                asker.send(Reached(ask.origin, ask.epoch, EVERYTHING))
        self._owed.clear()
        self._confirm_all()

    def _confirm_all(self) -> None:
        while self._awaited:
            self._confirmed(*self._awaited.popleft()[1:])

    def _confirmed(self, entry: Entry, origin: "Passing") -> None:
        entry.waiting -= 1
        entry.forwards -= self.through_shards
        if not entry.waiting:
            origin.drain()

    def drain(self) -> None:
        """Let pass what waits for nobody, in order."""
        while self._owed and not self._owed[0].waiting:
            self._pay(self._owed.popleft())
        entries = self._entries
        while entries and not self._owed and not entries[0].waiting:
            entry = entries.popleft()
            self._pass(entry.last, entry.durable, entry.replies)
        self.answer()

    def _pass(self, last: int, durable: int, replies: list[Frame]) -> None:
        link = self.link
        link.passed = last
        link.durable = max(link.durable, durable)
        if replies:
            self._reply(replies)
        if self.through_shards:
            link.acknowledge_soon()

    def _pay(self, entry: Entry) -> None:
        """An earlier pair's: its numbers mean nothing any more, but what was safe still is."""
        link = self.link
        link.durable = max(link.durable, entry.durable)
        self._reply([reply for reply in entry.replies if type(reply) is Published])
        link.acknowledge_soon()

    def _reply(self, replies: list[Frame]) -> None:
        """What was published safely is said reliably; on all else the end of the pair is answer."""
        outbox, reliable = self.link.outbox, self.link.reliable
        for reply in replies:
            if type(reply) is Published:
                reliable.append(len(outbox))
            outbox.append(reply)

    # Fences (architecture: order)

    @property
    def reached(self) -> int:
        """Up to where everything has had its effects, forwarded calls at their homes included."""
        for entry in self._entries:
            if entry.forwards:
                return entry.before
        return self._done

    def is_to_come(self, epoch: int) -> bool:
        """Is that epoch one of a pair that the peer will yet open? They count up (see `Link`)."""
        return 0 < epoch - self.link.peer_epoch < EPOCHS

    def ask(self, asker: Link, ask: Ask) -> None:
        """Tell `asker` once everything up to `ask.seq`, or of an earlier pair, has been reached."""
        self._asked.append((asker, ask))
        self.answer()

    def answer(self) -> None:
        """Answer who asked, where that is possible now."""
        if not self._asked:
            return
        epoch = self.link.peer_epoch
        now = self.reached
        earlier = 0 if any(entry.forwards for entry in self._owed) else EVERYTHING
        waiting = []
        for asker, ask in self._asked:
            reached = now if ask.epoch == epoch else earlier
            if ask.seq > reached:
                waiting.append((asker, ask))
            elif asker.open:
                asker.send(Reached(ask.origin, ask.epoch, reached))
        self._asked = waiting
