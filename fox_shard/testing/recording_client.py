"""A client that records everything it does and receives.

Owns: the common part of WAMP and MQTT clients. Never: the checks (see `checks`).
"""

from typing import Any

from fox_shard.testing.records import EventRecord, PublicationRecord, SubscriptionRecord
from fox_shard.testing.world import World


class RecordingClient:
    """A recording client of either protocol.

    name: part of all its publications and calls. left: when the client left by itself, or None.
    graceful: the client said goodbye. violations: messages that must not have come, as sentences.
    """

    def __init__(self, world: World, gateway: int, name: str) -> None:
        self.world = world
        self.gateway = gateway
        self.name = name
        self.sent: list[PublicationRecord] = []
        self.subscriptions: list[SubscriptionRecord] = []
        self.received: list[EventRecord] = []
        # Request id -> description, of the requests that have not been answered.
        self.waiting: dict[int, str] = {}
        self.violations: list[str] = []
        self.left: float | None = None
        self.graceful = False

    @property
    def ready(self) -> bool:
        """Whether the session has been opened."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether the gateway has closed the connection, or died."""
        raise NotImplementedError

    def unsubscribe(self, subscription: SubscriptionRecord) -> None:
        """End a confirmed subscription."""
        raise NotImplementedError

    def leave(self, *, graceful: bool) -> None:
        """End the session, with a goodbye or by closing the connection."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether neither the client nor the gateway has ended the connection."""
        return self.left is None and not self.closed

    @property
    def published(self) -> list[PublicationRecord]:
        """All publications of the client, including its will if that is due."""
        return self.sent

    def add_violation(self, what: str) -> None:
        """Record a message that must not have come."""
        self.violations.append(f"{self.world.now:.4f} {self.name}: {what}")

    def _publication(
        self,
        topic: str,
        qos: int,
        *,
        acknowledge: bool,
        retain: bool,
        empty: bool,
        exclude_me: bool,
    ) -> PublicationRecord:
        sent = PublicationRecord(
            self.name,
            len(self.sent) + 1,
            topic,
            self.world.now,
            acknowledge,
            qos,
            retain,
            empty,
            exclude_me,
        )
        self.sent.append(sent)
        return sent

    def _event(
        self,
        subscription: SubscriptionRecord | None,
        topic: str,
        args: list[Any],
        *,
        retained: bool,
        qos: int,
    ) -> None:
        publisher, number = args if args else ("", 0)
        self.received.append(
            EventRecord(self.world.now, subscription, topic, publisher, number, retained, qos)
        )
