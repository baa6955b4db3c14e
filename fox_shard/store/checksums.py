"""Checksums: how a row that has changed on the disk is recognised.

Owns: the four bytes behind each value in a file. Never: files, and what is done about damage.

SQLite finds a page that makes no sense, but not a byte that has changed within a value.
"""

from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

SIZE: Final = 4
"""Bytes of a checksum."""

_RESIDUE: Final = 0x2144DF1C
"""The CRC-32 of whatever is followed by its own CRC-32, the lowest byte first."""


def sealed(key: bytes, value: bytes) -> bytes:
    """The value as it is stored: with the checksum of key and value behind it."""
    return value + crc32(value, crc32(key)).to_bytes(SIZE, "little")


def is_intact(key: object, stored: object) -> bool:
    """Is this a row as it was written? A damaged one may have values of other types."""
    return (
        isinstance(key, bytes)
        and isinstance(stored, bytes)
        and len(stored) >= SIZE
        and crc32(stored, crc32(key)) == _RESIDUE
    )


def are_intact(keys: Iterable[Any], stored: Iterable[Any]) -> bool:
    """All of these rows? Faster than one by one."""
    try:
        return set(map(crc32, stored, map(crc32, keys))) == {_RESIDUE}
    except TypeError:
        return False


def checksum(items: Iterable[tuple[str, object]]) -> int:
    """Of a few named values, in whatever order."""
    return crc32("\n".join(sorted(map(repr, items))).encode())
