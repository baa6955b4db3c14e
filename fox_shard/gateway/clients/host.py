"""The gateway, as transports and sockets see it.

Owns: the interfaces. Never: an implementation. `core.Gateway` is one, and tests have their own.
"""

from typing import Protocol

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.node import Notice
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.admission import Admission
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.clients.turns import Turns


class Clock(Protocol):
    """The time, as the shell said last."""

    @property
    def now(self) -> float:
        """The time in monotonic seconds."""

    @property
    def wall(self) -> float:
        """The same time in seconds since 1970."""


class Host(Protocol):
    """The gateway, as a transport sees it."""

    @property
    def settings(self) -> Settings: ...

    @property
    def timers(self) -> Timers: ...

    @property
    def limit_counts(self) -> LimitCounts:
        """How often each limit (see `limits.NAMES`) has refused a client."""

    @property
    def now(self) -> float:
        """The time in monotonic seconds."""

    @property
    def linked(self) -> bool:
        """Whether the links to all shards are open."""

    def health(self) -> dict[str, object]:
        """Return {"status": "ok", "degraded" (still serving) or "unavailable", …}."""


class SocketHost(Protocol):
    """The gateway, as the sockets see it."""

    now: float
    """The time in monotonic seconds, which a socket sets whenever it has something to say."""

    @property
    def settings(self) -> Settings: ...

    @property
    def turns(self) -> Turns: ...

    @property
    def admission(self) -> Admission: ...

    @property
    def limit_counts(self) -> LimitCounts:
        """How often each limit (see `limits.NAMES`) has refused a client."""

    @property
    def notices(self) -> list[Notice]:
        """Lines for the log."""

    @property
    def dirty(self) -> list[Connection]:
        """The connections that have something for the shell to do; they add themselves."""

    @property
    def linked(self) -> bool:
        """Whether the links to all shards are open."""

    def slow(self, connection: Connection) -> None:
        """End the client's session: more than `settings.outbound_limit` bytes wait for it."""

    def fell_behind(self, connection: Connection) -> None:
        """Note that more than `settings.outbound_limit` bytes wait for the client.

        If events for it are dropped from now on, `connection.behind` is set.
        """

    def caught_up(self, connection: Connection) -> None:
        """Note that nothing waits for the client any more. Idempotent."""

    def client_refused(self, connection: Connection) -> None:
        """Log that the client got no session, as `connection.refused` says."""
