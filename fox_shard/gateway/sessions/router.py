"""What a session may ask of its gateway.

Owns: the interface, so that protocols know nothing of the rest of a gateway. Never: an
implementation. `requests.Requests` is one, and each protocol's tests have their own.
"""

from typing import Protocol

from fox_shard.backplane.frames import Audience, Identity, RetainOptions
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.config import Gateway as Settings
from fox_shard.config import Mqtt
from fox_shard.errors import Refusal
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.sessions.realm import Realm, Route
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.topics.pattern import Pattern


class Router(Protocol):
    """The gateway, as its sessions see it. Requests are answered by methods of `Session`."""

    dropped: int
    """Publishes dropped since the last report, as MQTT 3.1.1 has no way to refuse them."""

    @property
    def settings(self) -> Settings: ...

    @property
    def mqtt(self) -> Mqtt:
        """The settings of MQTT."""

    @property
    def realms(self) -> dict[str, Realm]:
        """The realms, by name."""

    @property
    def timers(self) -> Timers: ...

    @property
    def limit_counts(self) -> LimitCounts:
        """How often each limit (see `limits.NAMES`) has refused a client."""

    @property
    def authentication(self) -> Authentication:
        """The users of the gateway, and what clients may try."""

    @property
    def now(self) -> float:
        """The time in monotonic seconds."""

    @property
    def wall(self) -> float:
        """The same time in seconds since 1970."""

    # Sessions

    def open_realm(self, name: str | None) -> None:
        """Make a realm that a client wants to join, if it is missing and may be made."""

    def session_opened(
        self,
        session: Session,
        *,
        protocol: str,
        transport: str,
        authmethod: str,
        authprovider: str,
        client: str = "",
    ) -> bool:
        """Open a session that has its realm, authid, authrole and encoder; set its id.

        protocol, transport: see `Join`. client: the MQTT client id, "" if there is none. Returns
        whether the session may begin at once; if not, `Session.admitted` is called. Only sessions
        with a client id ever wait.
        """

    def session_ended(self, session: Session, reason: str, *, graceful: bool = False) -> None:
        """Note that the session has ended, and tell all processes that keep something of it.

        Idempotent. No method of the session is called afterwards. reason: for the log.
        """

    def slow(self, connection: Connection) -> None:
        """End the client's session: more than `outbound_limit` bytes wait for it."""

    # Publish and subscribe

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
        retain: RetainOptions | None = None,
        attributes: bytes | None = None,
    ) -> None:
        """Publish to a topic. With ACKNOWLEDGE in the flags, `published` or `refused` answers."""

    def publish_all(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        payloads: list[bytes],
    ) -> None:
        """Publish each payload. request: of the first; the others count up, with ACKNOWLEDGE."""

    def set_will(
        self, session: Session, route: Route, flags: int, encoding: int, args: bytes
    ) -> None:
        """Set what is published if the session ends without a goodbye."""

    def subscribe(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        granted_qos: int,
        options: SubscribeOptions,
    ) -> None:
        """Subscribe. `subscribed` or `not_subscribed` answers, before any event comes."""

    def unsubscribe(self, session: Session, name: str) -> bool:
        """End a subscription, at once. Returns whether the session had it, or waited for it.

        name: `Subscription.name`.
        """

    # Remote procedure calls and reducers

    def call(
        self,
        session: Session,
        request: int,
        procedure: str,
        flags: int,
        timeout: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        caller: Identity | None,
        attributes: bytes | None = None,
    ) -> None:
        """Call a procedure. `result` or `call_error` answers. timeout: milliseconds, 0: none."""

    def continue_call(
        self,
        session: Session,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        *,
        last: bool,
    ) -> None:
        """Send a further part of a call, unless the call is over. last: no other one follows."""

    def give_up_call(self, session: Session, request: int, refusal: Refusal) -> None:
        """Cancel a call, one of whose parts is refused, and answer it with that error."""

    def cancel(self, session: Session, request: int, mode: str) -> None:
        """Cancel a call, unless it is over. mode: `skip`, `kill` or `killnowait`."""

    def register(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        invoke: str,
        concurrency: int,
        *,
        force: bool,
        disclose: bool,
        reroutes: bool = False,
    ) -> None:
        """Register a callee. `registered` or `refused` answers.

        invoke, concurrency, force, disclose, reroutes: see `frames.Register`.
        """

    def register_reducer(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        mission: str,
        durable: str,
        invoke: str,
        concurrency: int,
        *,
        force: bool,
        webhook: bool = False,
    ) -> None:
        """Register a reducer. `registered` or `refused` answers, and `reduction` is called.

        mission, durable, invoke, concurrency, force, webhook: see `frames.RegisterReducer`.
        concurrency: 0: the default.
        """

    def unregister(self, session: Session, request: int, registration: int) -> None:
        """Unregister a callee. `unregistered` or `refused` answers."""

    def yield_(
        self,
        session: Session,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        attributes: bytes | None = None,
        *,
        progress: bool,
    ) -> None:
        """Pass on a callee's result, unless the invocation is over."""

    def invocation_error(
        self,
        session: Session,
        request: int,
        uri: str,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        attributes: bytes | None = None,
        *,
        reroute: bool = False,
    ) -> None:
        """Pass on a callee's error, unless the invocation is over. reroute: as in its frame."""
