"""Tables at a gateway: publishes to a table go to rows; subscriptions to its name are to all."""

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    ActiveTables,
    CaughtUp,
    Publish,
    RetainOptions,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Will,
)
from fox_shard.config import Realm as RealmSettings
from fox_shard.documents import payloads
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.tables.schema import TableSet
from fox_shard.topics.pattern import Pattern

SHARDS = 2
TEXT = TableSet.parse(
    {
        "room": {
            "properties": {"id": {"type": "string"}},
            "primary_key": ["id"],
            "propagate": {"house": [{"key": ["id"]}]},
        },
        "house": {
            "type": "aggregate",
            "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
            "primary_key": ["id"],
            "count": ["n"],
        },
        "rule": {"type": "object"},
    }
).text
OTHER = TEXT.replace('"room"', '"hall"')


def tell(harness, version, text=TEXT, shards=range(SHARDS)):
    for shard in shards:
        harness.say(f"shard-{shard}", ActiveTables("realm1", version, text))


@pytest.fixture
def harness():
    harness = GatewayHarness(SHARDS)
    tell(harness, 1)
    return harness


@pytest.fixture
def session(harness):
    return harness.session()


def publish(harness, session, topic, args, *, flags=ACKNOWLEDGE, kwargs=b"", **more):
    route = harness.realm.route(topic)
    harness.gateway.requests.publish(session, route, flags, 1, payloads.JSON, args, kwargs, **more)
    return [
        (shard, frame)
        for shard in range(SHARDS)
        for frame in harness.got(f"shard-{shard}", Publish)
    ]


def is_refused(session, uri):
    ((what, request, found),) = session.take()
    assert (what, request, found) == ("refused", 1, uri)
    return True


def test_a_publish_to_a_table_goes_to_the_row_as_a_key(harness, session):
    ((shard, frame),) = publish(harness, session, "room", b'[{"id": "a.b/c"}]')
    assert (frame.topic, frame.flags) == ("room.a%2Eb%2Fc", ACKNOWLEDGE | RETAIN)
    assert frame.args == b'[{"id": "a.b/c"}]'
    assert shard == harness.realm.shard_of("room.a%2Eb%2Fc")


def test_the_key_may_be_in_keyword_arguments(harness, session):
    ((_, frame),) = publish(harness, session, "room", b"", kwargs=b'{"id": ""}')
    assert (frame.topic, frame.kwargs) == ("room.%", b'{"id": ""}')


def test_a_publish_to_a_row_becomes_a_key(harness, session):
    ((_, frame),) = publish(harness, session, "room.a", b'[{"id": "a"}]')
    assert (frame.topic, frame.flags) == ("room.a", ACKNOWLEDGE | RETAIN)
    ((_, frame),) = publish(harness, session, "room.a", b"[]")
    assert (frame.topic, frame.flags) == ("room.a", ACKNOWLEDGE | RETAIN | EMPTY)


def test_options_of_keys_go_along(harness, session):
    options = RetainOptions(seconds=5, weak=True, patch=True)
    ((_, frame),) = publish(harness, session, "room", b'[{"id": "a"}]', retain=options)
    assert frame.retain == options


def test_publishes_in_a_run_go_to_their_rows(harness, session):
    payload = b'{"id": "%d"}'
    harness.gateway.requests.publish_all(
        session,
        harness.realm.route("room"),
        ACKNOWLEDGE,
        7,
        payloads.RAW,
        [payload % 1, b"nonsense", payload % 3],
    )
    got = [frame for shard in range(SHARDS) for frame in harness.got(f"shard-{shard}", Publish)]
    assert sorted((frame.topic, frame.request) for frame in got) == [("room.1", 7), ("room.3", 9)]
    assert session.take() == [("refused", 8, "fox.error.invalid_payload")]


@pytest.mark.parametrize("args", [b"", b"[]", b"[5]", b'[{"ID": "a"}]', b'[{"id": 5}]', b"[null]"])
def test_what_has_no_key_is_refused(harness, session, args):
    assert publish(harness, session, "room", args) == []
    assert is_refused(session, "fox.error.invalid_payload")


