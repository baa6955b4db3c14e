"""What a session may ask of its gateway.

Owns: the interface, so that a protocol knows nothing of the rest of a gateway. Never: an
implementation: `requests.Requests` is one, and each protocol's tests have their own.
"""

from typing import Protocol

from fox_shard.backplane.frames import Audience, Identity, Keep
from fox_shard.config import Gateway as Settings
from fox_shard.config import Mqtt
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.sessions.realm import Realm, Route
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.topics.pattern import Pattern


class Router(Protocol):
    """The gateway, as its sessions see it. `Session` says how each request is answered."""

    dropped: int
    """Publishes that could not be refused (MQTT 3.1.1 has no way to), since the last report."""

    @property
    def settings(self) -> Settings: ...

    @property
    def mqtt(self) -> Mqtt:
        """MQTT's settings."""

    @property
    def realms(self) -> dict[str, Realm]: ...

    @property
    def timers(self) -> Timers: ...

    @property
    def now(self) -> float:
        """Monotonic seconds."""

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
        """The session is open. Its realm, authid, authrole and flavour are set.

        client: MQTT client id, "" if there is none.
        """

    def detach(self, session: Session, reason: str, *, graceful: bool = False) -> None:
        """The session has ended. Idempotent; no callback comes after it. reason: for the log."""

    def slow(self, connection: Connection) -> None:
        """More than `outbound_limit` waits for that client."""

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
        keep: Keep | None = None,
    ) -> None:
        """With ACKNOWLEDGE answered by the session's `published` or `refused`."""

    def publish_all(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        payloads: list[bytes],
    ) -> None:
        """`publish` each. request: of the first; those of others follow."""

    def set_will(
        self, session: Session, route: Route, flags: int, encoding: int, args: bytes
    ) -> None:
        """What to publish when the session ends without a goodbye."""

    def subscribe(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        grant: int,
        wish: SubscribeOptions,
    ) -> None:
        """Answered by the session's `subscribed`; events come only after that."""

    def unsubscribe(self, session: Session, name: str) -> bool:
        """At once. name: the subscription's. Returns whether there was such a one."""

    # Remote procedure calls

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
    ) -> None:
        """Answered by the session's `result` or `call_error`. timeout: milliseconds, 0: none."""

    def cancel(self, session: Session, request: int, mode: str) -> None:
        """mode: `skip`, `kill` or `killnowait`. A call that is over is ignored."""

    def register(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        invoke: str,
        concurrency: int,
        *,
        force: bool,
    ) -> None:
        """Answered by the session's `registered` or `refused`."""

    def unregister(self, session: Session, request: int, registration: int) -> None:
        """Answered by the session's `unregistered` or `refused`."""

    def yield_(
        self,
        session: Session,
        request: int,
        encoding: int,
        args: bytes,
        kwargs: bytes,
        *,
        progress: bool,
    ) -> None:
        """A callee's result. Of an invocation that is over: ignored."""

    def invocation_error(
        self, session: Session, request: int, uri: str, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """A callee's error. Of an invocation that is over: ignored."""
