"""A session: what the gateway keeps of one client, in WAMP and MQTT alike.

Owns: identity, the order of what the session sent, its open calls and invocations. Never: a wire
format. The classes in `wamp.session` and `mqtt.session` derive from `Session` and translate.
"""

from abc import ABC, abstractmethod
from typing import Protocol

from fox_shard.backplane.frames import (
    Call,
    CallError,
    Event,
    Interrupt,
    Reduce,
    Refused,
    Register,
    Result,
    SelectedEvent,
)
from fox_shard.gateway.authorization.answers import Answers
from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.subscription import Subscription

CONNECTION_LOST = "connection lost"
"""Why a session ended whose client did not say goodbye; for the log."""


class EventEncoder(Protocol):
    """The code that turns events into bytes, for one protocol, serializer and framing.

    All sessions with the same combination share one encoder, so that each event is encoded once
    and the same bytes go to all of them.
    """

    per_subscription: bool
    """Whether an event is sent for each subscription that matches (WAMP), or once (MQTT)."""

    def event(self, event: Event, subscription: Subscription | None) -> bytes:
        """Return one event as bytes, framed for the transport; b"" if these clients cannot take it.

        subscription: the one that matched; MQTT does not need it (None).
        """

    def events(self, events: list[Event], subscription: Subscription | None) -> list[bytes]:
        """Encode events of one topic, without those that these clients cannot take."""

    def retained(self, event: Event, subscription: Subscription) -> bytes:
        """Encode an event that shows a retained key like `event`."""

    def selected(self, selected: SelectedEvent, subscription: Subscription, removed: str) -> bytes:
        """Encode a selected event like `event`. removed: why the key is gone, "" if it is not."""


class Session(ABC):
    """The part of a session that the gateway's core works with."""

    __slots__ = (
        "answers",
        "authid",
        "authrole",
        "calls",
        "connection",
        "encoder",
        "expires",
        "id",
        "invocations",
        "kept",
        "last_seq",
        "last_shard",
        "next_invocation",
        "order",
        "permissions",
        "realm",
        "registrations",
        "shards",
        "subscriptions",
        "traffic",
        "unconfirmed",
    )

    #: Whether the client can be told that one of its subscriptions has ended.
    revocable = True

    realm: Realm
    encoder: EventEncoder

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # Replaced by those of the realm and protocol when the session is opened.
        self.traffic = connection.traffic
        self.id = 0
        self.authid = ""
        self.authrole = ""
        # When its token expires, in seconds since 1970; None: never.
        self.expires: float | None = None
        # What it may do; None: everything.
        self.permissions: Permissions | None = None
        # What its role's authorizer has answered; None: it has none.
        self.answers: Answers | None = None
        # How many publishes and calls were sent (this and the next three: see `sessions.ordering`).
        self.order = 0
        # The shard of the last one, -1: there is none, and its sequence number there.
        self.last_shard = -1
        self.last_seq = 0
        # Other shard -> sequence number of the last one there, which may not be delivered yet.
        self.unconfirmed: dict[int, int] | None = None
        # A bit (1 << number) for each shard that may keep something that ends with the session.
        self.shards = 0
        # Bytes of keys and events that are kept until its subscriptions are confirmed.
        self.kept = 0
        # `Subscription.name` -> subscription. This and the next dicts are made when first needed.
        self.subscriptions: dict[str, Subscription] | None = None
        # Request -> shard that answers; INVOCATION id -> (shard, the shard's number for it).
        self.calls: dict[int, int] | None = None
        self.invocations: dict[int, tuple[int, int]] | None = None
        self.next_invocation = 0
        # Registration id -> what the shard is told again when it restarts.
        self.registrations: dict[int, Register] | None = None

    @abstractmethod
    def deliver(self, event: Event, granted_qos: int) -> None:
        """Send an event that was published at quality of service 1 or 2. granted_qos: 1 or 2."""

    def deliver_all(self, events: list[Event], granted_qos: int) -> None:
        """Deliver several events, which have one topic and the same flags."""
        for event in events:
            self.deliver(event, granted_qos)

    def deliver_encoded(self, event: Event, chunk: bytes) -> None:
        """Send an event at quality of service 0, behind deliveries that are queued, or drop it.

        chunk: its bytes, by the session's encoder. A session that has no queue, and reads fast
        enough, needs no call of this method (see `Realm.queueing`): the bytes may be written to its
        connection.
        """
        if self.connection.behind:
            self.drop_event()
        else:
            self.connection.write(chunk)

    def drop_event(self) -> None:
        """Count an event that is not sent because the client reads too slowly."""
        self.connection.missed += 1
        self.realm.drop_event()

    @property
    def queues(self) -> bool:
        """Whether deliveries are queued until earlier ones are confirmed."""
        return False

    @abstractmethod
    def published(self, requests: list[int], publications: list[int]) -> None:
        """Acknowledge the client's publishes: requests[i] became publications[i]."""

    @abstractmethod
    def refused(self, refused: Refused) -> None:
        """Tell the client that a publish, register or unregister failed."""

    @abstractmethod
    def subscribed(self, request: int, subscription: Subscription, retained: list[Event]) -> None:
        """Tell the client that it is subscribed, and send the keys that have come so far."""

    @abstractmethod
    def more_keys(self, events: list[Event], subscription: Subscription, granted_qos: int) -> None:
        """Send more keys, after `subscribed`."""

    def not_subscribed(self, request: int, uri: str, message: str, oldest: int) -> None:
        """Tell the client that it cannot subscribe. oldest: see `frames.NotSubscribed`."""
        raise NotImplementedError

    def unsubscribed_early(self, request: int, subscription: Subscription) -> None:
        """Answer a request to subscribe that UNSUBSCRIBE has made void before it was confirmed."""
        raise NotImplementedError

    def subscription_revoked(self, subscription: Subscription, reason: str) -> None:
        """Tell the client that nothing more comes for the subscription. reason: a URI."""
        raise NotImplementedError

    def registered(self, request: int, registration: int) -> None:
        """Tell the client that it has registered."""
        raise NotImplementedError

    def unregistered(self, request: int) -> None:
        """Tell the client that it has unregistered."""
        raise NotImplementedError

    def revoked(self, registration: int, reason: str) -> None:
        """Tell the client that the router took the registration away. reason: a URI."""
        raise NotImplementedError

    def invocation(self, request: int, registration: int, call: Call) -> None:
        """Invoke the client. request: the INVOCATION's id, counted by this session from 1."""
        raise NotImplementedError

    def reduction(self, request: int, reduce: Reduce) -> None:
        """Invoke the client as a reducer. request: as in `invocation`."""
        raise NotImplementedError

    def interrupt(self, request: int, interrupt: Interrupt) -> bool:
        """Tell the client to stop the invocation with that id; return whether it was told."""
        raise NotImplementedError

    def result(self, result: Result) -> None:
        """Send the progressive or final result of a call."""
        raise NotImplementedError

    def call_error(self, error: CallError) -> None:
        """Tell the client that a call failed."""
        raise NotImplementedError

    def admitted(self) -> None:
        """Begin: no older session has this one's MQTT client id. Idempotent."""
        raise NotImplementedError

    @abstractmethod
    def end(self, reason: str, message: str) -> None:
        """End the session, as the router wants it (killed, too slow, …). reason: a URI."""
