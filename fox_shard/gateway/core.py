"""One gateway: its links and its sessions.

Owns: which noun handles which frame, the beginning and the end of sessions, time. Never: sockets,
clocks, chance of its own, a wire format.

What the sessions' machines call here becomes frames in the links' outboxes; frames that arrive
become bytes in the connections' buffers. `flush` yields the former; the latter are in `dirty`.
"""

from collections.abc import Callable
from typing import final

from msgspec.structs import replace

from fox_shard.backplane.chance import Chance
from fox_shard.backplane.deadline import Deadline
from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RETAIN,
    Audience,
    Batch,
    CallError,
    Event,
    Forwarded,
    Frame,
    Identity,
    Interrupt,
    Invocation,
    Join,
    Kill,
    Leave,
    Publish,
    Published,
    Reached,
    Refused,
    Registered,
    Report,
    Result,
    Retained,
    Revoked,
    Subscribed,
    Unregistered,
    Will,
)
from fox_shard.backplane.link import Change, Link, Terms
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.config import Gateway as Settings
from fox_shard.config import Mqtt
from fox_shard.errors import SlowConsumer
from fox_shard.gateway.calls import COORDINATOR, Calls
from fox_shard.gateway.connection import Connection
from fox_shard.gateway.fanout import Fanout, visible
from fox_shard.gateway.order import Held, Order
from fox_shard.gateway.realm import Realm, Route
from fox_shard.gateway.session import Flavour, Session
from fox_shard.gateway.subscriptions import Pending, Subscriptions
from fox_shard.gateway.timers import Timers
from fox_shard.topics.pattern import Pattern

PUBLISH_TAG = 1

RELIABLE = ACKNOWLEDGE | RETAIN
"""Publications that are sent again to a shard that restarts."""


