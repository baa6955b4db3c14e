"""A store's file: how it is opened and recognised.

Owns: its tables, the label that says whose it is, and the sentences that refuse it.
Never: when something is written.

A file is opened to read first and looked at, so that one that is refused stays as it is.
"""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, final

from fox_shard.store.statements import PREPARED, scan
from fox_shard.store.store import StoreError

FORMAT: Final = 1
"""Of the tables. A version that changes them reads the old ones and writes its own number."""

SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
)

OLDEST_SQLITE: Final = (3, 32, 0)
"""Before, a statement could not have as many parameters as ours have."""


class Label(NamedTuple):
    """Whose store a file is.

    what: e.g. `shard 0 of 2`. generation: of the layout it belongs to; 0: of all.
    """

    what: str
    generation: int

    def __str__(self) -> str:
        return f"{self.what}, generation {self.generation}" if self.generation else self.what


def connect(path: Path, mode: Literal["ro", "rw", "rwc"]) -> sqlite3.Connection:
    """Raises sqlite3.Error."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: fox-shard needs 3.32.")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,  # transactions are ours
        check_same_thread=False,
        cached_statements=PREPARED,
    )


def open_to_read(path: Path, label: Label) -> sqlite3.Connection:
    """Changes nothing in the file, and may be used while its owner writes to it.

    Raises StoreError where it is not the store of `label`, or damaged.
    """
    with refusing(path):
        connection = connect(path, "ro")
        try:
            _check(connection, path, label)
        except BaseException:
            connection.close()
            raise
        return connection


def open_to_write(path: Path, label: Label, pragmas: Iterable[str]) -> sqlite3.Connection:
    """Raises StoreError where it is not the store of `label`, or damaged."""
    open_to_read(path, label).close()
    with refusing(path):
        connection = connect(path, "rw")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection


def identity_of(connection: sqlite3.Connection) -> int:
    """Of the store, which has been opened and so recognised."""
    identity: int = _meta(connection)["identity"]
    return identity


def count(path: Path, label: Label) -> int:
    """How many rows there are. Raises StoreError."""
    with closing(open_to_read(path, label)) as connection, refusing(path):
        number: int = connection.execute("SELECT count(*) FROM kv").fetchone()[0]
        return number


def read(
    path: Path, label: Label, prefix: bytes = b""
) -> Generator[tuple[bytes, bytes], None, None]:
    """The rows whose keys begin so, in the order of the keys, all as of one moment.

    Raises StoreError, at any row.
    """
    with closing(open_to_read(path, label)) as connection, refusing(path):
        yield from scan(connection, prefix)


@final
class Lookup:
    """Single rows of a file. All methods raise StoreError."""

    def __init__(self, path: Path, label: Label) -> None:
        self._path = path
        self._connection = open_to_read(path, label)

    def get(self, key: bytes) -> bytes | None:
        """The value of the key, if it has one."""
        with refusing(self._path):
            found = self._connection.execute("SELECT v FROM kv WHERE k = ?", (key,)).fetchone()
            return None if found is None else bytes(found[0])

    def close(self) -> None:
        self._connection.close()


def _check(connection: sqlite3.Connection, path: Path, label: Label) -> None:
    meta = _meta(connection)
    number = meta.get("format")
    if not isinstance(number, int) or not {"what", "generation"} <= meta.keys():
        raise StoreError(_NO_STORE.format(path=path))
    if number > FORMAT:
        raise StoreError(
            f"{path} has format {number}, and this version of fox-shard knows formats up to "
            f"{FORMAT}: start the version of fox-shard that wrote it."
        )
    found = Label(meta["what"], meta["generation"])
    if found != label:
        raise StoreError(
            f"{path} is the store of {found}, not of {label}: move it to where it belongs, and the "
            "right one here."
        )


def _meta(connection: sqlite3.Connection) -> dict[str, Any]:
    return dict(connection.execute("SELECT name, value FROM meta"))


_NO_STORE: Final = "{path} is no store of fox-shard: move it away."

_SENTENCES: Final = {
    sqlite3.SQLITE_ERROR: _NO_STORE,
    sqlite3.SQLITE_NOTADB: _NO_STORE,
    sqlite3.SQLITE_CORRUPT: (
        "{path} is damaged ({error}): move it away and restore a backup with `fox load`."
    ),
    sqlite3.SQLITE_FULL: "There is no room for {path} ({error}): make room on its disk.",
}
_OTHER: Final = "{path} cannot be used ({error}): see to its disk and its permissions."


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turns what SQLite or the system says about a file into a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        # Extended codes have the primary one in their low byte (sqlite.org/rescode.html).
        code = getattr(error, "sqlite_errorcode", -1) & 0xFF
        raise StoreError(_SENTENCES.get(code, _OTHER).format(path=path, error=error)) from error
    except OSError as error:
        raise StoreError(_OTHER.format(path=path, error=error.strerror)) from error
