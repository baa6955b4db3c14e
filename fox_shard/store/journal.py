"""The journal: what a process has changed and does not yet know to be durable.

Owns: the rows of the present transaction; tickets; what happens to rows whose commit has failed.
Never: a store; what waits for a commit.

All changes of a turn are one transaction with one ticket. Transactions become durable in order, and
a transaction that fails takes all later ones with it. In a process for which no client waits,
transactions may be further apart than turns (`interval`), and rows that nobody waits for at all may
wait for others (`patience`). A row is either *put* for a request, which is refused if the commit
fails, or *kept* for the process itself, and then written again.
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.deadline import NEVER, Deadline
from fox_shard.histogram import Histogram
from fox_shard.store.store import WriteSet
from fox_shard.store.write import Write

RETRY = 1.0
"""Seconds until a store that has failed is tried again."""

TRIAL: Final = b"~"
"""Key of the row that is written to try a store that has failed; it is ignored in loading."""

TRIAL_SIZE: Final = 1 << 16
"""Bytes of the trial row: a disk that has room for small rows only counts as full."""


@final
class Journal:
    """The changed rows of one process, from the change until they are durable."""

    __slots__ = (
        "_changes",
        "_deadline",
        "_kept",
        "_lazy",
        "_next_take",
        "_on_durable",
        "_on_failed",
        "_on_trouble",
        "_patience",
        "_patient_until",
        "_resume",
        "_retry_at",
        "_size",
        "_under_way",
        "_urgent",
        "commit_times",
        "durable",
        "failing",
        "interval",
        "ticket",
        "waiting",
    )

    def __init__(
        self,
        deadline: Deadline,
        on_durable: Callable[[int, float], None],
        on_failed: Callable[[int, str, float], None],
        on_trouble: Callable[[str], None],
        *,
        interval: float = 0.0,
        patience: float = 0.0,
    ) -> None:
        """interval: seconds between two transactions, at the least; what changes meanwhile is in
        the next one. After a longer rest, a change is taken at once, unless it is patient: it waits
        for others, but no longer than `patience` seconds.

        on_durable(ticket, now): all transactions up to that ticket are durable.

        on_failed(ticket, why, now): that transaction and all later ones have failed, and what was
        put in them must be undone. on_trouble(why): the store has begun to fail, or works again
        (""); called before the other two.
        """
        self._deadline = deadline
        self._on_durable = on_durable
        self._on_failed = on_failed
        self._on_trouble = on_trouble
        self.interval = interval
        self._patience = patience
        self._next_take = -NEVER
        # Whether the present transaction has rows that are not patient; if not, when it is due.
        self._urgent = False
        self._patient_until = NEVER
        # Ticket of the present transaction; the store has been given all before it.
        self.ticket = 1
        # Ticket up to which all transactions are durable.
        self.durable = 0
        self._changes: WriteSet = {}
        self._kept: WriteSet = {}
        # Keys of rows that the next transaction deletes as well.
        self._lazy: list[bytes] = []
        self._size = 0
        # Written and not known to be durable: ticket -> (bytes, kept rows, time of `take`).
        self._under_way: dict[int, tuple[int, WriteSet, float]] = {}
        # Bytes that are not durable.
        self.waiting = 0
        # Why the store does not work; "": it works.
        self.failing = ""
        self._retry_at = NEVER
        self._resume = False
        #: From `take` until a transaction is durable.
        self.commit_times = Histogram()

    def put(self, key: bytes, value: bytes | None) -> None:
        """Change a row for a request; None: delete it. Call this only while the store works."""
        self._urgent = True
        self._changes[key] = value
        self._count(key, value)

    def keep(self, key: bytes, value: bytes | None, *, patient: bool = False) -> None:
        """Change a row for the process itself, in place of what was put there in this turn.

        patient: it may wait for others (see `__init__`).
        """
        if not patient:
            self._urgent = True
        self._changes.pop(key, None)
        self._kept[key] = value
        self._count(key, value)

    def drop(self, key: bytes) -> None:
        """Delete an obsolete row in the next transaction, whenever there is one."""
        if key in self._kept:
            self.keep(key, None)
        else:
            self._lazy.append(key)

    def _count(self, key: bytes, value: bytes | None) -> None:
        size = len(key) + (len(value) if value is not None else 0)
        self._size += size
        self.waiting += size

    @property
    def changed(self) -> bool:
        """Whether the present transaction has any rows."""
        return bool(self._changes or self._kept)

    @property
    def last_changed(self) -> int:
        """The ticket of the last transaction that has any rows, durable or not."""
        return self.ticket if self.changed else self.ticket - 1

    @property
    def idle(self) -> bool:
        """Whether all changes are durable."""
        return not (self._changes or self._kept or self._under_way)

    @property
    def _due(self) -> float:
        """When the present transaction, which has rows, is due if the store works."""
        return self._next_take if self._urgent else max(self._next_take, self._patient_until)

    def take(self, now: float) -> Write | None:
        """Return the transaction of this turn; None: there is nothing to be written yet."""
        if not (self._resume if self.failing else self._changes or self._kept):
            return None
        if self.interval:
            if self._patient_until == NEVER:
                self._patient_until = now + self._patience
            due = self._due
            if now < due and not self._resume:
                self._deadline.by(due)
                return None
            self._next_take = now + self.interval
        kept: WriteSet = {**dict.fromkeys(self._lazy), **self._kept}
        trial = {TRIAL: bytes(TRIAL_SIZE)} if self._resume else {}
        write = Write(self.ticket, {**kept, **self._changes, **trial}, self._resume)
        self._under_way[self.ticket] = (self._size, kept, now)
        self._changes, self._kept, self._size = {}, {}, 0
        self._urgent, self._patient_until = False, NEVER
        self._lazy.clear()
        self._resume = False
        self.ticket += 1
        return write

    def outcome(self, ticket: int, why: str, now: float) -> None:
        """Handle an outcome from the store (see `OnOutcome`).

        why: "": all transactions up to `ticket` are durable; else that one and all later ones have
        failed.
        """
        if why:
            self._failed(ticket, why, now)
            return
        for done in [done for done in self._under_way if done <= ticket]:
            size, _, since = self._under_way.pop(done)
            self.waiting -= size
            self.commit_times.add(now - since)
        self.durable = ticket
        if self.failing:
            self.failing = ""
            self._retry_at = NEVER
            self.drop(TRIAL)
            self._on_trouble("")
        self._on_durable(ticket, now)

    def _failed(self, ticket: int, why: str, now: float) -> None:
        again: WriteSet = {}
        for failed in [failed for failed in self._under_way if failed >= ticket]:
            size, kept, _ = self._under_way.pop(failed)
            self.waiting -= size
            again.update(kept)
        again.update(dict.fromkeys(self._lazy))
        self._lazy.clear()
        self.waiting -= self._size
        self._size = 0
        self._changes.clear()
        kept, self._kept = self._kept, {}
        for key, value in {**again, **kept}.items():
            self.keep(key, value)
        begins = not self.failing
        self.failing = why
        if begins:
            self._on_trouble(why)
        self._on_failed(ticket, why, now)
        self._retry_at = now + RETRY
        self._deadline.by(self._retry_at)

    def tick(self, now: float) -> None:
        """Try the store again with the next `take`, if a retry is due."""
        if now >= self._retry_at:
            self._retry_at = now + RETRY
            self._resume = True

    def next_tick(self) -> float:
        """Return when a retry, or a transaction that has been put off, is due; `NEVER`: neither."""
        if self.interval and not self.failing and self.changed:
            return self._due
        return self._retry_at
