"""The effect of a publish on its key: patches, sequences, private keys, wills."""

import cbor2
import pytest
from msgspec import json, msgpack
from shard_harness import leave, publish, subscribe, watched_harness

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
    return watched_harness()


def say(harness, *frames, name="gateway-0"):
    harness.say(name, *frames, reliable=True)


def events(harness, kind=Event | Again):
    """Return the events that gateway-1 has received, or received again."""
    return [getattr(one, "event", one) for one in harness.got("gateway-1", kind)]


def seen(harness, kind=Event | Again):
    return [event.publish.args for event in events(harness, kind)]


def shown(harness):
    """Return the events of the keys, as a new subscriber is shown them."""
    harness.say("gateway-1", subscribe("*#", token=1, replay=True))
    return [frame.event for frame in harness.got("gateway-1", Retained)]


def keys(harness):
    return [event.publish.args for event in shown(harness)]


def ids(harness):
    """Return {request: publication id} of the publishes that were acknowledged."""
    found = {}
    for answer in harness.got("gateway-0", Published):
        found |= zip(answer.requests, answer.publications, strict=True)
    return found


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
        # An object without fields is a document, too.
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


def test_a_patch_without_a_key_creates_one(harness):
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
def test_a_patched_key_has_the_encoding_of_the_patch(encoding, write, kept, harness):
    say(harness, publish(flags=KEEP, args=b'[{"a":1}]'))
    change = patch(write([{"b": 2}]), request=2)
    change.encoding = encoding
    say(harness, change)
    (key,) = shown(harness)
    assert key.publish.encoding == kept
    assert payloads.decode(kept, key.publish.args, b"") == ([{"a": 1, "b": 2}], {})


@pytest.mark.parametrize("args", [b"[1]", b"[[]]", b'[{"a":1'])
def test_an_invalid_patch_is_refused_and_changes_nothing(args, harness):
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


def test_a_patch_of_another_sessions_private_key_begins_with_an_empty_document(harness):
    """The private value must not be revealed."""
    say(
        harness,
        publish(session=1, flags=KEEP, args=b'[{"secret":1}]', retain=RetainOptions(private=True)),
    )
    say(harness, patch(session=2))
    assert keys(harness) == [b'[{"a":1}]']


def test_a_patch_of_the_sessions_own_private_key_is_merged(harness):
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


def test_an_unanswered_patch_is_sent_again_after_a_restart_as_its_result(harness):
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
    """The patch's result is no longer known; the key's present value is sent again after it."""
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
    return watched_harness(realms=[Realm(name="realm1", kwargs_are_headers=True)])


def test_keyword_arguments_that_are_headers_are_not_in_the_document(with_headers):
    harness = with_headers
    say(harness, publish(flags=KEEP, args=b'[{"a":1}]', kwargs=b'{"b":2}'))
    wanted = RetainOptions(when=msgpack.encode({"b": 2}))
    say(harness, publish(request=2, flags=IF, args=b"[2]", retain=wanted))
    assert len(refused(harness)) == 1
    wanted = RetainOptions(when=msgpack.encode({"a": 1}))
    say(harness, publish(request=3, flags=IF, args=b'[{"a":3}]', kwargs=b'{"c":3}', retain=wanted))
    (key,) = shown(harness)
    assert (key.publish.args, key.publish.kwargs) == (b'[{"a":3}]', b'{"c":3}')


def test_a_patch_replaces_the_headers(with_headers):
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


def test_each_publish_of_a_sequence_creates_a_key_and_the_keys_sort_in_order(harness):
    say(harness, in_queue(1, args=b"[1]"), in_queue(2, args=b"[2]"))
    found = ids(harness)
    topics = [in_sequence("queue", found[request]) for request in (1, 2)]
    assert [event.publish.topic for event in events(harness)] == topics == sorted(topics)
    assert [event.publish.topic for event in shown(harness)] == topics
    assert [rows.key("realm1", topic) in harness.disk.rows for topic in topics] == [True, True]


def test_a_sequence_key_is_erased_by_its_name(harness):
    """Any gateway can erase the key, because it is at the shard of its sequence."""
    say(harness, in_queue())
    (topic,) = (event.publish.topic for event in events(harness))
    for shards in (2, 3, 64):
        ref = Placement(shards)
        assert ref.shard_of("realm1", topic) == ref.shard_of("realm1", "queue")
    say(harness, publish(topic, request=2, flags=KEEP | EMPTY, args=b""), name="gateway-1")
    assert keys(harness) == []


