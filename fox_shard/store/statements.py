"""The SQL that changes rows: many rows a statement.

Owns: which statements there are, and how rows are fitted into them. Never: transactions.

Python's sqlite3 lets go of the GIL in each statement and takes it back, and beside a busy event
loop each time may wait for the switch interval (5 ms). `executemany` steps once a row: a batch of
1000 rows took 4.3 s there. So a statement takes up to 1024 rows, of a few fixed numbers of rows
that stay prepared, and what is missing to such a number is filled up with NULLs: 12 ms.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

LARGEST: Final = 1024
"""Rows that one statement takes."""

SIZES: Final = tuple(1 << power for power in range(11))
"""Rows of the statements there are, up to LARGEST."""

PREPARED: Final = 3 * len(SIZES)
"""Statements that a connection should keep prepared (`cached_statements`)."""


def _put(size: int) -> str:
    rows = ",".join(["(?,?)"] * size)
    return f"INSERT OR REPLACE INTO kv SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"


_PUTS: Final = {size: _put(size) for size in SIZES}
_DELETES: Final = {size: f"DELETE FROM kv WHERE k IN ({','.join('?' * size)})" for size in SIZES}

Statement = tuple[str, list[bytes | None]]
"""SQL and what is bound to it."""


def puts(rows: Sequence[bytes]) -> Iterator[Statement]:
    """Statements that write these rows: key, value, key, value …"""
    for begin in range(0, len(rows), 2 * LARGEST):
        part: list[bytes | None] = list(rows[begin : begin + 2 * LARGEST])
        size = _size(len(part) // 2)
        part += [None] * (2 * size - len(part))
        yield _PUTS[size], part


def deletes(keys: Sequence[bytes]) -> Iterator[Statement]:
    """Statements that delete the rows with these keys, where there are such."""
    for begin in range(0, len(keys), LARGEST):
        part: list[bytes | None] = list(keys[begin : begin + LARGEST])
        size = _size(len(part))
        part += [None] * (size - len(part))
        yield _DELETES[size], part


def _size(rows: int) -> int:
    """The smallest statement that takes so many."""
    return 1 << (rows - 1).bit_length()


def scan(connection: sqlite3.Connection, prefix: bytes) -> sqlite3.Cursor:
    """A cursor over all rows whose keys begin so, in the order of the keys."""
    sql = "SELECT k, v FROM kv WHERE k >= ?"
    end = successor(prefix)
    if end is None:
        return connection.execute(f"{sql} ORDER BY k", (prefix,))
    return connection.execute(f"{sql} AND k < ? ORDER BY k", (prefix, end))


def successor(prefix: bytes) -> bytes | None:
    """The least key behind all that begin so; None: there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
