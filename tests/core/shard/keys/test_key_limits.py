"""Limits of what sessions keep at keys (semantics: limits)."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, ShardHarness, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    RETAIN,
    Audience,
    Published,
    Refused,
    Retained,
    RetainOptions,
    SessionAlive,
)
from fox_shard.config import Keys

KEEP = ACKNOWLEDGE | RETAIN
IF = KEEP | CONDITION
LIMIT_EXCEEDED = "fox.error.limit_exceeded"
NO_KEY = {"when": msgpack.encode(None)}


def made(*, realms="stored", limits=None, **more):
    harness = ShardHarness(
        gateways=2,
        unstored=() if realms == "stored" else (REALM,),
        limits=limits or Keys(),
        **more,
    )
    harness["gateway-0"].replay = [SessionAlive(session) for session in range(1, 10)]
    return harness


def say(harness, *frames):
    harness.say("gateway-0", *frames, reliable=True)


def answers(harness):
    """Return {request: "" for a success, or the error's URI}."""
    found = {}
    for answer in harness.got("gateway-0", Published | Refused):
        if isinstance(answer, Refused):
            found[answer.request] = answer.uri
        else:
            found |= dict.fromkeys(answer.requests, "")
    return found


def keys(harness):
    """Return {topic: arguments}."""
    harness.say("gateway-1", subscribe("*#", token=1, replay=True))
    shown = [frame.event.publish for frame in harness.got("gateway-1", Retained)]
    return {one.topic: one.args for one in shown}


def patch(request, args, **more):
    retain = RetainOptions(patch=True)
    return publish(request=request, flags=KEEP, args=args, retain=retain, **more)


def waits(request, *, session=1, topic="a.b", args=b"[1]", audience=None, **condition):
    retain = RetainOptions(watch=True, **(condition or NO_KEY))
    return publish(
        topic,
        session=session,
        request=request,
        flags=IF,
        args=args,
        audience=audience,
        retain=retain,
    )


def owned(request, topic, *, session=1, will=None, flags=KEEP):
    retain = RetainOptions(weak=will is None, will=will)
    return publish(topic, session=session, request=request, flags=flags, retain=retain)


REALMS = pytest.mark.parametrize("realms", ["stored", "memory"])


# Patches


@REALMS
def test_a_key_does_not_grow_by_patches_beyond_the_size_of_a_message(realms):
    harness = made(realms=realms, max_message_size=100)
    say(harness, *(patch(n, b'[{"%d":"%b"}]' % (n, 30 * b"x")) for n in range(1, 5)))
    assert answers(harness) == {1: "", 2: "", 3: LIMIT_EXCEEDED, 4: LIMIT_EXCEEDED}
    expected = b'[{"1":"%b","2":"%b"}]' % (30 * b"x", 30 * b"x")
    assert keys(harness) == {"a.b": expected}
    # A patch that makes the key smaller, or replaces a field, still succeeds.
    say(harness, patch(5, b'[{"1":null,"3":"y"}]'))
    assert answers(harness) == {5: ""}
    assert keys(harness) == {"a.b": b'[{"2":"%b","3":"y"}]' % (30 * b"x")}


def test_a_patch_that_was_too_large_is_refused_again_after_a_restart():
    """Even if it would succeed by then, since its publisher may have been told."""
    harness = made(max_message_size=60)
    harness.disk.held = True
    say(harness, patch(1, b'[{"a":"%b"}]' % (40 * b"x")), patch(2, b'[{"b":"yyyyyyyyyy"}]'))
    say(harness, publish(request=3, flags=KEEP | EMPTY, args=b""))
    assert answers(harness) == {}
    harness.commit()
    harness.restart()
    harness.turns()
    assert answers(harness) == {1: "", 2: LIMIT_EXCEEDED, 3: ""}
    assert keys(harness) == {}


def test_a_waiting_patch_that_is_too_large_when_it_is_let_through_is_refused():
    harness = made(max_message_size=60)
    say(harness, publish(args=b'[{"a":"%b"}]' % (40 * b"x"), flags=KEEP))
    retain = RetainOptions(patch=True, watch=True, when=msgpack.encode({"on": 1}))
    say(harness, publish(request=2, flags=IF, args=b'[{"b":"yyyyyyyyyy"}]', retain=retain))
    say(harness, patch(3, b'[{"on":1}]'))
    assert answers(harness) == {1: "", 2: LIMIT_EXCEEDED, 3: ""}
    assert harness.shard.health()["waiting_publishes"] == 0


# Waiting publishes


@REALMS
def test_a_session_has_a_limited_number_of_waiting_publishes(realms):
    harness = made(realms=realms, limits=Keys(waiting_per_session=2))
    say(harness, publish(flags=KEEP), *(waits(n) for n in (2, 3, 4)), waits(5, session=2))
    assert answers(harness) == {1: "", 4: LIMIT_EXCEEDED}
    # When one has been let through, another may wait.
    say(harness, publish(request=6, flags=KEEP | EMPTY, args=b""), waits(7), waits(8))
    assert answers(harness) == {6: "", 2: "", 8: LIMIT_EXCEEDED}


def test_a_key_has_a_limited_number_of_waiting_publishes():
    harness = made(limits=Keys(waiting_per_key=2))
    say(harness, publish(flags=KEEP), *(waits(n, session=n) for n in (2, 3, 4)))
    say(harness, publish("a.c", request=5, flags=KEEP), waits(6, topic="a.c"))
    assert answers(harness) == {1: "", 4: LIMIT_EXCEEDED, 5: ""}
    say(harness, leave(2), waits(7, session=7))
    assert answers(harness) == {}
    assert harness.shard.health()["waiting_publishes"] == 3


def test_a_key_has_a_limited_number_of_different_conditions():
    harness = made(limits=Keys(conditions_per_key=2))
    say(harness, publish(flags=KEEP))
    for request, n in ((2, 1), (3, 2), (4, 3), (5, 2)):
        say(harness, waits(request, when=msgpack.encode({"n": n})))
    # Publication ids alone are looked up and need not be compared.
    say(harness, waits(6, when_id=123), waits(7, when_id=124), waits(8, when_id=125))
    assert answers(harness) == {1: "", 4: LIMIT_EXCEEDED}
    say(harness, publish(request=9, flags=KEEP, args=b'[{"n":1}]'), waits(10))
    assert answers(harness) == {9: "", 2: ""}


@pytest.mark.parametrize(
    "large",
    [
        {"args": b'["%b"]' % (1000 * b"x")},
        {"topic": "a." + 1000 * "x"},
        {"when": msgpack.encode({"x": 1000 * "x"})},
        {"audience": Audience(eligible=[*range(1, 21)])},
        {"audience": Audience(exclude_authid=[10 * "x"] * 17)},
    ],
)
def test_waiting_publishes_are_limited_in_bytes(large):
    harness = made(limits=Keys(waiting_bytes=4000))
    topic = large.get("topic", "a.b")
    say(harness, publish(topic, flags=KEEP, args=b'[{"x":""}]'))
    say(harness, *(waits(n, session=n, **large) for n in (2, 3, 4)))
    assert answers(harness) == {1: "", 4: LIMIT_EXCEEDED}
    for session in (2, 3):
        say(harness, leave(session))
    assert harness.shard.stored_publishes.conditional.waiting.size == 0


def test_waiting_publishes_from_the_store_are_loaded_whatever_the_limits():
    harness = made()
    say(harness, publish(flags=KEEP), *(waits(n) for n in (2, 3, 4)))
    size = harness.shard.stored_publishes.conditional.waiting.size
    harness.restart()
    harness.turns()
    assert harness.shard.stored_publishes.conditional.waiting.size == size > 0


def test_a_publish_that_could_not_wait_gets_the_same_answer_after_a_restart():
    harness = made(limits=Keys(waiting_per_session=1))
    harness.disk.held = True
    say(harness, publish(flags=KEEP), waits(2), waits(3))
    harness.commit()
    harness.restart()
    harness.turns()
    assert answers(harness) == {1: "", 3: LIMIT_EXCEEDED}


# Keys that end with their sessions


@REALMS
@pytest.mark.parametrize("will", [None, msgpack.encode([0])])
def test_a_session_owns_a_limited_number_of_keys(will, realms):
    harness = made(realms=realms, limits=Keys(owned_per_session=2))
    say(harness, *(owned(n, f"a.{n}", will=will) for n in (1, 2, 3)))
    say(harness, owned(4, "a.2", will=will), owned(5, "a.3", session=2, will=will))
    assert answers(harness) == {1: "", 2: "", 3: LIMIT_EXCEEDED, 4: "", 5: ""}
    say(harness, owned(6, "a.1", flags=KEEP | EMPTY))
    say(harness, owned(7, "a.7", will=will))
    assert answers(harness) == {6: "", 7: ""}
    assert sorted(keys(harness)) == ["a.2", "a.3", "a.7"]


def test_refusals_because_of_limits_are_counted():
    harness = made(limits=Keys(owned_per_session=1))
    say(harness, owned(1, "a.1"), owned(2, "a.2"), owned(3, "a.3", flags=RETAIN))
    assert answers(harness) == {1: "", 2: LIMIT_EXCEEDED}
    assert harness.shard.stored_publishes.refusals.limit_exceeded == 2
