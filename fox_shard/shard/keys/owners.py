"""Which sessions own something at keys: weak keys, wills, publishes that wait.

Owns: session -> at which keys. Never: keys; whether it is still its own is seen at the key.
"""

from typing import final

from fox_shard.shard.rows import Place


@final
class Owners:
    """Of one shard. A session belongs to a gateway in one of its incarnations."""

    __slots__ = ("_absent", "_places", "_sessions")

    def __init__(self) -> None:
        self._places: dict[int, dict[Place, None]] = {}
        # Gateway -> session -> incarnation.
        self._sessions: dict[str, dict[int, int]] = {}
        # Of a gateway that is back, sessions that it has not yet told to live.
        self._absent: dict[str, set[int]] = {}

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

    def is_back(self, gateway: str) -> None:
        """The gateway is about to tell which of its sessions live."""
        self._absent[gateway] = set(self.of_others(gateway, 0))

    def present(self, gateway: str, session: int) -> None:
        """That session lives."""
        self._absent.get(gateway, set()).discard(session)

    def told_again(self, gateway: str) -> list[int]:
        """The gateway has told all that live: returns its sessions that have ended."""
        return sorted(self._absent.pop(gateway, ()))

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
