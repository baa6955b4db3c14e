"""Aggregates with another number of shards, and after a backup was loaded."""

import io
from random import Random

import pytest
from stored_rows import shard_rows, write
from table_shards import TableShards

from fox_shard.datadir import generation
from fox_shard.datadir.backup import dump, load
from fox_shard.datadir.resharding import reshard
from fox_shard.progress import unseen
from fox_shard.store.layout import Layout

SCHEMA = {
    "sale": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "shop": {"type": "string"},
            "n": {"type": "integer"},
        },
        "primary_key": ["id"],
        "propagate": {"total": [{"key": ["shop"], "fields": {"n": "n"}}]},
    },
    "total": {
        "type": "aggregate",
        "properties": {"shop": {"type": "string"}, "n": {"type": "integer"}},
        "primary_key": ["shop"],
        "sum": ["n"],
    },
}


@pytest.fixture(autouse=True)
def _identities(monkeypatch):
    """Let the files have the identities that the shards of the harness have."""
    monkeypatch.setattr(
        generation, "read_identity", lambda path, label: 1000 + int(path.stem.partition("-")[2])
    )


def stop(shards, folder):
    """Kill all shards, and write their rows into a data folder."""
    layout = Layout.open(folder, len(shards.nodes))
    for number, disk in enumerate(shards.disks):
        shards.nodes[number] = None
        write(layout, number, disk.rows)


def go_on(shards, folder):
    """Return shards that go on with what is in the data folder."""
    layout = Layout.read(folder)
    after = TableShards.of_rows([shard_rows(layout, n) for n in range(layout.shards)])
    after.schema = shards.schema
    after.version = shards.version
    return after


def publish_some(shards, seed):
    rng = Random(seed)
    for _ in range(40):
        row = {"id": f"s{rng.randrange(12)}", "shop": f"g{rng.randrange(5)}", "n": rng.randrange(9)}
        assert shards.put("sale", row) == ""


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 8])
@pytest.mark.parametrize(("old", "new"), [(2, 3), (2, 5), (4, 2)])
def test_contributions_under_way_go_with_another_number_of_shards(old, new, turns, tmp_path):
    shards = TableShards(SCHEMA, count=old)
    publish_some(shards, 1)
    shards.settle()
    publish_some(shards, 2)
    shards.turns(turns)
    stop(shards, tmp_path)
    reshard(tmp_path, new, progress=unseen)
    after = go_on(shards, tmp_path)
    after.check_aggregates()
    publish_some(after, 3)
    after.check_aggregates()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 8])
def test_a_definition_that_was_new_when_the_number_of_shards_changed(turns, tmp_path):
    shards = TableShards(SCHEMA)
    publish_some(shards, 1)
    shards.settle()
    other = {**SCHEMA, "total": {**SCHEMA["total"], "sum": [], "max": ["n"]}}
    shards.define(other, steps=["store"])
    shards.define(other, steps=["activate"])
    publish_some(shards, 2)
    shards.turns(turns)
    stop(shards, tmp_path)
    reshard(tmp_path, 3, progress=unseen)
    go_on(shards, tmp_path).check_aggregates()


def test_what_rows_of_a_backup_contribute_is_computed_anew(tmp_path):
    shards = TableShards(SCHEMA)
    publish_some(shards, 1)
    shards.settle()
    stop(shards, tmp_path / "data")
    backup = io.BytesIO()
    dump(tmp_path / "data", backup, "jsonl")
    later = go_on(shards, tmp_path / "data")
    publish_some(later, 2)
    stop(later, tmp_path / "later")
    backup.seek(0)
    load(tmp_path / "later", backup, 2, replace=True)
    after = go_on(later, tmp_path / "later")
    after.check_aggregates()


def test_a_backup_in_a_new_folder(tmp_path):
    shards = TableShards(SCHEMA)
    publish_some(shards, 1)
    shards.settle()
    stop(shards, tmp_path / "data")
    backup = io.BytesIO()
    dump(tmp_path / "data", backup, "jsonl")
    backup.seek(0)
    load(tmp_path / "new", backup, 3, replace=False)
    after = go_on(shards, tmp_path / "new")
    after.define(SCHEMA)
    after.check_aggregates()
