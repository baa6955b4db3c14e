"""Resharding: no row is lost or doubled, whatever happens on the way."""

import shutil
import signal
from collections import namedtuple
from contextlib import closing
from itertools import count, islice
from random import Random

import msgspec
import pytest
from killed_programs import STEPS, run_killed
from stored_rows import event as stored_event
from stored_rows import (
    files,
    fill,
    history_rows,
    key_rows,
    link_rows,
    shard_rows,
    stored_rows,
    will_rows,
    write,
)

import fox_shard.datadir.generation
from fox_shard.backplane.frames import Event, Fold, Publish
from fox_shard.backplane.placement import Placement
from fox_shard.config import History, Realm
from fox_shard.datadir.resharding import reshard
from fox_shard.deadline import Deadline
from fox_shard.documents.payloads import JSON
from fox_shard.progress import STRIDE, unseen
from fox_shard.shard import rows
from fox_shard.shard.budget import Budget
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.history.cursor import Cursor
from fox_shard.shard.history.histories import Histories
from fox_shard.shard.links.outbox import OWN
from fox_shard.store.file import read_identity
from fox_shard.store.journal import Journal
from fox_shard.store.layout import Layout, hold_alone, hold_shared
from fox_shard.store.sqlite import SqliteStore
from fox_shard.store.store import StoreError
from fox_shard.topics.pattern import Pattern

KEYS = key_rows(6000)
WILLS = will_rows(50)
ALL = {**KEYS, **WILLS}


@pytest.fixture
def two(tmp_path):
    """A data folder of two shards."""
    fill(tmp_path / "data", 2, ALL)
    return tmp_path / "data"


@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 3), (3, 2), (2, 1), (4, 64), (2, 5)])
def test_all_rows_go_to_the_shards_that_own_their_topics(tmp_path, old, new):
    fill(tmp_path, old, ALL)
    summary = reshard(tmp_path, new, progress=unseen)
    assert Layout.read(tmp_path) == Layout(tmp_path, 2, new)
    found, ceilings = stored_rows(tmp_path)
    assert found == ALL
    assert ceilings == [1000 + old - 1] * new
    assert (summary.old, summary.new, summary.generation) == (old, new, 2)
    assert (summary.keys, summary.wills) == (len(KEYS), len(WILLS))
    assert sum(summary.per_shard) == len(ALL)
    assert 0 < summary.moved <= len(ALL)


def test_rows_of_links_stay_behind(two):
    layout = Layout.read(two)
    assert set(link_rows(0)) <= set(shard_rows(layout, 0))
    reshard(two, 3, progress=unseen)
    kinds = {key[:1] for shard in range(3) for key in shard_rows(Layout.read(two), shard)}
    assert kinds == {rows.KEY, rows.WILL, rows.CEILING, rows.RESHARDED}


def test_recorded_events_go_with_their_topics_and_marks_of_event_logs_to_all_shards(tmp_path):
    found = {**key_rows(10), **history_rows(200)}
    fill(tmp_path, 2, found)
    log_key, old = rows.log_marks("realm1", b"12345678"), Layout.read(tmp_path)
    write(old, 0, {log_key: rows.encode([640, 65])})
    write(old, 1, {log_key: rows.encode([641])})
    summary = reshard(tmp_path, 3, progress=unseen)
    assert stored_rows(tmp_path)[0] == found
    assert (summary.keys, summary.events, sum(summary.per_shard)) == (10, 200, 210)
    for shard in range(3):
        there = shard_rows(Layout.read(tmp_path), shard)
        assert rows.decode_marks(there[log_key]) == [640, 641]
        assert rows.decode_resharded(there[rows.RESHARDED]) == 64 * 1001


