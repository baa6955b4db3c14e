"""The interface of a store: an ordered map from bytes to bytes, changed in transactions.

Owns: the promises that every kind of store keeps. Never: how they are kept.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

from fox_shard.errors import StartError

WriteSet: TypeAlias = dict[bytes, bytes | None]
"""Keys of rows and their new values; None: the row is deleted."""

OnOutcome: TypeAlias = Callable[[int, str], None]
"""Called from any thread with a ticket and why it failed; "": it is durable."""


class StoreError(StartError):
    """A store cannot be used; the message says in one sentence what is wrong and what to do."""


class DamagedRow(StoreError):
    """A row is not as it was written; callers that know what rows mean can name it by `key`."""

    def __init__(self, path: Path, key: bytes) -> None:
        super().__init__(f"{path} is damaged: the checksum of its row {key[:80]!r} does not match.")
        self.path = path
        self.key = key


def new_identity() -> int:
    """Return a random number from 1 to 2⁵² that names a store for ever."""
    return secrets.randbits(52) + 1


class Store(Protocol):
    """The rows of one process, used by one thread."""

    identity: int
    """Number that is chosen when the store is made (see `new_identity`)."""

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows whose keys begin with `prefix`, in the order of the keys.

        Call this before the first write. Raises StoreError, at any row.
        """
        ...

    def write(self, ticket: int, changes: WriteSet, *, resume: bool = False) -> None:
        """Apply the changes as one transaction, after those of all earlier tickets; never wait.

        ticket: greater than the one before. changes: belong to the store from now on. The outcome
        is reported later: `on_outcome(ticket, "")` says that all tickets up to that one are
        durable. `on_outcome(ticket, why)` says that this ticket has failed, and with it all later
        ones, queued or still to come, until a write with `resume`, which is applied again; of the
        failed tickets only the first is reported.
        """
        ...

    def close(self) -> None:
        """Write what is queued, report its outcome, and release everything."""
        ...
