"""Checksums, by which a row that has changed on disk is recognised.

Owns: the four bytes after each value in a file. Never: files; what is done about damage.

SQLite finds a malformed page, but not a byte that has changed within a value.
"""

from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

SIZE: Final = 4
"""Bytes of a checksum."""

_RESIDUE: Final = 0x2144DF1C
"""The CRC-32 of any data that is followed by its own CRC-32, lowest byte first."""


def sealed(key: bytes, value: bytes) -> bytes:
    """Return the value as a file stores it: followed by the checksum of key and value."""
    return value + crc32(value, crc32(key)).to_bytes(SIZE, "little")


def is_intact(key: object, stored: object) -> bool:
    """Whether the row is as it was written; a damaged row may hold values of any type."""
    return (
        isinstance(key, bytes)
        and isinstance(stored, bytes)
        and len(stored) >= SIZE
        and crc32(stored, crc32(key)) == _RESIDUE
    )


def are_intact(keys: Iterable[Any], stored: Iterable[Any]) -> bool:
    """Whether all of these rows are intact; faster than checking one after the other."""
    try:
        return set(map(crc32, stored, map(crc32, keys))) == {_RESIDUE}
    except TypeError:
        return False


def checksum(items: Iterable[tuple[str, object]]) -> int:
    """Return the checksum of a few named values; their order does not matter."""
    return crc32("\n".join(sorted(map(repr, items))).encode())
