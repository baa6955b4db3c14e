"""State streams, filters, snapshots, followers: requests of clients, and messages to them."""

import math

import pytest
from msgspec import msgpack
from wamp_client import ALL, joined

from fox_shard.backplane.frames import (
    TRACE,
    Event,
    Identity,
    Publish,
    RetainOptions,
    SelectedEvent,
    SelectorSpec,
)
from fox_shard.documents.filters import DEEPEST
from fox_shard.documents.payloads import JSON, MSGPACK
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.gateway.wamp.options import CLOCK_SKEW
from fox_shard.topics.pattern import Pattern

INVALID_ARGUMENT = "wamp.error.invalid_argument"
ON = {"on": True}
PACKED = msgpack.encode(ON)
LATE = 10 * CLOCK_SKEW


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "subscribe_options"),
    [
        ({"retained": True}, SubscribeOptions(replay=True, state=True)),
        ({"retained": False}, SubscribeOptions()),
        ({"retained": True, "get_retained": False}, SubscribeOptions(replay=True, state=True)),
        ({"filter": ON}, SubscribeOptions(filter=PACKED)),
        ({"filter": {}}, SubscribeOptions()),
        ({"filter": ON, "get_retained": True}, SubscribeOptions(replay=True, filter=PACKED)),
        (
            {"filter": ON, "retained": True},
            SubscribeOptions(replay=True, state=True, filter=PACKED),
        ),
        ({"snapshot": False}, SubscribeOptions()),
        ({"snapshot": True}, SubscribeOptions(replay=True, snapshot=True)),
        ({"snapshot": True, "get_retained": True}, SubscribeOptions(replay=True, snapshot=True)),
        (
            {"snapshot": True, "retained": True, "filter": ON},
            SubscribeOptions(replay=True, state=True, filter=PACKED, snapshot=True),
        ),
        ({"after": 0}, SubscribeOptions(after=())),
        ({"after": []}, SubscribeOptions(after=())),
        ({"after": 5}, SubscribeOptions(after=(5,))),
        ({"after": LATE}, SubscribeOptions(after=(LATE,), floor=LATE - CLOCK_SKEW)),
        ({"after": [LATE, 5]}, SubscribeOptions(after=(LATE, 5))),
        ({"after": None}, SubscribeOptions()),
        ({"after": 0, "snapshot": True}, SubscribeOptions(after=(), snapshot=True)),
        ({"after": 0, "get_retained": True}, SubscribeOptions(replay=True, after=())),
        (
            {"after": 0, "get_retained": True, "snapshot": True, "filter": ON},
            SubscribeOptions(replay=True, after=(), snapshot=True, filter=PACKED),
        ),
    ],
)
def test_the_options_of_subscribe_reach_the_gateway(options, subscribe_options, subprotocol):
    """semantics.md, Subscribing."""
    client = joined(subprotocol)
    assert client.send([32, 3, {"match": "prefix", **options}, "com."]) == []
    assert client.asked == [("subscribe", 3, Pattern.wamp("com.", "prefix"), 0, subscribe_options)]


def nested(levels):
    found = {"a": 1}
    for _ in range(levels):
        found = {"a": found}
    return found


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"retained": 1}, "the option retained: "),
        ({"snapshot": "yes"}, "the option snapshot: "),
        ({"filter": [1]}, "the option filter: "),
        ({"filter": None}, "the option filter: "),
        ({"filter": "a"}, "the option filter: "),
        ({"filter": {"a": {"$near": 1}}}, "the option filter: there is no operator '$near'"),
        ({"filter": {"a": {"$gt": None}}}, "the option filter: $gt takes a number or a text"),
        ({"filter": {"a": {"$in": 1}}}, "the option filter: $in takes a list"),
        ({"filter": nested(DEEPEST + 1)}, "the option filter: more than "),
        ({"after": -1}, "the option after: "),
        ({"after": "x"}, "the option after: "),
        ({"after": 1 << 53}, "the option after: "),
        ({"after": [1] * 65}, "the option after: "),
        ({"retained": True, "after": 0}, "the option after is about events, and retained about"),
    ],
)
def test_a_bad_option_of_subscribe_is_refused_and_named(options, says, subprotocol):
    client = joined(subprotocol)
    ((*head, message),) = client.send([32, 3, options, "com.a"])
    assert head == [8, 32, 3, {}, INVALID_ARGUMENT]
    assert message[0].startswith(says)
    assert (client.asked, client.hung_up) == ([], 0)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize("levels", [DEEPEST + 1, 60])
