"""The store of one process in the simulated world, which outlives the process.

Owns: the rows on the disk, and the duration of commits. Never: what the rows mean.

Transactions that wait are committed together, as in a real store. If the process is killed during a
commit, its transactions are on the disk all together or not at all; those that wait are lost.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import final

from fox_shard.store.write import Write
from fox_shard.testing.timing import Timing

SPEEDS = (0.0005, 0.005, 0.05)
"""Maximum seconds of a commit, one of which applies to a disk: some are fast, some are slow."""


@final
class Disk:
    """The simulated store of one process. failure: why commits fail; "": they succeed."""

    def __init__(self, timing: Timing, name: str, note: Callable[[str], None]) -> None:
        """name: the process's. note: called with lines for the trace."""
        self._timing = timing
        self._name = name
        self._note = note
        self._speed = timing.rng.choice(SPEEDS)
        self.rows: dict[bytes, bytes] = {}
        self.failure = ""
        self.identity = timing.rng.randrange(1, 1 << 53)
        self._on_outcome: Callable[[int, str], None] = lambda ticket, why: None
        self._waiting: deque[Write] = deque()
        self._committing: list[Write] = []
        # The number of processes that have died: a commit that a process began ends with it.
        self._life = 0
        self._failed = False

    def open(self, on_outcome: Callable[[int, str], None]) -> None:
        """Give the disk to a process.

        on_outcome(ticket, why): "" means that all transactions up to the ticket are durable;
        otherwise that one and all later ones have failed.
        """
        self._on_outcome = on_outcome

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all rows, in the order of their keys."""
        return iter(sorted(self.rows.items()))

    def write(self, write: Write) -> None:
        """Queue a transaction, as `Store.write` does."""
        if write.resume:
            self._failed = False
        if self._failed:
            return
        self._waiting.append(write)
        if not self._committing:
            self._commit()

    def _commit(self) -> None:
        self._committing = list(self._waiting)
        self._waiting.clear()
        life = self._life
        delay = self._timing.rng.random() * self._speed
        self._timing.at(self._timing.now + delay, lambda: self._committed(life))

    def _committed(self, life: int) -> None:
        if life != self._life:
            return
        done, self._committing = self._committing, []
        if self.failure:
            self._failed = True
            self._waiting.clear()
            self._on_outcome(done[0].ticket, self.failure)
            return
        self._apply(done)
        if self._waiting:
            self._commit()
        self._on_outcome(done[-1].ticket, "")

    def _apply(self, writes: list[Write]) -> None:
        for write in writes:
            for key, value in write.changes.items():
                if value is None:
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = value
        self._note(f"{self._name} has transactions up to {writes[-1].ticket} on its disk")

    def crash(self) -> None:
        """Drop what is not on the disk: the process is killed."""
        self._life += 1
        if self._committing and not self.failure and self._timing.rng.random() < 0.5:
            self._apply(self._committing)
        self._committing = []
        self._waiting.clear()
        self._failed = False
