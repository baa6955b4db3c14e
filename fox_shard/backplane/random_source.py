"""Chance, as the cores see it.

Owns: what they may ask of a source of random numbers. Never: a source; it is an argument, so that
the simulator can repeat what happened.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Chance(Protocol):
    """A part of `random.Random`."""

    def randrange(self, start: int, stop: int, /) -> int:
        """start..stop-1, each as likely as any other."""

    def choice(self, seq: Sequence[T], /) -> T:
        """One of them, which must not be none."""
