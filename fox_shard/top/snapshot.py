"""What `fox top` shows at one time.

Owns: its parts; what `--json` prints. Never: where they come from (see `monitor`).
"""

from msgspec import Struct


class Process(Struct, frozen=True, kw_only=True):
    """One process. None: it does not say.

    status: ok, degraded, unavailable, starting, down, or silent: it does not answer in time.
    cores: the share of a core. memory: bytes. uptime: seconds. restarts: since `fox top` began.
    queued: calls, publishes and events that wait for callees, conditions and reducers. unread:
    bytes that wait for slow clients. unhandled: bytes on the way to other processes. trouble: what
    is wrong, in words.
    """

    name: str
    status: str
    pid: int | None = None
    cores: float | None = None
    memory: int | None = None
    uptime: float | None = None
    restarts: int = 0
    sessions: int | None = None
    keys: int | None = None
    queued: int | None = None
    unread: int | None = None
    unhandled: int | None = None
    trouble: list[str] = []


class Rates(Struct, frozen=True, kw_only=True):
    """What happens in a second, in one realm or all of them."""

    publishes: float = 0.0
    events: float = 0.0
    calls: float = 0.0
    dropped: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0

    @property
    def messages(self) -> float:
        """All that clients have caused."""
        return self.publishes + self.events + self.calls


class Realm(Struct, frozen=True):
    """One realm."""

    name: str
    rates: Rates


class Snapshot(Struct, frozen=True, kw_only=True):
    """The whole server.

    at: seconds since 1970. slow_clients: that were disconnected since their gateways' start.
    sentences: what there is too little of.
    """

    at: float
    processes: list[Process]
    realms: list[Realm]
    rates: Rates
    sessions: int
    keys: int
    slow_clients: int
    sentences: list[str] = []
