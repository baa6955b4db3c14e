"""The messages of `fox bench`: who has sent them, their number, when.

Owns: their form, which WAMP and MQTT clients see alike. Never: sending.

A message has the arguments [run, sender, number, microseconds since 1970, filler]; for MQTT clients
that is a JSON array.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

SMALLEST: Final = 64
"""Bytes of a message, at least."""


class Stamp(NamedTuple):
    """What a message says. sent: microseconds since 1970."""

    run: str
    sender: int
    number: int
    sent: int


def arguments_of(stamp: Stamp, size: int) -> list[Any]:
    """Return the arguments of a message that has `size` bytes as JSON."""
    bare = len(msgspec.json.encode([*stamp, ""]))
    return [*stamp, "-" * (size - bare)]


def stamp_of(args: Sequence[Any]) -> Stamp | None:
    """Return what the message says; None: it is none of `fox bench`."""
    match args:
        case [str(run), int(sender), int(number), int(sent), str()]:
            return Stamp(run, sender, number, sent)
        case _:
            return None
