"""The types of arguments: from text to a topic, a number, JSON, or a mistake in words.

Owns: conversions, and texts that several commands' help has. Never: which command has what.
"""

import argparse
from math import isfinite
from typing import Any, Final, NoReturn

import msgspec

NOTATION: Final = "Topics are in WAMP's notation: MQTT's a/b is a.b here."
WILDCARDS: Final = (
    "PATTERN: a topic, in which a component * is any one component and a last component # any"
    f" number of them. {NOTATION}"
)

Commands = Any
"""The type of what `add_subparsers` returns, for which argparse has no public name."""


def topic(text: str) -> str:
    """Return the text, which must be one topic and not a pattern. Raises ArgumentTypeError."""
    # Imported here, so that `fox health`, which Docker calls every ten seconds, starts without.
    from fox_shard.errors import Refusal
    from fox_shard.topics.pattern import Pattern

    try:
        if Pattern.wamp(text).is_exact:
            return text
    except Refusal as error:
        _refuse(error.message)
    _refuse(f"{text!r} is a pattern; this is about one topic")


def positive(text: str) -> float:
    seconds = seconds_of(text)
    if seconds == 0:
        _refuse("more than 0 seconds")
    return seconds


def seconds_of(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or seconds < 0:
        _refuse(f"a number of seconds, not {text!r}")
    return seconds


def count(text: str) -> int:
    """Return a whole number from 1 on. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        _refuse(f"a whole number from 1 on, not {text!r}")
    return int(text)


def publication(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        _refuse(f"a publication's id, not {text!r}")
    return int(text)


def document(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        _refuse(f"an object in JSON, not {text!r}")


def holder(text: str) -> Any:  # noqa: ANN401 (JSON)
    try:
        value = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        _refuse(f"JSON, not {text!r}")
    if value is None:
        _refuse("anything but null, which would be no key")
    return value


def _refuse(sentence: str) -> NoReturn:
    raise argparse.ArgumentTypeError(sentence)
