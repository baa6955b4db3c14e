"""The layout of a data folder: the manifest, the paths of files, and the lock."""

import subprocess
import sys

import pytest
from killed_programs import run_killed

from fox_shard.store import layout as layout_module
from fox_shard.store.file import count
from fox_shard.store.layout import Layout, hold_alone, hold_shared
from fox_shard.store.store import StoreError

LOCKER = """
import sys
from pathlib import Path
from fox_shard.store.layout import hold_alone, hold_shared
folder = Path(sys.argv[1])
hold = hold_alone(folder) if sys.argv[2] == "alone" else hold_shared(folder, wait=True)
print("held", flush=True)
sys.stdin.read()
"""

CREATOR = """
import sys
from pathlib import Path
from fox_shard.store.layout import Layout
print("ready", flush=True)
sys.stdin.readline()
print(Layout.open(Path(sys.argv[1]), int(sys.argv[2])).shards)
"""

FILES = {"manifest.json", "lock", "generation-1"}


def manifest(folder):
    return folder / "manifest.json"


def test_a_new_folder_has_no_layout(tmp_path):
    assert Layout.read(tmp_path) is None
    assert Layout.read(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


def test_the_first_layout_is_generation_1(tmp_path):
    folder = tmp_path / "var" / "data"
    begun = []
    layout = Layout.open(folder, 3, begun.append)
    assert layout == Layout(folder, 1, 3)
    assert begun == [folder]
    assert Layout.open(folder, 3, pytest.fail) == Layout.read(folder) == layout
    assert manifest(folder).read_text() == '{"format":2,"generation":1,"shards":3}'
    assert {path.name for path in folder.iterdir()} == FILES
    shards = [f"shard-{number}.sqlite" for number in range(3)]
    assert sorted(path.name for path in layout.directory.iterdir()) == shards
    assert folder.stat().st_mode & 0o777 == 0o700


def test_an_existing_layout_stays(tmp_path):
    Layout.open(tmp_path, 3)
    assert Layout.open(tmp_path, 5) == Layout(tmp_path, 1, 3)


def test_a_layout_is_replaced_by_the_next_generation(tmp_path):
    layout = Layout.open(tmp_path, 3).next(5)
    assert Layout.read(tmp_path).generation == 1
    layout.replace()
    assert Layout.read(tmp_path) == Layout(tmp_path, 2, 5)
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_each_store_has_a_file_and_a_label(tmp_path):
    layout = Layout(tmp_path, 4, 3)
    path, label = layout.shard(2)
    assert path == tmp_path / "generation-4" / "shard-2.sqlite"
    assert label == ("shard 2 of 3", 4)
    assert str(label) == "shard 2 of 3, generation 4"
    path, label = layout.coordinator
    assert path == tmp_path / "coordinator.sqlite"
    assert str(label) == "coordinator"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged"),
        ('{"format": 0, "generation": 1, "shards": 2}', "is damaged"),
        ('{"format": 1, "generation": 0, "shards": 2}', "is damaged"),
        ('{"format": 1, "generation": 1, "shards": 65}', "is damaged"),
        ('{"format": 1, "generation": 1, "shards": "2"}', "is damaged"),
        ('{"format": 3, "other": true}', "start the version of fox-shard that wrote it."),
    ],
)
def test_a_damaged_or_newer_manifest_is_refused(tmp_path, text, sentence):
    manifest(tmp_path).write_text(text)
    for read in (Layout.read, lambda folder: Layout.open(folder, 2)):
        with pytest.raises(StoreError) as error:
            read(tmp_path)
        assert str(error.value).startswith(str(manifest(tmp_path)))
        assert sentence in str(error.value)
    assert manifest(tmp_path).read_text() == text


def test_a_lost_manifest_is_reported(tmp_path):
    (tmp_path / "generation-3").mkdir()
    with pytest.raises(StoreError, match=r"manifest.json is missing, but generation-3 is there"):
        Layout.open(tmp_path, 2)
    assert not manifest(tmp_path).exists()


def test_an_unreadable_manifest_is_refused(tmp_path):
    manifest(tmp_path).mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        Layout.read(tmp_path)


def test_processes_that_start_together_agree_on_a_layout(tmp_path):
    counts = [2, 3, 4, 5, 6]
    creators = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, str(tmp_path), str(shards)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for shards in counts
    ]
    assert {creator.stdout.readline() for creator in creators} == {"ready\n"}
    for creator in creators:
        creator.stdin.write("\n")
        creator.stdin.flush()
    seen = {int(creator.communicate()[0]) for creator in creators}
    assert seen == {Layout.read(tmp_path).shards}
    assert seen <= set(counts)
    assert {path.name for path in tmp_path.iterdir()} == FILES


