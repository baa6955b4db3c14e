"""The socket at which the coordinator tells what all processes have counted.

Owns: its place in the run directory, and the form of an answer. Never: sums (see
`coordinator.totals`); who asks (see `server_metrics`).
"""

import time
from pathlib import Path

import msgspec

from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.runtime.answer_socket import AnswerSocket


def path_of(run_dir: Path) -> Path:
    """Return where the socket is."""
    return run_dir / "coordinator.metrics"


async def open_sums_socket(run_dir: Path, coordinator: CoordinatorNode) -> AnswerSocket:
    """Return the open socket, which answers with `Sums` as MessagePack."""
    socket = AnswerSocket(
        path_of(run_dir), lambda: msgspec.msgpack.encode(coordinator.sums(time.monotonic()))
    )
    await socket.open()
    return socket
