"""The answers to gateways' inquiries, a page at a time.

Owns: what answers which kind of inquiry, and how long a page is. Never: what is asked.

An *answerer* looks at what the shard has, from `Page.start` on, in the order of keys. It adds to
the page what answers, and spends the budget for whatever it looks at, until `Page.is_full`. So no
inquiry holds the shard's turn, however little of what it looks at is an answer.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar, final

from fox_shard.backplane.frames import Inquiry, InquiryPage
from fox_shard.errors import Refusal
from fox_shard.shard.budget import SLICE_UNITS, Budget

T = TypeVar("T")

PAGE_BYTES: Final = 1 << 17
"""Bytes of one page, which ends with the item that exceeds this size."""


@final
class Page:
    """One page of an answer, while an answerer makes it. start: where the page begins."""

    __slots__ = ("_budget", "_limit", "_size", "_until", "items", "next", "start")

    def __init__(self, start: bytes, limit: int, budget: Budget) -> None:
        """limit: how many items at most. budget: the turn's."""
        self.start = start
        self.items: list[tuple[bytes, bytes]] = []
        self.next = b""
        self._limit = limit
        self._size = 0
        self._budget = budget
        self._until = budget.left - SLICE_UNITS

    def add(self, key: bytes, value: bytes) -> None:
        """Add an item. The keys of a page, and of the pages behind it, grow."""
        self.items.append((key, value))
        self._size += len(key) + len(value)

    def spend(self, units: int) -> None:
        """Note that work of so many units of the budget was done (see `budget`)."""
        self._budget.spend(units)

    @property
    def is_full(self) -> bool:
        """Whether the page ends here; if there is more to look at, `go_on_at` must be called."""
        return (
            len(self.items) >= self._limit
            or self._size > PAGE_BYTES
            or self._budget.left <= self._until
        )

    def go_on_at(self, position: bytes) -> None:
        """Let the next page begin at that position, which is not empty."""
        if not position:
            raise ValueError("a page cannot go on at the beginning")
        self.next = position


CHUNK: Final = 1000
"""The most things in one item, of those that `chunks` yields."""

PER_UNIT: Final = 16
"""Things of `chunks` that cost a unit of the budget."""

COPIED_PER_UNIT: Final = 1000
"""Things that are only copied, for each page, for a unit of the budget."""


def chunks(
    page: Page, things: Sequence[T], number: Callable[[T], int]
) -> Iterator[tuple[bytes, Sequence[T]]]:
    """Yield the things for a page, many at a time, each time with a key for the item.

    things: all there are, in the order of their numbers. number: returns the number of one, from 1.
    """
    page.spend(len(things) // COPIED_PER_UNIT)
    start = bisect_left(things, int.from_bytes(page.start, "big"), key=number)
    for first in range(start, len(things), CHUNK):
        key = number(things[first]).to_bytes(8, "big")
        if page.is_full:
            page.go_on_at(key)
            return
        chunk = things[first : first + CHUNK]
        page.spend(1 + len(chunk) // PER_UNIT)
        yield key, chunk


Answerer = Callable[[str, bytes, Page], None]
"""Fills a page. Its arguments are the realm, the inquiry's body, and the page. Raises Refusal."""


@final
class Inquiries:
    """The answerers of one shard, by the kind of inquiry."""

    __slots__ = ("_budget", "answerers")

    def __init__(self, budget: Budget) -> None:
        """budget: the turn's."""
        self._budget = budget
        self.answerers: dict[str, Answerer] = {}

    def page(self, inquiry: Inquiry) -> InquiryPage:
        """Return the page that an inquiry asks for."""
        page = Page(inquiry.start, inquiry.limit, self._budget)
        try:
            self.answerers[inquiry.kind](inquiry.realm, inquiry.body, page)
        except Refusal as refusal:
            return InquiryPage(inquiry.token, [], b"", refusal.uri, refusal.message)
        return InquiryPage(inquiry.token, page.items, page.next)