def test_what_nobody_is_told_is_counted(harness, session):
    assert publish(harness, session, "room", b"[5]", flags=0) == []
    assert session.take() == []
    assert harness.gateway.requests.take_dropped() == 1
    assert harness.gateway.requests.take_dropped() == 0


def test_aggregates_and_sequences_are_refused(harness, session):
    for topic in ("house", "house.a"):
        assert publish(harness, session, topic, b'[{"id": "a"}]') == []
        assert is_refused(session, "wamp.error.not_authorized")
    options = RetainOptions(sequence=True)
    assert publish(harness, session, "room", b'[{"id": "a"}]', retain=options) == []
    assert is_refused(session, "wamp.error.invalid_argument")


@pytest.mark.parametrize("topic", ["com.topic", "rule", "rooms.a"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patch": True}, "the option patch changes a key: it needs the option retain"),
        ({"weak": True}, "the option weak is about a key: it needs the option retain"),
        ({"will": b"1"}, "the option will is about a key: it needs the option retain"),
    ],
)
def test_other_keys_need_retain(harness, session, topic, options, sentence):
    retain, told = RetainOptions(**options), []
    session.refused = lambda frame: told.append((frame.uri, frame.message))
    assert publish(harness, session, topic, b'[{"id": "a"}]', retain=retain) == []
    assert told == [("wamp.error.invalid_argument", sentence)]
    flags = ACKNOWLEDGE | RETAIN
    ((_, frame),) = publish(harness, session, topic, b"[{}]", flags=flags, retain=retain)
    assert (frame.topic, frame.retain) == (topic, retain)


def test_other_topics_go_where_they_went(harness, session):
    for topic in ("rule", "rooms", "x.room"):
        ((_, frame),) = publish(harness, session, topic, b"[5]")
        assert (frame.topic, frame.flags) == (topic, ACKNOWLEDGE)


def test_a_will_to_a_table_is_one_to_the_row(harness, session):
    def will(payload):
        harness.gateway.requests.set_will(
            session, harness.realm.route("room"), 0, payloads.RAW, payload
        )
        return [frame for n in range(SHARDS) for frame in harness.got(f"shard-{n}", Will)]

    ((frame),) = will(b'{"id": "a"}')
    assert frame.publish.topic == "room.a"
    assert frame.publish.flags & RETAIN
    assert will(b"gone") == []
    assert harness.gateway.requests.take_dropped() == 1


# Subscriptions


@pytest.mark.parametrize("table", ["room", "house"])
def test_a_subscription_to_a_table_is_one_to_all_its_rows(harness, session, table):
    harness.subscribe(session, f"={table}")
    for shard in range(SHARDS):
        (asked,) = harness.got(f"shard-{shard}", Subscribe)
        assert asked.pattern == Pattern.wamp(f"{table}.#").text
        harness.say(f"shard-{shard}", Subscribed(asked.token))
    assert session.take() == [("subscribed", 1, f"*{table}.#", [])]
    # An MQTT client unsubscribes from the filter that it has named.
    assert harness.gateway.requests.unsubscribe(session, f"={table}")
    assert len(harness.got("shard-0", Unsubscribe)) == 1
    assert not harness.gateway.requests.unsubscribe(session, f"={table}")


def test_other_subscriptions_are_what_they_were(harness, session):
    harness.subscribe(session, "=room.a")
    harness.subscribe(session, "^room")
    asked = {
        one.pattern for shard in range(SHARDS) for one in harness.got(f"shard-{shard}", Subscribe)
    }
    assert asked == {"=room.a", "^room"}


def established(harness, session, text, **options):
    harness.subscribe(session, text, **options)
    for shard in range(SHARDS):
        for asked in harness.got(f"shard-{shard}", Subscribe):
            harness.say(f"shard-{shard}", Subscribed(asked.token))
    session.take()


