"""Resharding: for another number of shards, each row goes to the shard that will own its topic.

Owns: which rows are moved, and the summary. Never: files (see `generation`).
"""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from fox_shard.backplane.placement import Placement
from fox_shard.datadir.generation import (
    NextGeneration,
    count_rows,
    home_of,
    read_rows,
    remove_others,
    require,
    size,
    stored,
)
from fox_shard.progress import Progress, counted
from fox_shard.shard import rows
from fox_shard.store.layout import Layout, hold_alone, hold_shared
from fox_shard.store.refusals import refusing


class Summary(NamedTuple):
    """The result of resharding, or of a dry run.

    old, new: numbers of shards. keys, wills, events: numbers of retained keys, wills and recorded
    events. moved: how many of them go to another shard. per_shard: how many of them each new shard
    has.
    """

    old: int
    new: int
    generation: int
    keys: int
    wills: int
    events: int
    moved: int
    per_shard: list[int]


def reshard(data_dir: Path, shards: int, *, progress: Progress, dry_run: bool = False) -> Summary:
    """Rewrite all shards' files for that number of shards; after a kill, this can be run again.

    The coordinator's file stays. dry_run: only count, which is allowed while the server runs.
    Raises StoreError; ValueError if `shards` is not 1 to 64.
    """
    placement = Placement(shards)
    require(data_dir)
    if dry_run:
        with hold_shared(data_dir, wait=False):
            return _move(stored(data_dir), placement, progress, None)
    with hold_alone(data_dir), ExitStack() as stack:
        old = stored(data_dir)
        if old.shards == shards:
            with refusing(data_dir):
                remove_others(old)
            return _move(old, placement, progress, None)
        generation = stack.enter_context(NextGeneration(old, shards, size(old)))
        summary = _move(old, placement, progress, generation)
        generation.finish(old)
        return summary


def _move(
    old: Layout, placement: Placement, progress: Progress, into: NextGeneration | None
) -> Summary:
    """Move all rows into the next generation. into: None: only count."""
    kinds = dict.fromkeys((rows.KEY, rows.WILL, rows.RECORDED), 0)
    moved = 0
    per_shard = [0] * placement.shards
    for row in counted(read_rows(old), progress, "rows", count_rows(old)):
        key, value, source = row
        home = into.carry_over(row) if into else home_of(key, value, placement)
        if home is not None and key[:1] in kinds:
            kinds[key[:1]] += 1
            per_shard[home] += 1
            moved += home != source
    return Summary(
        old=old.shards,
        new=placement.shards,
        generation=into.layout.generation if into else old.generation,
        keys=kinds[rows.KEY],
        wills=kinds[rows.WILL],
        events=kinds[rows.RECORDED],
        moved=moved,
        per_shard=per_shard,
    )
