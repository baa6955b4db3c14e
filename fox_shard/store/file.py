"""A store's file: how it is opened and recognised.

Owns: its tables, and the label that says whose it is.
Never: when something is written.

A file is opened to read first and looked at, so that one that is refused stays as it is.

Format 2 has a checksum behind each value, and one of what `meta` says. A file of format 1 is read
as it is, and becomes one of format 2, in one transaction, when it is opened to be written to.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, final

from fox_shard.store.checksums import SIZE, are_intact, checksum, is_intact, sealed
from fox_shard.store.refusals import NO_STORE, damaged, refusing, remedy
from fox_shard.store.statements import PREPARED, scan
from fox_shard.store.store import DamagedRow, StoreError, new_identity

FORMAT: Final = 2
"""Of the tables. A version that changes them reads the old ones and writes its own number."""

SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
)

OLDEST_SQLITE: Final = (3, 32, 0)
"""Before, a statement could not have as many parameters as ours have."""


ROWS_CHECKED: Final = 256
"""At a time."""


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
        try:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
            _upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def new_meta(label: Label) -> dict[str, object]:
    """What a new file says of itself."""
    return _with_checksum({"format": FORMAT, "identity": new_identity(), **label._asdict()})


def _with_checksum(meta: dict[str, object]) -> dict[str, object]:
    return {**meta, "checksum": checksum(meta.items())}


def _upgrade(connection: sqlite3.Connection) -> None:
    """From format 1: rows get their checksums. A crash leaves the file as it was, or upgraded."""
    meta = _meta(connection)
    if meta["format"] == FORMAT:
        return
    connection.create_function("sealed", 2, sealed, deterministic=True)
    meta = _with_checksum({**meta, "format": FORMAT})
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE kv SET v = sealed(k, v)")
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
    connection.execute("COMMIT")


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

    Raises StoreError, at any row; a DamagedRow where that is what is damaged.
    """

    def refuse(key: bytes) -> None:
        raise DamagedRow(path, key)

    with closing(open_to_read(path, label)) as connection, refusing(path):
        _check_pages(connection, path)
        yield from _intact(connection, prefix, refuse)


def salvage(
    path: Path, label: Label, prefix: bytes, on_damage: Callable[[bytes], None]
) -> Generator[tuple[bytes, bytes], None, None]:
    """As `read`, but what is damaged is left out, and `on_damage` called with its key.

    Raises StoreError where it is not even known what comes next.
    """
    with closing(open_to_read(path, label)) as connection, refusing(path):
        yield from _intact(connection, prefix, on_damage)


def _intact(
    connection: sqlite3.Connection, prefix: bytes, on_damage: Callable[[bytes], None]
) -> Iterator[tuple[bytes, bytes]]:
    if _meta(connection)["format"] == 1:
        yield from scan(connection, prefix)
        return
    connection.text_factory = bytes  # of damaged rows, which may hold any type
    for (key,) in connection.execute("SELECT k FROM kv WHERE k < x''"):
        # No key is of a type that comes before bytes.
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
    """Whether rows are missing, or in the wrong order: no checksum of a row tells that.

    Measured with 1,000,000 rows: 0.2 s, of 4 s in which they are loaded.
    """
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        # SQLite says where, in several lines.
        raise damaged(path, " ".join(str(found).split()))


@final
class Lookup:
    """Single rows of a file. All methods raise StoreError."""

    def __init__(self, path: Path, label: Label) -> None:
        self._path = path
        self._connection = open_to_read(path, label)
        self._sealed = _meta(self._connection)["format"] > 1

    def get(self, key: bytes) -> bytes | None:
        """The value of the key, if it has one."""
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
