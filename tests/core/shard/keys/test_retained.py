"""What a publish makes of a key: patches, sequences, private keys, wills."""

import cbor2
import pytest
from msgspec import json, msgpack
from shard_harness import leave, publish, subscribe, watched_stage

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    RETAIN,
    Again,
    Audience,
    Event,
    Published,
    Refused,
    Retained,
    RetainOptions,
)
from fox_shard.backplane.placement import Placement
from fox_shard.config import Realm
from fox_shard.documents import payloads
from fox_shard.shard import rows
from fox_shard.store.journal import RETRY
from fox_shard.topics.topic import in_sequence

KEEP = ACKNOWLEDGE | RETAIN
IF = KEEP | CONDITION
NO_KEY = msgpack.encode(None)


@pytest.fixture
def harness():
    return watched_stage()


def say(harness, *frames, name="gateway-0"):
    harness.say(name, *frames, reliable=True)


def events(harness, kind=Event | Again):
    """What gateway-1 got."""
    return [getattr(one, "event", one) for one in harness.got("gateway-1", kind)]


def seen(harness, kind=Event | Again):
    return [event.publish.args for event in events(harness, kind)]


def shown(harness):
    """The keys, as events."""
    harness.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event for frame in harness.got("gateway-1", Retained)]


def keys(harness):
    return [event.publish.args for event in shown(harness)]


def ids(harness):
    """{request: publication id} of what was published."""
    told = {}
    for answer in harness.got("gateway-0", Published):
        told |= zip(answer.requests, answer.publications, strict=True)
    return told


def refused(harness):
    return [(one.request, one.uri, one.publication) for one in harness.got("gateway-0", Refused)]


def fail(harness):
    harness.disk.trouble = "disk full"
    harness.disk.held = False
    harness.turns()


def recover(harness):
    harness.disk.trouble = ""
    harness.pass_time(RETRY + 0.5)


# Patches


def patch(args=b'[{"a":1}]', *, request=1, flags=KEEP, condition=(), **more):
    return publish(
        request=request,
        flags=flags,
        args=args,
        retain=RetainOptions(patch=True, **dict(condition)),
        **more,
    )


@pytest.mark.parametrize(
    ("value", "kwargs", "change", "named", "result"),
    [
        (b'[{"a":1,"b":2}]', b"", b'[{"b":null,"c":3}]', b"", b'[{"a":1,"c":3}]'),
        (b'[{"a":{"b":1}}]', b"", b'[{"a":{"c":2}}]', b"", b'[{"a":{"b":1,"c":2}}]'),
        # Keyword arguments belong to both documents, and become part of the argument.
        (b'[{"a":1}]', b'{"b":2}', b'[{"c":3}]', b'{"a":null}', b'[{"b":2,"c":3}]'),
        (b"", b'{"b":2}', b"[]", b'{"c":3}', b'[{"b":2,"c":3}]'),
        # A value that is no document is replaced.
        (b"[21.5]", b"", b'[{"a":1}]', b"", b'[{"a":1}]'),
        (b'["text",{"b":1}]', b"", b'[{"a":1}]', b"", b'[{"a":1}]'),
        # Other arguments are not part of a document.
        (b'[{"a":1},2]', b"", b'[{"b":1},3]', b"", b'[{"a":1,"b":1}]'),
        # All fields may go: what is left is a document, too.
        (b'[{"a":1}]', b"", b'[{"a":null}]', b"", b"[{}]"),
    ],
)
def test_a_patch_is_merged_into_the_keys_document(value, kwargs, change, named, result, harness):
    say(harness, publish(flags=KEEP, args=value, kwargs=kwargs))
    seen(harness)
    say(harness, patch(change, kwargs=named, request=2))
    (event,) = events(harness)
    assert (event.publish.args, event.publish.kwargs) == (result, b"")
    (key,) = shown(harness)
    assert (key.publication, key.publish.args, key.publish.kwargs) == (
        event.publication,
        result,
        b"",
    )


def test_a_patch_of_no_key_makes_one(harness):
    say(harness, patch(b'[{"a":{"b":null,"c":1},"d":null}]'))
    assert seen(harness) == keys(harness) == [b'[{"a":{"c":1}}]']


def test_an_empty_patch_erases_the_key(harness):
    say(harness, patch(), patch(b"", request=2, flags=KEEP | EMPTY))
    assert seen(harness) == [b'[{"a":1}]', b""]
    assert keys(harness) == []


