"""What those who handle connections need of the gateway.

Owns: the interfaces. Never: an implementation: `core.Gateway` is one, and each test has its own.
"""

from typing import Protocol

from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.timers import Timers


class Clock(Protocol):
    """What time it is, as the shell said last."""

    @property
    def now(self) -> float:
        """Monotonic seconds."""

    @property
    def wall(self) -> float:
        """Seconds since 1970, at `now`."""


class Host(Protocol):
    """What a transport needs."""

    @property
    def settings(self) -> Settings: ...

    @property
    def timers(self) -> Timers: ...

    @property
    def now(self) -> float:
        """Monotonic seconds."""

    @property
    def linked(self) -> bool:
        """Whether there are links to all shards."""

    def health(self) -> dict[str, object]:
        """How the gateway is: {"status": "ok", "degraded" (but serving) or else, …}."""


class SocketHost(Protocol):
    """What the sockets need."""

    now: float
    """Monotonic seconds: set whenever a socket has something to say."""

    @property
    def settings(self) -> Settings: ...

    @property
    def dirty(self) -> list[Connection]:
        """The list all connections put themselves on."""

    @property
    def linked(self) -> bool:
        """Whether there are links to all shards."""

    def slow(self, connection: Connection) -> None:
        """Tell the client that more than settings.outbound_limit bytes wait for it: the end."""
