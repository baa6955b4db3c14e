"""Waiting until the aggregates of a realm are computed by its present schema.

Owns: how far that is. Never: the computing, which the shards do.
"""

import time
from typing import Any, Final

from fox_shard.client import Session
from fox_shard.progress import Progress

LOOK: Final = 0.2
"""Seconds between two looks."""


def await_rebuilt(router: Session, progress: Progress) -> None:
    """Return when each shard has scanned its rows for all aggregates, and shows the results."""
    while True:
        done, total = steps(router.call("fox.table.list")[0])
        progress("steps of the shards", done, total)
        if done == total:
            return
        time.sleep(LOOK)


def steps(tables: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how many steps are done, and how many there are: two for each aggregate and shard."""
    aggregates = [one for one in tables if one.get("aggregate")]
    total = sum(2 * one["shards"] for one in aggregates)
    done = sum(one["scanned"] + one["shown"] for one in aggregates)
    # The last step is seen by `complete`: there may be changes on their way between shards.
    return (total if all(one["complete"] for one in aggregates) else min(done, total - 1)), total