@pytest.mark.parametrize("shards", [1, 3])
def test_gaps_are_known_at_the_shards_to_which_topics_go(tmp_path, shards):
    """Two shards have trimmed their event logs; the new owner of a topic reports the gap."""
    realm = Realm(name="realm1", history=(History(topic="#", max_events=1),))
    layout = Layout.open(tmp_path, 2)
    topics = [f"t{number}" for number in range(20)]
    read = {}
    for shard in range(2):
        histories, journal, clock = loaded_histories(shard, realm)
        mine = [topic for topic in topics if Placement(2).shard_of("realm1", topic) == shard]
        for topic in mine * 3:
            one = Event(clock.next(), Publish("realm1", topic, 7, 1, 1, 0, JSON, b"[1]"))
            histories.mark(one.publish)
            histories.record(one, journal.ticket)
            read.setdefault(topic, []).append(one.publication)
        changes = {rows.CEILING: rows.encode(clock.last // 64 + 1)}
        for _ in range(2):
            ticket, more, _ = msgspec.structs.astuple(journal.take(0.0))
            changes.update(more)
            histories.committed(ticket)
            journal.keep(b"~", b"")
        write(layout, shard, {key: value for key, value in changes.items() if value is not None})
    reshard(tmp_path, shards, progress=unseen)
    for topic in topics:
        shard = Placement(shards).shard_of("realm1", topic)
        history = loaded_histories(shard, realm, shard_rows(Layout.read(tmp_path), shard))[0][
            "realm1"
        ]
        pattern, (first, _, last) = Pattern.wamp(topic), read[topic]
        assert history.gap(pattern, Cursor([first])) == last
        assert history.gap(pattern, Cursor([last])) == 0
        got = history.read(pattern, Cursor([first]), 0, 9)
        assert [one.publication for one in got] == [last]


def fold(topic, number):
    """Return the value of the row of a frame in an outbox."""
    one = Event(number, Publish("realm1", topic, 0, 0, 0, 0, JSON, b""))
    return rows.encode(Fold("realm1", topic, 0, "", "", one))


def topics_of(layout, shard):
    """Return 20 topics that the shard owns."""
    placement = Placement(layout.shards)
    names = (f"t{number}" for number in count())
    return [n for n in islice(names, 200) if placement.shard_of("realm1", n) == shard][:20]


def frames_by_topic(layout):
    """Return {topic: numbers} of the frames for the own shard; there must be no other frames."""
    found = {}
    for shard in range(layout.shards):
        there = shard_rows(layout, shard)
        keys = [key for key in there if key[:1] == rows.OUTBOX]
        assert keys == [rows.outbox(OWN, number) for number in range(1, len(keys) + 1)]
        assert not any(key[:1] in (rows.LAST, rows.PEER) for key in there)
        for key in keys:
            frame = rows.decode_outbox_frame(there[key])
            assert Placement(layout.shards).shard_of("realm1", frame.target_topic) == shard
            found.setdefault(frame.target_topic, []).append(frame.event.publication)
    return found


@pytest.mark.parametrize("new", [1, 3, 5])
def test_frames_of_outboxes_go_to_the_owners_of_their_topics_in_order(tmp_path, new):
    layout = Layout.open(tmp_path, 2)
    expected, written, number = {}, ({}, {}), 0
    for topic in topics_of(layout, 1) * 3:
        number += 1
        expected.setdefault(topic, []).append(number)
        written[0][rows.outbox("shard-1", number)] = fold(topic, number)
    written[0][rows.last("shard-1")] = rows.encode(number)
    for topic in topics_of(layout, 0) * 2:
        number += 1
        expected.setdefault(topic, []).append(number)
        written[1][rows.outbox("shard-0", 1000 + number)] = fold(topic, number)
    # What the shard has for itself comes first.
    first = topics_of(layout, 1)[0]
    written[1][rows.outbox(OWN, 7)] = fold(first, 999)
    expected[first].insert(0, 999)
    for shard in range(2):
        write(layout, shard, written[shard])
    reshard(tmp_path, new, progress=unseen)
    assert frames_by_topic(Layout.read(tmp_path)) == expected
    reshard(tmp_path, 4, progress=unseen)
    assert frames_by_topic(Layout.read(tmp_path)) == expected


@pytest.mark.parametrize(("same_store", "left"), [(True, [3]), (False, [1, 2, 3])])
def test_frames_that_have_had_their_effect_stay_behind(tmp_path, same_store, left):
    """The receiver's store has frames of the sender's store up to number 2."""
    layout = Layout.open(tmp_path, 2)
    topic = topics_of(layout, 1)[0]
    found = {rows.outbox("shard-1", number): fold(topic, number) for number in (1, 2, 3)}
    write(layout, 0, found)
    identity = read_identity(*layout.shard(0)) + (not same_store)
    write(layout, 1, {rows.peer("shard-0"): rows.encode(rows.PeerRow(identity, 2))})
    reshard(tmp_path, 3, progress=unseen)
    assert frames_by_topic(Layout.read(tmp_path)) == {topic: left}


def test_a_frame_for_no_topic_stays_behind(tmp_path):
    write(Layout.open(tmp_path, 2), 0, {rows.outbox("shard-1", 1): fold("", 1)})
    reshard(tmp_path, 3, progress=unseen)
    assert frames_by_topic(Layout.read(tmp_path)) == {}


def loaded_histories(shard, realm, stored=None):
    """Return a shard's histories, loaded from its rows, with their journal and clock."""
    clock = PublicationClock(shard, 1.8e9)
    clock.advance(1.8e9)
    journal = Journal(Deadline(), lambda *_: None, lambda *_: None, lambda _: None)
    histories = Histories([realm], clock, journal, Budget())
    for key, value in sorted((stored or {}).items()):
        match key[:1]:
            case rows.RECORDED:
                histories.load_event(rows.decode_event(value))
            case rows.LOG_MARKS:
                histories.load_log_marks(key, rows.decode_marks(value))
            case rows.TOPIC_MARKS:
                histories.load_topic_marks(key, rows.decode_marks(value))
            case rows.RESHARDED:
                histories.load_resharded(rows.decode_resharded(value))
    histories.begin(fresh=not stored)
    return histories, journal, clock


def test_definitions_of_tables_go_to_all_shards_in_their_latest_versions(tmp_path):
    layout = fill(tmp_path, 2, {})
    for shard, version in enumerate([3, 4]):
        row = rows.DefinitionRow(version, "{}")
        write(layout, shard, {rows.definition("realm1", rows.ACTIVE): rows.encode(row)})
    write(
        layout, 0, {rows.definition("realm1", rows.NEXT): rows.encode(rows.DefinitionRow(4, "{}"))}
    )
    reshard(tmp_path, 3, progress=unseen)
    latest = rows.encode(rows.DefinitionRow(4, "{}"))
    for shard in range(3):
        found = shard_rows(Layout.read(tmp_path), shard)
        assert found[rows.definition("realm1", rows.ACTIVE)] == latest
        assert found[rows.definition("realm1", rows.NEXT)] == latest


def test_resharding_several_times_loses_nothing(two):
    for number, shards in enumerate([3, 1, 4, 2], 2):
        reshard(two, shards, progress=unseen)
        assert Layout.read(two).generation == number
    assert stored_rows(two)[0] == ALL


def test_new_stores_have_new_identities(two):
    def identities():
        layout = Layout.read(two)
        for shard in range(layout.shards):
            with closing(SqliteStore(*layout.shard(shard), lambda ticket, why: None)) as store:
                yield store.identity

    before = set(identities())
    reshard(two, 3, progress=unseen)
    assert len(before | set(identities())) == 5


def test_old_files_are_removed_and_other_files_stay(two):
    (two / "coordinator.sqlite").write_bytes(b"its")
    (two / "generation-1" / "shard-0.sqlite.damaged").write_bytes(b"mine")
    reshard(two, 1, progress=unseen)
    assert set(files(two)) == {
        "manifest.json",
        "coordinator.sqlite",
        "generation-1/shard-0.sqlite.damaged",
        "generation-2/shard-0.sqlite",
    }


def test_changes_that_are_only_in_a_write_ahead_log_are_read(two):
    layout = Layout.read(two)
    outcomes = []
    with closing(SqliteStore(*layout.shard(0), lambda *outcome: outcomes.append(outcome))) as s:
        s.write(1, {rows.CEILING: rows.encode(5000)})
        while not outcomes:
            pass
        # The change is only in the log, as after a crash.
        reshard(two, 3, progress=unseen)
    assert stored_rows(two) == (ALL, [5000] * 3)


def test_resharding_to_the_same_number_changes_nothing(two):
    before = files(two)
    summary = reshard(two, 2, progress=unseen)
    assert files(two) == before
    assert (summary.moved, summary.generation) == (0, 1)
    assert summary.keys == len(KEYS)


def test_a_dry_run_counts_the_same_and_changes_nothing(two):
    before = files(two)
    with hold_shared(two, wait=False):
        dry = reshard(two, 3, progress=unseen, dry_run=True)
    assert files(two) == before
    assert dry._replace(generation=2) == reshard(two, 3, progress=unseen)


def test_progress_is_reported_from_none_to_all_rows(two):
    told = []
    reshard(two, 3, progress=lambda *now: told.append(now))
    total = len(ALL) + 2 * len(link_rows(0))
    assert told == [("rows", done, total) for done in (*range(0, total, STRIDE), total)]


def test_empty_shards_can_be_resharded(tmp_path):
    Layout.open(tmp_path, 2)
    assert reshard(tmp_path, 3, progress=unseen).keys == 0
    assert stored_rows(tmp_path) == ({}, [])


# Refused


@pytest.mark.parametrize("shards", [0, 65])
def test_an_impossible_number_of_shards_is_refused(two, shards):
    with pytest.raises(ValueError, match="shards must be 1 to 64"):
        reshard(two, shards, progress=unseen)


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_data_is_refused_and_not_made(tmp_path, made):
    folder = tmp_path / "data"
    if made:
        folder.mkdir()
    with pytest.raises(StoreError, match=r"Nothing is stored in .* yet"):
        reshard(folder, 3, progress=unseen)
    assert list(tmp_path.rglob("*")) == ([folder] if made else [])


def test_nothing_is_moved_while_a_shard_runs(two):
    before = files(two)
    with hold_shared(two, wait=False), pytest.raises(StoreError, match="stop the server"):
        reshard(two, 3, progress=unseen)
    with hold_alone(two), pytest.raises(StoreError, match="are being moved"):
        reshard(two, 3, progress=unseen, dry_run=True)
    assert files(two) == before


def test_nothing_is_moved_while_a_shard_is_missing(two):
    (two / "generation-1" / "shard-1.sqlite").rename(two / "away")
    before = files(two)
    with pytest.raises(StoreError, match=r"shard-1.sqlite is missing, .*: bring it back"):
        reshard(two, 3, progress=unseen)
    assert files(two) == before


def test_nothing_is_moved_if_the_disk_has_too_little_room(two, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 10, 3 << 20)
    monkeypatch.setattr(fox_shard.datadir.generation.shutil, "disk_usage", lambda _: usage)
    before = files(two)
    with pytest.raises(StoreError, match=r"There is no room in .* and 3 MiB are free: make room"):
        reshard(two, 3, progress=unseen)
    assert files(two) == before


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ((b"zebra", b"1"), "b'zebra' is of an unknown kind: start the version of fox-shard that"),
        ((b"k\xff\0topic", b"1"), "is damaged"),
        ((b"w12345678", b"\xc1"), "is damaged"),
    ],
)
def test_unknown_and_damaged_rows_are_refused(two, row, sentence):
    write(Layout.read(two), 1, dict([row]))
    before = files(two)
    with pytest.raises(StoreError, match=sentence):
        reshard(two, 3, progress=unseen)
    assert files(two) == before


