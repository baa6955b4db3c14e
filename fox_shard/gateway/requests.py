"""The one door for all that clients ask, whatever they speak.

Owns: which noun carries out a request, and whether it may. Never: a wire format; what is asked of
the shards.

Nobody is refused anything yet. So a request is the noun's own method, which costs no call of ours;
where there is something to decide, it becomes a method here.
"""

from typing import final

from fox_shard.config import Gateway as Settings
from fox_shard.config import Mqtt
from fox_shard.errors import SlowConsumer
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.pubsub.publishing import Publishing
from fox_shard.gateway.pubsub.subscribing import Confirmations
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.pubsub.unstored_waiters import Watches
from fox_shard.gateway.rpc.calls import Calls
from fox_shard.gateway.rpc.registrations import Registrations
from fox_shard.gateway.sessions.ordering import Order
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.registry import Membership
from fox_shard.gateway.sessions.session import Session


@final
class Requests:
    """The `Router` of all sessions of a gateway."""

    __slots__ = (
        "_backpressure",
        "_calls",
        "_clock",
        "_confirmations",
        "_membership",
        "_order",
        "_registrations",
        "_subscriptions",
        "_watches",
        "call",
        "cancel",
        "dropped",
        "invocation_error",
        "mqtt",
        "publish",
        "publish_all",
        "realms",
        "register",
        "set_will",
        "settings",
        "slow_consumers",
        "subscribe",
        "timers",
        "unregister",
        "yield_",
    )

    def __init__(
        self,
        *,
        settings: Settings,
        mqtt: Mqtt,
        realms: dict[str, Realm],
        clock: Clock,
        timers: Timers,
        membership: Membership,
        order: Order,
        backpressure: Backpressure,
        publishing: Publishing,
        watches: Watches,
        confirmations: Confirmations,
        subscriptions: dict[str, Subscriptions],
        calls: Calls,
        registrations: Registrations,
    ) -> None:
        """realms, subscriptions: by the realm's name."""
        self.settings = settings
        self.mqtt = mqtt
        self.realms = realms
        self.timers = timers
        self._clock = clock
        self._membership = membership
        self._order = order
        self._backpressure = backpressure
        self._watches = watches
        self._confirmations = confirmations
        self._subscriptions = subscriptions
        self._calls = calls
        self._registrations = registrations
        self.publish = publishing.publish
        self.publish_all = publishing.publish_all
        self.set_will = membership.set_will
        self.subscribe = confirmations.subscribe
        self.call = calls.call
        self.cancel = calls.cancel
        self.register = registrations.register
        self.unregister = registrations.unregister
        self.yield_ = registrations.yield_
        self.invocation_error = registrations.invocation_error
        # Since the last report.
        self.slow_consumers = 0
        self.dropped = 0

    @property
    def now(self) -> float:
        """See `Router`."""
        return self._clock.now

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
        """See `Router`."""
        self._membership.begin(
            session,
            protocol=protocol,
            transport=transport,
            authmethod=authmethod,
            authprovider=authprovider,
            client=client,
            wall=self._clock.wall,
        )

    def detach(self, session: Session, reason: str, *, graceful: bool = False) -> None:
        """See `Router`."""
        if self._membership.end(session, self._order, reason, graceful=graceful):
            self._backpressure.forget(session.connection)
            self._watches.leave(session.id)
            wishes = self._confirmations.withdraw(session)
            self._subscriptions[session.realm.name].leave(session, wishes)
            self._calls.leave(session)
            self._registrations.leave(session)

    def slow(self, connection: Connection) -> None:
        """See `Router`."""
        self.slow_consumers += 1
        if connection.owner is not None:
            connection.owner.end(
                SlowConsumer.uri,
                f"more than {self.settings.outbound_limit} bytes wait to be read: read faster, "
                "or subscribe to less",
            )

    def unsubscribe(self, session: Session, name: str) -> bool:
        """See `Router`."""
        self._confirmations.withdraw(session, name)
        return self._subscriptions[session.realm.name].unsubscribe(session, name)
