"""The 64-byte payload, and the check that each payload arrives once and in order.

Owns: the payload's layout, and which number each receiver expects next. Never: sockets, protocols.

The layout is: the mark ``~~``, one letter for the publisher, three digits (the number mod 1000),
filler. All messages of a run have the same length, so that one field of all messages is a column: a
slice whose step is the message's length. Comparing columns costs some nanoseconds per message.
"""

LENGTH = 64
MARK = b"~~"
PERIOD = 1000
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_FILLER = b"x" * (LENGTH - 6)
# A run has at most 64 KiB / 64 bytes = 1024 records, so three periods suffice for any start.
_DIGITS = [bytes(48 + n // unit % 10 for n in range(PERIOD)) * 3 for unit in (100, 10, 1)]


class Miscount(Exception):
    """A message is missing, came twice or out of order, or was not sent by the generator."""


def payload(publisher: int, sequence: int) -> bytes:
    """Return the payload of one message; sequence numbers begin at 1."""
    return MARK + _LETTERS[publisher : publisher + 1] + b"%03d" % (sequence % PERIOD) + _FILLER


class Expected:
    """The messages that a subscriber (or caller) must receive: 1, 2, 3, … from each publisher.

    total: number of messages received so far.
    """

    def __init__(self, publishers: list[int]) -> None:
        self.total = 0
        self._next = dict.fromkeys(publishers, 1)
        self._single = publishers[0] if len(publishers) == 1 else None
        self._of_letter = {_LETTERS[publisher]: publisher for publisher in publishers}

    def take(self, data: bytes, first: int, size: int, count: int) -> list[tuple[int, int]]:
        """Check `count` payloads in `data`, the first at `first`, with a distance of `size` bytes.

        Returns (publisher, number of messages) pairs. Raises Miscount.
        """
        stop = first + (count - 1) * size + 1
        columns = [data[first + i : stop + i : size] for i in range(6)]
        if columns[0].count(b"~") != count or columns[1].count(b"~") != count:
            raise Miscount(f"{count} payloads expected, some have no mark")
        self.total += count
        if self._single is None:
            return self._take_mixed(columns)
        return [(self._single, self._take_single(columns, count))]

    def trust(self, count: int) -> list[tuple[int, int]]:
        """Count messages of the only publisher that the caller has compared byte by byte."""
        assert self._single is not None
        self.total += count
        return [(self._single, count)]

    def _take_single(self, columns: list[bytes], count: int) -> int:
        publisher = self._single
        assert publisher is not None
        start = self._next[publisher] % PERIOD
        for column, digits in zip(columns[3:], _DIGITS, strict=True):
            if column != digits[start : start + count]:
                raise Miscount(
                    f"publisher {publisher}: expected {count} from number "
                    f"{self._next[publisher]}, got last digits {column[:20]!r}"
                )
        if columns[2].count(_LETTERS[publisher]) != count:
            raise Miscount(f"a message that publisher {publisher} did not send")
        self._next[publisher] += count
        return count

    def _take_mixed(self, columns: list[bytes]) -> list[tuple[int, int]]:
        """Check the interleaved messages of several publishers, each of which must be in order."""
        following = self._next
        of_letter = self._of_letter
        counts: dict[int, int] = {}
        for letter, high, middle, low in zip(*columns[2:], strict=True):
            publisher = of_letter[letter]
            number = following[publisher]
            if (high - 48) * 100 + (middle - 48) * 10 + low - 48 != number % PERIOD:
                raise Miscount(f"publisher {publisher}: expected number {number}")
            following[publisher] = number + 1
            counts[publisher] = counts.get(publisher, 0) + 1
        return list(counts.items())
