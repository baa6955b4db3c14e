"""Builds of aggregates in another generation of files.

Owns: how far a build is when the number of shards changes. Never: its contributions, which go with
their groups.
"""

from collections.abc import Iterator
from typing import final

from fox_shard.shard import rows
from fox_shard.shard.tables.builds import BUILDING


@final
class Builds:
    """The builds of aggregates, which all shards of the next generation have in common.

    A build that all old shards show goes on. Any other begins anew, with the contributions that
    there are: who has contributed all rows is another question with other shards.
    """

    def __init__(self, shards: int) -> None:
        """shards: how many there were."""
        self._shards = shards
        # Key -> the rows of the old shards.
        self._rows: dict[bytes, list[rows.BuildRow]] = {}

    def add(self, key: bytes, row: rows.BuildRow) -> None:
        """Add an old shard's row."""
        self._rows.setdefault(key, []).append(row)

    def merged(self, shards: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of each new shard. shards: how many there are."""
        for key, found in self._rows.items():
            complete = len(found) == self._shards and all(
                row.scanned is None and row.stage != BUILDING for row in found
            )
            row = rows.BuildRow(found[0].table, "", [], BUILDING)
            if complete:
                stage = min(row.stage for row in found)
                row = rows.BuildRow(found[0].table, None, [*range(shards)], stage)
            yield key, rows.encode(row)
