"""The beginning and the end of sessions.

Owns: which sessions are open, what the coordinator was told of them, and their wills. Never: what
they do meanwhile.
"""

from typing import final

from msgspec.structs import replace

from fox_shard.backplane.frames import LAST, Join, Leave, Present, Publish, Will
from fox_shard.backplane.link import Link
from fox_shard.backplane.node import Notice
from fox_shard.backplane.random_source import Chance
from fox_shard.gateway.sessions.ordering import Order
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session

TAKEN_OVER = "fox.close.session_taken_over"


@final
class Membership:
    """All open sessions of a gateway."""

    __slots__ = (
        "_clients",
        "_coordinator",
        "_joins",
        "_links",
        "_notices",
        "_order",
        "_rng",
        "_wills",
        "sessions",
    )

    def __init__(
        self,
        links: list[Link],
        coordinator: Link,
        rng: Chance,
        notices: list[Notice],
    ) -> None:
        """links: to the shards. rng: draws session ids. notices: gets who came and went."""
        self._links = links
        self._coordinator = coordinator
        self._rng = rng
        self._notices = notices
        self.sessions: dict[int, Session] = {}
        # (realm, MQTT client id) -> its session; session id -> its Join, (shard, its will).
        self._clients: dict[tuple[str, str], Session] = {}
        self._joins: dict[int, Join] = {}
        self._wills: dict[int, tuple[int, Publish]] = {}

    def begin(
        self,
        session: Session,
        *,
        protocol: str,
        transport: str,
        authmethod: str,
        authprovider: str,
        client: str,
        wall: float,
    ) -> None:
        """The session gets its id (WAMP #ids: random), and the coordinator hears of it.

        client: MQTT client id; an older session of that id on this gateway ends (MQTT-3.1.4-2),
        one on another gateway is ended by the coordinator. wall: seconds since 1970.
        """
        realm = session.realm.name
        if client:
            older = self._clients.get((realm, client))
            if older is not None:
                older.end(TAKEN_OVER, f"{client} has connected again")
            self._clients[realm, client] = session
        while not session.id or session.id in self.sessions:
            session.id = self._rng.randrange(1, 1 << 53)
        self.sessions[session.id] = session
        session.connection.owner = session
        _count_from_now(session, protocol)
        peer = session.connection.peer
        join = Join(
            session.id,
            realm,
            session.authid,
            session.authrole,
            authmethod,
            authprovider,
            protocol,
            transport,
            peer,
            client,
            wall,
            replay=False,
        )
        self._joins[session.id] = join
        self._coordinator.send_reliable(join)
        who = {"session": session.id, "realm": realm, "protocol": protocol, "peer": peer}
        self._notices.append(("session_joined", who))

    def end(self, session: Session, order: Order, reason: str, *, graceful: bool) -> bool:
        """Tell whoever keeps something of the session. Returns False if it had ended already.

        graceful: the client said goodbye, so its will is dropped.
        """
        if self.sessions.pop(session.id, None) is None:
            return False
        join = self._joins.pop(session.id)
        if self._clients.get((join.realm, join.client)) is session:
            del self._clients[join.realm, join.client]
        session.connection.owner = None
        shard_of_will, will = self._wills.pop(session.id, (-1, None))
        for shard, link in enumerate(self._links):
            if session.shards >> shard & 1:
                # The will is dropped there, and published from here: behind all that the session
                # sent, and also if the shard has lost it.
                link.send_reliable(Leave(session.id, graceful=graceful or shard == shard_of_will))
        if will is not None and not graceful:
            will.order = session.order + 1
            if session.lane != shard_of_will or session.unpassed is not None:
                will.fence = order.fence(session, shard_of_will)
            self._links[shard_of_will].send_reliable(will)
        self._coordinator.send_reliable(Leave(session.id, graceful))
        who = {"session": session.id, "realm": join.realm, "reason": reason}
        self._notices.append(("session_left", who))
        return True

    def set_will(
        self, session: Session, route: Route, flags: int, encoding: int, args: bytes
    ) -> None:
        """What to publish when the session ends without a goodbye, also if this gateway does."""
        will = Publish(session.realm.name, route.topic, session.id, 0, LAST, flags, encoding, args)
        self._wills[session.id] = (route.shard, will)
        session.shards |= 1 << route.shard
        if self._links[route.shard].open:
            self._links[route.shard].send(Will(will))

    def leave_wills_to_shards(self) -> None:
        """A shard that has declared this gateway gone has published them; another does so yet."""
        self._wills.clear()

    def present_at(self, shard: int) -> list[Present]:
        """What that shard must know: sessions of which it may have something."""
        return [
            Present(session.id) for session in self.sessions.values() if session.shards >> shard & 1
        ]

    def wills_for(self, shard: int) -> list[Will]:
        """What that shard must know."""
        return [Will(will) for of, will in self._wills.values() if of == shard]

    def joins(self) -> list[Join]:
        """What the coordinator must know. Copies: one it has not heard of yet is still news."""
        return [replace(join, replay=True) for join in self._joins.values()]


def _count_from_now(session: Session, protocol: str) -> None:
    """What the connection counted so far goes to its realm and gate, as what follows does."""
    before = session.connection.traffic
    traffic = session.realm.traffic[protocol.partition(".")[0]]
    traffic.bytes_in += before.bytes_in
    traffic.bytes_out += before.bytes_out
    session.traffic = session.connection.traffic = traffic
