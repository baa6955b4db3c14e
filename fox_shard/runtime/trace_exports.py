"""Whether spans of a node leave this process.

Owns: the decision, without which OpenTelemetry is not loaded. Never: OpenTelemetry (see `tracing`).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fox_shard.backplane.node import Node
from fox_shard.config import Config

if TYPE_CHECKING:
    from fox_shard.runtime.tracing import Tracing


def tracing_of(config: Config, node: Node) -> "Tracing | None":
    """Return the tracing of the node; None: nobody wants it. Raises StartError."""
    if not config.tracing.endpoint:
        return None
    from fox_shard.runtime.tracing import Tracing

    return Tracing(config.tracing.endpoint, node)


def tracings_of(config: Config, nodes: Iterable[Node]) -> "list[Tracing]":
    """Return the tracings of several nodes; none, if nobody wants them. Raises StartError."""
    return [one for node in nodes if (one := tracing_of(config, node)) is not None]
