"""How a node in an application's process is, and what it has counted.

Owns: the answer at its socket in the run directory, without what is known of the process. Never:
the socket (see `runtime.health_socket`).
"""

import asyncio
from collections.abc import Callable

from fox_shard.backplane.node import Node


def health_of(node: Node, schedule: Callable[[], None]) -> dict[str, object]:
    """Return the answer. schedule: lets the node take part in a turn, in which it may report."""
    now = asyncio.get_running_loop().time()
    if node.totals.are_old(now):
        node.send_report(now)
        schedule()
    return {**node.health(), "metrics": node.totals.state(now)}
