"""How deep payloads may nest, for all encodings.

Owns: the limit, and its measurement. Never: how many lists and maps there are (see `containers`),
what happens to a payload beyond the limit.

JSON and MessagePack set no limit, but every reader has one: Python's `json` gives up at about 1000
levels, serde_json at 128. Arguments that reach another client must be within its reader's limit, or
one client could end another's connection.
"""

from itertools import accumulate
from typing import Final

DEPTH_LIMIT: Final = 120
"""Levels of lists and maps in the arguments; the message around them adds two more."""

_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(_STEP))

_SURELY_SHALLOW: Final = 2 * DEPTH_LIMIT
"""Bytes of JSON, of which each level takes two."""

# Bytes that may begin a MessagePack list or map: fixmap, fixarray, array 16 … map 32.
_HEADS: Final = {*range(0x80, 0xA0), *range(0xDC, 0xE0)}
_NOT_HEADS: Final = bytes(set(range(256)) - _HEADS)


def json_too_deep(data: bytes) -> bool:
    """Whether well-formed JSON nests deeper than DEPTH_LIMIT.

    Counting brackets, at the speed of memchr, decides nearly every case.
    """
    if len(data) <= _SURELY_SHALLOW:
        return False
    if data.count(b"[") + data.count(b"{") <= DEPTH_LIMIT:
        return False
    steps = map(_STEP.__getitem__, without_strings(data).translate(None, _NOT_BRACKETS))
    return max(accumulate(steps), default=0) > DEPTH_LIMIT


def without_strings(data: bytes) -> bytes:
    """Return JSON without its strings: if it is well-formed, all brackets left are structural."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(data.split(b'"')[::2])


def msgpack_may_be_too_deep(data: bytes) -> bool:
    """Whether more than DEPTH_LIMIT bytes could each begin a list or map."""
    return len(data) > DEPTH_LIMIT and len(data.translate(None, _NOT_HEADS)) > DEPTH_LIMIT


def too_deep(value: object) -> bool:
    """Whether lists and dicts nest deeper than DEPTH_LIMIT; no recursion, so any depth is safe.

    A message may consist of millions of empty lists: they are left out as early as can be.
    """
    level: list[object] = [value]
    for _ in range(DEPTH_LIMIT):
        below: list[object] = []
        for item in level:
            if not item:
                continue
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
        level = below
        if not level:
            return False
    return any(isinstance(item, dict | list | tuple) for item in level)
