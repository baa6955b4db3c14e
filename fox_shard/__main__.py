"""Run the `fox` command: `python -m fox_shard`."""

import sys

from fox_shard.cli import main

if __name__ == "__main__":
    sys.exit(main())