def test_a_condition_that_is_too_deep_is_refused(levels, subprotocol):
    """A comparison with such a condition would exhaust the stack of the shard."""
    client = joined(subprotocol)
    options = {"acknowledge": True, "when": nested(levels)}
    ((*head, message),) = client.send([16, 3, options, "com.a"])
    assert head == [8, 16, 3, {}, INVALID_ARGUMENT]
    assert message[0].startswith("the option when: more than ")


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ([32, 3, {"filter": {"a": 16_384 * "x"}}, "com.a"], "the option filter: 16"),
        ([16, 3, {"acknowledge": True, "when": {"a": 16_384 * "x"}}, "com.a"], "the option when: "),
        (
            [16, 3, {"acknowledge": True, "exclude": [1] * 1001}, "com.a"],
            "the option exclude: 1001",
        ),
        (
            [16, 3, {"acknowledge": True, "eligible_authid": ["a"] * 1001}, "com.a"],
            "the option eligible_authid: 1001",
        ),
        (
            [16, 3, {"acknowledge": True, "exclude_authrole": ["a", 16_384 * "x"]}, "com.a"],
            "the option exclude_authrole: more than 16384",
        ),
    ],
)
def test_an_option_that_is_too_large_is_refused(request_, says, subprotocol):
    client = joined(subprotocol)
    ((*head, message),) = client.send(request_)
    assert head == [8, request_[0], 3, {}, "fox.error.limit_exceeded"]
    assert message[0].startswith(says)
    assert (client.asked, client.hung_up) == ([], 0)


@pytest.mark.parametrize("subprotocol", ALL[:2])
@pytest.mark.parametrize("levels", [120, 500])
def test_a_will_nests_no_deeper_than_other_arguments(levels, subprotocol):
    client = joined(subprotocol)
    options = {"acknowledge": True, "retain": True, "will": nested(levels)}
    ((*head, message),) = client.send([16, 3, options, "com.a"])
    assert head == [8, 16, 3, {}, "fox.error.limit_exceeded"]
    assert message[0].startswith("the option will: more than 120")
    assert client.send([16, 4, {"retain": True, "will": nested(118)}, "com.a"]) == []


@pytest.mark.parametrize(
    "options",
    [{"exclude": [1] * 1000}, {"eligible_authid": ["a"] * 1000}, {"when": {"a": 16_000 * "x"}}],
)
def test_an_option_may_be_just_as_large_as_the_limit(options):
    client = joined(ALL[0])
    assert client.send([16, 3, options, "com.a"]) == []
    assert len(client.asked) == 1


@pytest.mark.parametrize("subprotocol", ALL)
def test_a_filter_may_have_the_greatest_number_of_levels(subprotocol):
    client = joined(subprotocol)
    assert client.send([32, 3, {"filter": nested(DEEPEST)}, "com.a"]) == []
    assert client.asked[0][-1].filter == msgpack.encode(nested(DEEPEST))


@pytest.mark.parametrize("subprotocol", ["wamp.2.msgpack", "wamp.2.cbor"])
@pytest.mark.parametrize("value", [b"\x00", 1 << 63, -(1 << 63), math.inf, {"": None}])
def test_a_filter_may_have_values_that_json_lacks(value, subprotocol):
    client = joined(subprotocol)
    assert client.send([32, 3, {"filter": {"a": value}}, "com.a"]) == []
    assert msgpack.decode(client.asked[0][-1].filter) == {"a": value}


# Ids


def id_of(options, subprotocol="wamp.2.json", topic="com.a"):
    """Return the id of the subscription that a client with these options gets."""
    client = joined(subprotocol)
    assert client.send([32, 3, options, topic]) == []
    ((_, _, pattern, _, subscribe_options),) = client.asked
    return Subscription("realm1", pattern, subscribe_options).id


@pytest.mark.parametrize("subprotocol", ALL)
def test_a_filter_has_one_subscription_id_in_any_order_and_encoding(subprotocol):
    one = {"a": 1, "b": {"$gt": 1, "$lt": 3}, "c": {"x": 1, "y": [2, {"p": 1, "q": 2}]}}
    other = {"c": {"y": [2, {"q": 2, "p": 1}], "x": 1}, "b": {"$lt": 3, "$gt": 1}, "a": 1}
    assert id_of({"filter": one}) == id_of({"filter": other}, subprotocol)
    assert id_of({"filter": one, "get_retained": True}) == id_of({"filter": one})