def test_a_patch_may_have_a_condition(harness):
    say(harness, patch(b'[{"n":1}]'))
    (first,) = ids(harness).values()
    say(harness, patch(b'[{"n":2}]', request=2, flags=IF, condition={"when_id": first}))
    say(harness, patch(b'[{"n":3}]', request=3, flags=IF, condition={"when_id": first}))
    assert keys(harness) == [b'[{"n":2}]']
    assert len(refused(harness)) == 1


@pytest.mark.parametrize(
    ("encoding", "write", "kept"),
    [
        (payloads.MSGPACK, msgpack.encode, payloads.MSGPACK),
        (payloads.CBOR, cbor2.dumps, payloads.CBOR),
        (payloads.JSON, json.encode, payloads.JSON),
        (payloads.RAW, lambda value: json.encode(value[0]), payloads.JSON),
    ],
)
def test_a_patched_key_is_in_the_encoding_of_the_patch(encoding, write, kept, harness):
    say(harness, publish(flags=KEEP, args=b'[{"a":1}]'))
    change = patch(write([{"b": 2}]), request=2)
    change.encoding = encoding
    say(harness, change)
    (key,) = shown(harness)
    assert key.publish.encoding == kept
    assert payloads.decode(kept, key.publish.args, b"") == ([{"a": 1, "b": 2}], {})


@pytest.mark.parametrize("args", [b"[1]", b"[[]]", b'[{"a":1'])
def test_what_is_no_patch_is_refused_and_changes_nothing(args, harness):
    say(harness, publish(flags=KEEP, args=b'["was"]'))
    say(harness, patch(args, request=2), publish("x", request=3))
    assert refused(harness) == [(2, "fox.error.invalid_payload", -1)]
    assert seen(harness) == [b'["was"]', b"[1]"]
    assert keys(harness) == [b'["was"]']


def test_a_key_that_cannot_be_read_is_not_patched(harness):
    say(harness, publish(flags=KEEP, args=b"[1"))
    say(harness, patch(request=2))
    assert refused(harness) == [(2, "fox.error.invalid_payload", -1)]
    assert keys(harness) == [b"[1"]


def test_a_patch_of_somebody_elses_private_key_begins_anew(harness):
    """What it says must not get out."""
    say(
        harness,
        publish(session=1, flags=KEEP, args=b'[{"secret":1}]', retain=RetainOptions(private=True)),
    )
    say(harness, patch(session=2))
    assert keys(harness) == [b'[{"a":1}]']


def test_a_patch_of_the_own_private_key_is_merged(harness):
    say(
        harness,
        publish(session=1, flags=KEEP, args=b'[{"b":1}]', retain=RetainOptions(private=True)),
    )
    say(harness, patch(session=1, request=2))
    assert keys(harness) == [b'[{"b":1,"a":1}]']


def test_patches_of_one_turn_build_on_each_other(harness):
    harness.disk.held = True
    say(harness, *(patch(b'[{"n%d":%d}]' % (n, n), request=n) for n in (1, 2, 3)))
    harness.disk.held = False
    harness.turns()
    assert seen(harness) == [b'[{"n1":1}]', b'[{"n1":1,"n2":2}]', b'[{"n1":1,"n2":2,"n3":3}]']


def test_a_patch_that_was_not_heard_of_comes_again_as_what_it_became(harness):
    say(harness, publish(flags=KEEP, args=b'[{"b":2}]'))
    harness["gateway-0"].deaf = True
    say(harness, patch(b'[{"a":1}]', request=2))
    assert seen(harness) == [b'[{"b":2}]', b'[{"b":2,"a":1}]']
    harness.restart()
    harness.turns(8)
    assert seen(harness, Again) == [b'[{"b":2,"a":1}]']
    assert 2 in ids(harness)


@pytest.mark.parametrize("flags", [KEEP, RETAIN])
def test_a_patch_whose_key_has_changed_since_is_answered_and_not_sent_again(flags, harness):
    """What it made of the key is not known any more; what the key is now comes behind it."""
    harness["gateway-0"].deaf = True
    say(harness, *(patch(b'[{"n%d":1}]' % n, request=n, flags=flags) for n in (1, 2)))
    seen(harness)
    harness.restart()
    harness.turns(8)
    assert seen(harness, Again) == [b'[{"n1":1,"n2":1}]']
    assert sorted(ids(harness)) == ([1, 2] if flags & ACKNOWLEDGE else [])
    assert keys(harness) == [b'[{"n1":1,"n2":1}]']