def test_a_damaged_file_is_refused(two):
    path = two / "generation-1" / "shard-1.sqlite"
    data = bytearray(path.read_bytes())
    middle = len(data) // 8192 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    before = files(two)
    with pytest.raises(StoreError, match="is damaged"):
        reshard(two, 3, progress=unseen)
    assert files(two) == before


# Killed

KILLED = """
from fox_shard.datadir import resharding
resharding.reshard(Path(folder), 3, progress=lambda *_: step())
"""


def test_resharding_that_is_killed_at_any_step_loses_nothing_and_can_be_run_again(tmp_path):
    fill(tmp_path / "template", 2, ALL)
    for steps in count(1):
        folder = tmp_path / f"killed-{steps}"
        shutil.copytree(tmp_path / "template", folder)
        code = run_killed(KILLED, folder, steps, watched=("open", *STEPS))
        assert code in (0, -signal.SIGKILL)
        assert stored_rows(folder) in [(ALL, [1000, 1001]), (ALL, [1001] * 3)]
        reshard(folder, 3, progress=unseen)
        assert stored_rows(folder) == (ALL, [1001] * 3)
        assert set(files(folder)) == {
            "manifest.json",
            *(f"generation-2/shard-{shard}.sqlite" for shard in range(3)),
        }
        shutil.rmtree(folder)
        if code == 0:
            break
    assert steps > 20


