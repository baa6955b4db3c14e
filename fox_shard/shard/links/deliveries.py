"""When what a peer sent has passed: all it caused has been confirmed by whom it went to.

Owns: for each inbound batch, whom it waits for, and the replies that wait with it. Never: frames'
meanings.

A publisher is told `Published`, and need not fence what it sends elsewhere, once the gateways that
must deliver the event have confirmed it. The origin itself needs no confirming: its link is first
in, first out, so the events it gets are before the reply.

A batch has parts that are answered apart: what it caused at once, and for each transaction of which
something in it waits, what that will cause when it is durable.
"""

from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import final

from fox_shard.backplane.frames import Ask, Frame, Publish, Published, Reached, Refused
from fox_shard.backplane.link import Link

EVERYTHING = (1 << 53) - 1
"""A number that is beyond any frame's."""

EPOCHS = 1 << 20
"""More pairs than one incarnation of a process opens."""

PUBLISH_TAG = Publish.__struct_config__.tag

Touched = list[tuple["Passing", int]]
"""Peers that got frames, each with the number of the last one."""


@final
class Entry:
    """One batch of an origin, until it has passed. parts: how many have not been confirmed.

    unreached: parts that have not had their effects, and forwarded calls that are under way.
    """

    __slots__ = ("before", "durable", "gone", "last", "old", "parts", "serial", "unreached")

    def __init__(self, serial: int, before: int, last: int, durable: int) -> None:
        """serial: counts its origin's entries, over all pairs.

        before: the last number of the batch before it. durable: its last reliable number.
        """
        self.serial = serial
        self.before = before
        self.last = last
        self.durable = durable
        self.parts = 0
        self.unreached = 0
        # The pair that it came in has ended; its origin has gone for good.
        self.old = False
        self.gone = False


