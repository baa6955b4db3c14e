"""Wills: publishes that are carried out when sessions end without a goodbye.

Owns: the wills whose topics this shard owns. Never: publishing.

A will is kept at the shard of its topic. So it needs no further hop when the session ends: every
shard that keeps something of a session is told of its end anyway.
"""

from typing import final

from fox_shard.backplane.frames import Publish
from fox_shard.shard import rows
from fox_shard.shard.links.peer import Peer
from fox_shard.store.journal import Journal


@final
class Wills:
    """The wills of one shard, by session (MQTT-3.1.2-8)."""

    __slots__ = ("_journal", "_stale", "_wills")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # Session -> (name of its gateway, will).
        self._wills: dict[int, tuple[str, Publish]] = {}
        # Gateway that is replaying -> sessions whose wills it has not replayed yet.
        self._stale: dict[Peer, set[int]] = {}

    def set(self, peer: Peer, publish: Publish) -> None:
        """Set the will of the session that is its publisher; idempotent. peer: its gateway."""
        session = publish.session
        self._stale.get(peer, set()).discard(session)
        known = self._wills.get(session)
        self._wills[session] = (peer.name, publish)
        if known is None or known[1] != publish:
            row = rows.WillRow(peer.name, peer.link.peer_incarnation, publish)
            self._journal.keep(rows.will(session), rows.encode(row))

    def load(self, row: rows.WillRow) -> None:
        """Add a will from the store."""
        self._wills[row.publish.session] = (row.gateway, row.publish)

    def take(self, session: int) -> Publish | None:
        """Remove and return the will of a session that has ended; None: it has none."""
        kept = self._wills.pop(session, None)
        if kept is None:
            return None
        self._journal.keep(rows.will(session), None)
        return kept[1]

    def link_opened(self, peer: Peer, *, known: bool) -> None:
        """Expect the gateway to replay its wills. known: its incarnation has not changed."""
        self._stale[peer] = set(self.sessions_of(peer.name)) if known else set()

    def sync_ended(self, peer: Peer) -> None:
        """Drop the wills that the gateway has not replayed: their sessions have ended.

        Therefore a gateway may forget the end of a session before the shard's store knows it.
        """
        for session in self._stale.pop(peer, ()):
            self.take(session)

    def sessions_of(self, gateway: str) -> list[int]:
        """Return the sessions of that gateway that have wills."""
        return [session for session, (of, _) in self._wills.items() if of == gateway]
