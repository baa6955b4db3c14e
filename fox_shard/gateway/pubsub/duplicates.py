"""Events that a restarted shard sends again.

Owns: which recorded events this gateway has had. Never: their delivery.

A restarted shard sends again (`Again`), with their ids, the events whose publishers may not have
been told that they are safe. A gateway that has had an event must not deliver it twice. A gateway
that had no link with the shard before the restart has missed none of these events: the replays that
it asked for since then include their effects. The same is true of all events up to the id of the
last `Settled` frame, which says that they had been sent.
"""

from typing import final

from fox_shard.backplane.frames import Event


@final
class SeenEvents:
    """The recorded events that have come from each shard."""

    __slots__ = ("_incarnations", "_restarted", "_seen", "_settled")

    def __init__(self, shards: int) -> None:
        self._seen: list[dict[int, None]] = [{} for _ in range(shards)]
        self._settled = [0] * shards
        # The first incarnation of each shard that was linked (0: none); whether others were since.
        self._incarnations = [0] * shards
        self._restarted = [False] * shards

    def link_opened(self, shard: int, incarnation: int) -> None:
        """Note that a link with that incarnation of the shard has begun."""
        if not self._incarnations[shard]:
            self._incarnations[shard] = incarnation
        elif self._incarnations[shard] != incarnation:
            self._restarted[shard] = True

    def add(self, shard: int, publication: int) -> None:
        """Note that a recorded event has come."""
        self._seen[shard][publication] = None

    def is_new(self, shard: int, publication: int) -> bool:
        """Whether an event that is sent again was missed. It counts as seen from now on."""
        seen = self._seen[shard]
        if not self._restarted[shard] or publication in seen or publication <= self._settled[shard]:
            return False
        seen[publication] = None
        return True

    def settled(self, shard: int, publication: int) -> None:
        """Note that all events up to that id that concern this gateway have come."""
        self._settled[shard] = max(publication, self._settled[shard])
        self._seen[shard] = {one: None for one in self._seen[shard] if one > publication}


@final
class SeenChanges:
    """The last change of each key that has come from each shard.

    A restarted shard may send as a change what never was one: the erasure of a key that did not
    exist. So a change is new only if it is later than all that was seen of its key.
    """

    __slots__ = ("_seen", "_settled")

    def __init__(self, shards: int) -> None:
        # (realm, topic) -> publication id of the key's last change.
        self._seen: list[dict[tuple[str, str], int]] = [{} for _ in range(shards)]
        self._settled = [0] * shards

    def add(self, shard: int, event: Event) -> None:
        """Note that a change has come."""
        publish = event.publish
        self._seen[shard][publish.realm, publish.topic] = event.publication

    def is_new(self, shard: int, event: Event) -> bool:
        """Whether a change that is sent again was missed. It counts as seen from now on."""
        publish = event.publish
        last = self._seen[shard].get((publish.realm, publish.topic), self._settled[shard])
        if event.publication <= max(last, self._settled[shard]):
            return False
        self.add(shard, event)
        return True

    def settled(self, shard: int, publication: int) -> None:
        """Note that all changes up to that id that concern this gateway have come."""
        self._settled[shard] = max(publication, self._settled[shard])
        seen = self._seen[shard]
        self._seen[shard] = {key: last for key, last in seen.items() if last > publication}
