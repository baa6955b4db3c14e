"""The version of fox-shard, which clients, $SYS and `fox version` are told."""

from typing import Final

__version__: Final = "0.1.0"
