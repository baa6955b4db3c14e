"""The file of a store: how it is opened and recognised.

Owns: the file's tables, and the label that says whose store it is.
Never: when something is written.

Every file is first opened read-only and checked, so that a file that is refused stays unchanged.

Format 2 has a checksum after each value, and one of the table `meta`. A file of format 1 is read
as it is, and is upgraded to format 2, in one transaction, when it is opened for writing.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, final

from fox_shard.store.checksums import SIZE, are_intact, checksum, is_intact, sealed
from fox_shard.store.refusals import NO_STORE, damaged, refusing, remedy
from fox_shard.store.statements import PREPARED, beginning_with, scan
from fox_shard.store.store import DamagedRow, StoreError, new_identity

FORMAT: Final = 2
"""Format of the tables. A version that changes them reads older formats and writes its own."""

SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
)

OLDEST_SQLITE: Final = (3, 32, 0)
"""Older versions do not allow as many parameters in a statement as ours have."""

ROWS_CHECKED: Final = 256
"""Rows whose checksums are checked at a time."""


class Label(NamedTuple):
    """Whose store a file is.

    what: the owner, e.g. `shard 0 of 2`. generation: that of the layout to which the file belongs;
    0: the file belongs to no generation.
    """

    what: str
    generation: int

    def __str__(self) -> str:
        return f"{self.what}, generation {self.generation}" if self.generation else self.what


def connect(path: Path, mode: Literal["ro", "rw", "rwc"]) -> sqlite3.Connection:
    """Connect to a file. Raises sqlite3.Error; StoreError if SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: fox-shard needs 3.32.")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,  # transactions begin and end only where the code says so
        check_same_thread=False,
        cached_statements=PREPARED,
    )


def open_to_read(path: Path, label: Label) -> sqlite3.Connection:
    """Open a file read-only, which is allowed while its owner writes to it.

    Raises StoreError if the file is not the store of `label`, or is damaged.
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
    """Open a file for writing, and upgrade it to the present format.

    pragmas: settings of the connection, e.g. `synchronous = FULL`. Raises StoreError if the file is
    not the store of `label`, or is damaged.
    """
    open_to_read(path, label).close()
    with refusing(path):
        connection = connect(path, "rw")
        try:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
            _upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def new_meta(label: Label) -> dict[str, object]:
    """Return the rows of `meta` for a new file."""
    return _with_checksum({"format": FORMAT, "identity": new_identity(), **label._asdict()})


def _with_checksum(meta: dict[str, object]) -> dict[str, object]:
    return {**meta, "checksum": checksum(meta.items())}


def _upgrade(connection: sqlite3.Connection) -> None:
    """Give the rows of a format 1 file their checksums; a crash leaves the file old or upgraded."""
    meta = _meta(connection)
    if meta["format"] == FORMAT:
        return
    connection.create_function("sealed", 2, sealed, deterministic=True)
    meta = _with_checksum({**meta, "format": FORMAT})
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE kv SET v = sealed(k, v)")
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
    connection.execute("COMMIT")


def read_identity(path: Path, label: Label) -> int:
    """Return the identity of a store that may be in use. Raises StoreError."""
    with closing(open_to_read(path, label)) as connection, refusing(path):
        return identity_of(connection)


def identity_of(connection: sqlite3.Connection) -> int:
    """Return the identity of the store, which `open_to_read` or `open_to_write` has checked."""
    identity: int = _meta(connection)["identity"]
    return identity


def count(path: Path, label: Label, prefix: bytes = b"") -> int:
    """Return the number of rows whose keys begin with `prefix`. Raises StoreError."""
    with closing(open_to_read(path, label)) as connection, refusing(path):
        condition, bounds = beginning_with(prefix)
        found = connection.execute(f"SELECT count(*) FROM kv WHERE {condition}", bounds)
        number: int = found.fetchone()[0]
        return number


def read(
    path: Path, label: Label, prefix: bytes = b""
) -> Generator[tuple[bytes, bytes], None, None]:
    """Yield the rows whose keys begin with `prefix`, in the order of the keys, as of one moment.

    Raises StoreError, at any row; DamagedRow for a row whose checksum does not match.
    """

    def refuse(key: bytes) -> None:
        raise DamagedRow(path, key)

    with closing(open_to_read(path, label)) as connection, refusing(path):
        _check_pages(connection, path)
        yield from _intact(connection, prefix, refuse)


def salvage(
    path: Path, label: Label, prefix: bytes, on_damage: Callable[[bytes], None]
) -> Generator[tuple[bytes, bytes], None, None]:
    """Yield the rows as `read` does, but leave out damaged rows and pass their keys to `on_damage`.

    Raises StoreError where the file cannot be read any further.
    """
    with closing(open_to_read(path, label)) as connection, refusing(path):
        yield from _intact(connection, prefix, on_damage)


def _intact(
    connection: sqlite3.Connection, prefix: bytes, on_damage: Callable[[bytes], None]
) -> Iterator[tuple[bytes, bytes]]:
    if _meta(connection)["format"] == 1:
        yield from scan(connection, prefix)
        return
    connection.text_factory = bytes  # a damaged row may hold text that is not UTF-8
    for (key,) in connection.execute("SELECT k FROM kv WHERE k < x''"):
        # SQLite sorts all other types before bytes, and all keys were written as bytes.
        on_damage(key if isinstance(key, bytes) else repr(key).encode())
    found = scan(connection, prefix)
    while part := found.fetchmany(ROWS_CHECKED):
        keys, values = zip(*part, strict=True)
        if are_intact(keys, values):
            yield from zip(keys, [value[:-SIZE] for value in values], strict=True)
            continue
        for key, stored in part:
            if is_intact(key, stored):
                yield key, stored[:-SIZE]
            else:
                on_damage(key)


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError if rows are missing or out of order, which no checksum of a row shows.

    Measured with 1,000,000 rows: 0.2 s of the 4 s that loading them takes.
    """
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        # SQLite's answer says where, and may have several lines.
        raise damaged(path, " ".join(str(found).split()))


