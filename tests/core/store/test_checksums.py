"""Checksums: any change in a file is found, or does no harm; old files get checksums."""

import sqlite3
from contextlib import closing

import pytest
from store_outcomes import Outcomes

from fox_shard.store.bulk import Bulk
from fox_shard.store.checksums import is_intact, sealed
from fox_shard.store.file import Label, Lookup, identity_of, open_to_read, read, salvage
from fox_shard.store.sqlite import SqliteStore
from fox_shard.store.store import DamagedRow, StoreError

LABEL = Label("shard 0 of 2", 1)
ROWS = {b"k%d" % number: b"value %d" % number for number in range(40)}


def make(path, rows=ROWS):
    with closing(SqliteStore(path, LABEL, Outcomes())) as store:
        store.write(1, dict(rows))
    return store.identity


def content(path):
    """Return the identity and the rows that a process finds when it opens the file."""
    with closing(SqliteStore(path, LABEL, Outcomes())) as store:
        return store.identity, dict(store.scan())


def change(path, sql, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql, values)


def without_checksums(path):
    """Turn the file into one of format 1."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'checksum'")
        connection.execute("UPDATE meta SET value = 1 WHERE name = 'format'")
        connection.execute("UPDATE kv SET v = substr(v, 1, length(v) - 4)")


@pytest.mark.parametrize("value", [b"", b"v", bytes(10_000)])
def test_a_changed_bit_of_key_or_value_is_found(value):
    key, stored = b"key", sealed(b"key", value)
    assert is_intact(key, stored)
    for position in {0, 1, 2, len(stored) // 2, len(stored) - 1} & set(range(len(stored))):
        for bit in range(8):
            changed = bytearray(stored)
            changed[position] ^= 1 << bit
            assert not is_intact(key, bytes(changed))
    assert not is_intact(b"kez", stored)
    assert not is_intact(key, stored[:-1])


@pytest.mark.parametrize(
    ("key", "stored"), [(b"k", b""), (b"k", b"abc"), (b"k", "text"), (b"k", None), (1, b"abcd")]
)
def test_a_malformed_row_is_not_intact(key, stored):
    assert not is_intact(key, stored)


def test_a_changed_value_is_refused(tmp_path):
    path = tmp_path / "shard-0.sqlite"
    make(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"value 7", b"value 9", 1))
    with pytest.raises(DamagedRow, match=r"shard-0.sqlite is damaged: the checksum of .*b'k7'"):
        content(path)


def test_a_bit_anywhere_in_the_file_is_found_or_does_no_harm(tmp_path):
    """One bit of each byte is changed, except in zero bytes, most of which are not in use."""
    path = tmp_path / "shard-0.sqlite"
    identity = make(path)
    data = path.read_bytes()
    refused = 0
    for position in [position for position, byte in enumerate(data) if byte]:
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            with closing(open_to_read(path, LABEL)) as connection:
                assert identity_of(connection) == identity
            assert dict(read(path, LABEL)) == ROWS, f"byte {position}"
        except StoreError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize("key", ["text", 7])
def test_a_key_of_another_type_is_found(tmp_path, key):
    path = tmp_path / "shard-0.sqlite"
    make(path)
    change(path, "UPDATE kv SET k = ? WHERE k = ?", key, b"k7")
    with pytest.raises(StoreError, match="is damaged"):
        list(read(path, LABEL, b"k3"))


def test_the_lookup_of_a_single_row_checks_it(tmp_path):
    path = tmp_path / "shard-0.sqlite"
    make(path)
    change(path, "UPDATE kv SET v = x'00010203040506' WHERE k = ?", b"k7")
    with closing(Lookup(path, LABEL)) as lookup:
        assert lookup.get(b"k8") == b"value 8"
        assert lookup.get(b"none") is None
        with pytest.raises(DamagedRow, match="b'k7'"):
            lookup.get(b"k7")


def test_salvaging_leaves_out_damaged_rows_and_reports_them(tmp_path):
    path = tmp_path / "shard-0.sqlite"
    make(path)
    change(path, "UPDATE kv SET v = x'00010203040506' WHERE k IN (?, ?)", b"k7", b"k9")
    change(path, "UPDATE kv SET k = 'text' WHERE k = ?", b"k8")
    damaged = []
    found = dict(salvage(path, LABEL, b"", damaged.append))
    assert damaged == [b"text", b"k7", b"k9"]
    assert found == {key: value for key, value in ROWS.items() if key not in (b"k7", b"k8", b"k9")}


# Files of format 1, which have no checksums


def test_an_old_file_is_upgraded_when_it_is_opened(tmp_path):
    path = tmp_path / "shard-0.sqlite"
    identity = make(path)
    without_checksums(path)
    assert content(path) == (identity, ROWS)
    assert content(path) == (identity, ROWS)
    change(path, "UPDATE kv SET v = x'00010203040506' WHERE k = ?", b"k7")
    with pytest.raises(DamagedRow):
        content(path)


def test_an_old_file_can_be_read_without_changing_it(tmp_path):
    path = tmp_path / "shard-0.sqlite"
    make(path)
    without_checksums(path)
    before = path.read_bytes()
    assert dict(read(path, LABEL)) == ROWS
    assert dict(salvage(path, LABEL, b"k1", pytest.fail)) == {
        key: value for key, value in ROWS.items() if key.startswith(b"k1")
    }
    with closing(Lookup(path, LABEL)) as lookup:
        assert lookup.get(b"k7") == b"value 7"
    assert path.read_bytes() == before


def test_rows_written_into_an_upgraded_file_have_checksums(tmp_path):
    path = tmp_path / "shard-0.sqlite"
    make(path)
    without_checksums(path)
    with closing(SqliteStore(path, LABEL, Outcomes())) as store:
        store.write(1, {b"new": b"1", b"k0": b"2", b"k1": None})
    rows = {**ROWS, b"new": b"1", b"k0": b"2"}
    del rows[b"k1"]
    assert content(path)[1] == rows


def test_files_written_in_bulk_have_checksums(tmp_path):
    path = tmp_path / "shard-0.sqlite"
    bulk = Bulk(path, LABEL)
    bulk.put([part for row in ROWS.items() for part in row])
    bulk.finish()
    assert content(path)[1] == ROWS
    path.write_bytes(path.read_bytes().replace(b"value 7", b"value 9", 1))
    with pytest.raises(DamagedRow):
        content(path)
