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
    Keep,
    Published,
    Refused,
    Retained,
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
def stage():
    return watched_stage()


def say(stage, *frames, name="gateway-0"):
    stage.say(name, *frames, reliable=True)


def events(stage, kind=Event | Again):
    """What gateway-1 got."""
    return [getattr(one, "event", one) for one in stage.got("gateway-1", kind)]


def seen(stage, kind=Event | Again):
    return [event.publish.args for event in events(stage, kind)]


def shown(stage):
    """The keys, as events."""
    stage.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event for frame in stage.got("gateway-1", Retained)]


def keys(stage):
    return [event.publish.args for event in shown(stage)]


def ids(stage):
    """{request: publication id} of what was published."""
    told = {}
    for answer in stage.got("gateway-0", Published):
        told |= zip(answer.requests, answer.publications, strict=True)
    return told


def refused(stage):
    return [(one.request, one.uri, one.publication) for one in stage.got("gateway-0", Refused)]


def fail(stage):
    stage.disk.trouble = "disk full"
    stage.disk.held = False
    stage.turns()


def recover(stage):
    stage.disk.trouble = ""
    stage.pass_time(RETRY + 0.5)


# Patches


def patch(args=b'[{"a":1}]', *, request=1, flags=KEEP, condition=(), **more):
    return publish(
        request=request, flags=flags, args=args, keep=Keep(patch=True, **dict(condition)), **more
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
def test_a_patch_is_merged_into_the_keys_document(value, kwargs, change, named, result, stage):
    say(stage, publish(flags=KEEP, args=value, kwargs=kwargs))
    seen(stage)
    say(stage, patch(change, kwargs=named, request=2))
    (event,) = events(stage)
    assert (event.publish.args, event.publish.kwargs) == (result, b"")
    (key,) = shown(stage)
    assert (key.publication, key.publish.args, key.publish.kwargs) == (
        event.publication,
        result,
        b"",
    )


def test_a_patch_of_no_key_makes_one(stage):
    say(stage, patch(b'[{"a":{"b":null,"c":1},"d":null}]'))
    assert seen(stage) == keys(stage) == [b'[{"a":{"c":1}}]']


def test_an_empty_patch_erases_the_key(stage):
    say(stage, patch(), patch(b"", request=2, flags=KEEP | EMPTY))
    assert seen(stage) == [b'[{"a":1}]', b""]
    assert keys(stage) == []


def test_a_patch_may_have_a_condition(stage):
    say(stage, patch(b'[{"n":1}]'))
    (first,) = ids(stage).values()
    say(stage, patch(b'[{"n":2}]', request=2, flags=IF, condition={"when_id": first}))
    say(stage, patch(b'[{"n":3}]', request=3, flags=IF, condition={"when_id": first}))
    assert keys(stage) == [b'[{"n":2}]']
    assert len(refused(stage)) == 1


@pytest.mark.parametrize(
    ("encoding", "write", "kept"),
    [
        (payloads.MSGPACK, msgpack.encode, payloads.MSGPACK),
        (payloads.CBOR, cbor2.dumps, payloads.CBOR),
        (payloads.JSON, json.encode, payloads.JSON),
        (payloads.RAW, lambda value: json.encode(value[0]), payloads.JSON),
    ],
)
def test_a_patched_key_is_in_the_encoding_of_the_patch(encoding, write, kept, stage):
    say(stage, publish(flags=KEEP, args=b'[{"a":1}]'))
    change = patch(write([{"b": 2}]), request=2)
    change.encoding = encoding
    say(stage, change)
    (key,) = shown(stage)
    assert key.publish.encoding == kept
    assert payloads.decode(kept, key.publish.args, b"") == ([{"a": 1, "b": 2}], {})


@pytest.mark.parametrize("args", [b"[1]", b"[[]]", b'[{"a":1'])
def test_what_is_no_patch_is_refused_and_changes_nothing(args, stage):
    say(stage, publish(flags=KEEP, args=b'["was"]'))
    say(stage, patch(args, request=2), publish("x", request=3))
    assert refused(stage) == [(2, "fox.error.invalid_payload", -1)]
    assert seen(stage) == [b'["was"]', b"[1]"]
    assert keys(stage) == [b'["was"]']


def test_a_key_that_cannot_be_read_is_not_patched(stage):
    say(stage, publish(flags=KEEP, args=b"[1"))
    say(stage, patch(request=2))
    assert refused(stage) == [(2, "fox.error.invalid_payload", -1)]
    assert keys(stage) == [b"[1"]


def test_a_patch_of_somebody_elses_private_key_begins_anew(stage):
    """What it says must not get out."""
    say(stage, publish(session=1, flags=KEEP, args=b'[{"secret":1}]', keep=Keep(private=True)))
    say(stage, patch(session=2))
    assert keys(stage) == [b'[{"a":1}]']


def test_a_patch_of_the_own_private_key_is_merged(stage):
    say(stage, publish(session=1, flags=KEEP, args=b'[{"b":1}]', keep=Keep(private=True)))
    say(stage, patch(session=1, request=2))
    assert keys(stage) == [b'[{"b":1,"a":1}]']


def test_patches_of_one_turn_build_on_each_other(stage):
    stage.disk.held = True
    say(stage, *(patch(b'[{"n%d":%d}]' % (n, n), request=n) for n in (1, 2, 3)))
    stage.disk.held = False
    stage.turns()
    assert seen(stage) == [b'[{"n1":1}]', b'[{"n1":1,"n2":2}]', b'[{"n1":1,"n2":2,"n3":3}]']


def test_a_patch_that_was_not_heard_of_comes_again_as_what_it_became(stage):
    say(stage, publish(flags=KEEP, args=b'[{"b":2}]'))
    stage["gateway-0"].deaf = True
    say(stage, patch(b'[{"a":1}]', request=2))
    assert seen(stage) == [b'[{"b":2}]', b'[{"b":2,"a":1}]']
    stage.restart()
    stage.turns(8)
    assert seen(stage, Again) == [b'[{"b":2,"a":1}]']
    assert 2 in ids(stage)


@pytest.mark.parametrize("flags", [KEEP, RETAIN])
def test_a_patch_whose_key_has_changed_since_is_answered_and_not_sent_again(flags, stage):
    """What it made of the key is not known any more; what the key is now comes behind it."""
    stage["gateway-0"].deaf = True
    say(stage, *(patch(b'[{"n%d":1}]' % n, request=n, flags=flags) for n in (1, 2)))
    seen(stage)
    stage.restart()
    stage.turns(8)
    assert seen(stage, Again) == [b'[{"n1":1,"n2":1}]']
    assert sorted(ids(stage)) == ([1, 2] if flags & ACKNOWLEDGE else [])
    assert keys(stage) == [b'[{"n1":1,"n2":1}]']


# Keyword arguments as headers


@pytest.fixture
def with_headers():
    return watched_stage(realms=[Realm(name="realm1", kwargs_are_headers=True)])


def test_keyword_arguments_that_are_headers_are_in_no_document(with_headers):
    stage = with_headers
    say(stage, publish(flags=KEEP, args=b'[{"a":1}]', kwargs=b'{"b":2}'))
    wanted = Keep(when=msgpack.encode({"b": 2}))
    say(stage, publish(request=2, flags=IF, args=b"[2]", keep=wanted))
    assert len(refused(stage)) == 1
    wanted = Keep(when=msgpack.encode({"a": 1}))
    say(stage, publish(request=3, flags=IF, args=b'[{"a":3}]', kwargs=b'{"c":3}', keep=wanted))
    (key,) = shown(stage)
    assert (key.publish.args, key.publish.kwargs) == (b'[{"a":3}]', b'{"c":3}')


def test_a_patch_brings_headers_of_its_own(with_headers):
    stage = with_headers
    say(stage, publish(flags=KEEP, args=b'[{"a":1}]', kwargs=b'{"from":"one"}'))
    say(stage, patch(b'[{"b":2}]', kwargs=b'{"from":"other"}', request=2))
    (key,) = shown(stage)
    assert (key.publish.args, key.publish.kwargs) == (b'[{"a":1,"b":2}]', b'{"from":"other"}')
    say(stage, patch(b"[]", kwargs=b'{"a":2}', request=3))
    assert refused(stage) == [(3, "fox.error.invalid_payload", -1)]


# Sequences


def in_queue(request=1, *, keep=None, **more):
    return publish("queue", request=request, flags=KEEP, keep=keep or Keep(sequence=True), **more)


def test_each_publish_of_a_sequence_is_a_key_of_its_own_in_order(stage):
    say(stage, in_queue(1, args=b"[1]"), in_queue(2, args=b"[2]"))
    told = ids(stage)
    topics = [in_sequence("queue", told[request]) for request in (1, 2)]
    assert [event.publish.topic for event in events(stage)] == topics == sorted(topics)
    assert [event.publish.topic for event in shown(stage)] == topics
    assert [rows.key("realm1", topic) in stage.disk.rows for topic in topics] == [True, True]


def test_a_key_of_a_sequence_is_taken_by_its_name(stage):
    """By any gateway: it is at the shard where the sequence is."""
    say(stage, in_queue())
    (topic,) = (event.publish.topic for event in events(stage))
    for shards in (2, 3, 64):
        place = Placement(shards)
        assert place.shard_of("realm1", topic) == place.shard_of("realm1", "queue")
    say(stage, publish(topic, request=2, flags=KEEP | EMPTY, args=b""), name="gateway-1")
    assert keys(stage) == []


def test_a_sequence_may_go_by_time_or_with_its_session(stage):
    say(stage, in_queue(1, keep=Keep(5.0, sequence=True), args=b"[1]"))
    say(stage, in_queue(2, keep=Keep(sequence=True, weak=True), args=b"[2]"))
    say(stage, in_queue(3, args=b"[3]"))
    stage.pass_time(6.0)
    assert keys(stage) == [b"[2]", b"[3]"]
    say(stage, leave(1))
    assert keys(stage) == [b"[3]"]


def test_after_a_restart_a_publish_of_a_sequence_has_the_same_topic(stage):
    stage["gateway-0"].deaf = True
    say(stage, in_queue())
    (event,) = events(stage)
    stage.restart()
    stage.turns(8)
    (again,) = events(stage, Again)
    assert (again.publication, again.publish.topic) == (event.publication, event.publish.topic)
    assert ids(stage) == {1: event.publication}
    assert len(shown(stage)) == 1


def test_what_of_a_sequence_was_not_stored_is_refused(stage):
    stage.disk.held = True
    say(stage, in_queue())
    fail(stage)
    assert [request for request, *_ in refused(stage)] == [1]
    assert keys(stage) == []
    recover(stage)
    say(stage, in_queue(2))
    assert len(keys(stage)) == 1


# Private keys


def private(session=1, *, request=1, flags=KEEP, **more):
    keep = Keep(weak=True, private=True, **more)
    audience = Audience(eligible=[session])
    return publish(session=session, request=request, flags=flags, keep=keep, audience=audience)


def test_a_private_key_is_kept_although_it_is_for_one_session(stage):
    """The gateways show it to that session alone."""
    say(stage, private())
    (key,) = shown(stage)
    assert key.publish.audience == Audience(eligible=[1])
    stage.restart()
    stage.turns(8)
    (key,) = shown(stage)
    assert (key.publish.audience, key.publish.keep.private) == (Audience(eligible=[1]), True)
    say(stage, leave(1))
    assert keys(stage) == []


@pytest.mark.parametrize(
    "condition", [{"when": NO_KEY}, {"when_id": 0}, {"when": msgpack.encode({})}, {"when_id": None}]
)
def test_a_private_key_meets_no_condition_of_anybody_else(condition, stage):
    say(stage, private(1))
    (first,) = ids(stage).values()
    if condition == {"when_id": None}:
        condition = {"when_id": first}
    say(stage, publish(session=2, request=2, flags=IF, args=b"[2]", keep=Keep(**condition)))
    # Nor is its publication id told.
    assert refused(stage) == [(2, "fox.error.condition_failed", -1)]
    assert keys(stage) == [b"[1]"]


def test_that_a_private_key_was_in_the_way_is_told_again_without_its_id(stage):
    say(stage, private(1))
    stage["gateway-0"].deaf = True
    say(stage, publish(session=2, request=2, flags=IF, keep=Keep(when_id=0)))
    stage.restart()
    stage.turns(8)
    assert refused(stage) == [(2, "fox.error.condition_failed", -1)]


def test_its_owner_may_ask_for_what_it_is(stage):
    say(stage, private(1))
    (first,) = ids(stage).values()
    say(stage, publish(request=2, flags=IF, args=b"[2]", keep=Keep(when_id=first - 1)))
    assert refused(stage) == [(2, "fox.error.condition_failed", first)]
    say(stage, private(1, request=3, flags=IF, when_id=first))
    assert list(ids(stage)) == [3]


@pytest.mark.parametrize("keep", [None, Keep(5.0), Keep(weak=True), Keep(weak=True, private=True)])
def test_a_private_key_may_be_replaced_by_anybody(keep, stage):
    say(stage, private(1), publish(session=2, flags=KEEP, args=b"[2]", keep=keep), leave(1))
    assert keys(stage) == [b"[2]"]


# Wills


GONE = msgpack.encode([{"state": "gone"}])


def willed(session=1, *, request=1, will=GONE, args=b'[{"state":"here"}]', **more):
    return publish(
        session=session, request=request, flags=KEEP, args=args, keep=Keep(will=will), **more
    )


@pytest.fixture
def here(stage):
    """Session 1 has a key with a will."""
    say(stage, willed())
    seen(stage)
    ids(stage)
    return stage


def check_gone(stage):
    """The key is what was willed; that was told once, and nobody owns it."""
    (key,) = shown(stage)
    assert (key.publish.args, key.publish.encoding) == (GONE, payloads.MSGPACK)
    assert seen(stage) == [GONE]
    assert stage.shard.retention.owners.idle
    assert stage.disk.rows[rows.key("realm1", "a.b")] == rows.encode(key)


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
        publish(session=2, flags=KEEP, args=b"[2]", keep=Keep(weak=True)),
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


def test_a_key_that_expires_before_has_no_will(stage):
    keep = Keep(5.0, will=GONE)
    say(stage, publish(flags=KEEP, keep=keep))
    stage.pass_time(6.0)
    say(stage, leave(1))
    assert keys(stage) == []
    assert seen(stage) == [b"[1]"]


def test_a_will_is_for_whom_the_key_was(stage):
    audience = Audience(eligible_authrole=["admin"])
    say(stage, willed(audience=audience), leave(1))
    (key,) = shown(stage)
    assert key.publish.audience == audience


def test_a_session_that_leaves_behind_its_key_that_waits_for_the_disk_has_its_will(stage):
    stage.disk.held = True
    say(stage, willed(), leave(1))
    stage.disk.held = False
    stage.turns()
    assert seen(stage) == [b'[{"state":"here"}]', GONE]
    assert keys(stage) == [GONE]


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
    stage = watched_stage(unstored=("realm1",))
    stage.disk.trouble = "disk full"
    stage.disk.held = True
    say(stage, willed(), leave(1))
    assert seen(stage) == [b'[{"state":"here"}]', GONE]
    assert keys(stage) == [GONE]