@pytest.mark.parametrize("row", Random(1).sample(range(len(ALL)), 8))
def test_resharding_that_is_killed_at_any_row_can_be_run_again(two, row):
    each_row = f"from fox_shard import progress\nprogress.STRIDE = 1\n{KILLED}"
    assert run_killed(each_row, two, row + 2, watched=()) == -signal.SIGKILL
    assert stored_rows(two) == (ALL, [1000, 1001])
    reshard(two, 3, progress=unseen)
    assert stored_rows(two) == (ALL, [1001] * 3)


def test_reducers_go_to_all_shards_and_their_events_to_the_keys(tmp_path):
    """A mission's key may be another shard's than the events' topics."""
    fill(tmp_path, 2, {})
    old = Layout.read(tmp_path)
    reducer = {rows.reducer(5): rows.encode(rows.ReducerRow("realm1", "*a.#", "", "totals"))}
    topics = [f"a.{number}" for number in range(20)]
    for shard in range(2):
        mine = [topic for topic in topics if Placement(2).shard_of("realm1", topic) == shard]
        queued = {
            rows.queued(5, number): rows.encode(
                rows.QueuedEvent(5, number, topic, stored_event("realm1", "b", number))
            )
            for topic in mine
            for number in [topics.index(topic) + 1]
        }
        write(old, shard, {**reducer, **queued})
    reshard(tmp_path, 3, progress=unseen)
    placement, found = Placement(3), []
    for shard in range(3):
        there = shard_rows(Layout.read(tmp_path), shard)
        assert reducer.items() <= there.items()
        here = [rows.decode_queued(value) for key, value in there.items() if key[:1] == rows.QUEUED]
        assert all(placement.shard_of("realm1", one.topic) == shard for one in here)
        found += [one.topic for one in here]
    assert sorted(found) == sorted(topics)
