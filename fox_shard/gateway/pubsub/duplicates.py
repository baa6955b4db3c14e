"""Events that come again from a shard that has restarted.

Owns: which recorded events this gateway has had. Never: their delivery.

A shard that restarts sends again the events whose publishers may not have been told that they are
safe (`Again`), with their ids. Who has had them is not to get them twice. Who had no link with the
shard before that restart, or heard that all up to them had been sent (`Settled`), has missed none:
what it asked for since then includes their effects.
"""

from typing import final

from fox_shard.backplane.frames import Event


@final
class Repeats:
    """Of all shards."""

    __slots__ = ("_incarnations", "_seen", "_settled", "_since")

    def __init__(self, shards: int) -> None:
        self._seen: list[dict[int, None]] = [{} for _ in range(shards)]
        self._settled = [0] * shards
        # The first incarnation of each shard that there was a link with, and whether others came.
        self._incarnations = [0] * shards
        self._since = [False] * shards

    def opened(self, shard: int, incarnation: int) -> None:
        """A link with the shard has begun."""
        if not self._incarnations[shard]:
            self._incarnations[shard] = incarnation
        elif self._incarnations[shard] != incarnation:
            self._since[shard] = True

    def note(self, shard: int, publication: int) -> None:
        """A recorded event has come."""
        self._seen[shard][publication] = None

    def is_new(self, shard: int, publication: int) -> bool:
        """Has an event that comes again been missed? It counts as had from now on."""
        seen = self._seen[shard]
        if not self._since[shard] or publication in seen or publication <= self._settled[shard]:
            return False
        seen[publication] = None
        return True

    def settled(self, shard: int, publication: int) -> None:
        """All up to that one have come, as far as they concern this gateway."""
        self._settled[shard] = max(publication, self._settled[shard])
        self._seen[shard] = {one: None for one in self._seen[shard] if one > publication}


@final
class Changes:
    """The same for changes of keys, of all shards.

    What comes again may be no change: to erase what is not there is none, but after its restart a
    shard does not know. So only what is later than all that was seen of that key is new.
    """

    __slots__ = ("_seen", "_settled")

    def __init__(self, shards: int) -> None:
        # (realm, topic) -> the last publication id.
        self._seen: list[dict[tuple[str, str], int]] = [{} for _ in range(shards)]
        self._settled = [0] * shards

    def note(self, shard: int, event: Event) -> None:
        """A change has come."""
        publish = event.publish
        self._seen[shard][publish.realm, publish.topic] = event.publication

    def is_new(self, shard: int, event: Event) -> bool:
        """Has a change that comes again been missed? It counts as had from now on."""
        publish = event.publish
        last = self._seen[shard].get((publish.realm, publish.topic), self._settled[shard])
        if event.publication <= max(last, self._settled[shard]):
            return False
        self.note(shard, event)
        return True

    def settled(self, shard: int, publication: int) -> None:
        """All up to that one have come, as far as they concern this gateway."""
        self._settled[shard] = max(publication, self._settled[shard])
        seen = self._seen[shard]
        self._seen[shard] = {key: last for key, last in seen.items() if last > publication}
