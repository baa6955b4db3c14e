"""One gateway: its links and its sessions.

Owns: what the gateway consists of, its links, time. Never: what frames are for (see `dispatch`),
what sessions ask (see `requests`), sockets, clocks, chance of its own, a wire format.

What sessions ask becomes frames in the links' outboxes; frames that arrive become bytes in the
connections' buffers. `flush` yields the former; the latter are in `dirty`.
"""

from collections.abc import Callable, Iterable
from typing import final

from fox_shard.backplane.frames import Batch, Frame, Report
from fox_shard.backplane.link import Link
from fox_shard.backplane.links import Links
from fox_shard.backplane.node import Notice
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import Chance
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Gateway as Settings
from fox_shard.config import Mqtt
from fox_shard.config import Realm as RealmSettings
from fox_shard.deadline import Deadline
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.dispatch import Dispatcher
from fox_shard.gateway.procedures.event_history import Recollections
from fox_shard.gateway.pubsub.fanout import Fanout
from fox_shard.gateway.pubsub.publishing import Publishing
from fox_shard.gateway.pubsub.subscribing import Confirmations
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.pubsub.unstored_waiters import Watches
from fox_shard.gateway.requests import Requests
from fox_shard.gateway.rpc.calls import COORDINATOR, Calls
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.ordering import Order
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.registry import Membership
from fox_shard.store.journal import Journal

STOOD_STILL = "fox.close.stood_still"
"""Why sessions end whose gateway was stopped, or starved, for longer than `peer_timeout`."""


