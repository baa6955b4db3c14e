"""A shard that starts from the rows that another one has written."""

import pytest
from msgspec import DecodeError
from shard_harness import REALM, ShardHarness, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Audience,
    Event,
    Fence,
    Identity,
    Published,
    Retained,
    Will,
)
from fox_shard.shard import rows

KEEP = ACKNOWLEDGE | RETAIN
OTHER = "com.other"


def retain(topic="a.b", *, flags=KEEP, **more):
    return publish(topic, flags=flags, **more)


def started_from(stored, **more):
    """Return a harness whose shard has started from these rows."""
    harness = ShardHarness(linked=False, **more)
    harness.disk.rows.update(stored)
    harness.restart()
    harness.turns(6)
    return harness


def rows_of(*frames):
    """Return the rows that a shard writes when it is sent these frames."""
    harness = ShardHarness()
    harness.say("gateway-0", *frames, reliable=True)
    return harness.disk.rows


def shown(harness, realm=REALM):
    harness.say("gateway-1", subscribe("*#", token=1, replay=True, realm=realm))
    return [frame.event for frame in harness.got("gateway-1", Retained)]


# Keys


def test_a_shard_without_rows_has_no_state():
    harness = started_from({})
    assert (shown(harness), harness.shard.retained_keys.keys_held) == ([], 0)
    assert harness.shard.health()["status"] == "ok"


def test_keys_are_loaded_as_they_were():
    written = ShardHarness()
    everything = {
        "kwargs": b'{"a":1}',
        "publisher": Identity("alice", "admin"),
        "audience": Audience(exclude_authid=["bob"]),
        "fence": Fence("gateway-0", [(0, 1, 2)]),
    }
    written.say("gateway-0", retain("a"), retain("b", **everything), retain("a", realm=OTHER))
    before = [shown(written, realm) for realm in (REALM, OTHER)]
    assert [len(keys) for keys in before] == [2, 1]
    harness = started_from(written.disk.rows)
    assert [shown(harness, realm) for realm in (REALM, OTHER)] == before
    assert harness.shard.retained_keys.keys_held == 3


def test_an_erased_key_is_not_loaded():
    stored = rows_of(retain("a"), retain("b"), retain("a", flags=KEEP | EMPTY))
    harness = started_from(stored)
    assert [event.publish.topic for event in shown(harness)] == ["b"]


def test_a_loaded_key_can_be_changed_and_erased():
    harness = started_from(rows_of(retain("a"), retain("b")))
    harness.say("gateway-0", retain("a", args=b"[2]"), retain("b", flags=KEEP | EMPTY))
    assert [event.publish.args for event in shown(harness)] == [b"[2]"]
    assert rows.key(REALM, "b") not in harness.disk.rows


@pytest.mark.parametrize("topic", ["a.ü", "a" * 200, "a b", "a.b/c"])
def test_a_key_is_loaded_whatever_its_topic(topic):
    (event,) = shown(started_from(rows_of(retain(topic))))
    assert event.publish.topic == topic


def test_keys_of_a_realm_that_is_no_longer_stored_are_left_out():
    stored = rows_of(retain("a"), retain("a", realm=OTHER))
    harness = started_from(stored, unstored=[OTHER])
    assert (len(shown(harness)), shown(harness, OTHER)) == (1, [])


def test_loading_writes_only_a_higher_ceiling_of_publication_ids():
    stored = dict(rows_of(retain("a"), Will(publish("w"))))
    harness = ShardHarness(linked=False)
    harness.disk.rows.update(stored)
    harness.restart()
    assert harness.shard.journal.take(0.0).changes.keys() == {rows.CEILING}


# Publication ids


@pytest.mark.parametrize("back", [0.0, 3600.0])
def test_publication_ids_go_on_above_earlier_ones(back):
    """Ids grow even if the time of day is set back, because they are positions in a history."""
    written = ShardHarness()
    written.say("gateway-0", retain(), publish("x"))
    (last,) = (one.publications[-1] for one in written.got("gateway-0", Published))
    harness = ShardHarness(linked=False)
    harness.disk.rows.update(written.disk.rows)
    harness.restart()
    harness.now -= back
    harness.turns(6)
    harness.say("gateway-0", publish("x"))
    (answer,) = harness.got("gateway-0", Published)
    assert answer.publications[0] > last