def test_a_sequence_key_may_expire_or_be_weak(harness):
    say(harness, in_queue(1, retain=RetainOptions(5.0, sequence=True), args=b"[1]"))
    say(harness, in_queue(2, retain=RetainOptions(sequence=True, weak=True), args=b"[2]"))
    say(harness, in_queue(3, args=b"[3]"))
    harness.pass_time(6.0)
    assert keys(harness) == [b"[2]", b"[3]"]
    say(harness, leave(1))
    assert keys(harness) == [b"[3]"]


def test_a_sequence_key_has_the_same_topic_when_it_is_sent_again(harness):
    harness["gateway-0"].deaf = True
    say(harness, in_queue())
    (event,) = events(harness)
    harness.restart()
    harness.turns(8)
    (again,) = events(harness, Again)
    assert (again.publication, again.publish.topic) == (event.publication, event.publish.topic)
    assert ids(harness) == {1: event.publication}
    assert len(shown(harness)) == 1


def test_a_publish_of_a_sequence_that_cannot_be_stored_is_refused(harness):
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
def test_a_private_key_fails_every_condition_of_other_sessions(condition, harness):
    say(harness, private(1))
    (first,) = ids(harness).values()
    if condition == {"when_id": None}:
        condition = {"when_id": first}
    say(
        harness,
        publish(session=2, request=2, flags=IF, args=b"[2]", retain=RetainOptions(**condition)),
    )
    # The refusal does not tell the key's publication id either.
    assert refused(harness) == [(2, "fox.error.condition_failed", -1)]
    assert keys(harness) == [b"[1]"]


def test_a_refusal_because_of_a_private_key_is_repeated_without_its_id(harness):
    say(harness, private(1))
    harness["gateway-0"].deaf = True
    say(harness, publish(session=2, request=2, flags=IF, retain=RetainOptions(when_id=0)))
    harness.restart()
    harness.turns(8)
    assert refused(harness) == [(2, "fox.error.condition_failed", -1)]


def test_the_owner_of_a_private_key_may_set_conditions_on_it(harness):
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
def test_any_session_may_replace_a_private_key(retain, harness):
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
def with_will(harness):
    """A harness in which session 1 has a key with a will."""
    say(harness, willed())
    seen(harness)
    ids(harness)
    return harness


def check_will_published(harness):
    """Check that the key has the value of its will, which was sent once, and has no owner."""
    (key,) = shown(harness)
    assert (key.publish.args, key.publish.encoding) == (GONE, payloads.MSGPACK)
    assert seen(harness) == [GONE]
    assert harness.shard.retained_keys.owners.idle
    assert harness.disk.rows[rows.key("realm1", "a.b")] == rows.encode(key)


@pytest.mark.parametrize("graceful", [True, False])
def test_a_key_takes_the_value_of_its_will_when_its_session_ends(graceful, with_will):
    say(with_will, leave(1, graceful=graceful))
    check_will_published(with_will)


def test_a_will_is_a_publication_of_its_session(with_will):
    say(with_will, leave(1))
    (event,) = events(with_will)
    (key,) = shown(with_will)
    assert event.publication == key.publication
    assert (event.publish.session, event.publish.topic) == (1, "a.b")


@pytest.mark.parametrize(
    "later",
    [
        publish(session=2, flags=KEEP, args=b"[2]"),
        publish(session=1, request=2, flags=KEEP, args=b"[2]"),
        publish(session=2, flags=KEEP, args=b"[2]", retain=RetainOptions(weak=True)),
    ],
    ids=["other session", "same session", "other session, weak"],
)
def test_a_later_publish_of_the_key_by_any_session_cancels_the_will(later, with_will):
    say(with_will, later, leave(1))
    assert keys(with_will) == [b"[2]"]
    assert seen(with_will) == [b"[2]"]


def test_an_erased_key_has_no_will(with_will):
    say(with_will, publish(request=2, flags=KEEP | EMPTY, args=b""), leave(1))
    assert (keys(with_will), seen(with_will)) == ([], [b""])


