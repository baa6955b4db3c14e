"""A session: what the gateway keeps of one WAMP or MQTT client, whatever it speaks.

Owns: identity, the order of what the session sent, its open calls and invocations. Never: a wire
format; `wamp.session` and `mqtt.session` derive from it and translate.
"""

from abc import ABC, abstractmethod
from typing import Protocol

from fox_shard.backplane.frames import (
    Call,
    CallError,
    Event,
    Interrupt,
    Refused,
    Register,
    Result,
    Selected,
)
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.subscription import Subscription

CONNECTION_LOST = "connection lost"
"""Why a session ended whose client was not heard to say goodbye; for the log."""


class Flavour(Protocol):
    """One way to put an event on the wire, shared by all sessions that have it.

    An event is encoded once per flavour, and the same bytes go to every session of it.
    """

    per_subscription: bool
    """An event that matches several subscriptions is sent for each (WAMP), or once (MQTT)."""

    def event(self, event: Event, subscription: Subscription | None) -> bytes:
        """The bytes of one event, framed for the transport.

        subscription: the one that matched (WAMP), None for MQTT at quality of service 0.
        """

    def events(self, events: list[Event], subscription: Subscription | None) -> list[bytes]:
        """As `event` for each, of one topic; those that cannot be expressed are left out."""

    def selected(self, selected: Selected, subscription: Subscription, removed: str) -> bytes:
        """As `event`, for a selection. removed: "", or why the key is no more."""


class Session(ABC):
    """The part of a session that the gateway's core works with."""

    __slots__ = (
        "authid",
        "authrole",
        "calls",
        "connection",
        "flavour",
        "id",
        "invocations",
        "lane",
        "lane_seq",
        "next_invocation",
        "order",
        "realm",
        "registrations",
        "shards",
        "subscriptions",
        "traffic",
        "unpassed",
    )

    realm: Realm
    flavour: Flavour

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # Replaced by that of its realm and gate when it is attached.
        self.traffic = connection.traffic
        self.id = 0
        self.authid = ""
        self.authrole = ""
        # Order (gateway.order): how many frames were sent; the shard of the last one and its
        # number there; shards with frames that may not have passed yet.
        self.order = 0
        self.lane = -1
        self.lane_seq = 0
        self.unpassed: dict[int, int] | None = None
        # Shards (a bit each) that keep something which ends with the session.
        self.shards = 0
        # Pattern text -> what the session subscribed to; made when first needed.
        self.subscriptions: dict[str, Subscription] | None = None
        # Request -> shard that answers; invocation id -> (shard, its number for it).
        self.calls: dict[int, int] | None = None
        self.invocations: dict[int, tuple[int, int]] | None = None
        self.next_invocation = 0
        # Registration id -> what to tell the shard again when it restarts.
        self.registrations: dict[int, Register] | None = None

    @abstractmethod
    def deliver(self, event: Event, grant: int) -> None:
        """An event at quality of service ≥ 1 for this session alone. grant: the granted one."""

    def deliver_all(self, events: list[Event], grant: int) -> None:
        """As `deliver` for each; they have one topic, and the same flags."""
        for event in events:
            self.deliver(event, grant)

    @abstractmethod
    def published(self, requests: list[int], publications: list[int]) -> None:
        """Acknowledged publishes are safe: requests[i] became publications[i]."""

    @abstractmethod
    def refused(self, refused: Refused) -> None:
        """A publish, register or unregister failed."""

    @abstractmethod
    def subscribed(self, request: int, subscription: Subscription, retained: list[Event]) -> None:
        """The subscription stands at all shards. retained: the keys to send first (may be [])."""

    @abstractmethod
    def shown(self, events: list[Event], subscription: Subscription, grant: int) -> None:
        """More keys, of a subscription that stands."""

    def not_subscribed(self, request: int, uri: str, message: str, oldest: int) -> None:
        """The subscription cannot be made. oldest: see `frames.NotSubscribed`."""
        raise NotImplementedError

    def subscription_revoked(self, subscription: Subscription, reason: str) -> None:
        """Nothing more comes for it. reason: a URI."""
        raise NotImplementedError

    def registered(self, request: int, registration: int) -> None:
        """The registration stands."""
        raise NotImplementedError

    def unregistered(self, request: int) -> None:
        """The registration is gone, as asked."""
        raise NotImplementedError

    def revoked(self, registration: int, reason: str) -> None:
        """The registration was taken away (reason: a URI)."""
        raise NotImplementedError

    def invocation(self, request: int, registration: int, call: Call) -> None:
        """Invoke. request: the INVOCATION's id, counted by this session from 1."""
        raise NotImplementedError

    def interrupt(self, request: int, interrupt: Interrupt) -> None:
        """The invocation of that id is to stop."""
        raise NotImplementedError

    def result(self, result: Result) -> None:
        """A (progressive or final) result of a call."""
        raise NotImplementedError

    def call_error(self, error: CallError) -> None:
        """A call failed."""
        raise NotImplementedError

    @abstractmethod
    def end(self, reason: str, message: str) -> None:
        """The router ends the session (killed, shutting down, too slow). reason: a URI."""