def patterns(harness, kind=Subscribe):
    return [[one.pattern for one in harness.got(f"shard-{shard}", kind)] for shard in range(SHARDS)]


def test_a_client_is_told_that_its_topic_has_become_a_table(harness, session):
    established(harness, session, "=hall")
    established(harness, session, "=hall", filter=b"\x81\xa1a\x01")
    established(harness, session, "=lobby")
    tell(harness, 2, OTHER)
    assert session.take() == [("subscription revoked", "=hall")] * 2
    assert patterns(harness) == [[], []]
    assert [*session.subscriptions] == ["=lobby"]


def test_for_a_client_that_cannot_be_told_the_gateway_subscribes(harness, session):
    session.revocable = False
    established(harness, session, "=hall", granted_qos=1)
    tell(harness, 2, OTHER)
    assert patterns(harness) == [["*hall.#"], ["*hall.#"]]
    assert session.take() == []


def test_a_client_that_waits_gets_the_rows(harness, session):
    harness.subscribe(session, "=hall", request=7, replay=True)
    patterns(harness)
    tell(harness, 2, OTHER)
    for shard in range(SHARDS):
        (asked,) = harness.got(f"shard-{shard}", Subscribe)
        assert (asked.pattern, asked.replay) == ("*hall.#", True)
        harness.say(f"shard-{shard}", Subscribed(asked.token), CaughtUp(asked.token))
    assert session.take() == [("subscribed", 7, "*hall.#", [])]


def test_what_is_still_replayed_is_revoked(harness, session):
    harness.subscribe(session, "=hall", request=7, replay=True)
    shard = harness.realm.shard_of("hall")
    (asked,) = harness.got(f"shard-{shard}", Subscribe)
    harness.say(f"shard-{shard}", Subscribed(asked.token))
    assert session.take() == [("subscribed", 7, "=hall", [])]
    tell(harness, 2, OTHER)
    assert session.take() == [("subscription revoked", "=hall")]
    assert patterns(harness) == [[], []]
    assert harness.gateway.subscribe_requests.idle


# What the shards tell


def test_tables_count_when_all_shards_have_them():
    harness = GatewayHarness(SHARDS)
    realm = harness.realm
    tell(harness, 1, shards=[0])
    assert (realm.tables_version, [*realm.tables.tables]) == (0, [])
    tell(harness, 1, shards=[1])
    assert (realm.tables_version, [*realm.tables.tables]) == (1, ["room", "house"])
    tell(harness, 2, OTHER, shards=[1])
    assert realm.tables_version == 1
    # A shard that restarts tells again what it has told.
    tell(harness, 1, shards=[0])
    tell(harness, 3, TEXT, shards=[1])
    tell(harness, 2, OTHER, shards=[0])
    assert (realm.tables_version, [*realm.tables.tables]) == (2, ["hall", "house"])
    tell(harness, 3, shards=[0])
    assert realm.tables_version == 3


def test_routes_are_made_anew_when_tables_change(harness, session):
    harness.realm.wamp_routes["room"] = harness.realm.route("room")
    tell(harness, 2, OTHER)
    assert harness.realm.wamp_routes == {}
    ((_, frame),) = publish(harness, session, "room", b"[5]")
    assert frame.topic == "room"


def test_no_client_is_served_before_the_configured_tables_are_known():
    harness = GatewayHarness(SHARDS)
    name = RealmSettings(name="realm1").name
    waiting = Realm(name, harness.realm.placement, has_schema=True)
    harness.gateway.realms[name] = waiting
    tell(harness, 0, shards=[])
    harness.gateway.linked = False
    harness.say("shard-0", ActiveTables("realm1", 1, TEXT))
    assert not harness.gateway.linked
    harness.say("shard-1", ActiveTables("realm1", 1, TEXT))
    assert harness.gateway.linked


def test_tables_of_a_realm_that_is_not_configured_are_ignored(harness):
    harness.say("shard-0", ActiveTables("nowhere", 1, TEXT))
    assert "nowhere" not in harness.gateway.realms
