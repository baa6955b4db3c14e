"""Who has to wait before more is read.

Owns: the shards for which there is no credit, and the connections that published to them. Never:
reading.
"""

from typing import final

from fox_shard.backplane.link import Link
from fox_shard.gateway.clients.connection import Connection


@final
class Backpressure:
    """TCP pushes back on the clients that are paused here; see `Link.congested`."""

    __slots__ = ("_links", "_paused", "congested")

    def __init__(self, links: list[Link]) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._paused: dict[int, dict[Connection, None]] = {}
        # Shards for which there is no credit, or which are down.
        self.congested = set(range(len(links)))

    def pause(self, connection: Connection, shard: int) -> None:
        """It has published to a congested shard: read on when there is credit."""
        connection.pause(paused=True)
        self._paused.setdefault(shard, {})[connection] = None

    def look(self) -> None:
        """Who waits for a shard's credit reads on when there is some."""
        for shard, link in enumerate(self._links):
            if link.congested:
                self.congested.add(shard)
            elif shard in self.congested:
                self.congested.discard(shard)
                for connection in self._paused.pop(shard, ()):
                    if not any(connection in others for others in self._paused.values()):
                        connection.pause(paused=False)

    def forget(self, connection: Connection) -> None:
        """Its session has ended: what the client says to that is read."""
        for paused in self._paused.values():
            paused.pop(connection, None)
        connection.pause(paused=False)
