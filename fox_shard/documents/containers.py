"""How many lists and maps a payload, or a whole message, consists of: for all encodings.

Owns: counting them, without making them. Never: what happens to whatever has too many.

A list takes one byte on its way and sixty in memory. So without a limit a message of 16 MiB would
be a gigabyte, and take seconds to be read. Most data has so few bytes which could begin a list or
map that these are all that must be counted.
"""

import re
from collections.abc import Callable
from typing import Any, Final, final

import msgpack

from fox_shard.documents.nesting import without_strings

CONTAINER_LIMIT: Final = 100_000
"""Lists and maps in the JSON of an MQTT payload, and by default in a WAMP message: tens of
milliseconds for whoever reads it."""

Check = Callable[[bytes, int], bool]
"""Whether data has more than that many lists and maps."""


def json_has_more(data: bytes, most: int) -> bool:
    """Whether JSON has more than that many lists and objects."""
    if len(data) <= most or data.count(b"[") + data.count(b"{") <= most:
        return False
    outside = without_strings(data)
    return outside.count(b"[") + outside.count(b"{") > most


def msgpack_has_more(data: bytes, most: int) -> bool:
    """Whether MessagePack has more than that many lists and maps, or cannot be counted."""
    if len(data) <= most or len(data.translate(None, _NOT_MSGPACK)) <= most:
        return False
    count = _Count(most).one
    reader = msgpack.Unpacker(
        raw=True,
        strict_map_key=False,
        list_hook=count,
        # The pairs, of which no map is made: nobody's keys are hashed.
        object_pairs_hook=count,
        max_buffer_size=len(data),
    )
    reader.feed(data)
    try:
        reader.unpack()
    except (_TooMany, ValueError, TypeError, msgpack.UnpackException, msgpack.StackError):
        return True
    return False


def cbor_has_more(data: bytes, most: int) -> bool:
    """Whether CBOR has more than that many lists, maps and tags, as far as it is well-formed.

    Tags count because each is an object, too. Everything else is skipped.
    """
    if len(data) <= most or len(data.translate(None, _NOT_CBOR)) <= most:
        return False
    at = count = 0
    while at < len(data):
        scalars = _CBOR_SCALARS.match(data, at)
        if scalars is not None:
            at = scalars.end()
            continue
        kind, info = data[at] >> 5, data[at] & 0x1F
        width = _CBOR_WIDTHS.get(info, 0)
        start = at + 1 + width
        if kind in _CBOR_CONTAINERS:
            count += 1
            if count > most:
                return True
            at = start
        elif kind in _CBOR_STRINGS and width:
            at = start + int.from_bytes(data[at + 1 : start])
        else:
            break  # A value that is cut off, or none at all: here its reader gives up.
    return False


# Bytes that may begin a MessagePack list or map: fixmap, fixarray, array 16 … map 32.
_NOT_MSGPACK: Final = bytes(set(range(256)) - {*range(0x80, 0xA0), *range(0xDC, 0xE0)})


class _TooMany(Exception):
    """There are more."""


@final
class _Count:
    """Counts lists and maps while they are read, and keeps nothing of them."""

    __slots__ = ("_left",)

    def __init__(self, most: int) -> None:
        self._left = most

    def one(self, _container: Any) -> None:  # noqa: ANN401 (a list)
        """Count one. Raises _TooMany."""
        self._left -= 1
        if self._left < 0:
            raise _TooMany


# RFC 8949, 3 and 3.1: kinds (major types), and bytes behind the first that have a length.
_NOT_CBOR: Final = bytes(set(range(256)) - {*range(0x80, 0xE0)})
_CBOR_STRINGS: Final = (2, 3)
_CBOR_CONTAINERS: Final = (4, 5, 6)
_CBOR_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


def _short_strings() -> bytes:
    """Return alternatives of a regular expression: strings and bytes of 1 to 23 bytes."""
    heads = (b"[\\x%02x\\x%02x]" % (0x40 + size, 0x60 + size) for size in range(1, 24))
    return b"|".join(b"%b.{%d}" % (head, size) for size, head in enumerate(heads, 1))


_CBOR_SCALARS: Final = re.compile(
    # Small numbers, empty strings, beginnings and the end of what has no length, simple values.
    rb"(?:[\x00-\x17\x20-\x37\x40\x5f\x60\x7f\xe0-\xf7\xff]"
    rb"|[\x18\x38\xf8].|[\x19\x39\xf9].{2}|[\x1a\x3a\xfa].{4}|[\x1b\x3b\xfb].{8}|%b)++"
    % _short_strings(),
    re.DOTALL,
)
"""Values one after the other that are no lists, maps, tags or long strings."""
