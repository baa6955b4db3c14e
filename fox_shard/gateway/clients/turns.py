"""How much clients may cause in one turn of their gateway.

Owns: the budget of a turn, which connection goes on when. Never: what is done with the bytes.

No client may hold up the others, however much it sends at once. So work is counted, in units of
about a microsecond: whoever handles a client's bytes takes the units from `Connection.budget`, and
when none are left, calls `Connection.defer` with the rest. The connection is then not read, and
goes on in the next turns, in order, beside the others that have something left. A few bytes of a
client that has nothing left are always handled at once, so that it does not wait for those that
have.

A single message is never divided. If it costs more than the budget, the connection is in debt and
skips turns for it. If it costs much more, all clients' leftovers rest for a moment: what others
have asked the shards for meanwhile is answered before the next such message, whoever sends it.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import final

from fox_shard.gateway.clients.connection import (
    BACKLOG,
    HELD,
    RATE,
    STALLED,
    UNLIMITED,
    Connection,
)

TURN = 20_000
"""Units that all clients may cause in one turn."""

SLICE = 500
"""The fewest units of one connection in one turn, if many have something left."""

FEW = 1024
"""Bytes that are handled at once, even if the units of this turn are used up."""

HEAVY = 5_000
"""Units beyond those of a turn that let clients rest before the next one."""

REST = 1e-6 / 8
"""Seconds of rest for each unit too many: an eighth of the time that it took."""

Chore = Callable[[], bool]
"""A part of a long piece of work that no client waits for. Returns whether there is more."""


@final
class Turns:
    """The budget of one gateway's turns. units: in each of them."""

    __slots__ = (
        "_chores",
        "_left",
        "_queue",
        "_resumes",
        "_shared",
        "_sharing",
        "_skipped",
        "_stalled",
        "_turn",
        "units",
    )

    def __init__(self, units: int = TURN) -> None:
        self.units = units
        # Those of the present turn, which are fewer while clients share a shard's room.
        self._turn = self._shared = units
        self._left = units
        # The connections that have something left.
        self._queue: list[Connection] = []
        # Those among them that this turn had no units for, and that come first in the next one.
        self._skipped: list[Connection] = []
        # How many of them share this turn.
        self._sharing = 0
        # Those among them that wait for something else than their turn.
        self._stalled: list[Connection] = []
        self._chores: deque[Chore] = deque()
        # When the rest after a turn that took too long is over.
        self._resumes = 0.0

    @property
    def busy(self) -> bool:
        """Whether another turn should follow at once."""
        return bool(self._queue or self._skipped or self._chores)

    def rest(self, now: float) -> float:
        """Return for how many seconds `begin` will let nobody go on."""
        return max(0.0, self._resumes - now)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.busy or self._stalled)

    def receive(self, connection: Connection, data: bytes, now: float) -> None:
        """Hand a client's bytes to its receiver, now or, if there is too much to do, later."""
        if connection.backlog or connection.debt or (self._left <= 0 and len(data) > FEW):
            waits = bool(connection.backlog)
            connection.defer(partial(_hand_over, connection, data))
            if not waits:
                self._wait(connection)
            return
        if self._left <= 0:
            units = min(SLICE, self._turn)
        elif self._queue or self._sharing:
            units = self._slice()
        else:
            units = self._turn
        connection.budget = units
        connection.receiver.receive(data, now)
        left = connection.budget
        if left < 0 or connection.backlog or connection.held_by & BACKLOG:
            self._settle(connection, units)
        else:
            # This is what `_settle` does then.
            connection.budget = UNLIMITED
            self._left -= units - left

    def share(self, units: int) -> None:
        """Let all clients cause no more than so many units in a turn, as some have waited.

        A shard has room for so much work now (see `terms.KEY`): so each client gets its share of
        that, and the first one does not get all of it. It ends when nobody has anything left.
        """
        self._shared = max(SLICE, units)

    def add_chore(self, chore: Chore) -> None:
        """Do something in the next turns, a part at a time."""
        self._chores.append(chore)

    def begin(self, now: float) -> list[Connection]:
        """Begin a turn. Returns the connections that are to go on in it, see `go_on`."""
        if self._left < -HEAVY:
            self._resumes = now - self._left * REST
            # A few bytes of each client are handled during the rest, too.
            self._left = 0
        if self._stalled:
            # During the rest, too: it ends with an alarm only if somebody waits for that.
            stalled, self._stalled = self._stalled, []
            for connection in stalled:
                if connection.held_by & STALLED:
                    self._stalled.append(connection)
                else:
                    self._queue.append(connection)
        if now < self._resumes:
            return []
        if not (self._queue or self._skipped):
            self._left = self._turn = self._shared = self.units
            self._sharing = 0
            return []
        self._left = self._turn = min(self._shared, self.units)
        due = [*self._skipped, *self._queue]
        self._skipped.clear()
        self._queue.clear()
        self._sharing = len(due)
        return due

    def go_on(self, connection: Connection, now: float) -> None:
        """Go on with what a connection has left, unless the units of this turn are used up."""
        if connection.held_by & STALLED:
            self._stalled.append(connection)
            return
        if self._left <= 0:
            self._skipped.append(connection)
            return
        units = self._slice()
        paid = min(connection.debt, units)
        connection.debt -= paid
        units -= paid
        left, connection.backlog = connection.backlog, []
        connection.budget = units
        done = 0
        while done < len(left) and connection.budget > 0 and not connection.backlog:
            done += 1
            left[done - 1](now)
        connection.backlog += left[done:]
        self._settle(connection, units)

    def failed(self, connection: Connection) -> None:
        """Forget what a connection has left, as its receiver has failed."""
        connection.budget = UNLIMITED
        connection.backlog.clear()

    def release(self, connection: Connection, why: int) -> None:
        """Let a connection go on that was held for this reason (see `Connection.hold`)."""
        connection.pause(paused=False, why=why)
        if not connection.held_by & HELD:
            connection.budget += connection.unused
            connection.unused = 0
        if connection.backlog and not (connection.in_turn or connection.held_by & BACKLOG):
            # It was held outside of its turns, so `_settle` does not see to it.
            self._wait(connection)

    def client_gone(self, connection: Connection) -> None:
        """Note that the client has gone: what it sent before is not held back by its rate."""
        connection.gone = True
        self.release(connection, RATE)

    def do_chores(self) -> None:
        """Do parts of the chores, each of which counts as a slice."""
        while self._chores and self._left > 0:
            self._left -= SLICE
            chore = self._chores.popleft()
            if chore():
                self._chores.append(chore)

    def _slice(self) -> int:
        units = self._turn
        if not (self._queue or self._sharing):
            return units
        return max(min(SLICE, units), units // max(len(self._queue), self._sharing))

    def _settle(self, connection: Connection, units: int) -> None:
        """Count what a connection has caused."""
        left = connection.budget + connection.unused
        connection.budget, connection.unused = UNLIMITED, 0
        self._left -= units - left
        if left < 0:
            connection.debt -= left
        if connection.backlog:
            self._wait(connection)
        elif connection.held_by & BACKLOG:
            connection.pause(paused=False, why=BACKLOG)

    def _wait(self, connection: Connection) -> None:
        connection.pause(paused=True, why=BACKLOG)
        self._queue.append(connection)


def _hand_over(connection: Connection, data: bytes, now: float) -> None:
    connection.receiver.receive(data, now)
