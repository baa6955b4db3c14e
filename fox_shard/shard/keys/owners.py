"""Owners: the sessions with which weak keys, wills of keys and waiting publishes end.

Owns: the keys at which each session may own something. Never: the keys themselves, which alone tell
whether the session still owns them.
"""

from typing import final

from fox_shard.shard.rows import KeyRef


@final
class Owners:
    """The owners of one shard. A session belongs to one incarnation of its gateway."""

    __slots__ = ("_refs", "_sessions", "_unconfirmed_sessions")

    def __init__(self) -> None:
        self._refs: dict[int, dict[KeyRef, None]] = {}
        # Gateway -> session -> incarnation.
        self._sessions: dict[str, dict[int, int]] = {}
        # Gateway -> sessions that it had before its link was opened and has not yet named as alive.
        self._unconfirmed_sessions: dict[str, set[int]] = {}

    def add(self, gateway: str, incarnation: int, session: int, ref: KeyRef | None) -> None:
        """Note that the session owns something at that key, or (None) has a waiting publish."""
        refs = self._refs.setdefault(session, {})
        if ref is not None:
            refs[ref] = None
        self._sessions.setdefault(gateway, {})[session] = incarnation

    def discard(self, session: int, ref: KeyRef) -> None:
        """Note that the session no longer owns anything at that key."""
        self._refs.get(session, {}).pop(ref, None)

    def has_room(self, session: int, ref: KeyRef, limit: int) -> bool:
        """Whether the session may own something at that key, and at no more than `limit` keys."""
        refs = self._refs.get(session)
        return refs is None or len(refs) < limit or ref in refs

    def take(self, session: int) -> list[KeyRef]:
        """Forget a session that has ended; return the keys at which it may own something."""
        refs = self._refs.pop(session, None)
        if refs is None:
            return []
        for sessions in self._sessions.values():
            sessions.pop(session, None)
        return list(refs)

    def sessions_of_other_incarnations(self, gateway: str, incarnation: int) -> list[int]:
        """Return the gateway's sessions of other incarnations than this one; 0: all of them."""
        sessions = self._sessions.get(gateway, {})
        return [session for session, own in sessions.items() if own != incarnation]

    def link_opened(self, gateway: str) -> None:
        """Expect the gateway to name those of its sessions that live."""
        self._unconfirmed_sessions[gateway] = set(self.sessions_of_other_incarnations(gateway, 0))

    def session_alive(self, gateway: str, session: int) -> None:
        """Note that the gateway has named that session as alive."""
        self._unconfirmed_sessions.get(gateway, set()).discard(session)

    def sync_ended(self, gateway: str) -> list[int]:
        """Return the sessions that the gateway has not named as alive: they have ended."""
        return sorted(self._unconfirmed_sessions.pop(gateway, ()))

    def forget(self, gateway: str) -> None:
        """Keep nothing of the gateway, which is gone and whose sessions have ended."""
        self._unconfirmed_sessions.pop(gateway, None)
        self._sessions.pop(gateway, None)

    @property
    def gateways(self) -> dict[str, int]:
        """The gateways that have sessions here, each with the incarnation of one of these."""
        return {
            gateway: next(iter(sessions.values()))
            for gateway, sessions in self._sessions.items()
            if sessions
        }

    @property
    def idle(self) -> bool:
        """Whether no session owns anything."""
        return not self._refs
