"""How a node in an application's process is, and what it has counted.

Owns: the answer at its socket in the run directory, without what is known of the process. Never:
the socket (see `runtime.health_socket`).
"""

import asyncio
from collections.abc import Callable

from fox_shard.backplane.node import Node
from fox_shard.backplane.usage import NO_USAGE, Usage
from fox_shard.runtime.memory import resident_bytes


def health_of(node: Node, schedule: Callable[[], None]) -> dict[str, object]:
    """Return the answer. schedule: lets the node take part in a turn, in which it may report."""
    now = asyncio.get_running_loop().time()
    if node.totals.are_old(now):
        # Of the nodes of a process, the gateway tells what memory that has (see `JunctionShell`).
        is_gateway = node.name.startswith("gateway-")
        node.send_report(now, Usage(0, resident_bytes()) if is_gateway else NO_USAGE)
        schedule()
    return {**node.health(), "metrics": node.totals.state(now)}