@final
class Part:
    """See the module. replies: for the origin, when all whom this part concerns have confirmed.

    then: is called behind that.
    """

    __slots__ = ("entry", "forwards", "origin", "replies", "then", "waiting")

    def __init__(
        self, origin: "Passing", entry: Entry, replies: list[Frame], then: Callable[[], None] | None
    ) -> None:
        self.origin = origin
        self.entry = entry
        self.replies = replies
        self.then = then
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
        "_serial",
        "link",
        "through_shards",
    )

    def __init__(self, link: Link, *, through_shards: bool) -> None:
        """through_shards: the peer is a shard; what goes there has passed when it says `passed`."""
        self.link = link
        self.through_shards = through_shards
        self._done = 0
        self._entries: deque[Entry] = deque()
        self._awaited: deque[tuple[int, Part]] = deque()
        # Questions, each with the serial number up to which entries must have been reached, where
        # it is about an earlier pair.
        self._asked: list[tuple[Link, Ask, int]] = []
        # What has not passed yet of earlier pairs.
        self._owed: deque[Entry] = deque()
        self._serial = 0

    @property
    def passed(self) -> bool:
        """Has all that the peer sent passed, in the batches that have been handled?"""
        return not self._entries

    @property
    def idle(self) -> bool:
        """Everything has passed, and nobody has asked."""
        return not (self._entries or self._awaited or self._asked or self._owed)

    def close(
        self,
        last: int,
        durable: int,
        replies: list[Frame],
        touched: Touched,
        gated: int = 0,
    ) -> Entry | None:
        """A batch up to `last` has been handled. Returns its entry, unless it has passed.

        durable: its highest reliable number. replies: to be sent to this peer when what it caused
        at once has passed. touched: the other peers that got frames because of it. gated: how many
        parts wait for the store, see `release`.
        """
        before, self._done = self._done, last
        if not (touched or gated or self._entries or self._owed):
            self._pass(last, durable)
            self._reply(replies)
            self.answer()
            return None
        self._serial += 1
        entry = Entry(self._serial, before, last, durable)
        entry.parts = gated
        entry.unreached = gated
        self._entries.append(entry)
        self._add(entry, replies, touched)
        self.answer()
        return entry

    def release(self, entry: Entry, replies: list[Frame], touched: Touched) -> None:
        """A gated part of the batch has had its effects."""
        entry.parts -= 1
        entry.unreached -= 1
        self._add(entry, replies, touched)
        self.drain()

    def aside(self, replies: list[Frame], touched: Touched, then: Callable[[], None]) -> None:
        """As `close`, of something that is in no batch: what was sent long ago, and has waited.

        then: is called when that has passed and is answered.
        """
        self._serial += 1
        entry = Entry(self._serial, self._done, self._done, 0)
        self._entries.append(entry)
        self._add(entry, replies, touched, then)
        self.drain()

    def _add(
        self,
        entry: Entry,
        replies: list[Frame],
        touched: Touched,
        then: Callable[[], None] | None = None,
    ) -> None:
        if not touched:
            self._answer_part(entry, replies)
            if then is not None:
                then()
            return
        part = Part(self, entry, replies, then)
        entry.parts += 1
        for destination, number in touched:
            part.waiting += 1
            part.forwards += destination.through_shards
            destination.await_(number, part)
        entry.unreached += part.forwards

    def await_(self, number: int, part: Part) -> None:
        """The part waits for this peer's confirmation of `number`."""
        self._awaited.append((number, part))
        if part.replies or part.origin.through_shards:
            self.link.prompt = True

    def settle(self) -> None:
        """This peer has confirmed more (see `Link.handled`, `Link.peer_passed`)."""
        awaited = self._awaited
        if not awaited:
            return
        confirmed = self.link.peer_passed if self.through_shards else self.link.handled
        while awaited and awaited[0][0] <= confirmed:
            self._confirmed(awaited.popleft()[1])

    def pause(self) -> list[tuple[Link, Ask]]:
        """The pair has ended; returns the questions, which its return may yet answer.

        The peer still hears what is safe when that has passed. A gateway that comes back is sent
        again what it has to confirm; what went to a shard is lost.
        """
        self._done = 0
        for entry in self._entries:
            entry.old = True
        self._owed.extend(self._entries)
        self._entries.clear()
        asked = [(asker, ask) for asker, ask, _ in self._asked]
        self._asked.clear()
        if self.through_shards:
            self._confirm_all()
        return asked

    def resume(self) -> None:
        """The pair is new, of the same incarnation: what was not confirmed is in its outbox."""
        last = self.link.last
        self._awaited = deque((last, part) for _, part in self._awaited)

    def abandon(self) -> None:
        """The peer has gone for good: nobody waits for it any more, and it waits for nobody.

        What it sent may yet have effects, behind which alone the questions are answered.
        """
        asked = self.pause()
        for entry in self._owed:
            entry.gone = True
        self._confirm_all()
        for asker, ask in asked:
            self.ask(asker, ask)

    def _confirm_all(self) -> None:
        while self._awaited:
            self._confirmed(self._awaited.popleft()[1])

    def _confirmed(self, part: Part) -> None:
        part.waiting -= 1
        if self.through_shards:
            part.forwards -= 1
            part.entry.unreached -= 1
        if not part.waiting:
            part.entry.parts -= 1
            part.origin.confirmed(part.entry, part.replies)
            if part.then is not None:
                part.then()

    def confirmed(self, entry: Entry, replies: list[Frame]) -> None:
        """All whom a part of this peer's batch concerns have confirmed."""
        self._answer_part(entry, replies)
        self.drain()

    def drain(self) -> None:
        """Let pass what waits for nobody, in order."""
        while self._owed and not self._owed[0].parts:
            # Its numbers mean nothing any more, but what was safe still is.
            entry = self._owed.popleft()
            if not entry.gone:
                self.link.durable = max(self.link.durable, entry.durable)
                self.link.acknowledge_soon()
        entries = self._entries
        while entries and not self._owed and not entries[0].parts:
            entry = entries.popleft()
            self._pass(entry.last, entry.durable)
        self.answer()

    def _pass(self, last: int, durable: int) -> None:
        link = self.link
        link.passed = last
        link.durable = max(link.durable, durable)
        if self.through_shards:
            link.acknowledge_soon()

    def _answer_part(self, entry: Entry, replies: list[Frame]) -> None:
        if replies and not entry.gone:
            self._reply([one for one in replies if _is_safe(one)] if entry.old else replies)

    def _reply(self, replies: list[Frame]) -> None:
        """How publishes ended is said reliably; on all else the end of the pair is answer."""
        outbox, reliable = self.link.outbox, self.link.reliable
        for reply in replies:
            if _is_safe(reply):
                reliable.append(len(outbox))
            outbox.append(reply)

    # Fences (architecture: order)

    @property
    def reached(self) -> int:
        """Up to where everything has had its effects, forwarded calls at their homes included.

        What the peer sent again in this pair may be what has yet to have them from an earlier one.
        """
        if any(entry.unreached for entry in self._owed):
            return 0
        for entry in self._entries:
            if entry.unreached:
                return entry.before
        return self._done

    def is_to_come(self, epoch: int) -> bool:
        """Is that epoch one of a pair that the peer will yet open? They count up (see `Link`)."""
        return 0 < epoch - self.link.peer_epoch < EPOCHS

    def ask(self, asker: Link, ask: Ask) -> None:
        """Tell `asker` once everything up to `ask.seq`, or of an earlier pair, has been reached."""
        # What was sent again of an earlier pair has been handled in this one.
        self._asked.append((asker, ask, self._serial))
        self.answer()

    def answer(self) -> None:
        """Answer who asked, where that is possible now."""
        if not self._asked:
            return
        epoch, now = self.link.peer_epoch, self.reached
        waiting = []
        for asker, ask, serial in self._asked:
            reached = now if ask.epoch == epoch else self._reached_earlier(serial)
            if ask.seq > reached:
                waiting.append((asker, ask, serial))
            elif asker.open:
                asker.send(Reached(ask.origin, ask.epoch, reached))
        self._asked = waiting

    def _reached_earlier(self, serial: int) -> int:
        """How far all of an earlier pair has had its effects, which is in entries up to that."""
        for entry in chain(self._owed, self._entries):
            if entry.unreached:
                return EVERYTHING if entry.serial > serial else 0
        return EVERYTHING


def _is_safe(reply: Frame) -> bool:
    """The end of a publish: it must be told, since the publish will not be sent again."""
    return type(reply) is Published or (type(reply) is Refused and reply.kind == PUBLISH_TAG)
