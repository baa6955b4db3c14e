"""How far somebody has read a history, and how far it has been trimmed.

Owns: both, one publication id for each shard that ids come from. Never: events.

Topics move when the number of shards changes, so one shard's history may have ids of several. Each
id says which shard has given it (id mod 64): its *origin*. Ids of one origin are in order.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.topics.ids import SHARDS


@final
class Position:
    """What has been read: of each origin named all up to that id, of the others all up to `floor`.

    0: nothing. As in `frames.Subscribe`.
    """

    __slots__ = ("_ids", "floor")

    def __init__(self, after: Iterable[int] = (), floor: int = 0) -> None:
        self.floor = floor
        self._ids: dict[int, int] = {}
        for publication in after:
            origin = publication % SHARDS
            self._ids[origin] = max(publication, self._ids.get(origin, 0))

    def of(self, origin: int) -> int:
        """The last id of that origin that has been read; 0: none has."""
        return self._ids.get(origin, self.floor)

    def is_before(self, publication: int) -> bool:
        """Is that publication beyond it?"""
        return publication > self._ids.get(publication % SHARDS, self.floor)

    def advanced(self, publication: int) -> "Position":
        """All up to that id, of any origin, has been read besides."""
        beyond = [one for one in self._ids.values() if one > publication]
        return Position(beyond, max(self.floor, publication))


START = Position()
"""Nothing has been read."""


@final
class Marks:
    """What may be missing: of each origin named, publications up to that id.

    trim: the number of the last trim that has changed them (see `Shelf`), 0: none since the start.
    """

    __slots__ = ("_ids", "trim")

    def __init__(self, ids: Iterable[int] = ()) -> None:
        """ids: one of each origin."""
        self._ids: dict[int, int] = {}
        self.trim = 0
        self.add(ids)

    @property
    def ids(self) -> list[int]:
        """One of each origin."""
        return sorted(self._ids.values())

    def add(self, ids: Iterable[int], trim: int = 0) -> None:
        """These, and earlier ones, may be missing, too."""
        self.trim = max(self.trim, trim)
        for publication in ids:
            origin = publication % SHARDS
            if publication > self._ids.get(origin, 0):
                self._ids[origin] = publication

    def beyond(self, position: Position) -> int:
        """The highest id that may be missing and has not been read; 0: there is none.

        Who has read nothing of an origin misses nothing of it: he gets what there is.
        """
        return max(
            (id_ for origin, id_ in self._ids.items() if 0 < position.of(origin) < id_), default=0
        )
