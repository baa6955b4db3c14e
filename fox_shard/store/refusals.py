"""Errors of SQLite and of the system about a file, as sentences for operators.

Owns: these sentences, and the remedies that they name. Never: what is done in the end.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fox_shard.store.store import StoreError

NO_STORE: Final = "{path} is no store of fox-shard: {remedy}."
_DAMAGED: Final = "{path} is damaged ({error}): {remedy}."

_SENTENCES: Final = {
    sqlite3.SQLITE_ERROR: NO_STORE,
    sqlite3.SQLITE_NOTADB: NO_STORE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: "There is no room for {path} ({error}): make room on its disk.",
}
_OTHER: Final = "{path} cannot be used ({error}): see to its disk and its permissions."


def remedy(path: Path) -> str:
    """Return what to do about a file that is damaged or missing."""
    if not path.parent.name.startswith("generation-"):
        return "move it away"
    return (
        f"move {path.parent.parent} away and restore a backup with `fox load`; if you have none, "
        "first make one of what is intact, with `fox dump --salvage`"
    )


def damaged(path: Path, what: str) -> StoreError:
    """Return the error for a damaged file. what: what is wrong with it."""
    return StoreError(_DAMAGED.format(path=path, error=what, remedy=remedy(path)))


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system about a file into StoreErrors."""
    try:
        yield
    except sqlite3.Error as error:
        # Extended codes have the primary code in their low byte (sqlite.org/rescode.html).
        code = getattr(error, "sqlite_errorcode", -1) & 0xFF
        sentence = _SENTENCES.get(code, _OTHER)
        raise StoreError(sentence.format(path=path, error=error, remedy=remedy(path))) from error
    except UnicodeDecodeError as error:
        # The text is in the file, or in SQLite's message about the file.
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise StoreError(_OTHER.format(path=path, error=error.strerror)) from error
