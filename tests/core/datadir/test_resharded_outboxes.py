"""Frames between shards have their effects once, although the number of shards changes."""

from random import Random

import pytest
from shards import Shards
from stored_rows import shard_rows, write

from fox_shard.datadir.resharding import reshard
from fox_shard.progress import unseen
from fox_shard.store.file import read_identity
from fox_shard.store.journal import TRIAL
from fox_shard.store.layout import Layout
from fox_shard.testing.ledger import SENT, missing, numbers_in, rows_of


def stopped_somewhere(shards, rng):
    """Let the shards send each other frames, and stop all of them at some moment."""
    count = len(shards.nodes)
    for _ in range(rng.randrange(1, 30)):
        source, target = rng.randrange(count), rng.randrange(count)
        topic = rng.randrange(2)
        shards.send(source, target, rng.choice((1, 3)), revocable=bool(topic), topic=topic)
        shards.turns(rng.choice((0, 1, 2)))
        for disk in shards.disks:
            disk.held = rng.random() < 0.3
        if rng.random() < 0.2:
            shards.cut = {(rng.randrange(count), rng.randrange(count))}
    for disk in shards.disks:
        if rng.random() < 0.5:
            disk.commit()


@pytest.mark.parametrize("seed", range(15))
def test_each_frame_has_its_effect_once_in_the_order_of_sending(tmp_path, seed):
    rng = Random(seed)
    old, new = rng.sample(range(2, 6), 2)
    layout = Layout.open(tmp_path, old)
    identities = [read_identity(*layout.shard(number)) for number in range(old)]
    shards = Shards(old, identities=identities)
    stopped_somewhere(shards, rng)
    before = [dict(disk.rows) for disk in shards.disks]
    for number, found in enumerate(before):
        write(layout, number, found)
    reshard(tmp_path, new, progress=unseen)
    layout = Layout.read(tmp_path)
    after = Shards(new, stored=[shard_rows(layout, number) for number in range(new)])
    after.settle()
    # Ledgers stay behind.
    handled = {}
    for found in [*before, *(disk.rows for disk in after.disks)]:
        for topic, numbers in numbers_in(found).items():
            if not topic.startswith(SENT):
                handled.setdefault(topic, []).extend(numbers)
    sent = [
        {k: v for k, v in found.items() if k.startswith(TRIAL + SENT.encode())} for found in before
    ]
    assert missing([*sent, rows_of(handled)], shards.targets) == ""
