"""Wills: what is published when a session ends without a goodbye.

Owns: the wills whose topics this shard owns. Never: publishing.

A will lives at the shard of its topic, not at its session's home: there it needs no further hop
when the session ends, which every shard that keeps something of the session is told anyway.
"""

from typing import final

from fox_shard.backplane.frames import Publish
from fox_shard.shard import rows
from fox_shard.shard.links.peer import Peer
from fox_shard.store.journal import Journal


@final
class Wills:
    """See the module (MQTT-3.1.2-8)."""

    __slots__ = ("_journal", "_stale", "_wills")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # Session -> its gateway's name, and its will.
        self._wills: dict[int, tuple[str, Publish]] = {}
        # Of a gateway that is back, those that it has not yet told again.
        self._stale: dict[Peer, set[int]] = {}

    def keep(self, peer: Peer, publish: Publish) -> None:
        """For the session that is its publisher; idempotent. peer: that session's gateway."""
        session = publish.session
        self._stale.get(peer, set()).discard(session)
        known = self._wills.get(session)
        self._wills[session] = (peer.name, publish)
        if known is None or known[1] != publish:
            row = rows.WillRow(peer.name, peer.link.peer_incarnation, publish)
            self._journal.keep(rows.will(session), rows.encode(row))

    def load(self, row: rows.WillRow) -> None:
        """From the store."""
        self._wills[row.publish.session] = (row.gateway, row.publish)

    def drop(self, session: int) -> Publish | None:
        """The session has ended; returns its will."""
        kept = self._wills.pop(session, None)
        if kept is None:
            return None
        self._journal.keep(rows.will(session), None)
        return kept[1]

    def is_back(self, peer: Peer, *, known: bool) -> None:
        """The gateway is about to tell its wills again. known: those that it had are its own."""
        self._stale[peer] = set(self.sessions_of(peer.name)) if known else set()

    def told_again(self, peer: Peer) -> None:
        """The gateway is back as it was: sessions whose wills it did not tell have ended.

        So the end of a session need not be known to the store before the gateway forgets it.
        """
        for session in self._stale.pop(peer, ()):
            self.drop(session)

    def sessions_of(self, gateway: str) -> list[int]:
        """Those of that gateway that have wills."""
        return [session for session, (of, _) in self._wills.items() if of == gateway]
