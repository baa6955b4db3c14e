"""What a router runs in its process, whichever nodes these are.

Owns: the parts that `FoxRouter` needs. Never: how they are made (see `joined`, `attached`).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from fox_shard.config import Config
from fox_shard.embedded.junction import Observer
from fox_shard.gateway.core import Gateway
from fox_shard.runtime.client_side import ClientSide
from fox_shard.worker.instance import Work

Health = Callable[[], Mapping[str, object]]

Observe = Callable[[Observer | None], None]
"""Lets an observer see the batches between the nodes of the process; None: nobody any more."""


class Shell(Protocol):
    """Runs nodes in the event loop. after_turn, on_failure: see `JunctionShell`, `WireShell`."""

    after_turn: Callable[[], None]
    on_failure: Callable[[Exception], None]

    def start(self) -> None:
        """Begin to turn."""


class Annex(Protocol):
    """What a process has beside its router, under a name of its own.

    Its address must be free, or the router does not start either.
    """

    name: str

    def open(self, config: Config) -> None:
        """Take what it needs, before clients are let in. Raises StartError."""

    def close(self) -> None:
        """Give back what `open` has taken, also if that has failed."""

    def health(self) -> Mapping[str, object]:
        """Return the state for health checks."""


class Parts(NamedTuple):
    """The parts of a router that has not begun to turn.

    process: its name in the log. openness: see `check_openness`. schedule: lets the gateway's turn
    end soon. settle: waits for what is not on the disk yet. health: answers by the name of the
    socket. works: what a worker has to do; an attached gateway's server has one. observe: None: the
    processes have taps.
    """

    process: str
    config: Config
    openness: str
    gateway: Gateway
    clients: ClientSide
    shell: Shell
    schedule: Callable[[], None]
    settle: Callable[[], Awaitable[None]]
    health: Mapping[str, Health]
    works: list[Work]
    observe: Observe | None
