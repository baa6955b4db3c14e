"""Wills: what is published when a session ends without a goodbye.

Owns: the wills whose topics this shard owns. Never: publishing.

A will lives at the shard of its topic, not at its session's home: there it needs no further hop
when the session ends, which every shard that keeps something of the session is told anyway.
"""

from typing import final

from fox_shard.backplane.frames import Publish
from fox_shard.shard.peer import Peer


@final
class Wills:
    """See the module (MQTT-3.1.2-8)."""

    __slots__ = ("_wills",)

    def __init__(self) -> None:
        self._wills: dict[int, tuple[Peer, Publish]] = {}

    def keep(self, peer: Peer, publish: Publish) -> None:
        """For the session that is its publisher; idempotent. peer: that session's gateway."""
        self._wills[publish.session] = (peer, publish)

    def drop(self, session: int) -> Publish | None:
        """The session has ended; returns its will."""
        kept = self._wills.pop(session, None)
        return kept and kept[1]

    def drop_all(self, peer: Peer) -> list[Publish]:
        """The gateway has gone, and all its sessions with it; returns their wills."""
        sessions = [session for session, (of, _) in self._wills.items() if of is peer]
        return [self._wills.pop(session)[1] for session in sessions]
