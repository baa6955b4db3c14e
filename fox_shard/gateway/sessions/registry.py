"""The beginning and the end of sessions.

Owns: which sessions are open, and what the coordinator was told about them. Never: what they do in
between; what their wills are (see `wills`).
"""

from collections import deque
from typing import final

from msgspec.structs import replace

from fox_shard.backplane.frames import (
    FencePassed,
    FenceQuery,
    Join,
    Joined,
    Leave,
    Publish,
    SessionAlive,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.link import Link
from fox_shard.backplane.node import Notice
from fox_shard.backplane.random_source import RandomSource
from fox_shard.gateway.sessions.ordering import Ordering
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.wills import Wills
from fox_shard.topics.ids import MAX_ID

TAKEN_OVER = "fox.close.session_taken_over"
"""Why a session ends when another client connects with its MQTT client id."""

SHUTTING_DOWN = "wamp.close.system_shutdown"
"""Why all sessions of a gateway end that is told to stop."""


@final
class SessionRegistry:
    """The open sessions of one gateway."""

    __slots__ = (
        "_clients",
        "_coordinator",
        "_counts",
        "_joins",
        "_leaving",
        "_limit",
        "_links",
        "_notices",
        "_rng",
        "_unpassed",
        "_untold",
        "_waiting",
        "sessions",
        "wills",
    )

    def __init__(
        self,
        links: list[Link],
        coordinator: Link,
        rng: RandomSource,
        notices: list[Notice],
        limit: int,
        counts: LimitCounts,
    ) -> None:
        """links: to the shards, by number. rng: draws session ids. notices: for the log.

        limit: news that may wait for a coordinator that is down (`gateway.session_backlog`).
        counts: of sessions that it is not told of, because they have ended before it is back.
        """
        self._limit = limit
        self._counts = counts
        self._links = links
        self._coordinator = coordinator
        self._rng = rng
        self._notices = notices
        self.sessions: dict[int, Session] = {}
        self.wills = Wills(links)
        # (realm, MQTT client id) -> session; session id -> its `Join`.
        self._clients: dict[tuple[str, str], Session] = {}
        self._joins: dict[int, Join] = {}
        # Sessions that wait for `Joined`.
        self._waiting: dict[int, Session] = {}
        # Those of which the coordinator is told when it is back, if they last as long.
        self._untold: dict[int, Join] = {}
        # Sessions that have ended and of which the coordinator has not been told -> (shards where
        # they have frames under way, graceful).
        self._leaving: dict[int, tuple[set[int], bool]] = {}
        # Per shard: (epoch, sequence number, session) of the last frame of each of them.
        self._unpassed: list[deque[tuple[int, int, int]]] = [deque() for _ in links]

    @property
    def idle(self) -> bool:
        """Whether the coordinator knows of all ends, and no session waits for one, or a shard."""
        return not (self._leaving or self._waiting) and self.wills.idle

    def session_opened(
        self,
        session: Session,
        *,
        protocol: str,
        transport: str,
        authmethod: str,
        authprovider: str,
        client: str,
        wall: float,
    ) -> bool:
        """Give the session its id (random, WAMP #ids), and tell the coordinator.

        client: the MQTT client id, or "". An older session with this client id ends
        [MQTT-3.1.4-2]: on this gateway at once, on another by the coordinator's order.
        wall: seconds since 1970.

        Returns whether the session may begin at once. If not, `Session.admitted` is called when the
        older session's end has had its effects, or when the coordinator is out of reach.
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
        _share_counts(session, protocol)
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
        coordinator = self._coordinator
        backlog = coordinator.reliably_sent - coordinator.forgotten
        if backlog >= self._limit and not coordinator.open:
            self._untold[session.id] = join
        else:
            coordinator.send_reliable(join)
        who = {"session": session.id, "realm": realm, "protocol": protocol, "peer": peer}
        self._notices.append(("session_joined", who))
        if client and self._coordinator.open:
            self._waiting[session.id] = session
            return False
        return True

    def join_of(self, session: int) -> Join | None:
        """Return what the coordinator was told of an open session; None: it has ended."""
        return self._joins.get(session) if session in self.sessions else None

    def coordinator_opened(self) -> None:
        """Remind the coordinator of all open sessions, and tell it of those it has not heard of."""
        self._coordinator.resume(self.joins())
        untold, self._untold = self._untold, {}
        for join in untold.values():
            self._coordinator.send_reliable(join)

    def joined(self, frame: Joined) -> None:
        """Admit a session, which is now the only one with its MQTT client id."""
        session = self._waiting.pop(frame.session, None)
        if session is not None:
            session.admitted()

    def admit_all(self) -> None:
        """Admit all sessions that wait: the coordinator is down, and nobody waits for it."""
        waiting, self._waiting = self._waiting, {}
        for session in waiting.values():
            session.admitted()

    def session_ended(
        self, session: Session, ordering: Ordering, reason: str, *, graceful: bool
    ) -> bool:
        """Tell every process that keeps something of the session, and publish its wills.

        Returns False if the session had ended already. graceful: the client said goodbye, so an
        MQTT will is dropped. reason: for the log.
        """
        if self.sessions.pop(session.id, None) is None:
            return False
        self._waiting.pop(session.id, None)
        join = self._joins[session.id]
        if self._clients.get((join.realm, join.client)) is session:
            del self._clients[join.realm, join.client]
        session.connection.owner = None
        shards_of_wills, due = self.wills.session_ended(session, graceful=graceful)
        following = {shard for shard, _ in due}
        for shard, link in enumerate(self._links):
            if session.shards >> shard & 1:
                # This gateway publishes the wills, and the shard drops its copies: so they come
                # after all that the session sent, and even if the shard has lost its copies.
                drops = graceful or shard in shards_of_wills
                link.send_reliable(Leave(session.id, drops, wills_follow=shard in following))
        self.wills.publish(session, due, ordering)
        shards = set() if reason == SHUTTING_DOWN or not join.client else ordering.at(session)
        self._leaving[session.id] = (shards, graceful)
        for shard in sorted(shards):
            self._await_effects(session.id, shard)
        self._leave_if_passed(session.id)
        who = {"session": session.id, "realm": join.realm, "reason": reason}
        self._notices.append(("session_left", who))
        return True

    def _await_effects(self, session: int, shard: int) -> None:
        """Wait until all that the session sent to the shard has had its effects."""
        link, unpassed = self._links[shard], self._unpassed[shard]
        unpassed.append((link.epoch, link.last, session))
        if len(unpassed) == 1:  # there is one question at a time
            self._ask(shard)

    def _ask(self, shard: int) -> None:
        """Ask the shard to say when all frames up to now have had their effects."""
        link = self._links[shard]
        if link.open:
            link.send(FenceQuery(link.name, link.epoch, link.last))
            link.prompt = True

    def _leave_if_passed(self, session: int) -> None:
        shards, graceful = self._leaving[session]
        if not shards:
            del self._leaving[session], self._joins[session]
            if self._untold.pop(session, None) is None:
                self._coordinator.send_reliable(Leave(session, graceful))
            else:
                self._counts.add("session_backlog")

    def passed(self, answer: FencePassed, shard: int) -> None:
        """Tell the coordinator of ended sessions whose frames have had their effects."""
        unpassed = self._unpassed[shard]
        if not unpassed or answer.origin != self._links[shard].name:
            return
        while unpassed and (
            unpassed[0][0] < answer.epoch
            or (unpassed[0][0] == answer.epoch and unpassed[0][1] <= answer.seq)
        ):
            _, _, session = unpassed.popleft()
            self._leaving[session][0].discard(shard)
            self._leave_if_passed(session)
        if unpassed:
            self._ask(shard)

    def link_opened(self, shard: int) -> None:
        """Ask the shard again: what ended sessions had under way is in the new pair's outbox."""
        link = self._links[shard]
        unpassed = self._unpassed[shard]
        if unpassed:
            self._unpassed[shard] = deque((link.epoch, link.last, one) for _, _, one in unpassed)
            self._ask(shard)

    def set_will(
        self, session: Session, route: Route, flags: int, encoding: int, args: bytes
    ) -> None:
        """Set what is published if the session ends without a goodbye, or with this gateway."""
        will = Publish(
            session.realm.name, route.topic, session.id, 0, MAX_ID, flags, encoding, args
        )
        self.wills.set_mqtt_will(session, route.shard, will)

    def alive_at(self, shard: int) -> list[SessionAlive]:
        """Return the open sessions of which that shard may keep something."""
        return [
            SessionAlive(session.id)
            for session in self.sessions.values()
            if session.shards >> shard & 1
        ]

    def joins(self) -> list[Join]:
        """Return a `Join` for each open session, to remind the coordinator of it (`replay`).

        The `Join`s are copies: if the first one has not arrived yet, it is still news.
        """
        return [replace(join, replay=True) for join in self._joins.values()]


def _share_counts(session: Session, protocol: str) -> None:
    """Add the connection's bytes to the counts of its realm and protocol, which it then shares."""
    before = session.connection.traffic
    traffic = session.realm.traffic[protocol.partition(".")[0]]
    traffic.bytes_in += before.bytes_in
    traffic.bytes_out += before.bytes_out
    session.traffic = session.connection.traffic = traffic
