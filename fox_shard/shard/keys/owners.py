"""Which sessions own something at keys: weak keys, wills, publishes that wait.

Owns: session -> at which keys. Never: keys; whether it is still its own is seen at the key.
"""

from typing import final

from fox_shard.shard.rows import Place


@final
class Owners:
    """Of one shard. A session belongs to a gateway in one of its incarnations."""

    __slots__ = ("_places", "_sessions")

    def __init__(self) -> None:
        self._places: dict[int, dict[Place, None]] = {}
        # Gateway -> session -> incarnation.
        self._sessions: dict[str, dict[int, int]] = {}

    def add(self, gateway: str, incarnation: int, session: int, place: Place | None) -> None:
        """The session has something of its own at that key, or (None) waits somewhere."""
        places = self._places.setdefault(session, {})
        if place is not None:
            places[place] = None
        self._sessions.setdefault(gateway, {})[session] = incarnation

    def discard(self, session: int, place: Place) -> None:
        """What it had there is not its own any more."""
        self._places.get(session, {}).pop(place, None)

    def take(self, session: int) -> list[Place]:
        """The session has ended: where it had something."""
        places = self._places.pop(session, None)
        if places is None:
            return []
        for sessions in self._sessions.values():
            sessions.pop(session, None)
        return list(places)

    def of_others(self, gateway: str, incarnation: int) -> list[int]:
        """Sessions of that gateway in other incarnations than this one; 0: in any."""
        sessions = self._sessions.get(gateway, {})
        return [session for session, of in sessions.items() if of != incarnation]

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
        return not self._places
