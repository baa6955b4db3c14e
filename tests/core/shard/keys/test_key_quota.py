"""How many keys a realm may have, and how large they may be (semantics: limits of a realm)."""

import re

import pytest
from msgspec import msgpack
from shard_harness import REALM, REALM_LIMITS, ShardHarness, leave, publish
from test_key_limits import IF, KEEP, answers, keys, owned, patch, say, waits

from fox_shard.backplane.frames import (
    EMPTY,
    RETAIN,
    Audience,
    Publish,
    Refused,
    RetainOptions,
    SessionAlive,
    Will,
)
from fox_shard.config import Realm, RealmLimits, Reducer
from fox_shard.shard import rows
from fox_shard.shard.keys.quota import OVERHEAD

EXCEEDED = "fox.error.limit_exceeded"
STORES = pytest.mark.parametrize("store", ["sqlite", "memory"])
EACH = OVERHEAD + len("a.1") + len(b"[1]")
"""Bytes that a key of these tests counts for."""


def made(store="sqlite", *, shards=1, others=REALM_LIMITS, reducers=(), **own):
    realm = Realm(name=REALM, store=store, reducer=reducers, **own)
    harness = ShardHarness(gateways=2, shards=shards, realms=[realm], realm_limits=others)
    harness["gateway-0"].replay = [SessionAlive(session) for session in range(1, 10)]
    return harness


def put(request, topic="a.1", args=b"[1]", **retain):
    options = RetainOptions(**retain) if retain else None
    return publish(topic, request=request, flags=KEEP, args=args, retain=options)


def erase(request, topic="a.1"):
    return publish(topic, request=request, flags=KEEP | EMPTY, args=b"")


def quota(harness):
    found = harness.shard.retained_keys.realms[REALM].keys.quota
    return found.count, found.size


@STORES
def test_a_realm_has_a_limited_number_of_keys(store):
    harness = made(store, max_keys=2)
    say(harness, put(1, "a.1"), put(2, "a.2"), put(3, "a.3"))
    assert answers(harness) == {1: "", 2: "", 3: EXCEEDED}
    # What is there can be replaced and erased, and what is erased makes room at once.
    say(harness, put(4, "a.1", b"[4]"), erase(5, "a.2"), put(6, "a.3"), put(7, "a.2"))
    assert answers(harness) == {4: "", 5: "", 6: "", 7: EXCEEDED}
    assert keys(harness) == {"a.1": b"[4]", "a.3": b"[1]"}
    assert quota(harness) == (2, 2 * EACH)


def test_other_realms_and_the_servers_own_keys_do_not_count():
    harness = made(others=RealmLimits(max_keys=1))
    say(harness, put(1), Publish("realm2", "a.1", 1, 2, 2, KEEP, 1, b"[1]"))
    say(harness, *(put(number, f"$SYS.{number}") for number in (3, 4)))
    assert answers(harness) == {1: "", 2: "", 3: "", 4: ""}
    assert harness.shard.health()["keys"] == 2


@STORES
def test_each_shard_has_its_share_of_the_keys(store):
    harness = made(store, shards=3, max_keys=4)
    topics = [harness.home(0, f"a.{n}.{{}}") for n in range(3)]
    say(harness, *(put(number, topic) for number, topic in enumerate(topics, 1)))
    assert answers(harness) == {1: "", 2: "", 3: EXCEEDED}


def test_a_realm_without_limits_of_its_own_has_those_of_all_realms():
    harness = made(others=RealmLimits(max_keys=1))
    say(harness, put(1, "a.1"), put(2, "a.2"))
    assert answers(harness) == {1: "", 2: EXCEEDED}
    harness = made(others=RealmLimits(max_keys=1), max_keys=0)
    say(harness, *(put(number, f"a.{number}") for number in range(1, 6)))
    assert set(answers(harness).values()) == {""}


@STORES
def test_the_keys_of_a_realm_have_a_limited_number_of_bytes(store):
    harness = made(store, max_key_bytes=2 * EACH + 10)
    say(harness, put(1, "a.1"), put(2, "a.2"), put(3, "a.3"))
    assert answers(harness) == {1: "", 2: "", 3: EXCEEDED}
    # A key may become as large as there is room, and as small as it likes.
    say(harness, put(4, "a.1", b'["%b"]' % (10 * b"x")), put(5, "a.1", b'["%b"]' % (9 * b"x")))
    say(harness, put(6, "a.2", b"[23]"), put(7, "a.1", b"[]"), put(8, "a.2", b"[23]"))
    assert answers(harness) == {4: EXCEEDED, 5: "", 6: EXCEEDED, 7: "", 8: ""}
    assert keys(harness) == {"a.1": b"[]", "a.2": b"[23]"}
    assert quota(harness) == (2, 2 * EACH)


