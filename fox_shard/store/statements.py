"""The SQL that changes and reads rows, many rows per statement.

Owns: which statements there are, and how rows are fitted into them. Never: transactions.

Python's sqlite3 releases the GIL for each statement, and beside a busy event loop it may wait for
the switch interval (5 ms) to get it back. `executemany` does so for each row: 1000 rows took 4.3 s.
So one statement takes up to 1024 rows. There are statements for a few fixed numbers of rows, which
stay prepared, and unused parameters are NULL: 1000 rows take 12 ms.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

LARGEST: Final = 1024
"""Rows that the largest statement takes."""

SIZES: Final = tuple(1 << power for power in range(11))
"""Numbers of rows for which there are statements, up to LARGEST."""

PREPARED: Final = 3 * len(SIZES)
"""Statements that a connection should keep prepared (`cached_statements`)."""


def _put(size: int) -> str:
    rows = ",".join(["(?,?)"] * size)
    return f"INSERT OR REPLACE INTO kv SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"


_PUTS: Final = {size: _put(size) for size in SIZES}
_DELETES: Final = {size: f"DELETE FROM kv WHERE k IN ({','.join('?' * size)})" for size in SIZES}

Statement = tuple[str, list[bytes | None]]
"""SQL and its parameters."""


def puts(rows: Sequence[bytes]) -> Iterator[Statement]:
    """Yield the statements that write rows, given as key, value, key, value …"""
    for begin in range(0, len(rows), 2 * LARGEST):
        part: list[bytes | None] = list(rows[begin : begin + 2 * LARGEST])
        size = _size(len(part) // 2)
        part += [None] * (2 * size - len(part))
        yield _PUTS[size], part


def deletes(keys: Sequence[bytes]) -> Iterator[Statement]:
    """Yield the statements that delete the rows with these keys; some may not exist."""
    for begin in range(0, len(keys), LARGEST):
        part: list[bytes | None] = list(keys[begin : begin + LARGEST])
        size = _size(len(part))
        part += [None] * (size - len(part))
        yield _DELETES[size], part


def _size(rows: int) -> int:
    """Return the size of the smallest statement that takes so many rows."""
    return 1 << (rows - 1).bit_length()


def scan(connection: sqlite3.Connection, prefix: bytes) -> sqlite3.Cursor:
    """Return a cursor over the rows whose keys begin with `prefix`, in the order of the keys."""
    condition, bounds = beginning_with(prefix)
    return connection.execute(f"SELECT k, v FROM kv WHERE {condition} ORDER BY k", bounds)


def beginning_with(prefix: bytes) -> tuple[str, tuple[bytes, ...]]:
    """Return a condition of SQL for keys that begin with `prefix`, and its parameters."""
    end = successor(prefix)
    return ("k >= ?", (prefix,)) if end is None else ("k >= ? AND k < ?", (prefix, end))


def successor(prefix: bytes) -> bytes | None:
    """Return the least key greater than all that begin with `prefix`; None: there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
