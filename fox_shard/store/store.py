"""What a store is: an ordered map from bytes to bytes, changed in atomic batches.

Owns: the promises that every kind of store keeps. Never: how it keeps them.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

Changes: TypeAlias = dict[bytes, bytes | None]
"""Key → its new value; None: the key goes."""

OnOutcome: TypeAlias = Callable[[int, str], None]
"""Called with a ticket and why it failed; an empty reason: it is durable. From any thread."""


class StoreError(Exception):
    """A store cannot be used: one sentence that says what is wrong and what to do."""


class DamagedRow(StoreError):
    """A row is not what was written. Whoever knows what rows mean says which one it is."""

    def __init__(self, path: Path, key: bytes) -> None:
        super().__init__(f"{path} is damaged: the checksum of its row {key[:80]!r} does not match.")
        self.path = path
        self.key = key


def new_identity() -> int:
    """A random number that names a store for ever, from 1 to below 2⁵³."""
    return secrets.randbits(52) + 1


class Store(Protocol):
    """Used by one thread."""

    identity: int
    """Made with the store (see `new_identity`)."""

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All rows whose keys begin so, in the order of the keys; before the first write.

        Raises StoreError, at any row.
        """
        ...

    def write(self, ticket: int, changes: Changes, *, resume: bool = False) -> None:
        """Apply the changes as one, after those of all earlier tickets.

        ticket: more than the one before. changes: the store's from now on. Waits for nothing:
        `on_outcome(ticket, "")` tells that all tickets up to that one are durable. After
        `on_outcome(ticket, why)` that one and all later ones are dropped, also those that were
        queued already or come before a write with `resume`, which is applied again; of the dropped
        ones the first alone is reported.
        """
        ...

    def close(self) -> None:
        """Write what is queued, tell its outcome, then let go of everything."""
        ...
