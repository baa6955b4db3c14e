"""The states of tables, for gateways: how many rows there are, how far aggregates are built.

Owns: the answer. Never: the tables.
"""

from typing import Final, final

from fox_shard.shard.inquiries import Inquiries, Page
from fox_shard.shard.keys.realm import Realms
from fox_shard.shard.tables.builds import Build, Builds
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.shard.tables.row_counts import RowCounts
from fox_shard.tables.query import STATES, TableState, encode

STATE_UNITS: Final = 20
"""Units of the turn's budget for a table, whose keys are counted by the thousand."""


@final
class TableStates:
    """Answers inquiries about all tables of a realm."""

    __slots__ = ("_builds", "_counts", "_definitions", "_realms")

    def __init__(
        self, definitions: Definitions, builds: Builds, realms: Realms, inquiries: Inquiries
    ) -> None:
        self._definitions = definitions
        self._builds = builds
        self._realms = realms
        self._counts = RowCounts()
        inquiries.answerers[STATES] = self._answer

    def _answer(self, realm: str, _body: bytes, page: Page) -> None:
        """Fill a page with the tables' states (see `inquiries`)."""
        tables, begin = self._definitions.of(realm).tables, page.start.decode()
        self._counts.forget_others(realm, tables)
        for name in sorted(name for name in tables if name >= begin):
            rows = None
            if not page.is_full:
                page.spend(STATE_UNITS)
                rows = self._counts.of(self._realms[realm], tables[name], page)
            if rows is None:
                page.go_on_at(name.encode())
                return
            page.add(name.encode(), encode(_state(rows, self._builds.of(realm, name))))


def _state(rows: int, build: Build | None) -> TableState:
    if build is None:
        return TableState(rows)
    return TableState(
        rows, build.stage, build.contributions, build.scanned is None, len(build.heard)
    )