def test_the_ceiling_is_written_before_anything_is_published():
    harness = ShardHarness()
    assert rows.CEILING in harness.disk.rows
    harness.say("gateway-0", publish())
    (answer,) = harness.got("gateway-0", Published)
    assert answer.publications[0] < 64 * rows.decode_ceiling(harness.disk.rows[rows.CEILING])


def test_the_ceiling_is_raised_as_time_passes():
    harness = ShardHarness()
    for _ in range(3):
        harness.pass_time(40.0, step=4.0)
        harness.say("gateway-0", publish())
        (answer,) = harness.got("gateway-0", Published)
        assert answer.publications[0] < 64 * rows.decode_ceiling(harness.disk.rows[rows.CEILING])


# Peers


def test_a_gateway_that_is_named_in_the_store_is_waited_for():
    """Such a gateway may not be in the configuration any more, or may have come in addition."""
    written = ShardHarness()
    written.join("gateway-7")
    written.turns()
    written.say("gateway-7", retain(), reliable=True)
    harness = started_from(written.disk.rows)
    assert harness.shard.health()["status"] == "unavailable"
    harness.join("gateway-7")
    harness.turns(6)
    assert harness.shard.health()["status"] == "ok"


def test_a_gateway_that_does_not_come_back_is_waited_for_until_peer_timeout():
    written = ShardHarness()
    written.join("gateway-7")
    written.turns()
    written.say("gateway-7", Will(publish("w", session=7)))
    harness = started_from(written.disk.rows)
    harness.say("gateway-1", subscribe("=w"))
    harness.pass_time(4.0)
    assert (harness.shard.health()["status"], harness.got("gateway-1", Event)) == (
        "unavailable",
        [],
    )
    harness.pass_time(2.0)
    assert harness.shard.health()["status"] == "degraded"
    assert len(harness.got("gateway-1", Event)) == 1


def test_the_coordinator_is_not_waited_for_although_the_store_names_it():
    written = ShardHarness()
    written.join("coordinator")
    written.turns()
    written.say("coordinator", publish("wamp.x", session=0, flags=0), reliable=True)
    assert rows.peer("coordinator") in written.disk.rows
    harness = started_from(written.disk.rows)
    harness.say("gateway-0", publish())
    assert len(harness.got("gateway-0", Published)) == 1


# Rows that cannot be read


@pytest.mark.parametrize("key", [b"z", b"zzz", b""])
def test_a_row_of_another_version_stops_the_start(key):
    """A shard that went on would lose the row."""
    with pytest.raises(ValueError, match=f"no rows of kind {key[:1]!r} in this version"):
        started_from({key: b""})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (rows.key(REALM, "a"), b"\xc1"),
        (rows.key(REALM, "a"), rows.encode([1, 2])),
        (rows.will(1), rows.encode(["gateway-0"])),
        (rows.peer("gateway-0"), rows.encode(7)),
        (rows.CEILING, rows.encode("high")),
        (rows.outcomes("gateway-0", 1), rows.encode([[1]])),
    ],
)
def test_a_row_that_cannot_be_read_stops_the_start(key, value):
    with pytest.raises(DecodeError):
        started_from({key: value})


def test_rows_of_a_kind_sort_in_the_order_of_their_numbers():
    numbers = [0, 1, 255, 256, 1 << 40, (1 << 53) - 1]
    wills = [rows.will(number) for number in numbers]
    assert sorted(wills) == wills
    keys = [rows.outcomes("gateway-0", n) for n in numbers]
    assert sorted(keys) == keys


def test_the_first_byte_of_a_key_tells_the_kind_of_row():
    keys = [rows.key(REALM, "a"), rows.will(1), rows.peer("a"), rows.outcomes("a", 1), rows.CEILING]
    kinds = [rows.KEY, rows.WILL, rows.PEER, rows.OUTCOMES, rows.CEILING]
    assert [key[:1] for key in keys] == kinds
    assert len(set(kinds)) == len(kinds)
