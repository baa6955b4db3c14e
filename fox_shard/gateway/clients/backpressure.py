"""Connections that are not read because a shard, or the coordinator, has no credit.

Owns: the peers without credit, and the connections of clients that sent them something. Never:
reading.

Publishes wait for a shard that is down, so their publisher waits as well. Everything else that a
client sends is answered or forgotten when a peer goes down, so there is nothing to wait for then.
"""

from collections.abc import Mapping
from typing import final

from fox_shard.backplane.link import Link
from fox_shard.backplane.terms import REQUEST
from fox_shard.gateway.clients.connection import ANSWERS, CREDIT, Connection
from fox_shard.gateway.clients.turns import Turns


@final
class Backpressure:
    """Pauses clients of congested peers (`Link.congested`): TCP slows them down."""

    __slots__ = ("_links", "_paused", "_turns", "_until_broken", "congested")

    def __init__(self, links: Mapping[int, Link], turns: Turns) -> None:
        """links: by the peer's number."""
        self._links = links
        self._turns = turns
        # Peer -> connections that wait until it has credit; and those that wait only until its link
        # breaks, if that comes first.
        self._paused: dict[int, dict[Connection, None]] = {}
        self._until_broken: dict[int, dict[Connection, None]] = {}
        # Peers without credit or without a link.
        self.congested = set(links)

    def pause(self, connection: Connection, peer: int) -> None:
        """Stop reading a connection that published to a congested peer, until there is credit."""
        self._hold(connection, peer)
        self._paused.setdefault(peer, {})[connection] = None

    def sent(self, connection: Connection, peer: int, work: int = REQUEST) -> None:
        """Note that a client's request was sent to a peer, in a frame that waits for no new pair.

        If the peer is congested, the connection is not read until there is credit, or no link.
        work: see `terms.KEY`.
        """
        link = self._links[peer]
        connection.budget -= work
        work = link.extra_work = link.extra_work + work
        if work + link.work_in_flight > link.work_limit:
            self.congested.add(peer)
        if peer in self.congested and link.open:
            self._hold(connection, peer)
            self._until_broken.setdefault(peer, {})[connection] = None

    def _hold(self, connection: Connection, peer: int) -> None:
        """Read no more of it; and if there is a link, handle no more of what was read already."""
        if self._links[peer].open and connection.in_turn and not connection.held_by & CREDIT:
            connection.hold(CREDIT)
        else:
            connection.pause(paused=True)

    def update(self) -> None:
        """Update `congested`, and resume the connections that no longer wait for any peer."""
        for peer, link in self._links.items():
            if not link.congested:
                if peer in self.congested:
                    self.congested.discard(peer)
                    self._turns.share(link.work_limit - link.work_in_flight)
                    self._resume(self._paused.pop(peer, {}))
                    self._resume(self._until_broken.pop(peer, {}))
                continue
            self.congested.add(peer)
            if not link.open and peer in self._until_broken:
                self._resume(self._until_broken.pop(peer))

    def _resume(self, connections: dict[Connection, None]) -> None:
        waits = (*self._paused.values(), *self._until_broken.values())
        for connection in connections:
            if not any(connection in others for others in waits):
                self._turns.release(connection, CREDIT)

    def release(self, connection: Connection) -> None:
        """Read on after the session's end, so that the client's answer to it is read."""
        for paused in (*self._paused.values(), *self._until_broken.values()):
            paused.pop(connection, None)
        self._turns.release(connection, CREDIT)
        connection.pause(paused=False, why=ANSWERS)
