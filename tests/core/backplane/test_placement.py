"""The placement of topics and procedures: fixed for ever, and even."""

from collections import Counter
from zlib import crc32

import pytest

from fox_shard.backplane.placement import (
    MAX_SHARDS,
    ON_JOIN,
    ON_LEAVE,
    SLOTS,
    Placement,
    jump_hash,
    slot_of,
)
from fox_shard.topics.topic import in_sequence


@pytest.mark.parametrize(
    ("key", "buckets", "bucket"),
    [
        # The reference values of another implementation (Guava's Hashing.consistentHash).
        (10863919174838991, 11, 6),
        (2016238256797177309, 11, 3),
        (1673758223894951030, 11, 5),
        (2, 100001, 80343),
        (2201, 100001, 22152),
        (2202, 100001, 15018),
        # One bucket leaves no choice.
        (0, 1, 0),
        (1023, 1, 0),
    ],
)
def test_jump_hash_is_that_of_lamping_and_veach(key, buckets, bucket):
    assert jump_hash(key, buckets) == bucket


@pytest.mark.parametrize(
    ("realm", "key", "slot", "of_2", "of_3", "of_4", "of_64"),
    [
        ("realm1", "com.example.topic", 56, 1, 1, 1, 58),
        ("other", "com.example.topic", 103, 1, 1, 1, 12),
        ("realm1", "a", 450, 1, 2, 2, 48),
        ("realm1", "session:42", 358, 1, 1, 3, 40),
        ("realm1", "*a.+.c", 44, 1, 1, 1, 59),
        ("realm1", "é.ü", 328, 1, 2, 2, 35),
    ],
)
def test_a_name_never_moves_to_another_slot_or_shard(realm, key, slot, of_2, of_3, of_4, of_64):
    """Processes and data on disk rely on these values: a change needs a migration."""
    assert slot_of(realm, key) == slot
    owners = [Placement(shards).shard_of(realm, key) for shards in (2, 3, 4, 64)]
    assert owners == [of_2, of_3, of_4, of_64]


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 64])
def test_the_beginning_and_the_end_of_sessions_are_announced_by_one_shard(shards):
    """Two shards know nothing of each other, so on_leave would often come before on_join."""
    placement = Placement(shards)
    for realm in (f"realm{number}" for number in range(100)):
        places = {placement.shard_of(realm, topic) for topic in (ON_JOIN, ON_LEAVE)}
        assert len(places) == 1


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 64])
def test_every_shard_gets_about_the_same_share_of_slots(shards):
    slots = Counter(jump_hash(slot, shards) for slot in range(SLOTS))
    assert set(slots) == set(range(shards))
    fair = SLOTS / shards
    assert max(slots.values()) <= fair + 4 * fair**0.5
    assert min(slots.values()) >= fair - 4 * fair**0.5


def test_names_spread_evenly_over_shards():
    placement = Placement(4)
    share = Counter(placement.shard_of("realm1", f"sensor.{n}.value") for n in range(20_000))
    assert set(share) == set(range(4))
    assert max(share.values()) < 1.15 * 5000
    assert min(share.values()) > 0.85 * 5000


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8, 16, 31, 63])
def test_an_additional_shard_takes_its_share_and_nothing_else_moves(shards):
    before = [jump_hash(slot, shards) for slot in range(SLOTS)]
    after = [jump_hash(slot, shards + 1) for slot in range(SLOTS)]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {shards}
    fair = SLOTS / (shards + 1)
    assert fair - 4 * fair**0.5 <= len(moved) <= fair + 4 * fair**0.5


def test_the_realm_is_part_of_what_is_hashed():
    keys = [f"topic{n}" for n in range(100)]
    assert [slot_of("a", key) for key in keys] != [slot_of("b", key) for key in keys]
    assert slot_of("a", "b") == crc32(b"a\0b") % 1024


def test_a_placement_is_the_jump_hash_of_the_slot():
    for shards in (1, 2, 5):
        placement = Placement(shards)
        for key in ("", "a", "ü", "session:12", "=a.b"):
            assert placement.shard_of("r", key) == jump_hash(slot_of("r", key), shards)


def test_a_sequence_key_belongs_to_the_shard_of_its_sequence():
    """The shard that creates the key owns it, so a publish to the key's name reaches it."""
    for sequence in (f"queue.n{n}" for n in range(50)):
        for publication in (1, 1234567890, (1 << 53) - 1):
            assert slot_of("r", in_sequence(sequence, publication)) == slot_of("r", sequence)
    others = [f"queue.~{n}" for n in range(50)]
    assert [slot_of("r", other) for other in others] != [slot_of("r", "queue")] * 50


@pytest.mark.parametrize("shards", [0, -1, MAX_SHARDS + 1])
def test_a_placement_has_1_to_64_shards(shards):
    with pytest.raises(ValueError, match=f"1 to 64, not {shards}"):
        Placement(shards)
