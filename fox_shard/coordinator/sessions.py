"""The sessions of the whole cluster: which there are, at which gateway, in which realm.

Owns: the registry. Never: what is told to whom about it (see `core` and `meta`).
"""

from collections.abc import Collection, Iterator
from sys import intern
from typing import final

from msgspec import Struct

from fox_shard.backplane.frames import Join


class SessionRecord(Struct, array_like=True, gc=False):
    """One session. announced: its `wamp.session.on_join` has gone out."""

    session: int
    gateway: str
    realm: str
    authid: str
    authrole: str
    authmethod: str
    authprovider: str
    protocol: str
    transport: str
    peer: str
    client: str
    began: float
    announced: bool

    @property
    def gate(self) -> str:
        """`wamp` or `mqtt`: the first component of the protocol."""
        return self.protocol.partition(".")[0]


def _entry(gateway: str, join: Join) -> SessionRecord:
    """The entry for a Join; interned where all sessions share a few values (0.4 KB a session)."""
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
    """All sessions, by gateway and by realm.

    A gateway tells all its sessions again when its link begins anew. Such a replay lies between its
    first `Join` with `replay` and `synced`; what it does not contain has ended unnoticed. A session
    that joins during the replay belongs to it; one that joined before is alive, hence replayed.
    """

    __slots__ = ("_counts", "_of_client", "_of_gateway", "_of_realm", "_unconfirmed")

    def __init__(self) -> None:
        self._of_gateway: dict[str, dict[int, SessionRecord]] = {}
        self._of_realm: dict[str, dict[int, SessionRecord]] = {}
        # (realm, MQTT client id) -> the session that has it now.
        self._of_client: dict[tuple[str, str], SessionRecord] = {}
        # (realm, gate) -> sessions; stays at 0, since a gauge that is not sent keeps its value.
        self._counts: dict[tuple[str, str], int] = {}
        # Gateway -> its sessions not yet heard of in the replay that is going on.
        self._unconfirmed: dict[str, dict[int, None]] = {}

    def join(self, gateway: str, join: Join) -> SessionRecord:
        """Take the session in; the entry there was if it is known already."""
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
        """A session from the store; interned as one that joins."""
        entry.gateway, entry.realm = intern(entry.gateway), intern(entry.realm)
        entry.protocol, entry.transport = intern(entry.protocol), intern(entry.transport)
        self._of_gateway.setdefault(entry.gateway, {})[entry.session] = entry
        self._of_realm.setdefault(entry.realm, {})[entry.session] = entry
        self._count(entry, 1)
        self.take_over(entry)

    def take_over(self, entry: SessionRecord) -> SessionRecord | None:
        """The session that must end because of `entry`: the older one of two with one client id.

        Whatever the gateways they are at (MQTT-3.1.4-2). None: there is no such session.
        """
        if not entry.client:
            return None
        key = (entry.realm, entry.client)
        other = self._of_client.get(key)
        if other is None or other is entry:
            self._of_client[key] = entry
            return None
        newer, older = (entry, other) if entry.began >= other.began else (other, entry)
        self._of_client[key] = newer
        return older

    def session_ended(self, gateway: str, session: int) -> SessionRecord | None:
        """Take the session out. None: there was none."""
        entry = self._of_gateway.get(gateway, {}).pop(session, None)
        if entry is not None:
            realm = self._of_realm[entry.realm]
            if realm.get(session) is entry:
                del realm[session]
            if self._of_client.get((entry.realm, entry.client)) is entry:
                del self._of_client[entry.realm, entry.client]
            self._count(entry, -1)
        return entry

    def gateway_gone(self, gateway: str) -> list[SessionRecord]:
        """Take out all sessions of the gateway, oldest first."""
        self._unconfirmed.pop(gateway, None)
        return self._leave_all(gateway, list(self._of_gateway.get(gateway, {}).values()))

    def synced(self, gateway: str) -> list[SessionRecord]:
        """The replay is over: take out what it did not contain, oldest first."""
        sessions = self._of_gateway.get(gateway, {})
        missing = self._unconfirmed.pop(gateway, None)
        ended = list(sessions) if missing is None else list(missing)
        return self._leave_all(gateway, [sessions[s] for s in ended if s in sessions])

    def get(self, realm: str, session: int) -> SessionRecord | None:
        """The session, if it is in that realm."""
        return self._of_realm.get(realm, {}).get(session)

    def of_realm(
        self, realm: str, authroles: Collection[str] | None = None
    ) -> Iterator[SessionRecord]:
        """The realm's sessions, oldest first. authroles: only those who have one of them."""
        for entry in self._of_realm.get(realm, {}).values():
            if authroles is None or entry.authrole in authroles:
                yield entry

    def counts(self) -> list[tuple[str, str, int]]:
        """(realm, gate, sessions) of each realm and gate that ever had a session, sorted."""
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
