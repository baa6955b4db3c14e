"""Dump and load: a dump of one broker goes into another one as a whole, or not at all."""

import io
import json
import os
from contextlib import closing

import pytest
from killed_programs import run_killed
from stored_rows import (
    event,
    files,
    fill,
    key_rows,
    link_rows,
    shard_rows,
    stored_rows,
    will_rows,
    write,
)

from fox_shard.backplane.frames import COMPUTED, Fold
from fox_shard.backplane.placement import Placement
from fox_shard.coordinator import rows as coordinator_rows
from fox_shard.datadir.backup import Loaded, dump, load
from fox_shard.datadir.resharding import reshard
from fox_shard.progress import unseen
from fox_shard.shard import rows
from fox_shard.shard.links.outbox import OWN
from fox_shard.store.layout import Layout, hold_alone, hold_shared
from fox_shard.store.sqlite import SqliteStore
from fox_shard.store.store import StoreError
from fox_shard.tables.schema import TableSet

KEYS = key_rows(300)
WILLS = will_rows(5)
FORMS = ["jsonl", "msgpack"]


def dump_of(folder, form="msgpack"):
    out = io.BytesIO()
    count = dump(folder, out, form)
    return count, out.getvalue()


@pytest.fixture
def two(tmp_path):
    """A data folder of two shards."""
    fill(tmp_path / "two", 2, {**KEYS, **WILLS})
    return tmp_path / "two"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_a_dump_can_be_loaded_into_a_new_folder(two, tmp_path, form, shards):
    count, data = dump_of(two, form)
    assert count == len(KEYS)
    loaded = load(tmp_path / "new", io.BytesIO(data), shards, replace=False)
    assert loaded == Loaded(len(KEYS), 0, 0)
    found, ceilings = stored_rows(tmp_path / "new")
    assert found == KEYS
    highest = max(rows.decode_event(value).publication for value in KEYS.values())
    assert len(ceilings) == shards
    assert min(ceilings) * 64 > highest


def test_dumping_changes_nothing(two):
    before = files(two)
    dump_of(two)
    assert files(two) == before


def test_a_dump_can_be_made_while_the_broker_runs(two):
    layout = Layout.read(two)
    outcomes = []
    key, value = next(iter(key_rows(1, realms=("new",)).items()))
    with (
        hold_shared(two, wait=False),
        closing(SqliteStore(*layout.shard(0), lambda *told: outcomes.append(told))) as store,
    ):
        store.write(1, {key: value})
        while not outcomes:
            pass
        count, data = dump_of(two, "jsonl")
    assert count == len(KEYS) + 1
    assert any(json.loads(line).get("realm") == "new" for line in data.splitlines())


def test_a_dump_of_empty_shards_is_empty(tmp_path):
    Layout.open(tmp_path, 2)
    count, data = dump_of(tmp_path)
    assert count == 0
    assert load(tmp_path / "new", io.BytesIO(data), 2, replace=False) == Loaded(0, 0, 0)


# Loading into a folder that holds data


def test_other_keys_and_wills_stay_where_they_are(two, tmp_path):
    more = key_rows(50, realms=("other",))
    fill(tmp_path / "more", 3, more)
    data = dump_of(tmp_path / "more")[1]
    # The folder has two shards and keeps them, whatever is configured.
    assert load(two, io.BytesIO(data), 5, replace=False) == Loaded(50, 0, 0)
    found, ceilings = stored_rows(two)
    assert found == {**KEYS, **WILLS, **more}
    assert ceilings == [1001] * 2
    assert Layout.read(two) == Layout(two, 2, 2)
    peers = set(link_rows(0)) - {rows.CEILING}
    assert not peers & set(shard_rows(Layout.read(two), 0))


def test_loading_a_dump_again_changes_nothing(two):
    data = dump_of(two)[1]
    assert load(two, io.BytesIO(data), 2, replace=False) == Loaded(300, 300, 0)
    assert stored_rows(two)[0] == {**KEYS, **WILLS}


def changed(folder):
    """Change one key of the folder; returns all rows that it has then."""
    layout = Layout.read(folder)
    key = rows.key("realm1", "sensors.0")
    value = rows.encode(event("realm1", "sensors.0", 999))
    shard = next(s for s in range(2) if key in shard_rows(layout, s))
    write(layout, shard, {key: value})
    return {**KEYS, **WILLS, key: value}


