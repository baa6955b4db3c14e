"""The sockets by which attached gateways reach a server that is one process.

Owns: the sockets of the joined nodes that others connect to, and reading them. Never: what batches
mean, when nodes take their turns (see `shell`).
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import final

from fox_shard.backplane.frames import Batch
from fox_shard.backplane.wire import Wire
from fox_shard.embedded.junction import Junction, Outgoing
from fox_shard.embedded.shell import JunctionShell

_log = logging.getLogger("fox")


@final
class AttachedWires:
    """An `Outside`: a socket for each node that attached gateways connect to."""

    def __init__(
        self,
        junction: Junction,
        shell: JunctionShell,
        run_dir: Path,
        incarnations: Mapping[str, int],
    ) -> None:
        """incarnations: of the nodes that listen, by name."""
        self._junction = junction
        self._shell = shell
        self._loop = asyncio.get_running_loop()
        self._wires = {
            name: Wire(
                name,
                incarnation,
                run_dir,
                listens=True,
                connects=(),
                on_batch=partial(self._on_batch, name),
                on_lost=partial(self._on_lost, name),
                on_garbage=_garbage,
            )
            for name, incarnation in incarnations.items()
        }

    def start(self) -> None:
        """Begin to read."""
        for wire in self._wires.values():
            for descriptor in wire.descriptors:
                self._loop.add_reader(descriptor, self._read, wire, descriptor)
            tap = wire.tap
            self._loop.add_reader(tap.fileno(), self._shell.guard, tap.on_readable)

    def send(self, outgoing: Outgoing) -> None:
        """Send a batch; if that is not possible, the node is told before this returns."""
        self._wires[outgoing.name].send(outgoing.peer, outgoing.data)

    def forget(self, name: str, peer: str) -> None:
        """Forget the way to a gateway that is gone for good."""
        if name in self._wires:
            self._wires[name].forget(peer)

    def read_on(self) -> bool:
        """Read what the descriptors do not tell of; return whether there is more."""
        came = [wire.read_on() for wire in self._wires.values()]
        return any(came)

    def stop(self) -> None:
        """Close all."""
        for wire in self._wires.values():
            for descriptor in (*wire.descriptors, wire.tap.fileno()):
                self._loop.remove_reader(descriptor)
            wire.close()

    def _read(self, wire: Wire, descriptor: int) -> None:
        self._shell.guard(lambda: wire.read(descriptor))

    def _on_batch(self, name: str, batch: Batch, size: int) -> None:
        self._junction.receive(name, batch, size, self._loop.time(), time.time())

    def _on_lost(self, name: str, peer: str) -> None:
        self._junction.connection_lost(name, peer, self._loop.time())


def _garbage(why: str) -> None:
    _log.error("unreadable_batch", extra={"fox": {"reason": why}})