# Keyword arguments as headers


@pytest.fixture
def with_headers():
    return watched_stage(realms=[Realm(name="realm1", kwargs_are_headers=True)])


def test_keyword_arguments_that_are_headers_are_in_no_document(with_headers):
    harness = with_headers
    say(harness, publish(flags=KEEP, args=b'[{"a":1}]', kwargs=b'{"b":2}'))
    wanted = RetainOptions(when=msgpack.encode({"b": 2}))
    say(harness, publish(request=2, flags=IF, args=b"[2]", retain=wanted))
    assert len(refused(harness)) == 1
    wanted = RetainOptions(when=msgpack.encode({"a": 1}))
    say(harness, publish(request=3, flags=IF, args=b'[{"a":3}]', kwargs=b'{"c":3}', retain=wanted))
    (key,) = shown(harness)
    assert (key.publish.args, key.publish.kwargs) == (b'[{"a":3}]', b'{"c":3}')


def test_a_patch_brings_headers_of_its_own(with_headers):
    harness = with_headers
    say(harness, publish(flags=KEEP, args=b'[{"a":1}]', kwargs=b'{"from":"one"}'))
    say(harness, patch(b'[{"b":2}]', kwargs=b'{"from":"other"}', request=2))
    (key,) = shown(harness)
    assert (key.publish.args, key.publish.kwargs) == (b'[{"a":1,"b":2}]', b'{"from":"other"}')
    say(harness, patch(b"[]", kwargs=b'{"a":2}', request=3))
    assert refused(harness) == [(3, "fox.error.invalid_payload", -1)]


# Sequences


def in_queue(request=1, *, retain=None, **more):
    return publish(
        "queue", request=request, flags=KEEP, retain=retain or RetainOptions(sequence=True), **more
    )


def test_each_publish_of_a_sequence_is_a_key_of_its_own_in_order(harness):
    say(harness, in_queue(1, args=b"[1]"), in_queue(2, args=b"[2]"))
    told = ids(harness)
    topics = [in_sequence("queue", told[request]) for request in (1, 2)]
    assert [event.publish.topic for event in events(harness)] == topics == sorted(topics)
    assert [event.publish.topic for event in shown(harness)] == topics
    assert [rows.key("realm1", topic) in harness.disk.rows for topic in topics] == [True, True]


def test_a_key_of_a_sequence_is_taken_by_its_name(harness):
    """By any gateway: it is at the shard where the sequence is."""
    say(harness, in_queue())
    (topic,) = (event.publish.topic for event in events(harness))
    for shards in (2, 3, 64):
        ref = Placement(shards)
        assert ref.shard_of("realm1", topic) == ref.shard_of("realm1", "queue")
    say(harness, publish(topic, request=2, flags=KEEP | EMPTY, args=b""), name="gateway-1")
    assert keys(harness) == []


def test_a_sequence_may_go_by_time_or_with_its_session(harness):
    say(harness, in_queue(1, retain=RetainOptions(5.0, sequence=True), args=b"[1]"))
    say(harness, in_queue(2, retain=RetainOptions(sequence=True, weak=True), args=b"[2]"))
    say(harness, in_queue(3, args=b"[3]"))
    harness.pass_time(6.0)
    assert keys(harness) == [b"[2]", b"[3]"]
    say(harness, leave(1))
    assert keys(harness) == [b"[3]"]


def test_after_a_restart_a_publish_of_a_sequence_has_the_same_topic(harness):
    harness["gateway-0"].deaf = True
    say(harness, in_queue())
    (event,) = events(harness)
    harness.restart()
    harness.turns(8)
    (again,) = events(harness, Again)
    assert (again.publication, again.publish.topic) == (event.publication, event.publish.topic)
    assert ids(harness) == {1: event.publication}
    assert len(shown(harness)) == 1


def test_what_of_a_sequence_was_not_stored_is_refused(harness):
    harness.disk.held = True
    say(harness, in_queue())
    fail(harness)
    assert [request for request, *_ in refused(harness)] == [1]
    assert keys(harness) == []
    recover(harness)
    say(harness, in_queue(2))
    assert len(keys(harness)) == 1


