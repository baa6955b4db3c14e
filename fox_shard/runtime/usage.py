"""What this process needs of its machine, as Linux tells.

Owns: reading it. Never: who is told.
"""

import time
from typing import final

from fox_shard.backplane.usage import Usage
from fox_shard.runtime.memory import resident_bytes


@final
class UsageMeter:
    """The processor time since it was last asked for, and the memory of now."""

    def __init__(self) -> None:
        self._reported = 0

    def take(self) -> Usage:
        """Return both."""
        total = round(1000 * time.process_time())
        used, self._reported = total - self._reported, total
        return Usage(used, resident_bytes())
