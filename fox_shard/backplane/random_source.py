"""Random numbers, as the cores see them.

Owns: the interface of a source. Never: a source, which is passed to the cores, so that the
simulator can repeat a run.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class RandomSource(Protocol):
    """The part of `random.Random` that the cores use."""

    def randrange(self, start: int, stop: int, /) -> int:
        """Return a number from start to stop - 1, each with the same probability."""

    def choice(self, seq: Sequence[T], /) -> T:
        """Return an element of a sequence, which must not be empty."""