# Private keys


def private(session=1, *, request=1, flags=KEEP, **more):
    retain = RetainOptions(weak=True, private=True, **more)
    audience = Audience(eligible=[session])
    return publish(session=session, request=request, flags=flags, retain=retain, audience=audience)


def test_a_private_key_is_kept_although_it_is_for_one_session(harness):
    """The gateways show it to that session alone."""
    say(harness, private())
    (key,) = shown(harness)
    assert key.publish.audience == Audience(eligible=[1])
    harness.restart()
    harness.turns(8)
    (key,) = shown(harness)
    assert (key.publish.audience, key.publish.retain.private) == (Audience(eligible=[1]), True)
    say(harness, leave(1))
    assert keys(harness) == []


@pytest.mark.parametrize(
    "condition", [{"when": NO_KEY}, {"when_id": 0}, {"when": msgpack.encode({})}, {"when_id": None}]
)
def test_a_private_key_meets_no_condition_of_anybody_else(condition, harness):
    say(harness, private(1))
    (first,) = ids(harness).values()
    if condition == {"when_id": None}:
        condition = {"when_id": first}
    say(
        harness,
        publish(session=2, request=2, flags=IF, args=b"[2]", retain=RetainOptions(**condition)),
    )
    # Nor is its publication id told.
    assert refused(harness) == [(2, "fox.error.condition_failed", -1)]
    assert keys(harness) == [b"[1]"]


def test_that_a_private_key_was_in_the_way_is_told_again_without_its_id(harness):
    say(harness, private(1))
    harness["gateway-0"].deaf = True
    say(harness, publish(session=2, request=2, flags=IF, retain=RetainOptions(when_id=0)))
    harness.restart()
    harness.turns(8)
    assert refused(harness) == [(2, "fox.error.condition_failed", -1)]


def test_its_owner_may_ask_for_what_it_is(harness):
    say(harness, private(1))
    (first,) = ids(harness).values()
    say(harness, publish(request=2, flags=IF, args=b"[2]", retain=RetainOptions(when_id=first - 1)))
    assert refused(harness) == [(2, "fox.error.condition_failed", first)]
    say(harness, private(1, request=3, flags=IF, when_id=first))
    assert list(ids(harness)) == [3]


@pytest.mark.parametrize(
    "retain",
    [None, RetainOptions(5.0), RetainOptions(weak=True), RetainOptions(weak=True, private=True)],
)
def test_a_private_key_may_be_replaced_by_anybody(retain, harness):
    say(harness, private(1), publish(session=2, flags=KEEP, args=b"[2]", retain=retain), leave(1))
    assert keys(harness) == [b"[2]"]


# Wills


GONE = msgpack.encode([{"state": "gone"}])


def willed(session=1, *, request=1, will=GONE, args=b'[{"state":"here"}]', **more):
    return publish(
        session=session,
        request=request,
        flags=KEEP,
        args=args,
        retain=RetainOptions(will=will),
        **more,
    )


@pytest.fixture
def here(harness):
    """Session 1 has a key with a will."""
    say(harness, willed())
    seen(harness)
    ids(harness)
    return harness


def check_gone(harness):
    """The key is what was willed; that was told once, and nobody owns it."""
    (key,) = shown(harness)
    assert (key.publish.args, key.publish.encoding) == (GONE, payloads.MSGPACK)
    assert seen(harness) == [GONE]
    assert harness.shard.retained_keys.owners.idle
    assert harness.disk.rows[rows.key("realm1", "a.b")] == rows.encode(key)


@pytest.mark.parametrize("graceful", [True, False])
def test_a_key_takes_the_value_that_its_session_willed(graceful, here):
    say(here, leave(1, graceful=graceful))
    check_gone(here)


def test_a_will_is_a_publication_of_its_session(here):
    say(here, leave(1))
    (event,) = events(here)
    (key,) = shown(here)
    assert event.publication == key.publication
    assert (event.publish.session, event.publish.topic) == (1, "a.b")


