"""The promises of `Store`, tested for every kind of store."""

import pytest
from store_outcomes import Outcomes

from fox_shard.store.file import Label
from fox_shard.store.memory import MemoryStore
from fox_shard.store.sqlite import SqliteStore

LABEL = Label("shard 0 of 2", 1)


@pytest.fixture
def outcomes():
    return Outcomes()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, outcomes):
    if request.param == "memory":
        store = MemoryStore(outcomes)
    else:
        store = SqliteStore(tmp_path / "shard-0.sqlite", LABEL, outcomes)
    yield store
    store.close()


def put(store, outcomes, *batches):
    for ticket, changes in enumerate(batches, 1):
        store.write(ticket, changes)
    outcomes.wait_for(len(batches))


def test_a_new_store_is_empty_and_has_an_identity(store):
    assert list(store.scan()) == []
    assert 0 < store.identity < 2**53


def test_written_rows_are_scanned_in_the_order_of_their_keys(store, outcomes):
    put(store, outcomes, {b"b": b"2", b"a": b"1"}, {b"\xff": b"4", b"": b"0", b"c": b""})
    assert list(store.scan()) == [
        (b"", b"0"),
        (b"a", b"1"),
        (b"b", b"2"),
        (b"c", b""),
        (b"\xff", b"4"),
    ]


@pytest.mark.parametrize(
    ("batches", "rows"),
    [
        ([{b"a": b"1"}, {b"a": b"2"}], [(b"a", b"2")]),
        ([{b"a": b"1"}, {b"a": None}], []),
        ([{b"a": None}], []),
        ([{}], []),
        (
            [{b"a": b"1", b"b": b"1"}, {b"a": None, b"b": b"2", b"c": b"2"}, {b"a": b"3"}],
            [(b"a", b"3"), (b"b", b"2"), (b"c", b"2")],
        ),
    ],
)
def test_the_last_change_of_a_key_counts(store, outcomes, batches, rows):
    put(store, outcomes, *batches)
    assert list(store.scan()) == rows


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        (b"", [b"", b"k", b"k\0", b"ka", b"k\xff", b"l", b"\xff", b"\xff\xff", b"\xff\xffa"]),
        (b"k", [b"k", b"k\0", b"ka", b"k\xff"]),
        (b"k\xff", [b"k\xff"]),
        (b"\xff", [b"\xff", b"\xff\xff", b"\xff\xffa"]),
        (b"\xff\xff", [b"\xff\xff", b"\xff\xffa"]),
        (b"m", []),
    ],
)
def test_a_scan_finds_the_keys_that_begin_with_the_prefix(store, outcomes, prefix, found):
    keys = [b"", b"k", b"k\0", b"ka", b"k\xff", b"l", b"\xff", b"\xff\xff", b"\xff\xffa"]
    put(store, outcomes, dict.fromkeys(keys, b"v"))
    assert [key for key, _ in store.scan(prefix)] == found


@pytest.mark.parametrize("count", [1, 2, 3, 1023, 1024, 1025, 2049, 5000])
def test_a_batch_may_have_any_number_of_rows(store, outcomes, count):
    keys = [b"%08d" % number for number in range(count)]
    put(
        store,
        outcomes,
        {key: b"v" + key for key in keys},
        {key: None if number % 3 else b"w" for number, key in enumerate(keys)},
    )
    assert list(store.scan()) == [(key, b"w") for key in keys[::3]]


def test_a_value_may_be_large(store, outcomes):
    put(store, outcomes, {b"small": b"1", b"large": bytes(20_000_000)})
    assert list(store.scan(b"large")) == [(b"large", bytes(20_000_000))]


def test_tickets_may_have_gaps_and_reported_tickets_grow(store, outcomes):
    tickets = [3, 4, 70, 1000, 2**60]
    for ticket in tickets:
        store.write(ticket, {b"k": str(ticket).encode()})
    outcomes.wait_for(2**60)
    told = [ticket for ticket, _ in outcomes.all]
    assert told == sorted(set(told))
    assert set(told) <= set(tickets)
    assert list(store.scan()) == [(b"k", str(2**60).encode())]


def test_resuming_without_a_failure_is_an_ordinary_write(store, outcomes):
    store.write(1, {b"a": b"1"}, resume=True)
    outcomes.wait_for(1)
    assert list(store.scan()) == [(b"a", b"1")]


def test_closing_reports_the_outcome_of_all_writes(store, outcomes):
    for ticket in range(1, 100):
        store.write(ticket, {b"%d" % ticket: b"v"})
    store.close()
    assert outcomes.durable == 99