@final
class Lookup:
    """Access to single rows of a file. All methods raise StoreError."""

    def __init__(self, path: Path, label: Label) -> None:
        self._path = path
        self._connection = open_to_read(path, label)
        self._sealed = _meta(self._connection)["format"] > 1

    def get(self, key: bytes) -> bytes | None:
        """Return the key's value; None: there is no such row. Raises DamagedRow."""
        with refusing(self._path):
            found = self._connection.execute("SELECT v FROM kv WHERE k = ?", (key,)).fetchone()
        if found is None:
            return None
        stored: bytes = found[0]
        if not self._sealed:
            return stored
        if not is_intact(key, stored):
            raise DamagedRow(self._path, key)
        return stored[:-SIZE]

    def close(self) -> None:
        self._connection.close()


def _check(connection: sqlite3.Connection, path: Path, label: Label) -> None:
    meta = _meta(connection)
    number = meta.get("format")
    if not isinstance(number, int) or not {"what", "generation"} <= meta.keys():
        raise StoreError(NO_STORE.format(path=path, remedy=remedy(path)))
    if number > FORMAT:
        raise StoreError(
            f"{path} has format {number}, and this version of fox-shard knows formats up to "
            f"{FORMAT}: start the version of fox-shard that wrote it."
        )
    expected = meta.pop("checksum", None)
    if (expected is not None or number > 1) and expected != checksum(meta.items()):
        raise damaged(path, "it does not say reliably whose it is")
    found = Label(meta["what"], meta["generation"])
    if found != label:
        raise StoreError(
            f"{path} is the store of {found}, not of {label}: move it to where it belongs, and the "
            "right one here."
        )


def _meta(connection: sqlite3.Connection) -> dict[str, Any]:
    return dict(connection.execute("SELECT name, value FROM meta"))