@pytest.mark.parametrize(
    "large",
    [
        {"args": b'["%b"]' % (1000 * b"x")},
        {"kwargs": b'{"x":"%b"}' % (1000 * b"x")},
        {"topic": "a." + 1000 * "x"},
        {"attributes": msgpack.encode({"x": 1000 * "x"})},
        {"retain": RetainOptions(will=msgpack.encode([1000 * "x"]))},
        {"audience": Audience(exclude_authid=[10 * "x"] * 100)},
    ],
)
def test_all_that_a_client_decides_counts_for_the_bytes(large):
    harness = made(max_key_bytes=1000)
    say(harness, publish(**{"topic": "a.1", "flags": KEEP, **large}))
    assert answers(harness) == {1: EXCEEDED}
    assert quota(harness) == (0, 0)


def test_a_patch_counts_with_what_it_makes_of_the_key():
    harness = made(max_key_bytes=EACH + 20)
    say(harness, patch(1, b'[{"x":1}]'), patch(2, b'[{"y":"%b"}]' % (20 * b"y")))
    say(harness, patch(3, b'[{"x":null}]'))
    assert answers(harness) == {1: "", 2: EXCEEDED, 3: ""}
    assert keys(harness) == {"a.b": b"[{}]"}


def test_each_event_of_a_sequence_is_a_key():
    harness = made(max_keys=2)
    say(harness, put(1, "a"), put(2, "a", sequence=True), put(3, "a", sequence=True))
    assert answers(harness) == {1: "", 2: "", 3: EXCEEDED}


@STORES
def test_keys_that_expire_or_end_with_their_sessions_make_room(store):
    harness = made(store, max_keys=2)
    say(harness, put(1, "a.1", seconds=5), owned(2, "a.2"), put(3, "a.3"))
    assert answers(harness) == {1: "", 2: "", 3: EXCEEDED}
    harness.pass_time(6)
    say(harness, put(4, "a.3"), put(5, "a.4"))
    assert answers(harness) == {4: "", 5: EXCEEDED}
    say(harness, leave(1))
    say(harness, publish("a.4", session=2, request=6, flags=KEEP))
    assert answers(harness) == {6: ""}
    assert quota(harness)[0] == 2


def test_the_will_of_a_key_is_published_however_full_the_realm_is():
    harness = made(max_keys=1, max_key_bytes=EACH + 10)
    say(harness, owned(1, "a.1", will=msgpack.encode(["gone"])), put(2, "a.2"))
    assert answers(harness) == {1: "", 2: EXCEEDED}
    say(harness, leave(1))
    assert keys(harness) == {"a.1": msgpack.encode(["gone"])}


def test_the_will_of_a_session_that_finds_no_room_is_dropped_and_counted():
    harness = made(max_keys=1)
    wills = [publish(topic, flags=RETAIN, args=b"[2]") for topic in ("a.2", "a.1")]
    say(harness, put(1), *(Will(will, number) for number, will in enumerate(wills)))
    say(harness, leave(1, graceful=False))
    assert keys(harness) == {"a.1": b"[2]"}
    assert harness.shard.health()["refused"] == {"max_keys": 1}
    assert not [row for row in harness.disk.rows if row.startswith(rows.WILL)]


def test_a_waiting_publish_that_finds_no_room_when_it_is_let_through_is_refused():
    harness = made(max_keys=1)
    say(harness, put(1), waits(2, topic="a.1"), waits(3, topic="a.1", when_id=0))
    say(harness, erase(4), put(5, "a.9"))
    assert answers(harness) == {1: "", 4: "", 2: "", 5: EXCEEDED}
    say(harness, waits(6, topic="a.2", when=msgpack.encode({"go": 1})))
    assert answers(harness) == {}
    harness = made(max_keys=1)
    say(harness, put(1), publish("a.2", request=2, flags=RETAIN))
    when = RetainOptions(watch=True, when=msgpack.encode({"go": 1}), sequence=False)
    say(harness, publish("a.1", request=3, flags=IF, args=b"[{}]", retain=when))
    say(harness, put(4, "a.1", b'[{"go":1}]'))
    assert answers(harness) == {1: "", 3: "", 4: ""}


