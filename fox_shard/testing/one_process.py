"""The whole server in one simulated process, as `fox serve` and FoxRouter have it.

Owns: the event loop, the junction and its shell, which are those of the real server. Never: what
happens to the process (see `world`), connections of clients.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import final

from fox_shard.backplane.node import Node
from fox_shard.embedded.junction import Junction, Outgoing
from fox_shard.embedded.shell import JunctionShell
from fox_shard.store.store import WriteSet
from fox_shard.store.write import Write
from fox_shard.testing.disk import Disk
from fox_shard.testing.timing import Timing
from fox_shard.testing.virtual_loop import VirtualLoop

_IN_ONE_PROCESS: ContextVar[bool] = ContextVar("in one process", default=False)


@contextmanager
def in_one_process() -> Iterator[None]:
    """Let each world that is made meanwhile have one process, whatever it was asked for."""
    token = _IN_ONE_PROCESS.set(True)
    try:
        yield
    finally:
        _IN_ONE_PROCESS.reset(token)


def is_one_process() -> bool:
    """Return whether the world that is made has one process."""
    return _IN_ONE_PROCESS.get()


@final
class _DiskStore:
    """A `Store` on a simulated disk."""

    def __init__(self, disk: Disk) -> None:
        self.identity = disk.identity
        self._disk = disk

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return ((key, value) for key, value in self._disk.scan() if key.startswith(prefix))

    def write(self, ticket: int, changes: WriteSet, *, resume: bool = False) -> None:
        self._disk.write(Write(ticket, changes, resume))

    def close(self) -> None:
        pass


@final
class _Outside:
    """Connections of the simulated world, which reads them by itself."""

    def __init__(self, send: Callable[[str, str, bytes], None]) -> None:
        self._send = send

    def start(self) -> None:
        pass

    def send(self, outgoing: Outgoing) -> None:
        self._send(*outgoing)

    def forget(self, name: str, peer: str) -> None:
        pass

    def read_on(self) -> bool:
        return False

    def stop(self) -> None:
        pass


@final
class OneProcess:
    """One life of the process: its nodes, from their start to the end of all."""

    def __init__(
        self,
        timing: Timing,
        nodes: Sequence[Node],
        disks: dict[str, Disk],
        wall: Callable[[], float],
        after_turn: Callable[[], None],
        send: Callable[[str, str, bytes], None],
        failed: Callable[[str], None],
    ) -> None:
        """nodes: in the order of their turns. wall, after_turn: as for `JunctionShell`.

        send: called with node, peer and data for an attached gateway. failed: called with a
        sentence about what nobody has expected.
        """
        self.loop = VirtualLoop(timing, failed)  # type: ignore[abstract]
        self.junction = Junction(nodes)
        stores = {node.name: _DiskStore(disks[node.name]) for node in nodes if node.journal}

        def begin() -> JunctionShell:
            shell = JunctionShell(self.junction, stores, 0.0, wall, clock=self.loop.time)
            shell.outside = _Outside(send)
            shell.after_turn = after_turn
            shell.on_failure = lambda error: failed(f"{type(error).__name__}: {error}")
            for name in stores:
                disks[name].open(_outcome(shell, name))
            shell.start()
            return shell

        self.shell = self.loop.call(begin)


def _outcome(shell: JunctionShell, name: str) -> Callable[[int, str], None]:
    return lambda ticket, why: shell.committed(name, ticket, why)
