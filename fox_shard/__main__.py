"""`python -m fox_shard` is the `fox` command."""

import sys

from fox_shard.cli import main

if __name__ == "__main__":
    sys.exit(main())
