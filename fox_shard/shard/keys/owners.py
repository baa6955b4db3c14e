"""Which sessions own something at keys: weak keys, wills, publishes that wait.

Owns: session -> at which keys. Never: keys; whether it is still its own is seen at the key.
"""

from typing import final

from fox_shard.shard.rows import KeyRef


@final
class Owners:
    """Of one shard. A session belongs to a gateway in one of its incarnations."""

    __slots__ = ("_refs", "_sessions", "_unconfirmed_sessions")

    def __init__(self) -> None:
        self._refs: dict[int, dict[KeyRef, None]] = {}
        # Gateway -> session -> incarnation.
        self._sessions: dict[str, dict[int, int]] = {}
        # Of a gateway that is back, sessions that it has not yet told to live.
        self._unconfirmed_sessions: dict[str, set[int]] = {}

    def add(self, gateway: str, incarnation: int, session: int, ref: KeyRef | None) -> None:
        """The session has something of its own at that key, or (None) waits somewhere."""
        refs = self._refs.setdefault(session, {})
        if ref is not None:
            refs[ref] = None
        self._sessions.setdefault(gateway, {})[session] = incarnation

    def discard(self, session: int, ref: KeyRef) -> None:
        """What it had there is not its own any more."""
        self._refs.get(session, {}).pop(ref, None)

    def take(self, session: int) -> list[KeyRef]:
        """The session has ended: where it had something."""
        refs = self._refs.pop(session, None)
        if refs is None:
            return []
        for sessions in self._sessions.values():
            sessions.pop(session, None)
        return list(refs)

    def of_others(self, gateway: str, incarnation: int) -> list[int]:
        """Sessions of that gateway in other incarnations than this one; 0: in any."""
        sessions = self._sessions.get(gateway, {})
        return [session for session, of in sessions.items() if of != incarnation]

    def link_opened(self, gateway: str) -> None:
        """The gateway is about to tell which of its sessions live."""
        self._unconfirmed_sessions[gateway] = set(self.of_others(gateway, 0))

    def session_alive(self, gateway: str, session: int) -> None:
        """That session lives."""
        self._unconfirmed_sessions.get(gateway, set()).discard(session)

    def sync_ended(self, gateway: str) -> list[int]:
        """The gateway has told all that live: returns its sessions that have ended."""
        return sorted(self._unconfirmed_sessions.pop(gateway, ()))

    @property
    def gateways(self) -> dict[str, int]:
        """Those of the sessions, each with an incarnation."""
        return {
            gateway: next(iter(sessions.values()))
            for gateway, sessions in self._sessions.items()
            if sessions
        }

    @property
    def idle(self) -> bool:
        """Does no session own anything?"""
        return not self._refs
