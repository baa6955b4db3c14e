"""The states of tables, for gateways: how many rows there are, how far aggregates are built.

Owns: the answer. Never: the tables.
"""

from typing import Final, final

from fox_shard.shard.inquiries import Inquiries, Page
from fox_shard.shard.keys.realm import Realm, Realms
from fox_shard.shard.tables.builds import Build, Builds
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.tables.query import STATES, TableState, encode
from fox_shard.tables.table import Table

STATE_UNITS: Final = 20
"""Units of the turn's budget for a table, whose rows are counted by the thousand."""


@final
class TableStates:
    """Answers inquiries about all tables of a realm."""

    __slots__ = ("_builds", "_definitions", "_realms")

    def __init__(
        self, definitions: Definitions, builds: Builds, realms: Realms, inquiries: Inquiries
    ) -> None:
        self._definitions = definitions
        self._builds = builds
        self._realms = realms
        inquiries.answerers[STATES] = self._answer

    def _answer(self, realm: str, _body: bytes, page: Page) -> None:
        """Fill a page with the tables' states (see `inquiries`)."""
        tables, begin = self._definitions.of(realm).tables, page.start.decode()
        for name in sorted(name for name in tables if name >= begin):
            if page.is_full:
                page.go_on_at(name.encode())
                return
            page.spend(STATE_UNITS)
            state = _state(tables[name], self._realms[realm], self._builds.of(realm, name))
            page.add(name.encode(), encode(state))


def _state(table: Table, realm: Realm, build: Build | None) -> TableState:
    rows = realm.keys.count_below(table.name)
    if build is None:
        return TableState(rows)
    return TableState(
        rows, build.stage, build.contributions, build.scanned is None, len(build.heard)
    )