# Lost files


@pytest.mark.parametrize("shards", [1, 2])
def test_a_lost_file_is_reported(tmp_path, shards):
    layout = Layout.open(tmp_path, shards)
    path, _ = layout.shard(0)
    path.unlink()
    found = Layout.open(tmp_path, shards)
    for number in range(1, shards):
        found.require(number)
    with pytest.raises(StoreError) as error:
        found.require(0)
    assert str(error.value).startswith(f"{path} is missing, and with it all keys of shard 0: bring")
    assert f"move {tmp_path} away and restore a backup with `fox load`" in str(error.value)
    assert not path.exists()


BEGINNER = """
from fox_shard.store.layout import Layout
Layout.open(Path(folder), 2)
"""


@pytest.mark.parametrize("step", range(1, 12))
def test_a_new_folder_is_completed_if_its_making_was_killed_at_any_step(tmp_path, step):
    folder = tmp_path / "data"
    run_killed(BEGINNER, folder, step)
    layout = Layout.open(folder, 2)
    assert layout == Layout(folder, 1, 2)
    for number in range(2):
        layout.require(number)
        assert count(*layout.shard(number)) == 0


def test_opening_waits_for_a_process_that_completes_the_folder(tmp_path, monkeypatch):
    """The folder is incomplete at first, and already in use when we want its lock."""
    Layout.begin(tmp_path, 2)
    incomplete = layout_module._read(tmp_path)
    layout = Layout.open(tmp_path, 2)
    seen = [incomplete, incomplete]
    monkeypatch.setattr(
        layout_module,
        "_read",
        lambda folder, read=layout_module._read: (seen or [read(folder)]).pop(),
    )
    with hold_shared(tmp_path, wait=False):
        assert Layout.open(tmp_path, 2, pytest.fail) == layout


# Folders of format 1, whose shards made their files themselves


def old_manifest(folder, shards):
    manifest(folder).write_text(f'{{"format":1,"generation":1,"shards":{shards}}}')


def test_an_old_folder_is_taken_over(tmp_path):
    Layout.open(tmp_path, 2)
    old_manifest(tmp_path, 2)
    assert Layout.open(tmp_path, 2, pytest.fail) == Layout(tmp_path, 1, 2)
    assert manifest(tmp_path).read_text() == '{"format":2,"generation":1,"shards":2}'


def test_an_old_folder_without_files_counts_as_new(tmp_path):
    old_manifest(tmp_path, 2)
    assert not Layout.read(tmp_path).complete
    begun = []
    layout = Layout.open(tmp_path, 2, begun.append)
    assert begun == [tmp_path]
    for number in range(2):
        layout.require(number)


def test_a_lost_file_of_an_old_folder_is_reported(tmp_path):
    layout = Layout.open(tmp_path, 2)
    layout.shard(1)[0].unlink()
    old_manifest(tmp_path, 2)
    for found in (Layout.read(tmp_path), Layout.open(tmp_path, 2, pytest.fail)):
        with pytest.raises(StoreError, match=r"shard-1.sqlite is missing"):
            found.require(1)


# The lock


def test_the_lock_may_be_shared(tmp_path):
    first, second = hold_shared(tmp_path, wait=False), hold_shared(tmp_path, wait=True)
    for hold in (first, second):
        with pytest.raises(StoreError, match=r"are in use, .*: stop the server, then try again."):
            hold_alone(tmp_path)
        hold.release()
    hold_alone(tmp_path).release()


def test_a_lock_held_alone_excludes_all_others(tmp_path):
    alone = hold_alone(tmp_path)
    with pytest.raises(StoreError, match="are being moved by"):
        hold_shared(tmp_path, wait=False)
    with pytest.raises(StoreError, match="are in use"):
        hold_alone(tmp_path)
    alone.release()
    hold_shared(tmp_path, wait=False).release()


@pytest.mark.parametrize("kind", ["alone", "shared"])
def test_a_lock_ends_with_its_process(tmp_path, kind):
    command = [sys.executable, "-c", LOCKER, str(tmp_path), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locker:
        assert locker.stdout.readline() == b"held\n"
        with pytest.raises(StoreError):
            hold_alone(tmp_path)
        locker.kill()
        locker.wait()
    hold_alone(tmp_path).release()


def test_a_waiting_process_gets_the_lock_once_it_is_released(tmp_path):
    alone = hold_alone(tmp_path)
    command = [sys.executable, "-c", LOCKER, str(tmp_path), "shared"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locker:
        alone.release()
        assert locker.stdout.readline() == b"held\n"
        locker.stdin.close()


def test_the_lock_is_released_even_if_its_block_raises(tmp_path):
    def fail():
        with hold_alone(tmp_path):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    hold_alone(tmp_path).release()
