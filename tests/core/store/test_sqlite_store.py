"""The SQLite store: commits, failing disks, files that are refused, and killed processes."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from threading import Semaphore

import pytest
from disks import Broken, Full, Mount
from store_outcomes import PATIENCE, Outcomes

from fox_shard.store.file import Label
from fox_shard.store.sqlite import SqliteStore
from fox_shard.store.store import StoreError

LABEL = Label("shard 0 of 2", 1)


class Gated(Outcomes):
    """Outcomes that hold the store's thread in each call until the test lets it go on."""

    def __init__(self):
        super().__init__()
        self._permits = Semaphore(0)

    def __call__(self, ticket, why):
        super().__call__(ticket, why)
        assert self._permits.acquire(timeout=PATIENCE)

    def go_on(self, times=1):
        self._permits.release(times)


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens stores; they are closed after the test."""
    stores = []

    def open_store(outcomes=None, path=tmp_path / "shard-0.sqlite", label=LABEL):
        stores.append(SqliteStore(path, label, outcomes or Outcomes()))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def rows(tmp_path, label=LABEL, name="shard-0.sqlite"):
    with closing(SqliteStore(tmp_path / name, label, Outcomes())) as store:
        return dict(store.scan())


def content(folder):
    """Return the files of a folder, except locks and what SQLite has beside a file in use."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith((".lock", "-shm", "-wal"))
    }


# Commits


def test_waiting_writes_become_one_transaction(opened):
    outcomes = Gated()
    store = opened(outcomes)
    store.write(1, {b"a": b"1"})
    outcomes.wait_for(1)
    for ticket in range(2, 101):
        store.write(ticket, {b"a": b"%d" % ticket, b"k%d" % ticket: b"v"})
    outcomes.go_on(2)
    outcomes.wait_for(100)
    assert outcomes.all == [(1, ""), (100, "")]
    assert dict(store.scan()) == {b"a": b"100", **{b"k%d" % n: b"v" for n in range(2, 101)}}


def test_a_store_is_the_same_when_it_is_opened_again(opened, tmp_path):
    store = opened()
    store.write(1, {b"a": b"1"})
    store.close()
    again = opened()
    assert again.identity == store.identity
    assert list(again.scan()) == [(b"a", b"1")]
    assert set(content(tmp_path)) == {"shard-0.sqlite"}


def test_identities_differ(opened, tmp_path):
    stores = [opened(path=tmp_path / f"{number}.sqlite") for number in range(3)]
    assert len({store.identity for store in stores}) == 3


def test_folders_are_made_and_are_the_users_own(opened, tmp_path):
    opened(path=tmp_path / "data" / "generation-1" / "shard-0.sqlite")
    assert (tmp_path / "data" / "generation-1").stat().st_mode & 0o777 == 0o700


def test_a_path_may_have_any_characters(opened, tmp_path):
    store = opened(path=tmp_path / "100% süß?mode=memory#1.sqlite")
    store.write(1, {b"a": b"1"})
    store.close()
    assert rows(tmp_path, name="100% süß?mode=memory#1.sqlite") == {b"a": b"1"}


def test_a_closed_store_refuses_writes(opened):
    store = opened()
    store.close()
    with pytest.raises(StoreError, match="Nobody writes to"):
        store.write(1, {b"a": b"1"})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_store_whose_thread_has_died_refuses_writes(opened):
    store = opened(lambda ticket, why: 1 / 0)
    store.write(1, {b"a": b"1"})
    store._thread.join()
    with pytest.raises(StoreError, match="Nobody writes to"):
        store.write(2, {b"a": b"2"})


# Disks that fail


@pytest.fixture(params=[Full, Broken])
def disk(request, tmp_path):
    try:
        disk = request.param(tmp_path / "disk")
    except PermissionError as error:
        pytest.skip(str(error))
    yield disk
    disk.remove()


MANY = {b"%d" % number: bytes(1000) for number in range(3000)}


@pytest.mark.parametrize("changes", [{b"b": bytes(10_000)}, MANY], ids=["small", "large"])
def test_a_write_that_the_disk_refuses_is_undone_and_reported_and_can_be_resumed(
    opened, disk, tmp_path, changes
):
    outcomes = Outcomes()
    store = opened(outcomes, tmp_path / "disk" / "shard-0.sqlite")
    store.write(1, {b"a": b"1"})
    outcomes.wait_for(1)
    disk.break_down()
    store.write(2, dict(changes))
    ticket, why = outcomes.wait_for_failure()
    assert ticket == 2
    assert "disk" in why
    assert str(tmp_path / "disk" / "shard-0.sqlite") in why
    store.write(3, {b"a": b"3"})
    store.write(4, dict(changes), resume=True)
    assert outcomes.wait_for_failure(2)[0] == 4
    disk.repair()
    store.write(5, {b"a": b"5"})
    store.write(6, {b"c": b"6"}, resume=True)
    store.write(7, {b"d": b"7"})
    outcomes.wait_for(7)
    assert [ticket for ticket, _ in outcomes.failures] == [2, 4]
    assert dict(store.scan()) == {b"a": b"1", b"c": b"6", b"d": b"7"}
    store.close()
    assert rows(tmp_path / "disk") == {b"a": b"1", b"c": b"6", b"d": b"7"}


