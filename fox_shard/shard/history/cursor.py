"""Cursors and trim marks: how far a history has been read, and how far it has been trimmed.

Owns: both, as one publication id per origin. Never: events.

Topics move when the number of shards changes, so one shard's history may have ids of several
shards. The *origin* of an id is the shard that issued it (id mod 64). Ids of one origin are in the
order of publishing.
"""

from collections.abc import Iterable
from typing import final

from fox_shard.topics.ids import SHARDS


@final
class Cursor:
    """How far a history has been read: up to one id per origin, and up to `floor` of all others.

    Id 0 stands for nothing read. The fields `after` and `floor` of `Subscribe` have this form.
    """

    __slots__ = ("_ids", "floor")

    def __init__(self, after: Iterable[int] = (), floor: int = 0) -> None:
        self.floor = floor
        self._ids: dict[int, int] = {}
        for publication in after:
            origin = publication % SHARDS
            self._ids[origin] = max(publication, self._ids.get(origin, 0))

    def of(self, origin: int) -> int:
        """Return the last id of that origin that has been read; 0: none."""
        return self._ids.get(origin, self.floor)

    def is_unread(self, publication: int) -> bool:
        """Whether the publication has not been read yet."""
        return publication > self._ids.get(publication % SHARDS, self.floor)

    def advanced(self, publication: int) -> "Cursor":
        """Return this cursor with all ids up to the given one, of any origin, read as well."""
        beyond = [one for one in self._ids.values() if one > publication]
        return Cursor(beyond, max(self.floor, publication))


START = Cursor()
"""The cursor of a reader that has read nothing."""


@final
class TrimMarks:
    """Up to which id, per origin, events may be missing.

    trim: the number of the last trim that changed the marks (see `EventLog.trims`), 0: none yet.
    """

    __slots__ = ("_ids", "trim")

    def __init__(self, ids: Iterable[int] = ()) -> None:
        """ids: at most one per origin."""
        self._ids: dict[int, int] = {}
        self.trim = 0
        self.add(ids)

    @property
    def ids(self) -> list[int]:
        """The marks: one id per origin, ascending."""
        return sorted(self._ids.values())

    def add(self, ids: Iterable[int], trim: int = 0) -> None:
        """Note that these events and earlier ones may be missing as well. trim: see the class."""
        self.trim = max(self.trim, trim)
        for publication in ids:
            origin = publication % SHARDS
            if publication > self._ids.get(origin, 0):
                self._ids[origin] = publication

    def missing_after(self, position: Cursor) -> int:
        """Return the highest id after the position that may be missing; 0: there is none.

        A reader that has read nothing of an origin misses nothing of it: it gets what is kept.
        """
        return max(
            (id_ for origin, id_ in self._ids.items() if 0 < position.of(origin) < id_), default=0
        )
