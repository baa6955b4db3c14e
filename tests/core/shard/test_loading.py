"""A shard that starts from the rows which another has written."""

import pytest
from msgspec import DecodeError
from shard_harness import REALM, Stage, publish, subscribe

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


def keep(topic="a.b", *, flags=KEEP, **more):
    return publish(topic, flags=flags, **more)


def stage_of(stored, **more):
    """A shard that starts from those rows."""
    stage = Stage(linked=False, **more)
    stage.disk.rows.update(stored)
    stage.restart()
    stage.turns(6)
    return stage


def rows_of(*frames):
    """What a shard writes that is sent those frames."""
    stage = Stage()
    stage.say("gateway-0", *frames, reliable=True)
    return stage.disk.rows


def shown(stage, realm=REALM):
    stage.say("gateway-1", subscribe("*#", token=1, replay=True, realm=realm))
    return [frame.event for frame in stage.got("gateway-1", Retained)]


# Keys


def test_no_rows_are_no_state():
    stage = stage_of({})
    assert (shown(stage), stage.shard.retention.keys_held) == ([], 0)
    assert stage.shard.health()["status"] == "ok"


def test_keys_are_as_they_were():
    written = Stage()
    everything = {
        "kwargs": b'{"a":1}',
        "publisher": Identity("alice", "admin"),
        "audience": Audience(exclude_authid=["bob"]),
        "fence": Fence("gateway-0", [(0, 1, 2)]),
    }
    written.say("gateway-0", keep("a"), keep("b", **everything), keep("a", realm=OTHER))
    before = [shown(written, realm) for realm in (REALM, OTHER)]
    assert [len(keys) for keys in before] == [2, 1]
    stage = stage_of(written.disk.rows)
    assert [shown(stage, realm) for realm in (REALM, OTHER)] == before
    assert stage.shard.retention.keys_held == 3


def test_what_was_erased_is_not_there():
    stored = rows_of(keep("a"), keep("b"), keep("a", flags=KEEP | EMPTY))
    stage = stage_of(stored)
    assert [event.publish.topic for event in shown(stage)] == ["b"]


def test_a_key_that_was_loaded_can_be_changed_and_erased():
    stage = stage_of(rows_of(keep("a"), keep("b")))
    stage.say("gateway-0", keep("a", args=b"[2]"), keep("b", flags=KEEP | EMPTY))
    assert [event.publish.args for event in shown(stage)] == [b"[2]"]
    assert rows.key(REALM, "b") not in stage.disk.rows


@pytest.mark.parametrize("topic", ["a.ü", "a" * 200, "a b", "a.b/c"])
def test_any_topic_is_found_again(topic):
    (event,) = shown(stage_of(rows_of(keep(topic))))
    assert event.publish.topic == topic


def test_keys_of_a_realm_that_is_stored_no_more_are_left_out():
    stored = rows_of(keep("a"), keep("a", realm=OTHER))
    stage = stage_of(stored, unstored=[OTHER])
    assert (len(shown(stage)), shown(stage, OTHER)) == (1, [])


def test_loading_writes_nothing():
    stored = dict(rows_of(keep("a"), Will(publish("w"))))
    stage = Stage(linked=False)
    stage.disk.rows.update(stored)
    stage.restart()
    assert stage.shard.journal.take(0.0) is None


# Publication ids


@pytest.mark.parametrize("back", [0.0, 3600.0])
def test_publication_ids_go_on_above_those_before(back):
    """Also if the time of day is set back: they are positions."""
    written = Stage()
    written.say("gateway-0", keep(), publish("x"))
    (last,) = (one.publications[-1] for one in written.got("gateway-0", Published))
    stage = Stage(linked=False)
    stage.disk.rows.update(written.disk.rows)
    stage.restart()
    stage.now -= back
    stage.turns(6)
    stage.say("gateway-0", publish("x"))
    (answer,) = stage.got("gateway-0", Published)
    assert answer.publications[0] > last


def test_the_ceiling_is_written_before_anything_is_published():
    stage = Stage()
    assert rows.CEILING in stage.disk.rows
    stage.say("gateway-0", publish())
    (answer,) = stage.got("gateway-0", Published)
    assert answer.publications[0] < 64 * rows.decode_ceiling(stage.disk.rows[rows.CEILING])


def test_the_ceiling_is_raised_as_time_goes_by():
    stage = Stage()
    for _ in range(3):
        stage.pass_time(40.0, step=4.0)
        stage.say("gateway-0", publish())
        (answer,) = stage.got("gateway-0", Published)
        assert answer.publications[0] < 64 * rows.decode_ceiling(stage.disk.rows[rows.CEILING])


# Peers


def test_who_is_named_in_the_store_is_waited_for():
    """Also a gateway that is not in the configuration any more, or came in addition."""
    written = Stage()
    written.join("gateway-7")
    written.turns()
    written.say("gateway-7", keep(), reliable=True)
    stage = stage_of(written.disk.rows)
    assert stage.shard.health()["status"] == "unavailable"
    stage.join("gateway-7")
    stage.turns(6)
    assert stage.shard.health()["status"] == "ok"


def test_who_does_not_come_back_is_waited_for_until_peer_timeout():
    written = Stage()
    written.join("gateway-7")
    written.turns()
    written.say("gateway-7", Will(publish("w", session=7)))
    stage = stage_of(written.disk.rows)
    stage.say("gateway-1", subscribe("=w"))
    stage.pass_time(4.0)
    assert (stage.shard.health()["status"], stage.got("gateway-1", Event)) == ("unavailable", [])
    stage.pass_time(2.0)
    assert stage.shard.health()["status"] == "degraded"
    assert len(stage.got("gateway-1", Event)) == 1


def test_the_coordinator_is_not_waited_for_although_it_is_named():
    written = Stage()
    written.join("coordinator")
    written.turns()
    written.say("coordinator", publish("wamp.x", session=0, flags=0), reliable=True)
    assert rows.peer("coordinator") in written.disk.rows
    stage = stage_of(written.disk.rows)
    stage.say("gateway-0", publish())
    assert len(stage.got("gateway-0", Published)) == 1


# What cannot be read


@pytest.mark.parametrize("key", [b"z", b"zzz", b""])
def test_a_row_of_another_version_stops_the_start(key):
    """To go on would be to lose it."""
    with pytest.raises(ValueError, match=f"no rows of kind {key[:1]!r} in this version"):
        stage_of({key: b""})


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
        stage_of({key: value})


def test_rows_of_a_kind_are_in_the_order_of_their_numbers():
    numbers = [0, 1, 255, 256, 1 << 40, (1 << 53) - 1]
    wills = [rows.will(number) for number in numbers]
    assert sorted(wills) == wills
    keys = [rows.outcomes("gateway-0", n) for n in numbers]
    assert sorted(keys) == keys


def test_kinds_of_rows_are_told_by_their_first_byte():
    keys = [rows.key(REALM, "a"), rows.will(1), rows.peer("a"), rows.outcomes("a", 1), rows.CEILING]
    kinds = [rows.KEY, rows.WILL, rows.PEER, rows.OUTCOMES, rows.CEILING]
    assert [key[:1] for key in keys] == kinds
    assert len(set(kinds)) == len(kinds)
