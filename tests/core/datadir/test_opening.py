"""Opening a store: a process finds all its rows, or a reason not to start."""

import asyncio
from contextlib import closing

import pytest
from stored_rows import fill, key_rows

from fox_shard.config import Config
from fox_shard.datadir import opening
from fox_shard.store.store import StoreError

KEYS = key_rows(50)


def open_shard(folder, number, shards=2):
    """Return the rows with which that shard starts."""
    config = Config(shards=shards, data_dir=str(folder))
    opened, _ = asyncio.run(opening.open_shard(number, config, lambda ticket, why: None))
    with opened.hold, closing(opened.store), opening.loading(f"shard-{number}"):
        return dict(opened.store.scan())


def rows_of_all(folder):
    return {key for number in range(2) for key in open_shard(folder, number)}


def test_a_shard_starts_with_its_stored_rows(tmp_path):
    fill(tmp_path, 2, KEYS)
    assert rows_of_all(tmp_path) > set(KEYS)


def test_a_shard_of_a_new_folder_starts_with_nothing(tmp_path):
    assert rows_of_all(tmp_path / "data") == set()


def test_a_shard_does_not_start_if_its_file_was_deleted(tmp_path):
    layout = fill(tmp_path, 2, KEYS)
    path, _ = layout.shard(0)
    path.unlink()
    with pytest.raises(StoreError, match=rf"{path} is missing, and with it all keys of shard 0"):
        open_shard(tmp_path, 0)
    assert not path.exists()
    open_shard(tmp_path, 1)


def test_a_shard_does_not_start_with_a_changed_row(tmp_path):
    path, _ = fill(tmp_path, 1, KEYS).shard(0)
    data = path.read_bytes()
    assert data.count(b"[17]") == 1
    path.write_bytes(data.replace(b"[17]", b"[71]"))
    with pytest.raises(StoreError) as error:
        open_shard(tmp_path, 0, shards=1)
    assert str(error.value).startswith(
        f"{path} is damaged: the checksum of the key sensors.17 of realm com.example.ü does not "
        f"match: move {tmp_path} away and restore a backup with `fox load`; "
    )