def test_different_options_have_different_subscription_ids():
    different = [
        {},
        {"retained": True},
        {"snapshot": True},
        {"retained": True, "snapshot": True},
        {"filter": ON},
        {"filter": {"on": False}},
        {"filter": {"on": {"$exists": True}}},
        {"filter": ON, "retained": True},
        {"filter": ON, "snapshot": True},
        {"after": 0},
        {"after": 0, "filter": ON},
    ]
    ids = {id_of(subscribe_options) for subscribe_options in different}
    assert len(ids) == len(different)
    assert id_of({}, topic="com.b") not in ids
    assert id_of({"get_retained": True}) == id_of({})
    assert id_of({"after": 0}) == id_of({"after": [5], "get_retained": True})


# Messages to clients


def subscription(uri="com.example", match="exact", **subscribe_options):
    return Subscription("realm1", Pattern.wamp(uri, match), SubscribeOptions(**subscribe_options))


def selected(*, encoding=JSON, args=b'["x"]', publisher=None, state=True):
    publish = Publish("realm1", "com.example", 99, 1, 1, 0, encoding, args, publisher=publisher)
    return SelectedEvent(Event(5, publish), [1], state=state)


ALICE = Identity("alice", "admin")
NAMED = {"publisher": 99, "publisher_authid": "alice", "publisher_authrole": "admin"}


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("uri", "match", "topic"),
    [
        ("com.example", "exact", {}),
        ("com", "prefix", {"topic": "com.example"}),
        ("com.", "wildcard", {"topic": "com.example"}),
        ("com.*", "exact", {"topic": "com.example"}),
    ],
)
def test_a_change_has_details_of_its_topic_publisher_and_removal(uri, match, topic, subprotocol):
    client = joined(subprotocol)
    to = subscription(uri, match, state=True)

    def told(selected, removed=""):
        return client.decode(client.session.encoder.selected(selected, to, removed))

    assert told(selected()) == [36, to.id, 5, topic, ["x"]]
    assert told(selected(publisher=ALICE)) == [36, to.id, 5, {**topic, **NAMED}, ["x"]]
    for removed in ("deleted", "expired", "weak", "filter"):
        gone = [36, to.id, 5, {"removed": removed, **topic}]
        assert told(selected(), removed) == told(selected(publisher=ALICE), removed) == gone


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "flags", "details"),
    [
        ({"after": ()}, TRACE, {"recorded": True}),
        ({"after": ()}, 0, {}),
        ({"after": (), "snapshot": True}, TRACE, {"recorded": True}),
        ({}, TRACE, {}),
        ({"state": True}, TRACE, {}),
    ],
)
def test_followers_are_told_which_events_are_recorded(subprotocol, options, flags, details):
    client = joined(subprotocol)
    to = subscription("com.example", "exact", **options)
    event = Event(5, Publish("realm1", "com.example", 99, 1, 1, flags, JSON, b'["x"]'))
    encoder = client.session.encoder
    assert client.decode(encoder.event(event, to)) == [36, to.id, 5, details, ["x"]]
    live = SelectedEvent(event, [to.id], state=options.get("state", False))
    assert client.decode(encoder.selected(live, to, "")) == [36, to.id, 5, details, ["x"]]
    # A key is none.
    assert client.decode(encoder.retained(event, to))[3] == {"retained": True}


@pytest.mark.parametrize("subprotocol", ALL)
def test_a_change_is_transcoded_to_the_serializer_of_the_client(subprotocol):
    client = joined(subprotocol)
    to = subscription(state=True)
    change = selected(encoding=MSGPACK, args=msgpack.encode(["ä"]))
    assert client.decode(client.session.encoder.selected(change, to, ""))[4] == ["ä"]


EXTENSION = msgpack.encode([msgpack.Ext(5, b"x")])