@pytest.mark.parametrize("why", ["", "disk full"])
def test_what_is_erased_makes_room_before_that_is_durable_and_both_may_fail(why):
    harness = made(max_keys=1)
    say(harness, put(1))
    answers(harness)
    harness.disk.held = True
    say(harness, erase(2), put(3, "a.2"), put(4, "a.3"))
    harness.disk.trouble, harness.disk.held = why, False
    harness.turns()
    failed = "fox.error.unavailable_store"
    expected = {2: failed, 3: failed, 4: EXCEEDED} if why else {2: "", 3: "", 4: EXCEEDED}
    assert {one: answer for one, answer in answers(harness).items() if one != 4 or not why} == {
        one: answer for one, answer in expected.items() if one != 4 or not why
    }
    assert keys(harness) == {"a.1" if why else "a.2": b"[1]"}
    assert quota(harness) == (1, EACH)


def test_after_a_restart_the_keys_in_the_store_count():
    harness = made(max_keys=3)
    say(harness, put(1, "a.1"), put(2, "a.2"), put(3, "a.3", seconds=5), put(4, "a.4"))
    assert answers(harness) == {1: "", 2: "", 3: "", 4: EXCEEDED}
    before = quota(harness)
    harness.restart()
    harness.turns()
    assert quota(harness) == before
    say(harness, put(5, "a.4"))
    assert answers(harness)[5] == EXCEEDED
    # What expires while the shard is down has made room.
    harness.now += 10
    harness.restart(79)
    harness.turns()
    say(harness, put(6, "a.4"))
    assert answers(harness)[6] == ""


def test_a_refused_publish_gets_the_same_answer_after_a_restart():
    harness = made(max_keys=1)
    harness.disk.held = True
    say(harness, put(1), put(2, "a.2"), erase(3))
    harness.commit()
    harness.restart()
    harness.turns()
    assert answers(harness) == {1: "", 2: EXCEEDED, 3: ""}


def test_a_shard_that_has_more_than_its_share_refuses_new_keys_only():
    """As after fewer shards, or with a lower limit."""
    harness = made()
    say(harness, *(put(number, f"a.{number}") for number in range(1, 6)))
    stored = harness.disk.rows
    harness = made(max_keys=2, max_key_bytes=2 * EACH)
    harness.disk.rows = stored
    harness.restart()
    harness.turns()
    answers(harness)
    assert quota(harness) == (5, 5 * EACH)
    say(harness, put(11, "a.1", b"[2]"), put(12, "a.2", b"[23]"), put(13, "a.6"))
    assert answers(harness) == {11: "", 12: EXCEEDED, 13: EXCEEDED}
    say(harness, *(erase(20 + number, f"a.{number}") for number in (2, 3, 4)), put(30, "a.6"))
    assert answers(harness) == {22: "", 23: "", 24: "", 30: EXCEEDED}
    say(harness, erase(31, "a.5"), put(32, "a.6"))
    assert answers(harness) == {31: "", 32: ""}


def test_results_of_reducers_count_and_are_never_refused():
    counted = Reducer(pattern="b.#", function="count")
    harness = made(max_keys=2, reducers=(counted,))
    events = [publish(f"b.{n}", request=n, flags=KEEP & ~RETAIN) for n in (1, 2, 3)]
    say(harness, *events, put(4))
    assert answers(harness) == {1: "", 2: "", 3: "", 4: EXCEEDED}
    assert keys(harness) == {"b.1": b"[1]", "b.2": b"[1]", "b.3": b"[1]"}


def test_refusals_are_counted_by_their_limits():
    harness = made(max_keys=1, max_key_bytes=EACH)
    say(harness, put(1), put(2, "a.2"), publish("a.3", request=3, flags=RETAIN))
    say(harness, put(4, "a.1", b"[1000]"))
    assert answers(harness) == {1: "", 2: EXCEEDED, 4: EXCEEDED}
    assert harness.shard.health()["refused"] == {"max_keys": 2, "max_key_bytes": 1}


def test_refusals_tell_nothing_of_how_many_keys_there_are_nor_how_large_they_are():
    for limits in ({"max_keys": 2}, {"max_key_bytes": 2 * EACH}):
        harness = made(**limits)
        say(harness, put(1), put(2, "a.2", b"[9]"), put(3, "a.3"), put(4, "a.2", b"[123456]"))
        refusals = harness.got("gateway-0", Refused)
        assert refusals
        numbers = {int(n) for one in refusals for n in re.findall(r"\d+", one.message)}
        assert numbers == set(limits.values())
