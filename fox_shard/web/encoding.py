"""Values as JSON, and bytes in them, as WAMP writes them (#binary-support-in-json).

Owns: what can be written, and how. Never: messages.

Bytes are strings that begin with U+0000, with the bytes in base64 behind it. Both walks change the
value that they are given, and need no stack however deep it is.
"""

import base64
import binascii
from typing import Any, Final

import msgspec

_MARK: Final = "\0"

ESCAPED: Final = b"\\u0000"
"""How JSON writes U+0000: without it, there are no bytes in a document."""

_LEAVES: Final = frozenset((int, float, bool, type(None)))
"""Types of values in which there is nothing to change."""


class Unreadable(Exception):
    """The value cannot be written as JSON."""


def as_json(value: Any) -> bytes:  # noqa: ANN401 (JSON)
    """Return the value as JSON; the bytes in it become strings. Raises Unreadable."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    holder = [value]
    _walk(holder, _string_of)
    try:
        return msgspec.json.encode(holder[0])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(str(error)) from error


def restore_bytes(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Return the value; the strings in it that stand for bytes become bytes."""
    holder = [value]
    _walk(holder, _bytes_of)
    return holder[0]


def _walk(holder: list[Any], change: Any) -> None:  # noqa: ANN401 (one of the two below)
    nodes: list[Any] = [holder]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list) and _LEAVES.issuperset(map(type, node)):
            continue  # A message may have millions of numbers: this takes a tenth of the time.
        for key, value in enumerate(node) if isinstance(node, list) else [*node.items()]:
            if isinstance(value, list | dict):
                nodes.append(value)
            elif (changed := change(value)) is not value:
                node[key] = changed


def _string_of(value: object) -> object:
    return _MARK + base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _bytes_of(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(_MARK):
        return value
    try:
        return base64.b64decode(value[1:], validate=True)
    except binascii.Error:
        return value
