"""How much memory this process has.

Owns: what the kernel says of it. Never: limits.
"""

import os
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return the bytes of the process in memory, 0 where the kernel does not say (proc(5))."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except OSError:
        return 0
