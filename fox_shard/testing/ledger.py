"""A ledger of frames that shards send to each other by their outboxes.

Owns: test frames, what is noted when they are sent and when they are handled, and the comparison.
Never: faults.

What is sent is noted in the transaction that has the frame, and what is handled in the one that has
its effect, both in rows that a restarted shard does not look at, like the one that tries a store.
"""

from collections.abc import Iterable, Mapping
from typing import Final, final

from msgspec import msgpack

from fox_shard.backplane.frames import Event, Fold, Publish
from fox_shard.documents import payloads
from fox_shard.shard.core import Shard
from fox_shard.store.journal import TRIAL

REALM: Final = "realm1"
SENT: Final = "sent."
"""The beginning of the topics with what was sent; each ends with the frame's number."""


@final
class Ledger:
    """The test frames of one shard, while it runs.

    handled: target topic -> the numbers of its frames, as they were handled.
    """

    def __init__(self, shard: Shard, stored: Mapping[bytes, bytes]) -> None:
        """Handle the test frames of that shard. stored: the rows with which the shard began."""
        self._shard = shard
        self.handled: dict[str, list[int]] = {
            topic: numbers
            for topic, numbers in numbers_in(stored).items()
            if not topic.startswith(SENT)
        }
        shard.inbox.handlers[Fold] = self._handle

    def send(self, topic: str, number: int, *, revocable: bool = False) -> None:
        """Send a frame to that topic, and note it in the same transaction."""
        journal = self._shard.journal
        write = journal.put if revocable else journal.keep
        write(*_row(f"{SENT}{number}", [number]))
        event = Event(number, Publish(REALM, topic, 0, 0, 0, 0, payloads.NONE, b""))
        self._shard.outbox.send_to_owner(Fold(REALM, topic, "", "", event), revocable=revocable)

    def _handle(self, frame: Fold, _shard: int) -> None:
        numbers = self.handled.setdefault(frame.target_topic, [])
        numbers.append(frame.event.publication)
        self._shard.journal.keep(*_row(frame.target_topic, numbers))


def _row(topic: str, numbers: list[int]) -> tuple[bytes, bytes]:
    return TRIAL + topic.encode(), msgpack.encode(numbers)


def rows_of(numbers: Mapping[str, list[int]]) -> dict[bytes, bytes]:
    """Return the rows of a ledger with these numbers, by topic."""
    return dict(_row(topic, found) for topic, found in numbers.items())


def numbers_in(stored: Mapping[bytes, bytes]) -> dict[str, list[int]]:
    """Return topic -> numbers of the rows that ledgers have written."""
    return {
        key.removeprefix(TRIAL).decode(): msgpack.decode(value)
        for key, value in stored.items()
        if key.startswith(TRIAL) and key != TRIAL
    }


def missing(stores: Iterable[Mapping[bytes, bytes]], targets: Mapping[int, str]) -> str:
    """Return what is wrong with the stores of all shards; "": every frame had its effect, once.

    targets: number -> topic of each frame, numbers counting up. Frames of one shard have to be
    handled in the order of sending.
    """
    found = [numbers_in(stored) for stored in stores]
    handled = {
        topic: numbers
        for one in found
        for topic, numbers in one.items()
        if not topic.startswith(SENT)
    }
    every: dict[str, list[int]] = {}
    for shard, one in enumerate(found):
        sent = sorted(numbers[0] for topic, numbers in one.items() if topic.startswith(SENT))
        for topic in sorted({targets[number] for number in sent}):
            expected = [number for number in sent if targets[number] == topic]
            got = [number for number in handled.get(topic, []) if number in expected]
            if got != expected:
                return f"shard-{shard} sent {expected} to {topic}, which were handled as {got}"
            every.setdefault(topic, []).extend(expected)
    for topic, numbers in handled.items():
        if sorted(numbers) != sorted(every.get(topic, [])):
            return f"{numbers} were handled at {topic}, of which only {every.get(topic)} were sent"
    return ""
