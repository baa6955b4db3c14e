"""Testaments: what a gateway publishes when a session ends, however it ends (WAMP #testament)."""

import pytest
from gateway_harness import REALM, GatewayHarness

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    DISCLOSE,
    EMPTY,
    RELIABLE_EVENT,
    RETAIN,
    Audience,
    DropWills,
    Identity,
    Leave,
    Publish,
    Will,
    WillsStored,
)
from fox_shard.documents import payloads
from fox_shard.documents.payloads import MSGPACK, RAW, decode

ADD = "wamp.session.add_testament"
FLUSH = "wamp.session.flush_testaments"


class Caller:
    """A session that calls the two procedures. answers: of its calls, in order."""

    def __init__(self, shards=2, **settings):
        self.harness = GatewayHarness(shards, **settings)
        self.shards = [f"shard-{n}" for n in range(shards)]
        self.session = self.harness.session()
        self.session.result = lambda result: self.answers.append(result.request)
        self.session.call_error = lambda error: self.answers.append(error.uri)
        self.answers = []
        self.request = 0

    def call(self, procedure, *args, **named):
        self.request += 1
        encoded = payloads.encode(list(args), named, MSGPACK)
        self.harness.gateway.requests.call(
            self.session, self.request, procedure, 0, 0, MSGPACK, *encoded, None
        )
        self.harness.turns()

    def got(self, kind):
        return [(s, frame) for s in self.shards for frame in self.harness.got(s, kind)]

    def store(self):
        """Have the shards confirm what they were asked to store."""
        for shard, frame in [*self.got(Will), *self.got(DropWills)]:
            self.harness.say(shard, WillsStored(self.session.id, frame.request))

    def add(self, topic, *args, **named):
        self.call(ADD, topic, list(args), {}, **named)

    def end(self, *, graceful=False):
        self.harness.gateway.requests.session_ended(self.session, "ended", graceful=graceful)
        self.harness.turns()

    def published(self):
        return [values(frame) for _, frame in sorted(self.got(Publish), key=order)]


def order(sent):
    return sent[1].order


def values(publish):
    return decode(publish.encoding, publish.args, publish.kwargs)[0]


def test_a_call_is_answered_when_the_shard_has_stored_the_testament():
    one = Caller()
    one.call(ADD, "a", [1], {"b": 2})
    assert one.answers == []
    ((shard, will),) = one.got(Will)
    assert (will.publish.realm, will.publish.topic, will.request) == (REALM, "a", 1)
    assert decode(MSGPACK, will.publish.args, will.publish.kwargs) == ([1], {"b": 2})
    assert will.publish.flags & RELIABLE_EVENT
    one.harness.say(shard, WillsStored(one.session.id, 1), WillsStored(one.session.id, 1))
    assert one.answers == [1]
    assert one.harness.gateway.registry.idle


@pytest.mark.parametrize("graceful", [True, False])
@pytest.mark.cites(
    "advanced.pubsub_testament.2", "advanced.pubsub_testament.4", "advanced.pubsub_testament.6"
)
def test_testaments_are_published_however_the_session_ends(graceful):
    """Detached ones come first, and each scope in the order of adding (WAMP #testament)."""
    one = Caller()
    for number, scope in enumerate([None, "detached", "destroyed", "detached"]):
        one.add(one.harness.topic(number % 2), number, scope=scope)
    one.store()
    one.end(graceful=graceful)
    assert one.published() == [[1], [3], [0], [2]]
    # The shards drop their copies.
    assert [leave.graceful for _, leave in one.got(Leave)] == [True, True]


def test_a_testament_follows_all_that_the_session_has_published():
    one = Caller()
    one.add(one.harness.topic(0))
    one.harness["shard-1"].confirms = False
    one.harness.publish(one.session, one.harness.topic(1))
    one.got(Publish)
    one.end()
    ((_, will),) = one.got(Publish)
    assert will.fence.marks[0][0] == 1
    assert will.order == 2


@pytest.mark.cites("advanced.pubsub_testament.5")
def test_flushed_testaments_are_not_published():
    one = Caller()
    for number, scope in enumerate(["detached", "destroyed", "detached"]):
        one.add(one.harness.topic(number % 2), number, scope=scope)
    one.store()
    one.answers.clear()
    one.call(FLUSH, scope="detached")
    ((shard, dropped),) = one.got(DropWills)
    assert (shard, dropped.numbers, one.answers) == ("shard-0", [1, 2], [])
    one.harness.say(shard, WillsStored(one.session.id, dropped.request))
    assert one.answers == [one.request]
    one.call(FLUSH, scope="detached")
    assert one.answers == [one.request - 1, one.request]
    one.end()
    assert one.published() == [[1]]


@pytest.mark.cites("advanced.pubsub_testament.2", "advanced.pubsub_testament.3")
def test_the_default_scope_is_destroyed():
    one = Caller()
    one.add("a", 1)
    one.add("a", 2, scope="detached")
    one.call(FLUSH)
    one.end()
    assert one.published() == [[2]]


def test_a_flush_is_answered_when_all_shards_have_dropped_theirs():
    one = Caller()
    for shard in (0, 1):
        one.add(one.harness.topic(shard))
    one.store()
    one.answers.clear()
    one.call(FLUSH)
    for count, (shard, frame) in enumerate(one.got(DropWills)):
        assert one.answers == []
        one.harness.say(shard, WillsStored(one.session.id, frame.request))
        assert len(one.answers) == count


