"""What a process needs of its machine.

Owns: the figures, and their names in reports. Never: measuring (see `runtime.usage`).
"""

from typing import Final, NamedTuple


class Usage(NamedTuple):
    """Processor time since the last report in milliseconds, and memory at present in bytes."""

    cpu_milliseconds: int
    memory: int

    def counters(self) -> dict[str, int]:
        """Return the counters of a report."""
        return {"cpu_milliseconds": self.cpu_milliseconds} if self.memory else {}

    def gauges(self) -> dict[str, int]:
        """Return the gauges of a report."""
        return {"memory_bytes": self.memory} if self.memory else {}


NO_USAGE: Final = Usage(0, 0)
"""Nobody has measured it: in simulations, and of nodes that share a process with another one."""