@final
class Gateway:
    """See the module."""

    def __init__(  # noqa: PLR0915 - a line a field
        self,
        number: int,
        *,
        realms: Iterable[RealmSettings],
        settings: Settings,
        mqtt: Mqtt,
        terms: LinkSettings,
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
        self.deadline = Deadline()
        self.timers = Timers(self.deadline)
        self.dirty: list[Connection] = []
        placement = Placement(terms.shards)

        self.notices: list[Notice] = []
        self._peers = Links(
            self.name,
            self,
            settings=terms,
            incarnation=incarnation,
            new_epoch=lambda: rng.randrange(1, 1 << 53),
            deadline=self.deadline,
            notices=self.notices,
        )
        self.links = [
            self._peers.add(f"shard-{shard}", now, connects=True) for shard in range(terms.shards)
        ]
        self.coordinator = self._peers.add("coordinator", now, connects=True)
        self._credit = terms.credit
        self._peer_timeout = terms.peer_timeout
        self._ticked = now
        self._new_incarnation: Callable[[], int] = lambda: rng.randrange(1, 1 << 53)
        self._numbers = {peer.peer: shard for shard, peer in enumerate(self.links)}
        self._numbers["coordinator"] = COORDINATOR
        self.journal: Journal | None = None
        # Are all shards there? Else no new client is let in: it would see half a key space.
        self.linked = False
        self._backpressure = Backpressure(self.links)
        self._congested = self._backpressure.congested

        self._membership = Membership(self.links, self.coordinator, rng, self.notices)
        self.sessions = self._membership.sessions
        self.realms = {
            one.name: Realm(
                one.name,
                placement,
                headers=one.kwargs_are_headers,
                stored=one.store != "memory",
            )
            for one in realms
        }
        self.subscriptions = {
            name: Subscriptions(realm, self.links) for name, realm in self.realms.items()
        }
        self._fanouts = {
            name: Fanout(realm, self.subscriptions[name], self.sessions, self.dirty)
            for name, realm in self.realms.items()
        }
        self.order = Order(
            self.name,
            self.links,
            lambda frame, shard: self._dispatcher.deliver_held_back(frame, shard),
        )
        self.calls = Calls(self.links, self.coordinator, self.order, self.sessions)
        self.registrations = Registrations(self.links, self.order, self.sessions)
        self.confirmations = Confirmations(
            self.subscriptions, self._fanouts, self.order, self.links, self.timers
        )
        self.recollections = Recollections(
            self.links, self.subscriptions, self.calls, self.sessions
        )
        self._watches = Watches()
        self._dispatcher = Dispatcher(
            shards=terms.shards,
            sessions=self.sessions,
            order=self.order,
            subscriptions=self.subscriptions,
            fanouts=self._fanouts,
            confirmations=self.confirmations,
            watches=self._watches,
            calls=self.calls,
            registrations=self.registrations,
            recollections=self.recollections,
        )
        self.requests = Requests(
            settings=settings,
            mqtt=mqtt,
            realms=self.realms,
            clock=self,
            timers=self.timers,
            membership=self._membership,
            order=self.order,
            backpressure=self._backpressure,
            publishing=Publishing(self.links, self.order, self._backpressure, self._watches),
            watches=self._watches,
            confirmations=self.confirmations,
            subscriptions=self.subscriptions,
            calls=self.calls,
            registrations=self.registrations,
        )
        # Bytes that wait for clients to read them: the shell's sockets know.
        self.client_buffers: Callable[[], int] = lambda: 0

    @property
    def wall(self) -> float:
        """Seconds since 1970, at `now`."""
        return self.now + self._ahead

    def slow(self, connection: Connection) -> None:
        """More than `outbound_limit` waits for that client."""
        self.requests.slow(connection)

    # From the links

    def receive(self, batch: Batch, size: int, now: float, wall: float) -> None:
        """Handle one batch. size: bytes on the wire."""
        self.now = self.confirmations.now = now
        self._ahead = wall - now
        shard = self._numbers[batch.source]
        link = self._link(shard)
        frames = self._peers.receive(link, batch, size, now)
        self._dispatcher.handle(frames, shard)
        link.durable = link.watermark

    # Pairs begin and end

    def _link(self, shard: int) -> Link:
        """To that shard, or to the coordinator."""
        return self.coordinator if shard == COORDINATOR else self.links[shard]

    def link_opened(self, link: Link, before: int, now: float) -> None:
        """Tell a shard what it must know of the sessions, and the coordinator who they are."""
        shard = self._numbers[link.peer]
        if shard == COORDINATOR:
            link.resume(self._membership.joins())
            return
        frames: list[Frame] = []
        for subscriptions in self.subscriptions.values():
            frames.extend(subscriptions.replay(shard))
        frames.extend(self.confirmations.replay(shard))
        self.calls.opened(shard)
        frames.extend(self.registrations.replay(shard))
        frames.extend(self._membership.wills_for(shard))
        frames.extend(self._membership.present_at(shard))
        link.resume(frames)
        if before != link.peer_incarnation:
            for publish in self._watches.at(shard):
                if not any(frame is publish for frame in link.outbox):
                    link.send_reliable(publish)
        self._dispatcher.opened(shard, link.peer_incarnation)
        self.linked = all(other.open for other in self.links)
        for session in self.sessions.values():
            self.order.renumber(session, shard)
        self.order.ask_again(shard)

    def link_broken(self, link: Link, now: float) -> None:
        """What was asked of that peer is answered with an error; the rest waits for it."""
        shard = self._numbers[link.peer]
        self.linked = all(other.open for other in self.links)
        self._backpressure.look()
        self._dispatcher.trouble.pop(shard, None)
        # First: it lets go frames that were held back behind invocations.
        self.order.forget_invocations(shard)
        self.calls.lost(shard)
        self.registrations.lost(shard)
        self.recollections.lost(shard)

    def peer_gone(self, link: Link, now: float) -> None:
        """A gateway waits for its shards and the coordinator for as long as it takes."""

    def lost(self, peer: str, now: float) -> None:
        """The connection to that process is broken."""
        self._peers.connection_lost(peer, now)

    # Time and out

    def tick(self, now: float) -> None:
        """What is due."""
        self.now = self.confirmations.now = now
        if now - self._ticked > self._peer_timeout:
            self._stood_still(now - self._ticked)
        self._ticked = now
        self.timers.run(now)
        self._peers.tick(now)
        self.order.go_on()
        self.deadline.at = min(self._peers.next_tick(), self.timers.next())

    def _stood_still(self, seconds: float) -> None:
        """Others may have declared this gateway gone, and its sessions with it: so be it.

        It goes on in a new incarnation. What its sessions had published and nobody has applied yet
        has no effect any more: others may have been told since then that theirs has.
        """
        self._membership.leave_wills_to_shards()
        for session in list(self.sessions.values()):
            session.end(STOOD_STILL, f"the gateway stood still for {seconds:.1f} s: join again")
        self._peers.renew(self._new_incarnation(), self.now)

    def flush(self, now: float) -> list[tuple[str, bytes]]:
        """(peer, batch) for every process there is news for, once a turn."""
        if self.order.end_turn():
            self.deadline.by(now)
        out = self._peers.flush(now)
        credit = self._credit
        if self._congested or any(link.in_flight > credit for link in self.links):
            self._backpressure.look()
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
        requests = self.requests
        counters[f"{self.name}.slow_consumers"] = requests.slow_consumers
        counters[f"{self.name}.dropped"] = requests.dropped
        requests.slow_consumers = requests.dropped = 0
        in_flight = sum(link.in_flight for link in self._peers.by_name.values())
        gauges = {
            f"{self.name}.sessions": len(self.sessions),
            f"{self.name}.subscriptions": sum(s.count for s in self.subscriptions.values()),
            f"{self.name}.client_buffers": self.client_buffers(),
            f"{self.name}.link_buffers": in_flight,
        }
        return Report(counters, gauges)

    def health(self) -> dict[str, object]:
        """For health answers."""
        peers = self._peers.states()
        trouble = {self.links[of].peer: why for of, why in self._dispatcher.trouble.items() if why}
        well = all(peers.values()) and not trouble
        health: dict[str, object] = {
            "name": self.name,
            "status": "ok" if well else "degraded" if self.linked else "unavailable",
            "links": peers,
            "sessions": len(self.sessions),
        }
        return {**health, "stores": trouble} if trouble else health
