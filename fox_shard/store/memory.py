"""The store in memory, for tests and for realms whose keys need not survive a restart.

Owns: a dict. Never: files, threads, failures.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.store.store import OnOutcome, WriteSet, new_identity


@final
class MemoryStore:
    """A `Store` in which all rows are durable at once: `write` itself reports the outcome."""

    def __init__(self, on_outcome: OnOutcome, identity: int | None = None) -> None:
        """Make an empty store. identity: None: a random one."""
        self.identity = identity or new_identity()
        self._on_outcome = on_outcome
        self._rows: dict[bytes, bytes] = {}

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `Store.scan`."""
        return iter(sorted(row for row in self._rows.items() if row[0].startswith(prefix)))

    def write(self, ticket: int, changes: WriteSet, *, resume: bool = False) -> None:
        """See `Store.write`; `resume` has no effect, because nothing ever fails."""
        for key, value in changes.items():
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value
        self._on_outcome(ticket, "")

    def close(self) -> None:
        """See `Store.close`; the rows can still be scanned."""
