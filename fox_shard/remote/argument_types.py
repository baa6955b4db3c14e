"""The types of arguments: from text to a topic, a number, JSON, or a mistake in words.

Owns: conversions, and texts that several commands' help has. Never: which command has what.
"""

import argparse
from math import isfinite
from typing import Any, Final, NoReturn

import msgspec

AUTH: Final = ("scram", "wampcra", "ticket")
"""How a password may be proved."""

NOTATION: Final = (
    "Topics are in the notation of WAMP, a.b, or of MQTT, a/b. A topic with dots and slashes is"
    " taken for WAMP's, one with slashes alone for MQTT's; mqtt: or wamp: before it says otherwise."
)
WILDCARDS: Final = (
    "PATTERN: a topic, in which a component * (in MQTT's notation, +) is any one component and a"
    f" last component # any number of them. {NOTATION}"
)

Commands = Any
"""The type of what `add_subparsers` returns, for which argparse has no public name."""


def topic(text: str) -> str:
    """Return the topic in WAMP's notation. Raises ArgumentTypeError: it is none, or a pattern."""
    # Imported here, so that `fox health`, which Docker calls every ten seconds, starts without.
    from fox_shard.errors import Refusal
    from fox_shard.topics.pattern import Pattern

    name = pattern(text)
    try:
        if Pattern.wamp(name).is_exact:
            return name
    except Refusal as error:
        _refuse(error.message)
    _refuse(f"{text!r} is a pattern; this is about one topic")


def pattern(text: str) -> str:
    """Return the pattern in WAMP's notation (see `NOTATION`)."""
    from fox_shard.topics.topic import to_wamp

    if text.startswith("wamp:"):
        return text.removeprefix("wamp:")
    filter_ = text.removeprefix("mqtt:")
    if filter_ == text and ("/" not in text or "." in text):
        return text
    return ".".join("*" if level == "+" else to_wamp(level) for level in filter_.split("/"))


def positive(text: str) -> float:
    seconds = seconds_of(text)
    if seconds == 0:
        _refuse("more than 0 seconds")
    return seconds


def interval(text: str) -> float:
    """Return the seconds between two pictures of `fox top`. Raises ArgumentTypeError."""
    seconds = seconds_of(text)
    # A process that is asked more often does not count anew each time.
    if seconds < 0.5:
        _refuse("0.5 seconds or more")
    return seconds


def seconds_of(text: str) -> float:
    return _number(text, "a number of seconds")


def count(text: str) -> int:
    """Return a whole number from 1 on. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        _refuse(f"a whole number from 1 on, not {text!r}")
    return int(text)


def natural(text: str) -> int:
    """Return a whole number from 0 on. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit()):
        _refuse(f"a whole number from 0 on, not {text!r}")
    return int(text)


def rate(text: str) -> float:
    """Return a number of messages a second, 0 included. Raises ArgumentTypeError."""
    return _number(text, "a number of messages a second")


def size(text: str) -> int:
    """Return the bytes of a message of `fox bench`. Raises ArgumentTypeError."""
    if not 64 <= natural(text) <= 1 << 24:
        _refuse("64 bytes to 16 MiB")
    return int(text)


def several(text: str) -> int:
    """Return a number of clients, or of messages at once. Raises ArgumentTypeError."""
    if count(text) > 10_000:
        _refuse("10,000 at most")
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


def add_listing(actions: Commands, **about: Any) -> argparse.ArgumentParser:  # noqa: ANN401
    """Add the action `list`, or `ls`, which is meant if no action is named; return its parser."""
    listing: argparse.ArgumentParser = actions.add_parser("list", aliases=["ls"], **about)
    listing.set_defaults(action="list")
    return listing


def quiet() -> argparse.ArgumentParser:
    """Return the parent of the parsers of commands that take long."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--quiet", action="store_true", help="do not show how far it is (done at terminals only)"
    )
    return parser


def add_json(command: argparse.ArgumentParser, printed: str = "print an object per line") -> None:
    """Add --json. printed: what the command prints then."""
    command.add_argument("--json", action="store_true", help=printed)


def add_match(command: argparse.ArgumentParser, what: str = "it matches") -> None:
    """Add --match. what: the pattern, with its verb."""
    command.add_argument(
        "--match",
        choices=("exact", "prefix", "wildcard"),
        default="exact",
        help=f"how {what}; prefix: topics that begin with it; wildcard: an empty component is any"
        " one component, too",
    )


def add_kwargs(command: argparse.ArgumentParser) -> None:
    """Add --kwargs, the keyword arguments of a message."""
    command.add_argument(
        "--kwargs", type=document, default={}, metavar="JSON", help="an object: keyword arguments"
    )


def add_options(command: argparse.ArgumentParser, of: str) -> None:
    """Add --options. of: the WAMP message."""
    command.add_argument(
        "--options",
        type=document,
        default={},
        metavar="JSON",
        help=f"an object: options of {of}",
    )


def _refuse(sentence: str) -> NoReturn:
    raise argparse.ArgumentTypeError(sentence)


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not isfinite(number) or number < 0:
        _refuse(f"{what}, not {text!r}")
    return number
