"""Connections that are not read because a shard has no credit.

Owns: the shards without credit, and the connections that published to them. Never: reading.
"""

from typing import final

from fox_shard.backplane.link import Link
from fox_shard.gateway.clients.connection import Connection


@final
class Backpressure:
    """Pauses clients that publish to congested shards (`Link.congested`): TCP slows them down."""

    __slots__ = ("_links", "_paused", "congested")

    def __init__(self, links: list[Link]) -> None:
        """links: to the shards, by number."""
        self._links = links
        self._paused: dict[int, dict[Connection, None]] = {}
        # Shards without credit or without a link.
        self.congested = set(range(len(links)))

    def pause(self, connection: Connection, shard: int) -> None:
        """Stop reading a connection that published to a congested shard, until there is credit."""
        connection.pause(paused=True)
        self._paused.setdefault(shard, {})[connection] = None

    def update(self) -> None:
        """Update `congested`, and resume the connections that no longer wait for any shard."""
        for shard, link in enumerate(self._links):
            if link.congested:
                self.congested.add(shard)
            elif shard in self.congested:
                self.congested.discard(shard)
                for connection in self._paused.pop(shard, ()):
                    if not any(connection in others for others in self._paused.values()):
                        connection.pause(paused=False)

    def release(self, connection: Connection) -> None:
        """Read on after the session's end, so that the client's answer to it is read."""
        for paused in self._paused.values():
            paused.pop(connection, None)
        connection.pause(paused=False)
