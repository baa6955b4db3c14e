"""The tables of which a role may see at least some rows.

Owns: the choice, a part at a time. Never: rules (see `authorization`).

There may be a thousand tables and as many rules, and each table has to be compared with each rule.
So the choice is work that its client pays for (see `Turns`). It is kept for all sessions of the
role, until the tables change.
"""

from typing import Final, final

from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.authorization.rules import SUBSCRIBE, Extent
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.turns import TURN
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Table

LOOK: Final = 1
"""Units (see `Turns`) for a table about which the role's decision is known."""


@final
class ReadableTables:
    """One choice. names: what was chosen; complete after `go_on` has returned True."""

    __slots__ = ("_chosen", "_left", "_permissions", "_tables", "names")

    def __init__(self, permissions: Permissions, tables: TableSet) -> None:
        self._permissions = permissions
        self._tables = tables
        self._left: list[Table] = [*tables.tables.values()]
        self._chosen: list[str] = []
        self.names: frozenset[str] = frozenset()

    def go_on(self, connection: Connection) -> bool:
        """Go on as far as the connection's budget reaches; return whether the choice is made."""
        permissions = self._permissions
        kept = permissions.readable_tables
        if kept is not None and kept[0] is self._tables:
            self.names = kept[1]
            return True
        # Whoever was not called by `Turns` has no budget of its own.
        units = min(connection.budget, TURN)
        while self._left and units > 0:
            table = self._left.pop()
            cost = LOOK + permissions.cost(SUBSCRIBE, table.rows)
            units -= cost
            connection.budget -= cost
            if permissions.extent(SUBSCRIBE, table.rows) is not Extent.NOTHING:
                self._chosen.append(table.name)
        if self._left:
            return False
        self.names = frozenset(self._chosen)
        permissions.readable_tables = (self._tables, self.names)
        return True
