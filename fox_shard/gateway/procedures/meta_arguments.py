"""What the procedures of the registration and the subscription meta API have in common.

Owns: their arguments, the form of lists, the limit of an answer. Never: shards.
"""

from typing import Any, Final

from fox_shard.backplane.meta_api import IdLists, decode_ids, decode_lists
from fox_shard.documents.numbers import whole
from fox_shard.documents.payloads import decode
from fox_shard.errors import InvalidArgument, LimitExceeded
from fox_shard.gateway.procedures.inquiry import Item
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.topic import check_topic

MOST_ITEMS: Final = 1_000_000
"""Items of an answer; its bytes are what limits it."""

Arguments = tuple[int, bytes, bytes]
"""Encoding, args and kwargs of a call."""


def no_arguments(procedure: str, arguments: Arguments) -> None:
    """Refuse arguments. Raises InvalidArgument, InvalidPayload."""
    if any(decode(*arguments)):
        raise InvalidArgument(f"{procedure} has no arguments")


def id_argument(procedure: str, what: str, arguments: Arguments) -> int:
    """Return the only argument, an id. what: `registration` or `subscription`.

    Raises InvalidArgument, InvalidPayload.
    """
    args, kwargs = decode(*arguments)
    id_ = whole(args[0]) if len(args) == 1 and not kwargs else None
    if type(id_) is not int or not 0 <= id_ < 1 << 64:
        raise InvalidArgument(f"{procedure}: one argument, the id of a {what}")
    return id_


def uri_argument(procedure: str, arguments: Arguments) -> str:
    """Return the only argument, a URI. Raises InvalidArgument, InvalidPayload, InvalidUri."""
    args, kwargs = decode(*arguments)
    if len(args) != 1 or kwargs or not isinstance(args[0], str):
        raise InvalidArgument(f"{procedure}: one argument, a URI")
    check_topic(args[0], reserved_ok=True)
    return args[0]


def pattern_argument(procedure: str, arguments: Arguments) -> Pattern:
    """Return the pattern that the arguments name: a URI and, as the second one, options.

    Of the options, only `match` counts. Raises InvalidArgument, InvalidPayload, InvalidUri.
    """
    args, kwargs = decode(*arguments)
    options = args[1] if len(args) == 2 else None
    if (
        not 1 <= len(args) <= 2
        or kwargs
        or not isinstance(args[0], str)
        or not (options is None or isinstance(options, dict))
    ):
        raise InvalidArgument(f"{procedure}: a URI, and behind it an object with options, if any")
    match = (options or {}).get("match")
    if not (match is None or isinstance(match, str)):
        raise InvalidArgument(f"{procedure}: the option match must be a string")
    return Pattern.wamp(args[0], "exact" if match is None else match)


def complete(items: list[Item], *, more: bool) -> list[Item]:
    """Return the items, which are all there are. Raises LimitExceeded if there are more."""
    if more:
        raise LimitExceeded(
            "the answer is longer than gateway.answer_bytes: ask for single items instead"
        ).beyond("answer_bytes")
    return items


def id_lists(items: list[Item], more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
    """Return the answer with all ids by policy, in no special order. Raises LimitExceeded."""
    all_ = IdLists([], [], [])
    for _, value in complete(items, more=more):
        lists = decode_lists(value)
        all_.exact += lists.exact
        all_.prefix += lists.prefix
        all_.wildcard += lists.wildcard
    return [{"exact": all_.exact, "prefix": all_.prefix, "wildcard": all_.wildcard}], {}


def ids(items: list[Item], *, more: bool) -> list[int]:
    """Return all ids of lists in ascending order. Raises LimitExceeded."""
    return sorted(id_ for _, value in complete(items, more=more) for id_ in decode_ids(value))
