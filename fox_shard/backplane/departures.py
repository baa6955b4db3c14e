"""Attached gateways that are gone, until a process has forgotten them.

Owns: when each is forgotten; which gone incarnations the store remembers. Never: what is kept of a
gateway, and how its sessions end.

Attached gateways come and go (see `attached`), so whatever a process keeps of one must end with it.
When one is gone, its sessions end as those of any gateway. When nothing waits for it any more, and
all that has changed by then is durable, it is *forgotten*: there is no link any more. Only a note
in the store, which says which incarnation is gone, stays while its process runs: it may come back.
"""

from collections.abc import Callable
from typing import final

from fox_shard.backplane.attached import Running
from fox_shard.store.journal import Journal


@final
class Departures:
    """The attached gateways of one process that are gone."""

    __slots__ = (
        "_forget",
        "_interval",
        "_is_over",
        "_journal",
        "_leaving",
        "_look_at",
        "_note",
        "_noted",
        "_running",
    )

    def __init__(
        self,
        journal: Journal,
        interval: float,
        running: Running,
        is_over: Callable[[str], bool],
        forget: Callable[[str], None],
        note: Callable[[str, int], None],
    ) -> None:
        """interval: seconds between two looks at which processes run.

        is_over(name): nothing waits for the gateway any more. forget(name): drops all of it.
        note(name, incarnation): writes the row that says which is gone; 0: deletes it.
        """
        self._journal = journal
        self._interval = interval
        self._running = running
        self._is_over = is_over
        self._forget = forget
        self._note = note
        # Gone and not forgotten: name -> the transaction that is to be durable before; None:
        # something waits for it still.
        self._leaving: dict[str, int | None] = {}
        # Incarnations that are gone, of gateways whose processes may run; each is a row.
        self._noted: dict[str, int] = {}
        self._look_at = 0.0

    def load(self, gone: dict[str, int]) -> None:
        """Take from the store which incarnations are gone, by the gateways' names."""
        self._noted = gone
        self._drop_ended()

    def gone(self, name: str) -> int:
        """Return the incarnation of that name that is gone and must not come in; 0: none."""
        return self._noted.get(name, 0)

    def left(self, name: str, incarnation: int) -> None:
        """Note that the gateway is gone. incarnation: 0: it has never been here."""
        if incarnation:
            self._noted[name] = incarnation
            self._note(name, incarnation)
        self._leaving[name] = None

    def returned(self, name: str) -> None:
        """Note that the gateway is linked, perhaps again, in another incarnation than was gone.

        Its process has given up the earlier one, and what the store has of it is about this one.
        """
        self._leaving.pop(name, None)
        self._noted.pop(name, None)

    def tick(self, now: float) -> None:
        """Forget those of which nothing is left; to be called at least once per heartbeat."""
        for name, ticket in list(self._leaving.items()):
            if not self._is_over(name):
                self._leaving[name] = None
            elif ticket is None:
                self._leaving[name] = self._journal.last_changed
            elif self._journal.durable >= ticket:
                del self._leaving[name]
                self._forget(name)
        if self._noted and now >= self._look_at:
            self._look_at = now + self._interval
            self._drop_ended()

    def _drop_ended(self) -> None:
        """Drop the notes about gateways whose processes have ended."""
        if self._noted:
            running = self._running()
            for name in [name for name in self._noted if name not in running]:
                del self._noted[name]
                self._note(name, 0)
