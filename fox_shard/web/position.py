"""How far a reader of events has read, as the id of an event of its stream.

Owns: the text of `Last-Event-ID`, and what it says about each shard. Never: streams.

A publication id says which shard gave it, and when. Who follows tells the router the highest id of
each shard, of those events that the router says are recorded. A stream that has not followed from
its beginning knows less: the events of one topic come in the order of their ids, but those of
several topics do not, because some wait for the disk. So its position is one id, of a moment from
before which nothing can be under way.
"""

import re
from typing import Final, final

from fox_shard.topics.ids import EPOCH, MAX_ID, SHARDS, TICKS

SKEW: Final = 2 * TICKS * SHARDS
"""Two seconds, in publication ids: for them a single id may repeat events (docs/semantics.md)."""

LONGEST: Final = 17 * (SHARDS + 1)
"""Characters of the text."""

_TEXT: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,16}){0,64}")


@final
class Position:
    """The position of one stream.

    floor: nothing before it is missing, of any shard. follows: whether the stream goes on from
    there, so that events of each shard come in the order of their ids. exact: whether there is only
    one topic.
    """

    def __init__(
        self, floor: int, seen: dict[int, int], *, follows: bool, exact: bool = False
    ) -> None:
        self._floor = floor
        self._seen = seen
        self.follows = follows
        self._exact = exact
        # Whether the floor is only what our clock says.
        self._guessed = not follows

    @classmethod
    def at(cls, wall: float, *, exact: bool) -> "Position":
        """Return that of a stream that begins now. wall: seconds since 1970."""
        floor = int((wall - EPOCH) * TICKS) * SHARDS - SKEW
        return cls(max(0, floor), {}, follows=False, exact=exact)

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return that of a stream that goes on. Raises ValueError."""
        if len(text) > LONGEST or not _TEXT.fullmatch(text):
            raise ValueError("this is not the id of an event")
        floor, *ids = map(int, text.split("."))
        if max(floor, *ids, 0) > MAX_ID:
            raise ValueError("this is not the id of an event")
        return cls(floor, {one % SHARDS: one for one in ids}, follows=True)

    def after(self) -> int | list[int]:
        """Return the option `after` with which to subscribe."""
        if not self._seen:
            return self._floor
        # Of a shard that is not named everything would come.
        floor = max(0, self._floor - SKEW) // SHARDS * SHARDS
        ids = {shard: floor + shard for shard in range(SHARDS)}
        return sorted((ids | self._seen).values())

    def read(self, publication: int, *, recorded: bool) -> None:
        """Note that the reader has got that event. recorded: what the router says of it."""
        shard = publication % SHARDS
        if self.follows:
            # One that is not recorded may come before a recorded one that waits for the disk.
            if not recorded:
                return
            self._seen[shard] = max(publication, self._seen.get(shard, 0))
            return
        floor = max(0, publication if self._exact else publication - SKEW)
        self._floor = floor if self._guessed else max(self._floor, floor)
        self._guessed = False

    def skip_to(self, publication: int) -> None:
        """Note that nothing before that event can be had any more."""
        self._floor, self._seen = max(0, publication - 1), {}

    def __str__(self) -> str:
        return ".".join(map(str, (self._floor, *sorted(self._seen.values()))))
