"""The sessions of the whole cluster, with their gateways and realms.

Owns: the registry. Never: meta events and answers about sessions (see `core` and `meta`).
"""

from collections.abc import Collection, Iterator
from sys import intern
from typing import final

from fox_shard.backplane.frames import Join
from fox_shard.coordinator.session_record import SessionRecord


def _entry(gateway: str, join: Join) -> SessionRecord:
    """Return the record for a Join.

    Strings of which all sessions share a few are interned, which saves 0.4 KB a session.
    """
    return SessionRecord(
        session=join.session,
        gateway=intern(gateway),
        realm=intern(join.realm),
        authid=join.authid,
        authrole=intern(join.authrole),
        authmethod=intern(join.authmethod),
        authprovider=intern(join.authprovider),
        protocol=intern(join.protocol),
        transport=intern(join.transport),
        peer=join.peer,
        client=join.client,
        began=join.began,
        announced=False,
    )


@final
class Sessions:
    """The sessions of the cluster, by gateway and by realm.

    When its link opens, a gateway replays all its sessions. The replay lasts from the first `Join`
    with `replay` until `synced`; a known session that is not in it has ended unnoticed. A session
    that joins during the replay counts as replayed.
    """

    __slots__ = ("_counts", "_of_client", "_of_gateway", "_of_realm", "_older", "_unconfirmed")

    def __init__(self) -> None:
        self._of_gateway: dict[str, dict[int, SessionRecord]] = {}
        self._of_realm: dict[str, dict[int, SessionRecord]] = {}
        # (realm, MQTT client id) -> the latest session with that id.
        self._of_client: dict[tuple[str, str], SessionRecord] = {}
        # The same -> earlier sessions with that id, which are ending.
        self._older: dict[tuple[str, str], dict[int, None]] = {}
        # (realm, gate) -> number of sessions. Zeros stay: StatsD keeps the last value of a gauge.
        self._counts: dict[tuple[str, str], int] = {}
        # Gateway -> its sessions that its unfinished replay has not contained so far.
        self._unconfirmed: dict[str, dict[int, None]] = {}

    def join(self, gateway: str, join: Join) -> SessionRecord:
        """Register a session, and return its record: the existing one if it is known already."""
        sessions = self._of_gateway.setdefault(gateway, {})
        if join.replay and gateway not in self._unconfirmed:
            self._unconfirmed[gateway] = dict.fromkeys(sessions)
        if gateway in self._unconfirmed:
            self._unconfirmed[gateway].pop(join.session, None)
        entry = sessions.get(join.session)
        if entry is None:
            entry = sessions[join.session] = _entry(gateway, join)
            self._of_realm.setdefault(entry.realm, {})[entry.session] = entry
            self._count(entry, 1)
        return entry

    def load(self, entry: SessionRecord) -> None:
        """Register a session from the store, with strings interned as in `join`."""
        entry.gateway, entry.realm = intern(entry.gateway), intern(entry.realm)
        entry.protocol, entry.transport = intern(entry.protocol), intern(entry.transport)
        self._of_gateway.setdefault(entry.gateway, {})[entry.session] = entry
        self._of_realm.setdefault(entry.realm, {})[entry.session] = entry
        self._count(entry, 1)
        self.take_over(entry)

    def take_over(self, entry: SessionRecord) -> SessionRecord | None:
        """Return the session that must end because two have one MQTT client id, or None.

        Of `entry` and the other session, on whatever gateways, the one that began earlier must end
        [MQTT-3.1.4-2].
        """
        if not entry.client:
            return None
        key = (entry.realm, entry.client)
        other = self._of_client.get(key)
        if other is None or other is entry:
            self._of_client[key] = entry
            self._forget_older(key, entry)
            return None
        newer, older = (entry, other) if entry.began >= other.began else (other, entry)
        self._of_client[key] = newer
        self._older.setdefault(key, {})[older.session] = None
        return older

    def sole(self, realm: str, client: str) -> SessionRecord | None:
        """Return the session with that MQTT client id; None: there is none, or earlier ones end."""
        key = (realm, client)
        return None if key in self._older else self._of_client.get(key)

    def _forget_older(self, key: tuple[str, str], entry: SessionRecord) -> None:
        older = self._older.get(key)
        if older is not None:
            older.pop(entry.session, None)
            if not older:
                del self._older[key]

    def session_ended(self, gateway: str, session: int) -> SessionRecord | None:
        """Remove the session and return its record; None if it is unknown."""
        entry = self._of_gateway.get(gateway, {}).pop(session, None)
        if entry is not None:
            realm = self._of_realm[entry.realm]
            if realm.get(session) is entry:
                del realm[session]
            key = (entry.realm, entry.client)
            if self._of_client.get(key) is entry:
                del self._of_client[key]
            self._forget_older(key, entry)
            self._count(entry, -1)
        return entry

    def gateway_gone(self, gateway: str) -> list[SessionRecord]:
        """Remove and return all sessions of the gateway, oldest first."""
        self._unconfirmed.pop(gateway, None)
        return self._leave_all(gateway, list(self._of_gateway.get(gateway, {}).values()))

    def synced(self, gateway: str) -> list[SessionRecord]:
        """Remove and return, oldest first, the sessions that the finished replay did not contain.

        A replay without any `Join` ends all sessions of the gateway.
        """
        sessions = self._of_gateway.get(gateway, {})
        missing = self._unconfirmed.pop(gateway, None)
        ended = list(sessions) if missing is None else list(missing)
        return self._leave_all(gateway, [sessions[s] for s in ended if s in sessions])

    def get(self, realm: str, session: int) -> SessionRecord | None:
        """Return the session with this id in that realm, or None."""
        return self._of_realm.get(realm, {}).get(session)

    def of_realm(
        self, realm: str, authroles: Collection[str] | None = None
    ) -> Iterator[SessionRecord]:
        """Yield the realm's sessions, oldest first. authroles: only sessions with one of these."""
        for entry in self._of_realm.get(realm, {}).values():
            if authroles is None or entry.authrole in authroles:
                yield entry

    def counts(self) -> list[tuple[str, str, int]]:
        """Return (realm, gate, number of sessions), sorted, also for numbers that fell to 0."""
        return sorted((realm, gate, count) for (realm, gate), count in self._counts.items())

    def _leave_all(self, gateway: str, entries: list[SessionRecord]) -> list[SessionRecord]:
        for entry in entries:
            self.session_ended(gateway, entry.session)
        if not self._of_gateway.get(gateway):
            self._of_gateway.pop(gateway, None)
        return entries

    def _count(self, entry: SessionRecord, change: int) -> None:
        key = (entry.realm, entry.gate)
        self._counts[key] = self._counts.get(key, 0) + change