@final
class Gateway:
    """See the module."""

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        number: int,
        *,
        realms: list[str],
        settings: Settings,
        mqtt: Mqtt,
        terms: Terms,
        incarnation: int,
        rng: Chance,
        now: float,
        wall: float,
    ) -> None:
        """number: 0..gateways-1. rng: session ids and epochs. now: monotonic, wall: since 1970."""
        self.name = f"gateway-{number}"
        self.settings = settings
        self.now = now
        self._ahead = wall - now
        self._rng = rng
        self.deadline = Deadline()
        self.timers = Timers(self.deadline)
        self.sessions: dict[int, Session] = {}
        self.dirty: list[Connection] = []
        placement = Placement(terms.shards)

        def link(peer: str) -> Link:
            return Link(
                self.name,
                peer,
                incarnation=incarnation,
                terms=terms,
                new_epoch=lambda: rng.randrange(1, 1 << 53),
                deadline=self.deadline,
                connects=True,
                now=now,
            )

        self.links = [link(f"shard-{shard}") for shard in range(terms.shards)]
        self.coordinator = link("coordinator")
        self._peers = [*self.links, self.coordinator]
        self._credit = terms.credit
        self._numbers = {peer.peer: shard for shard, peer in enumerate(self.links)}
        self._numbers["coordinator"] = COORDINATOR
        self.notices: list[Notice] = []
        # Are all shards there? Else no new client is let in: it would see half a key space.
        self.linked = False
        # Shards for which there is no credit, and who waits for it.
        self._congested = set(range(terms.shards))
        self._paused: dict[int, dict[Connection, None]] = {}

        self.realms = {name: Realm(name, placement) for name in realms}
        self.subscriptions = {
            name: Subscriptions(realm, self.links) for name, realm in self.realms.items()
        }
        self._fanouts = {
            name: Fanout(realm, self.subscriptions[name], self.sessions, self.dirty)
            for name, realm in self.realms.items()
        }
        self._next_token = 0
        self._pending: dict[int, Pending] = {}
        # Those of them that wait for events that are held back (see `Pending.earlier`).
        self._late: dict[int, Pending] = {}
        self.order = Order(self.name, self.links, self._deliver_held_back)
        self.calls = Calls(self.links, self.coordinator, self.order, self.sessions)
        # What the machines call.
        self.call = self.calls.call
        self.cancel = self.calls.cancel
        self.register = self.calls.register
        self.unregister = self.calls.unregister
        self.yield_ = self.calls.yield_
        self.invocation_error = self.calls.invocation_error

        self.mqtt_realm = mqtt.realm
        self.mqtt_max_inflight = mqtt.max_inflight
        # (realm, MQTT client id) -> its session; session id -> its Join and its will.
        self._clients: dict[tuple[str, str], Session] = {}
        self._joins: dict[int, Join] = {}
        self._wills: dict[int, tuple[int, Publish]] = {}
        self.slow_consumers = 0
        # Publishes that could not be refused (MQTT 3.1.1 has no way to).
        self.dropped = 0
        # Bytes that wait for clients to read them: the shell's sockets know.
        self.client_buffers: Callable[[], int] = lambda: 0
        # Flavours by whatever makes two sessions' bytes the same; see `session.Flavour`.
        self.flavours: dict[object, Flavour] = {}

    @property
    def wall(self) -> float:
        """Seconds since 1970, at `now`."""
        return self.now + self._ahead

    # Sessions

    def attach(
        self,
        session: Session,
        *,
        protocol: str,
        transport: str,
        authmethod: str,
        authprovider: str,
        client: str = "",
    ) -> None:
        """The session is open: it gets its id, and the coordinator hears of it.

        Its realm, authid, authrole and flavour are set. client: MQTT client id; an older session
        of that id on this gateway ends (MQTT-3.1.4-2), one on another gateway by the coordinator.
        """
        if client:
            older = self._clients.get((session.realm.name, client))
            if older is not None:
                older.end("fox.close.session_taken_over", f"{client} has connected again")
            self._clients[session.realm.name, client] = session
        while not session.id or session.id in self.sessions:
            session.id = self._rng.randrange(1, 1 << 53)
        self.sessions[session.id] = session
        session.connection.session = session
        self._count_from_now(session, protocol)
        join = Join(
            session.id,
            session.realm.name,
            session.authid,
            session.authrole,
            authmethod,
            authprovider,
            protocol,
            transport,
            session.connection.peer,
            client,
            self.wall,
            replay=False,
        )
        self._joins[session.id] = join
        self.coordinator.send_reliable(join)
        self.notices.append(
            (
                "session_joined",
                {
                    "session": session.id,
                    "realm": join.realm,
                    "protocol": protocol,
                    "peer": join.peer,
                },
            )
        )

    @staticmethod
    def _count_from_now(session: Session, protocol: str) -> None:
        before = session.connection.traffic
        traffic = session.realm.traffic[protocol.partition(".")[0]]
        traffic.bytes_in += before.bytes_in
        traffic.bytes_out += before.bytes_out
        session.traffic = session.connection.traffic = traffic

    def detach(self, session: Session, *, graceful: bool) -> None:
        """The session has ended. Idempotent; no callback comes after it."""
        if self.sessions.pop(session.id, None) is None:
            return
        join = self._joins.pop(session.id)
        if self._clients.get((join.realm, join.client)) is session:
            del self._clients[join.realm, join.client]
        session.connection.session = None
        for shard in self._paused:
            self._paused[shard].pop(session.connection, None)
        self.subscriptions[join.realm].leave(session)
        self.calls.leave(session)
        leave = Leave(session.id, graceful)
        shard_of_will, will = self._wills.pop(session.id, (-1, None))
        for shard, link in enumerate(self.links):
            if session.shards >> shard & 1:
                # The will is dropped there, and published from here: behind all that the session
                # sent, and also if the shard has lost it.
                link.send_reliable(leave if shard != shard_of_will else Leave(session.id, True))  # noqa: FBT003 - a frame
        if will is not None and not graceful:
            self._publish_will(session, will, shard_of_will)
        self.coordinator.send_reliable(leave)
        self.notices.append(
            ("session_left", {"session": session.id, "realm": join.realm, "graceful": graceful})
        )

    def _publish_will(self, session: Session, will: Publish, shard: int) -> None:
        will.order = session.order + 1
        if session.lane != shard or session.unpassed is not None:
            will.fence = self.order.fence(session, shard)
        self.links[shard].send_reliable(will)

    def set_will(
        self, session: Session, route: Route, flags: int, encoding: int, args: bytes
    ) -> None:
        """What to publish when the session ends without a goodbye."""
        will = Publish(session.realm.name, route.topic, session.id, 0, 0, flags, encoding, args)
        self._wills[session.id] = (route.shard, will)
        session.shards |= 1 << route.shard
        if self.links[route.shard].open:
            self.links[route.shard].send(Will(will))

    def slow(self, connection: Connection) -> None:
        """More than `outbound_limit` waits for that client."""
        self.slow_consumers += 1
        session = connection.session
        if session is not None:
            session.end(
                SlowConsumer.uri,
                f"more than {self.settings.outbound_limit} bytes wait to be read: read faster, "
                "or subscribe to less",
            )

    # Publishing

    def publish(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes = b"",
        publisher: Identity | None = None,
        audience: Audience | None = None,
    ) -> None:
        """With ACKNOWLEDGE answered by the session's `published` or `refused`."""
        shard = route.shard
        link = self.links[shard]
        realm = session.realm
        order = session.order = session.order + 1
        fence = None
        if session.lane != shard or session.unpassed is not None:
            fence = self.order.fence(session, shard)
        frame = Publish(
            realm.name,
            route.topic,
            session.id,
            request,
            order,
            flags,
            encoding,
            args,
            kwargs,
            publisher,
            audience,
            fence,
        )
        outbox = link.outbox
        if flags & RELIABLE:
            # As `Link.send_reliable`.
            link.reliable.append(len(outbox))
        outbox.append(frame)
        session.lane_seq = link.sent + len(outbox)
        session.traffic.publishes += 1
        if self._congested and shard in self._congested:
            self._pause(session.connection, shard)

    def _pause(self, connection: Connection, shard: int) -> None:
        connection.pause(paused=True)
        self._paused.setdefault(shard, {})[connection] = None

    def _look_for_congestion(self) -> None:
        """Who waits for a shard's credit reads on when there is some."""
        for shard, link in enumerate(self.links):
            if link.congested:
                self._congested.add(shard)
            elif shard in self._congested:
                self._congested.discard(shard)
                for connection in self._paused.pop(shard, ()):
                    connection.pause(paused=False)

    # Subscribing

    def subscribe(
        self, session: Session, request: int, pattern: Pattern, grant: int, *, replay: bool
    ) -> None:
        """Answered by the session's `subscribed`; events come only after that."""
        self._next_token += 1
        pending = self.subscriptions[session.realm.name].subscribe(
            self._next_token, session, request, pattern, grant, replay=replay
        )
        if pending is not None:
            self._pending[pending.token] = pending

    def unsubscribe(self, session: Session, pattern: str) -> bool:
        """At once. pattern: its text. Returns whether there was such a subscription."""
        return self.subscriptions[session.realm.name].unsubscribe(session, pattern)

    def _subscribed(self, token: int, shard: int) -> None:
        pending = self._pending.get(token)
        if pending is None:
            return
        pending.waiting.pop(shard, None)
        if self.order.held:
            pending.earlier |= self.order.held_events(shard, pending.subscription.pattern)
            if pending.earlier:
                self._late[token] = pending
        self._complete_if_confirmed(pending)

    def _let_begin(self, publication: int) -> None:
        """The publication is held back no longer: a subscription may have waited for that."""
        for pending in [late for late in self._late.values() if publication in late.earlier]:
            pending.earlier.discard(publication)
            if not pending.earlier:
                del self._late[pending.token]
                self._complete_if_confirmed(pending)

    def _complete_if_confirmed(self, pending: Pending) -> None:
        session = pending.session
        subscriptions = self.subscriptions[session.realm.name]
        withdrawn = pending not in pending.subscription.pending
        if withdrawn or self.sessions.get(session.id) is not session:
            self._pending.pop(pending.token, None)
            if not withdrawn:
                subscriptions.abandon(pending)
        elif not pending.waiting and not pending.earlier:
            del self._pending[pending.token]
            pending.retained = {
                of: visible(events, session) for of, events in pending.retained.items()
            }
            held = subscriptions.complete(pending)
            self._fanouts[session.realm.name].deliver_held(pending, held)
            if held and not session.flavour.per_subscription:
                _forget_held(held, [p for p in self._pending.values() if p.session is session])

    def _retained(self, frame: Retained, shard: int) -> None:
        pending = self._pending.get(frame.token)
        if pending is not None:
            pending.retained.setdefault(shard, []).append(frame.event)

    # From the links

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch. size: bytes on the wire."""
        self.now = now
        self._ahead = wall - now
        shard = self._numbers[batch.source]
        link = self.coordinator if shard == COORDINATOR else self.links[shard]
        change, frames = link.receive(batch, size, self.now)
        if change is not Change.NONE:
            self._changed(link, shard, change)
        fanouts = self._fanouts
        order = self.order
        held = order.held
        for frame in frames:
            if type(frame) is Event:
                publish = frame.publish
                if (publish.fence is not None or held) and order.hold(
                    frame, shard, publish.session, publish.order, publish.fence
                ):
                    continue
                fanouts[publish.realm].deliver(frame, shard)
            elif type(frame) is Published:
                session = self.sessions.get(frame.session)
                if session is not None:
                    session.published(frame.requests, frame.publications)
            else:
                self._dispatch(frame, shard)

    def _dispatch(self, frame: Frame, shard: int) -> None:  # noqa: C901, PLR0915 - a table
        match frame:
            case Result():
                self.calls.result(frame)
            case Invocation():
                call = frame.call
                if not (call.fence is not None or self.order.held) or not self.order.hold(
                    frame, shard, call.session, call.order, call.fence
                ):
                    self.calls.invoke(frame, shard)
            case CallError():
                self.calls.call_error(frame)
            case Reached():
                self.order.reached(frame, shard)
            case Retained():
                self._retained(frame, shard)
            case Subscribed():
                self._subscribed(frame.token, shard)
            case Refused():
                self._refused(frame)
            case Registered():
                self.calls.registered(frame)
            case Unregistered():
                self.calls.unregistered(frame)
            case Forwarded():
                self.calls.forwarded(frame)
            case Interrupt():
                self.calls.interrupt(frame, shard)
            case Revoked():
                self.calls.revoked(frame)
            case Kill():
                session = self.sessions.get(frame.session)
                if session is not None:
                    session.end(frame.reason, frame.message)
            case _:
                pass  # SyncEnd: a gateway needs no state of a shard's

    def _refused(self, frame: Refused) -> None:
        if frame.kind != PUBLISH_TAG:
            self.calls.refused(frame)
            return
        session = self.sessions.get(frame.session)
        if session is not None:
            session.refused(frame)

    def _deliver_held_back(self, frame: Held, shard: int) -> None:
        if type(frame) is Event:
            self._fanouts[frame.publish.realm].deliver(frame, shard)
            if self._late:
                self._let_begin(frame.publication)
        elif type(frame) is Invocation:
            self.calls.invoke(frame, shard)

    # Pairs begin and end

    def _changed(self, link: Link, shard: int, change: Change) -> None:
        match change:
            case Change.REFUSED:
                self.notices.append(("refused", {"peer": link.peer, "reason": link.refusal}))
            case Change.BROKEN:
                self._broken(shard)
            case Change.OPENED if shard == COORDINATOR:
                # Copies: a Join that the coordinator has not heard of yet is still news.
                link.resume([replace(join, replay=True) for join in self._joins.values()])
            case Change.OPENED:
                self._opened(link, shard)

    def _opened(self, link: Link, shard: int) -> None:
        frames: list[Frame] = []
        for subscriptions in self.subscriptions.values():
            frames.extend(subscriptions.replay(shard))
        frames.extend(self.calls.opened(shard))
        frames.extend(Will(will) for of, will in self._wills.values() if of == shard)
        link.resume(frames)
        self.linked = all(other.open for other in self.links)
        self.notices.append(("linked", {"peer": link.peer}))
        for session in self.sessions.values():
            self.order.renumber(session, shard)
        self.order.ask_again(shard)

    def _broken(self, shard: int) -> None:
        link = self.coordinator if shard == COORDINATOR else self.links[shard]
        self.linked = all(other.open for other in self.links)
        self._look_for_congestion()
        self.notices.append(("lost", {"peer": link.peer}))
        self.calls.lost(shard)

    def lost(self, peer: str, now: float) -> None:
        """The connection to that process is broken."""
        shard = self._numbers[peer]
        link = self.coordinator if shard == COORDINATOR else self.links[shard]
        if link.open:
            link.break_off(now)
            self._broken(shard)

    # Time and out

    def tick(self, now: float) -> None:
        """What is due."""
        self.now = now
        self.timers.run(now)
        for shard in self._numbers.values():
            link = self.coordinator if shard == COORDINATOR else self.links[shard]
            if link.tick(now) is Change.BROKEN:
                self._broken(shard)
        due = min(link.next_tick() for link in self._peers)
        self.deadline.at = min(due, self.timers.next())

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """(peer, batch) for every process there is news for, once a turn."""
        out = []
        credit = self._credit
        look = bool(self._congested)
        for link in self._peers:
            if link.outbox or link.urgent:
                for data in link.flush(now):
                    out.append((link.peer, data))
                look |= link.in_flight > credit
        if look:
            self._look_for_congestion()
        return out

    def send_report(self, now: float) -> None:
        """Tell the coordinator the metrics."""
        if self.coordinator.open:
            self.coordinator.send(self._report())

    def _report(self) -> Report:
        """Counters since the last report, and gauges."""
        counters: dict[str, int] = {}
        for realm in self.realms.values():
            counters.update(realm.take_counts())
        counters[f"{self.name}.slow_consumers"] = self.slow_consumers
        counters[f"{self.name}.dropped"] = self.dropped
        self.slow_consumers = self.dropped = 0
        gauges = {
            f"{self.name}.sessions": len(self.sessions),
            f"{self.name}.subscriptions": sum(s.count for s in self.subscriptions.values()),
            f"{self.name}.client_buffers": self.client_buffers(),
            f"{self.name}.link_buffers": sum(link.in_flight for link in self._peers),
        }
        return Report(counters, gauges)

    def health(self) -> dict[str, object]:
        """For health answers."""
        peers = {link.peer: link.open for link in (*self.links, self.coordinator)}
        status = "ok" if all(peers.values()) else "degraded" if self.linked else "unavailable"
        return {"name": self.name, "status": status, "links": peers, "sessions": len(self.sessions)}


def _forget_held(events: list[Event], pendings: list[Pending]) -> None:
    """The session of all these has got the events, and is to get them once (MQTT)."""
    for pending in pendings:
        pending.held = [event for event in pending.held if event not in events]