@pytest.mark.parametrize(
    ("encoding", "args"), [(MSGPACK, b"\xc1"), (MSGPACK, EXTENSION), (JSON, b'["%b"]' % bytes(999))]
)
@pytest.mark.parametrize(
    ("subscribe_options", "told"),
    [
        ({"state": True}, True),
        ({"snapshot": True, "state": True}, True),
        ({"snapshot": True}, True),
        ({}, False),
        ({"filter": PACKED}, False),
    ],
)
def test_who_is_shown_keys_is_told_of_a_value_that_cannot_be_sent(
    encoding, args, subscribe_options, told
):
    """A watcher would believe the old value for ever, and `fox get` that there is no such key."""
    client = joined(limit=500)
    encoder = client.session.encoder
    to = subscription("com", "prefix", **subscribe_options)
    change = selected(encoding=encoding, args=args, state=to.shows_keys)
    changed, shown = encoder.selected(change, to, ""), encoder.retained(change.event, to)
    if not told:
        assert changed == shown == b""
        return
    details = {"topic": "com.example", "removed": "unreadable"}
    assert client.decode(changed) == [36, to.id, 5, details]
    assert client.decode(shown) == [36, to.id, 5, {**details, "retained": True}]
    assert client.decode(encoder.selected(change, to, "deleted"))[3]["removed"] == "deleted"


def test_a_removal_that_is_too_long_for_the_client_is_not_sent():
    client = joined(limit=500)
    to = subscription("", "prefix", state=True)
    change = selected()
    change.event.publish.topic = "a" * 500
    assert client.session.encoder.selected(change, to, "deleted") == b""


def test_keys_of_later_pages_look_like_the_first_ones():
    client = joined()
    to = subscription("com", "prefix", state=True)
    event = selected().event
    client.session.subscribed(4, to, [event])
    client.session.more_keys([event], to, 0)
    answer, first, second = client.received()
    assert answer == [33, 4, to.id]
    assert first == second == [36, to.id, 5, {"topic": "com.example", "retained": True}, ["x"]]


@pytest.mark.cites("advanced.pubsub_subscription_revocation.3")
def test_a_subscription_is_revoked_once_its_snapshot_is_over():
    """WAMP #pubsub-subscription-revocation."""
    client = joined()
    to, stays = subscription(snapshot=True), subscription()
    for number, one in enumerate((to, stays), 4):
        client.session.subscribed(number, one, [])
    client.received()
    client.session.subscription_revoked(to, "fox.close.snapshot")
    details = {"subscription": to.id, "reason": "fox.close.snapshot"}
    assert client.received() == [[35, 0, details]]
    client.gateway.subscribed = {to.name, stays.name}
    assert client.send([34, 9, to.id])[0][:5] == [8, 34, 9, {}, "wamp.error.no_such_subscription"]
    assert client.send([34, 9, stays.id]) == [[35, 9]]


def test_a_subscription_that_cannot_be_made_is_answered_with_error():
    client = joined()
    client.session.not_subscribed(4, "fox.error.history", "why", 7)
    error = [8, 32, 4, {}, "fox.error.history", ["why"], {"oldest": 7}]
    assert client.received() == [error]
    # Only a gap in the history has an oldest event.
    client.session.not_subscribed(5, "wamp.error.not_authorized", "why", 0)
    assert client.received() == [[8, 32, 5, {}, "wamp.error.not_authorized", ["why"]]]


def test_a_subscription_with_a_selector_is_ended_by_its_id():
    client = joined()
    to = subscription(state=True, filter=PACKED)
    assert to.selector == SelectorSpec(to.id, True, PACKED)
    client.session.subscribed(5, to, [])
    client.received()
    client.gateway.subscribed = {to.name}
    assert client.send([34, 9, to.id]) == [[35, 9]]
    assert client.asked == [("unsubscribe", to.name)]


@pytest.mark.parametrize("subprotocol", ALL)
def test_what_a_reducer_has_made_says_what_it_comes_from(subprotocol):
    """semantics.md, Reducers."""
    client = joined(subprotocol)
    to = Subscription("realm1", Pattern.wamp("a.#"), SubscribeOptions(state=True))
    retain = RetainOptions(reduced=64)
    publish = Publish("realm1", "a.b", 0, 0, 0, 0, JSON, b"[7]", retain=retain)
    encoder, event = client.session.encoder, Event(128, publish)
    value = encoder.selected(SelectedEvent(event, [1], state=True), to, "")
    gone = encoder.selected(SelectedEvent(event, [1], "deleted", reduced=192), to, "deleted")
    shown = encoder.retained(event, to)
    assert [client.decode(chunk)[3] for chunk in (value, gone, shown)] == [
        {"topic": "a.b", "reduced": 64},
        {"removed": "deleted", "topic": "a.b", "reduced": 192},
        {"topic": "a.b", "reduced": 64, "retained": True},
    ]