def test_a_later_will_replaces_an_earlier_one(with_will):
    say(with_will, willed(request=2, will=msgpack.encode(["other"])), leave(1))
    assert keys(with_will) == [msgpack.encode(["other"])]


def test_the_will_of_an_expired_key_is_not_published(harness):
    retain = RetainOptions(5.0, will=GONE)
    say(harness, publish(flags=KEEP, retain=retain))
    harness.pass_time(6.0)
    say(harness, leave(1))
    assert keys(harness) == []
    assert seen(harness) == [b"[1]"]


def test_a_will_has_the_receivers_of_its_key(harness):
    audience = Audience(eligible_authrole=["admin"])
    say(harness, willed(audience=audience), leave(1))
    (key,) = shown(harness)
    assert key.publish.audience == audience


def test_a_will_is_published_even_if_its_key_still_waits_for_the_disk(harness):
    harness.disk.held = True
    say(harness, willed(), leave(1))
    harness.disk.held = False
    harness.turns()
    assert seen(harness) == [b'[{"state":"here"}]', GONE]
    assert keys(harness) == [GONE]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_wills_of_a_killed_gateway_are_published(restarted, with_will):
    with_will.kill("gateway-0")
    if restarted:
        with_will.restart()
    with_will.pass_time(2 * with_will.terms.peer_timeout + 1)
    check_will_published(with_will)


def test_the_wills_of_an_earlier_incarnation_are_published(with_will):
    with_will.kill("gateway-0")
    with_will.restart()
    with_will.join("gateway-0", incarnation=2)
    with_will.turns(8)
    check_will_published(with_will)


def test_the_will_of_a_session_that_left_while_the_shard_was_down_is_published(with_will):
    with_will["gateway-0"].replay = []
    with_will.restart()
    with_will.turns(8)
    check_will_published(with_will)


def test_a_session_that_is_alive_after_a_restart_keeps_its_key(with_will):
    with_will.restart()
    with_will.turns(8)
    assert (keys(with_will), seen(with_will)) == ([b'[{"state":"here"}]'], [])
    with_will["gateway-0"].replay = []
    say(with_will, leave(1))
    check_will_published(with_will)


def test_a_will_that_was_not_stored_before_a_crash_is_published_after_it(with_will):
    with_will["gateway-0"].replay = []
    with_will.disk.held = True
    say(with_will, leave(1))
    assert seen(with_will) == []
    with_will.restart()
    with_will.turns(8)
    check_will_published(with_will)


def test_a_will_that_was_stored_is_not_published_twice(with_will):
    with_will["gateway-0"].replay = []
    say(with_will, leave(1))
    (event,) = events(with_will)
    with_will.restart()
    with_will.turns(8)
    assert [key.publication for key in shown(with_will)] == [event.publication]
    assert seen(with_will, Event) == []


@pytest.mark.parametrize("since", ["before", "then"])
def test_a_will_that_cannot_be_stored_is_published_when_the_store_works(since, with_will):
    if since == "before":
        with_will.disk.trouble = "disk full"
        say(with_will, publish("x", session=5, flags=KEEP))
        say(with_will, leave(1))
        with_will.turns()
    else:
        with_will.disk.held = True
        say(with_will, leave(1))
        fail(with_will)
    assert (seen(with_will), keys(with_will)) == ([], [b'[{"state":"here"}]'])
    recover(with_will)
    check_will_published(with_will)


def test_a_will_is_not_lost_when_the_store_fails_twice(with_will):
    with_will.disk.held = True
    say(with_will, leave(1))
    fail(with_will)
    with_will.disk.trouble = ""
    with_will.now += RETRY
    with_will.shard.tick(with_will.now)
    with_will.turn()
    # The store works again, and the will is on its way to it.
    with_will.disk.held = True
    with_will.turn()
    fail(with_will)
    assert seen(with_will) == []
    recover(with_will)
    check_will_published(with_will)


def test_a_will_in_memory_does_not_wait_for_the_disk():
    harness = watched_harness(unstored=("realm1",))
    harness.disk.trouble = "disk full"
    harness.disk.held = True
    say(harness, willed(), leave(1))
    assert seen(harness) == [b'[{"state":"here"}]', GONE]
    assert keys(harness) == [GONE]
