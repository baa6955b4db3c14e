"""How deep the arguments of a message may nest.

Owns: the bound, and measuring. Never: what is done about it.

JSON and MessagePack set no bound, but every reader has one: Python's `json` gives up at about 1000
levels, serde_json at 128. What reaches another client must be within its reader's, or one client
could end another's connection.
"""

from itertools import accumulate
from typing import Final

DEPTH_LIMIT: Final = 120
"""Levels of lists and maps in the arguments (the message around them is two more)."""

_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(_STEP))

# Bytes that may be the head of a MessagePack list or map: fixmap, fixarray, array 16 … map 32.
_HEADS: Final = {*range(0x80, 0xA0), *range(0xDC, 0xE0)}
_NOT_HEADS: Final = bytes(set(range(256)) - _HEADS)


def json_too_deep(data: bytes) -> bool:
    """data: well-formed JSON. Nearly always the number of brackets tells, at memchr's speed."""
    if len(data) <= 2 * DEPTH_LIMIT:
        return False
    if data.count(b"[") + data.count(b"{") <= DEPTH_LIMIT:
        return False
    # Without its strings, so that only real brackets are left.
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(data.split(b'"')[::2])
    steps = map(_STEP.__getitem__, outside.translate(None, _NOT_BRACKETS))
    return max(accumulate(steps), default=0) > DEPTH_LIMIT


def msgpack_may_be_too_deep(data: bytes) -> bool:
    """False where there are not even enough bytes that might begin a list or map."""
    return len(data) > DEPTH_LIMIT and len(data.translate(None, _NOT_HEADS)) > DEPTH_LIMIT


def too_deep(value: object) -> bool:
    """Tell whether lists and dicts nest too deep. Level by level: nothing recurses."""
    level: list[object] = [value]
    for _ in range(DEPTH_LIMIT):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
        level = below
        if not level:
            return False
    return any(isinstance(item, dict | list | tuple) for item in level)