def test_keys_with_other_values_are_not_replaced_by_default(two):
    data = dump_of(two)[1]
    changed(two)
    before = files(two)
    with pytest.raises(
        StoreError,
        match=r"Nothing was loaded: 1 of 300 keys are there with other values, the first is "
        r"sensors\.0 in realm1: say --replace to replace them\.",
    ):
        load(two, io.BytesIO(data), 2, replace=False)
    assert files(two) == before


def test_keys_with_other_values_are_replaced_on_request(two):
    data = dump_of(two)[1]
    changed(two)
    assert load(two, io.BytesIO(data), 2, replace=True) == Loaded(300, 299, 1)
    assert stored_rows(two)[0] == {**KEYS, **WILLS}


def test_the_clock_goes_on_above_the_highest_loaded_key(two, tmp_path):
    layout = fill(tmp_path / "late", 1, {})
    late = event("realm1", "late", 5_000_000)
    write(layout, 0, {rows.key("realm1", "late"): rows.encode(late)})
    load(two, io.BytesIO(dump_of(tmp_path / "late")[1]), 2, replace=False)
    assert stored_rows(two)[1] == [5_000_001] * 2


# Refused


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_loaded_of_a_dump_that_was_cut_off(two, tmp_path, form):
    data = dump_of(two, form)[1]
    before = files(two)
    for length in (0, 1, len(data) // 2, len(data) - 3):
        for folder in (two, tmp_path / "new"):
            with pytest.raises(StoreError):
                load(folder, io.BytesIO(data[:length]), 2, replace=True)
    assert files(two) == before
    assert set(files(tmp_path / "new")) <= {"manifest.json"}


def test_nothing_is_loaded_while_a_shard_runs(two):
    data = dump_of(two)[1]
    before = files(two)
    with hold_shared(two, wait=False), pytest.raises(StoreError, match="stop the server"):
        load(two, io.BytesIO(data), 2, replace=True)
    assert files(two) == before


def test_nothing_is_dumped_while_files_are_moved(two):
    with hold_alone(two), pytest.raises(StoreError, match="try again when that has ended"):
        dump_of(two)


def test_a_folder_without_data_cannot_be_dumped(tmp_path):
    with pytest.raises(StoreError, match=r"Nothing is stored in .* yet"):
        dump_of(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_dumping_is_refused_if_the_file_of_a_shard_is_missing(two):
    (two / "generation-1" / "shard-0.sqlite").unlink()
    with pytest.raises(StoreError, match=r"shard-0.sqlite is missing"):
        dump_of(two)


def flip(path, value):
    """Change one bit of that value in the file, as a disk may."""
    data = path.read_bytes()
    start = data.index(value)
    path.write_bytes(data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :])


def file_with(folder, key):
    layout = Layout.read(folder)
    return next(layout.shard(n)[0] for n in range(layout.shards) if key in shard_rows(layout, n))


@pytest.mark.parametrize("use", ["dump", "reshard", "load"])
def test_a_damaged_row_is_named_and_nothing_is_changed(two, use):
    data = dump_of(two)[1]
    key = rows.key("realm1", "sensors.10")
    path = file_with(two, key)
    flip(path, KEYS[key])
    before = files(two)
    uses = {
        "dump": lambda: dump_of(two),
        "reshard": lambda: reshard(two, 3, progress=unseen),
        "load": lambda: load(two, io.BytesIO(data), 2, replace=True),
    }
    with pytest.raises(StoreError) as error:
        uses[use]()
    assert str(error.value) == (
        f"{path} is damaged: the checksum of the key sensors.10 of realm realm1 does not match: "
        f"move {two} away and restore a backup with `fox load`; if you have none, first make one "
        "of what is intact, with `fox dump --salvage`."
    )
    assert files(two) == before


def salvage(folder):
    """Dump what is intact; returns what was left out, and the topics in the dump."""
    out, left_out = io.BytesIO(), []
    count = dump(folder, out, "jsonl", left_out.append)
    topics = {json.loads(line).get("topic") for line in out.getvalue().splitlines()} - {None}
    assert count == len(topics)
    return left_out, topics


TOPICS = {f"sensors.{number}" for number in range(300)}


def test_intact_keys_can_be_salvaged(two):
    assert salvage(two) == ([], TOPICS)
    key = rows.key("realm1", "sensors.10")
    flip(file_with(two, key), KEYS[key])
    write(Layout.read(two), 1, {rows.key("realm1", "broken"): b"\xc1"})
    left_out, topics = salvage(two)
    assert set(left_out) == {
        "the key sensors.10 of realm realm1",
        "the key broken of realm realm1",
    }
    assert topics == TOPICS - {"sensors.10"}


def test_the_other_files_can_be_salvaged_if_one_is_missing(two):
    path = file_with(two, rows.key("realm1", "sensors.10"))
    path.unlink()
    left_out, topics = salvage(two)
    assert left_out == [f"{path} is missing"]
    assert 0 < len(topics) < len(TOPICS)


def test_keys_before_damaged_pages_can_be_salvaged(two):
    path = file_with(two, rows.key("realm1", "sensors.10"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    left_out, topics = salvage(two)
    assert left_out == [f"what follows in {path} (database disk image is malformed)"]
    assert len(TOPICS) > len(topics) > 100


def test_a_row_that_cannot_be_decoded_ends_the_dump(two):
    write(Layout.read(two), 0, {rows.key("realm1", "broken"): b"\xc1"})
    with pytest.raises(StoreError, match=r"broken' is damaged"):
        dump_of(two)


# Killed

LOADER = """
from fox_shard.datadir.backup import load
load(Path(folder), sys.stdin.buffer, 2, replace=False)
"""


@pytest.mark.parametrize("step", range(1, 16))
def test_loading_that_is_killed_at_any_step_has_loaded_all_or_nothing(tmp_path, step):
    old, more = key_rows(20), key_rows(20, realms=("other",))
    fill(tmp_path / "more", 2, more)
    folder = tmp_path / "data"
    fill(folder, 2, old)
    data = dump_of(tmp_path / "more")[1]
    run_killed(LOADER, f"{folder}{os.sep}", step, data)
    assert stored_rows(folder)[0] in (old, {**old, **more})
    load(folder, io.BytesIO(data), 2, replace=False)
    assert stored_rows(folder)[0] == {**old, **more}


def test_frames_between_shards_survive_a_load_but_are_not_in_a_dump(two, tmp_path):
    """They go on to the owner of their topic."""
    layout = Layout.read(two)
    fold = Fold("realm1", "a.b", 0, "=a.b", "", event("realm1", "a.b", 1))
    write(layout, 0, {rows.outbox("shard-1", 5): rows.encode(fold)})
    _, data = dump_of(two)
    load(two, io.BytesIO(data), 2, replace=False)
    owner = Placement(2).shard_of("realm1", "a.b")
    found = [shard_rows(Layout.read(two), shard).get(rows.outbox(OWN, 1)) for shard in range(2)]
    assert found == [rows.encode(fold) if shard == owner else None for shard in range(2)]
    load(tmp_path / "new", io.BytesIO(data), 1, replace=False)
    assert rows.outbox(OWN, 1) not in shard_rows(Layout.read(tmp_path / "new"), 0)


# Schemas

ID = {"properties": {"id": {"type": "string"}}, "primary_key": ["id"]}
TOTAL = {
    "type": "aggregate",
    "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
    "primary_key": ["id"],
    "count": ["n"],
}
SCHEMA = TableSet.parse({"sale": {**ID, "propagate": {"total": [{"key": ["id"]}]}}, "total": TOTAL})
OTHER = TableSet.parse({"b": ID})


def define(folder, version, schema, step=rows.ACTIVE, shards=(0, 1)):
    row = rows.encode(rows.DefinitionRow(version, schema.text))
    for shard in shards:
        write(Layout.read(folder), shard, {rows.definition("realm1", step): row})


def definitions(folder):
    """Return {step: (version, text)} of the realm, which all shards have in common."""
    layout = Layout.read(folder)
    found = []
    for shard in range(layout.shards):
        rows_ = shard_rows(layout, shard)
        keys = {step: rows.definition("realm1", step) for step in (rows.ACTIVE, rows.NEXT)}
        read = {s: rows.decode_definition(rows_[key]) for s, key in keys.items() if key in rows_}
        found.append({step: (row.version, row.text) for step, row in read.items()})
    assert all(one == found[0] for one in found)
    return found[0]


@pytest.mark.parametrize("form", FORMS)
def test_the_active_schema_comes_back_on_all_shards(two, tmp_path, form):
    define(two, 3, OTHER, shards=(0,))
    define(two, 4, SCHEMA, shards=(1,))
    define(two, 5, OTHER, step=rows.NEXT)
    _, data = dump_of(two, form)
    assert load(tmp_path / "new", io.BytesIO(data), 3, replace=False) == Loaded(300, 0, 0)
    assert definitions(tmp_path / "new") == {rows.ACTIVE: (1, SCHEMA.text)}
    assert dump_of(tmp_path / "new", form)[1].count(b"primary_key") == 2


def test_a_schema_without_keys_is_dumped_and_loaded(tmp_path):
    Layout.open(tmp_path / "old", 2)
    define(tmp_path / "old", 1, SCHEMA)
    count, data = dump_of(tmp_path / "old", "jsonl")
    assert (count, json.loads(data.splitlines()[1])["text"]) == (0, SCHEMA.text)
    load(tmp_path / "new", io.BytesIO(data), 2, replace=False)
    assert definitions(tmp_path / "new") == {rows.ACTIVE: (1, SCHEMA.text)}


def test_the_same_schema_stays_with_its_version_and_the_next_one(two):
    define(two, 4, SCHEMA)
    data = dump_of(two)[1]
    define(two, 5, OTHER, step=rows.NEXT)
    load(two, io.BytesIO(data), 2, replace=False)
    assert definitions(two) == {rows.ACTIVE: (4, SCHEMA.text), rows.NEXT: (5, OTHER.text)}


def test_a_dump_without_a_schema_leaves_the_schema_alone(two):
    data = dump_of(two)[1]
    define(two, 4, SCHEMA)
    load(two, io.BytesIO(data), 2, replace=True)
    assert definitions(two) == {rows.ACTIVE: (4, SCHEMA.text)}


def test_another_schema_is_replaced_on_request_only(two):
    define(two, 4, SCHEMA)
    data = dump_of(two)[1]
    define(two, 7, OTHER)
    define(two, 8, SCHEMA, step=rows.NEXT)
    before = files(two)
    with pytest.raises(StoreError, match="the realm realm1 is there with another schema: say --re"):
        load(two, io.BytesIO(data), 2, replace=False)
    assert files(two) == before
    path, label = Layout.read(two).coordinator
    row = coordinator_rows.encode(coordinator_rows.SchemaRow(7, OTHER.text, 9, "{}"))
    with closing(SqliteStore(path, label, lambda *_: None)) as store:
        store.write(1, {coordinator_rows.schema("realm1"): row})
    load(two, io.BytesIO(data), 2, replace=True)
    assert definitions(two) == {rows.ACTIVE: (10, SCHEMA.text)}


def test_rows_of_aggregates_that_the_loaded_schema_does_not_have_are_erased(two, tmp_path):
    Layout.open(tmp_path / "other", 2)
    define(tmp_path / "other", 1, OTHER)
    define(two, 4, SCHEMA)
    row = event("realm1", "total.x", 1)
    row.publish.flags |= COMPUTED
    write(Layout.read(two), 0, {rows.key("realm1", "total.x"): rows.encode(row)})
    data = dump_of(tmp_path / "other")[1]
    load(two, io.BytesIO(data), 2, replace=True)
    assert stored_rows(two)[0] == {**KEYS, **WILLS}


def test_a_schema_that_cannot_be_is_refused_and_nothing_is_made(two, tmp_path):
    define(two, 4, OTHER)
    data = dump_of(two, "jsonl")[1].replace(b"primary_key", b"primary_kex", 1)
    data = data.replace(b'[\\"id\\"]', b'[\\"ix\\"]').replace(b"primary_kex", b"primary_key")
    with pytest.raises(StoreError, match=r"the dump's schema of realm realm1 cannot be: \$\.b"):
        load(tmp_path / "new", io.BytesIO(data), 2, replace=False)
    assert not (tmp_path / "new").exists()


def test_a_schema_is_salvaged_from_the_shard_that_has_it(two, tmp_path):
    define(two, 4, SCHEMA)
    write(Layout.read(two), 0, {rows.definition("realm1", rows.ACTIVE): b"\xc1"})
    with pytest.raises(
        StoreError, match="the definitions of tables of realm realm1 cannot be read"
    ):
        dump_of(two)
    out, left_out = io.BytesIO(), []
    dump(two, out, "msgpack", left_out.append)
    assert left_out == ["the definitions of tables of realm realm1"]
    load(tmp_path / "new", io.BytesIO(out.getvalue()), 2, replace=False)
    assert definitions(tmp_path / "new") == {rows.ACTIVE: (1, SCHEMA.text)}