@pytest.mark.parametrize(
    "later",
    [
        publish(session=2, flags=KEEP, args=b"[2]"),
        publish(session=1, request=2, flags=KEEP, args=b"[2]"),
        publish(session=2, flags=KEEP, args=b"[2]", retain=RetainOptions(weak=True)),
    ],
    ids=["another's", "its own", "another's weak one"],
)
def test_whoever_publishes_the_key_cancels_the_will(later, here):
    say(here, later, leave(1))
    assert keys(here) == [b"[2]"]
    assert seen(here) == [b"[2]"]


def test_an_erased_key_has_no_will(here):
    say(here, publish(request=2, flags=KEEP | EMPTY, args=b""), leave(1))
    assert (keys(here), seen(here)) == ([], [b""])


def test_the_last_will_counts(here):
    say(here, willed(request=2, will=msgpack.encode(["other"])), leave(1))
    assert keys(here) == [msgpack.encode(["other"])]


def test_a_key_that_expires_before_has_no_will(harness):
    retain = RetainOptions(5.0, will=GONE)
    say(harness, publish(flags=KEEP, retain=retain))
    harness.pass_time(6.0)
    say(harness, leave(1))
    assert keys(harness) == []
    assert seen(harness) == [b"[1]"]


def test_a_will_is_for_whom_the_key_was(harness):
    audience = Audience(eligible_authrole=["admin"])
    say(harness, willed(audience=audience), leave(1))
    (key,) = shown(harness)
    assert key.publish.audience == audience


def test_a_session_that_leaves_behind_its_key_that_waits_for_the_disk_has_its_will(harness):
    harness.disk.held = True
    say(harness, willed(), leave(1))
    harness.disk.held = False
    harness.turns()
    assert seen(harness) == [b'[{"state":"here"}]', GONE]
    assert keys(harness) == [GONE]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_wills_of_a_gateway_that_is_killed_are_published(restarted, here):
    here.kill("gateway-0")
    if restarted:
        here.restart()
    here.pass_time(2 * here.terms.peer_timeout + 1)
    check_gone(here)


def test_the_wills_of_an_earlier_incarnation_are_published(here):
    here.kill("gateway-0")
    here.restart()
    here.join("gateway-0", incarnation=2)
    here.turns(8)
    check_gone(here)


def test_a_session_that_left_while_the_shard_was_down_has_its_will(here):
    here["gateway-0"].replay = []
    here.restart()
    here.turns(8)
    check_gone(here)


def test_a_session_that_is_still_there_keeps_its_key(here):
    here.restart()
    here.turns(8)
    assert (keys(here), seen(here)) == ([b'[{"state":"here"}]'], [])
    here["gateway-0"].replay = []
    say(here, leave(1))
    check_gone(here)


def test_a_will_that_was_not_stored_before_a_crash_is_published_after_it(here):
    here["gateway-0"].replay = []
    here.disk.held = True
    say(here, leave(1))
    assert seen(here) == []
    here.restart()
    here.turns(8)
    check_gone(here)


def test_a_will_that_was_stored_is_not_published_twice(here):
    here["gateway-0"].replay = []
    say(here, leave(1))
    (event,) = events(here)
    here.restart()
    here.turns(8)
    assert [key.publication for key in shown(here)] == [event.publication]
    assert seen(here, Event) == []


@pytest.mark.parametrize("since", ["before", "then"])
def test_a_will_that_cannot_be_stored_is_published_when_the_store_works(since, here):
    if since == "before":
        here.disk.trouble = "disk full"
        say(here, publish("x", session=5, flags=KEEP))
        say(here, leave(1))
        here.turns()
    else:
        here.disk.held = True
        say(here, leave(1))
        fail(here)
    assert (seen(here), keys(here)) == ([], [b'[{"state":"here"}]'])
    recover(here)
    check_gone(here)


def test_a_will_is_not_lost_when_the_store_fails_twice(here):
    here.disk.held = True
    say(here, leave(1))
    fail(here)
    here.disk.trouble = ""
    here.now += RETRY
    here.shard.tick(here.now)
    here.turn()
    # It works, and the will is on its way.
    here.disk.held = True
    here.turn()
    fail(here)
    assert seen(here) == []
    recover(here)
    check_gone(here)


def test_a_will_in_memory_does_not_wait_for_the_disk():
    harness = watched_stage(unstored=("realm1",))
    harness.disk.trouble = "disk full"
    harness.disk.held = True
    say(harness, willed(), leave(1))
    assert seen(harness) == [b'[{"state":"here"}]', GONE]
    assert keys(harness) == [GONE]