def test_the_first_ticket_of_a_failed_transaction_is_reported(opened, tmp_path):
    disk = Broken(tmp_path / "disk")
    outcomes = Gated()
    store = opened(outcomes, tmp_path / "disk" / "shard-0.sqlite")
    store.write(1, {b"a": b"1"})
    outcomes.wait_for(1)
    for ticket in (2, 3, 4):
        store.write(ticket, {b"a": b"x"})
    disk.break_down()
    outcomes.go_on()
    assert outcomes.wait_for_failure()[0] == 2
    disk.repair()
    store.write(5, {b"b": b"x"})
    store.write(6, {b"c": b"6"}, resume=True)
    store.write(7, {b"c": b"7"})
    outcomes.go_on(2)
    outcomes.wait_for(7)
    assert [ticket for ticket, _ in outcomes.all] == [1, 2, 7]
    assert dict(store.scan()) == {b"a": b"1", b"c": b"7"}


def test_a_read_only_disk_is_refused(opened, tmp_path):
    try:
        disk = Mount(tmp_path / "disk")
    except PermissionError as error:
        pytest.skip(str(error))
    try:
        opened(path=tmp_path / "disk" / "shard-0.sqlite").close()
        disk.make_read_only()
        with pytest.raises(StoreError, match=r"shard-0.sqlite cannot be used \(Read-only"):
            opened(path=tmp_path / "disk" / "shard-0.sqlite")
    finally:
        disk.remove()


# Files that are refused


def make(path, label=LABEL, count=2000):
    store = SqliteStore(path, label, Outcomes())
    store.write(1, {b"%d" % number: bytes(100) for number in range(count)})
    store.close()


def overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def foreign(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE meta (something)")


def of_a_newer_version(path):
    make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET value = 3 WHERE name = 'format'")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is no store of fox-shard: move it away."),
        (lambda path: path.write_bytes(b"hello"), "is no store of fox-shard: move it away."),
        (lambda path: path.write_bytes(b"hello" * 9000), "is no store of fox-shard: move it away."),
        (foreign, "is no store of fox-shard: move it away."),
        (lambda path: make(path) or overwrite(path, 100, bytes(900)), "is damaged"),
        (lambda path: make(path) or overwrite(path, 0, bytes(50)), "is no store of fox-shard"),
        (of_a_newer_version, "start the version of fox-shard that wrote it."),
        (
            lambda path: make(path, Label("coordinator", 0)),
            "is the store of coordinator, not of shard 0 of 2, generation 1: move it",
        ),
        (
            lambda path: make(path, Label("shard 1 of 2", 1)),
            "is the store of shard 1 of 2, generation 1, not of shard 0 of 2, generation 1: move",
        ),
        (
            lambda path: make(path, Label("shard 0 of 2", 2)),
            "is the store of shard 0 of 2, generation 2, not of",
        ),
        (lambda path: path.mkdir() or (path / "a").touch(), "cannot be used"),
    ],
)
def test_a_file_that_is_not_this_store_is_refused_and_stays_unchanged(
    opened, tmp_path, made, sentence
):
    path = tmp_path / "store" / "shard-0.sqlite"
    path.parent.mkdir()
    made(path)
    before = content(path if path.is_dir() else path.parent)
    with pytest.raises(StoreError, match=r".*shard-0\.sqlite ") as error:
        opened(path=path)
    assert sentence in str(error.value)
    assert content(path if path.is_dir() else path.parent) == before


def test_damage_is_found_while_scanning(opened, tmp_path):
    path = tmp_path / "shard-0.sqlite"
    make(path, count=20_000)
    overwrite(path, path.stat().st_size // 8 * 4, b"\xff" * 8192)
    store = opened()
    found = []
    with pytest.raises(StoreError, match=r"is damaged .*: move it away"):
        found.extend(store.scan())


def test_a_file_that_is_in_use_is_refused(opened):
    store = opened()
    with pytest.raises(StoreError, match="is in use by another process: stop that one"):
        opened()
    store.close()
    opened()


def test_an_unfinished_file_is_made_again(opened, tmp_path):
    (tmp_path / "shard-0.sqlite.new").write_bytes(b"half")
    store = opened()
    assert list(store.scan()) == []
    assert set(content(tmp_path)) == {"shard-0.sqlite"}


# Killed processes

WRITER = """
import sys
from pathlib import Path
from fox_shard.store.file import Label
from fox_shard.store.sqlite import SqliteStore

def told(ticket, why):
    print(ticket, why, flush=True)

store = SqliteStore(Path(sys.argv[1]), Label("shard 0 of 2", 1), told)
ticket = 0
while True:
    ticket += 1
    rows = {b"%d-%d" % (ticket, number): b"%d" % ticket for number in range(ticket % 7)}
    store.write(ticket, {b"last": b"%d" % ticket, **rows})
"""


@pytest.mark.parametrize("enough", [1, 20, 3000, 12_000])
def test_a_killed_process_leaves_all_acknowledged_tickets_and_no_partial_one(tmp_path, enough):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "shard-0.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        acknowledged = 0
        while acknowledged < enough:
            ticket, _, why = writer.stdout.readline().partition(" ")
            assert not why.strip()
            acknowledged = int(ticket)
        writer.kill()
    found = rows(tmp_path)
    last = int(found.pop(b"last"))
    assert last >= acknowledged
    assert found == {
        b"%d-%d" % (ticket, number): b"%d" % ticket
        for ticket in range(1, last + 1)
        for number in range(ticket % 7)
    }