def test_a_new_pair_is_told_of_the_testaments_and_asked_again():
    one = Caller(shards=1)
    one.add("a", 1)
    one.store()
    one.add("a", 2)
    one.call(FLUSH, scope="detached")
    one.answers.clear()
    one.harness.kill("shard-0")
    one.add("a", 3, scope="detached")
    one.harness.join("shard-0", incarnation=2)
    one.harness.pass_time(1.0)
    wills = [(frame.number, frame.request, values(frame.publish)) for _, frame in one.got(Will)]
    asked = [will for will in wills if will[1]]
    assert {(number, args[0]) for number, _, args in wills} == {
        (1, 3),
        (1 << 32, 1),
        ((1 << 32) + 1, 2),
    }
    for _, request, _ in asked:
        one.harness.say("shard-0", WillsStored(one.session.id, request))
    assert one.answers == [2, 4]


def test_a_drop_that_was_not_confirmed_is_asked_for_again():
    one = Caller(shards=1)
    one.add("a", 1)
    one.store()
    one.call(FLUSH)
    one.got(DropWills)
    one.harness.kill("shard-0")
    one.harness.join("shard-0", incarnation=2)
    one.harness.pass_time(1.0)
    assert one.got(Will) == []
    ((_, dropped),) = one.got(DropWills)
    assert dropped.numbers == [1 << 32]
    # If the session ends now, the shard must not publish what it may still have.
    one.end()
    assert [leave.graceful for _, leave in one.got(Leave)] == [True]
    assert one.published() == []


def test_publish_options_apply_as_far_as_they_make_sense():
    one = Caller(shards=1)
    options = {"acknowledge": True, "retain": True, "disclose_me": True, "eligible": [5]}
    one.add("a", 1, publish_options=options)
    one.add("a", publish_options={"retain": True})
    (_, will), (_, empty) = one.got(Will)
    assert will.publish.flags & (ACKNOWLEDGE | RETAIN | DISCLOSE) == RETAIN | DISCLOSE
    assert will.publish.publisher == Identity("user", "role")
    assert will.publish.audience == Audience(eligible=[5])
    assert empty.publish.flags & EMPTY


@pytest.mark.parametrize(
    ("procedure", "args", "named", "uri"),
    [
        (ADD, [], {}, "invalid_argument"),
        (ADD, [5, [], {}], {}, "invalid_argument"),
        (ADD, ["a", {}, {}], {}, "invalid_argument"),
        (ADD, ["a", [], {}, 1], {}, "invalid_argument"),
        (ADD, ["a", [], {}], {"scope": "other"}, "invalid_argument"),
        (ADD, ["a", [], {}], {"unknown": 1}, "invalid_argument"),
        (ADD, ["a", [], {}], {"publish_options": {"retain": "x"}}, "invalid_argument"),
        (
            ADD,
            ["a", [], {}],
            {"publish_options": {"retain": True, "weak": True}},
            "invalid_argument",
        ),
        (ADD, ["wamp.x", [], {}], {}, "invalid_uri"),
        (ADD, ["a" * 70000, [], {}], {}, "invalid_uri"),
        (FLUSH, ["destroyed"], {}, "invalid_argument"),
        (FLUSH, [], {"scope": "other"}, "invalid_argument"),
    ],
)
def test_invalid_calls_are_refused(procedure, args, named, uri):
    one = Caller(shards=1)
    one.call(procedure, *args, **named)
    assert one.answers == [f"wamp.error.{uri}"]
    assert one.got(Will) == []


@pytest.mark.parametrize(
    ("settings", "counted"),
    [({"max_testaments": 2}, "max_testaments"), ({"testament_bytes": 2048}, "testament_bytes")],
)
def test_number_and_bytes_of_testaments_are_limited(settings, counted):
    one = Caller(shards=1, **settings)
    for _ in range(3):
        one.add("a", "x" * 800)
    assert one.answers == ["fox.error.limit_exceeded"]
    assert one.harness.gateway.limit_counts.totals() == {counted: 1}
    one.call(FLUSH)
    one.add("a", "x" * 800)
    assert len(one.got(Will)) == 3
    assert one.answers == ["fox.error.limit_exceeded"]


@pytest.mark.parametrize("settings", [{"max_testaments": 2}, {"testament_bytes": 2048}])
def test_testaments_that_a_shard_has_yet_to_drop_are_limited_too(settings):
    one = Caller(shards=1, **settings)
    one.harness.kill("shard-0")
    for _ in range(10):
        one.add("a", "x" * 800)
        one.add("a", "x" * 800)
        one.call(FLUSH)
    refused = one.answers.count("fox.error.limit_exceeded")
    # As many again as a session may have, and those that are flushed last.
    assert len(one.harness.gateway.registry.wills.replay(0)) == 4 + 2
    assert refused == 20 - 4
    one.harness.join("shard-0", incarnation=2)
    one.harness.pass_time(1)
    one.store()
    one.answers.clear()
    one.add("a", "x" * 800)
    assert one.answers == []


def test_after_a_standstill_only_the_shards_publish():
    one = Caller(shards=1)
    one.add("a", 1)
    one.harness.gateway.registry.wills.drop()
    one.end()
    assert one.published() == []


def test_an_mqtt_will_is_unaffected_by_the_limits():
    one = Caller(shards=1, max_testaments=0)
    route = one.harness.realm.route("w")
    one.harness.gateway.requests.set_will(one.session, route, 0, RAW, b"offline")
    one.end()
    assert len(one.got(Publish)) == 1
