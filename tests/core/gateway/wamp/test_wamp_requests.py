"""Requests of clients, as the gateway's core gets them: WAMP Basic and Advanced Profile."""

import pytest
from msgspec import msgpack
from wamp_client import ALL, ENCODE, SESSION, joined

from fox_shard.backplane import frames
from fox_shard.backplane.frames import Audience, Identity, RetainOptions
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK, NONE
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.gateway.wamp.option_readers import CACHE_ENTRIES, CACHED_BYTES
from fox_shard.tables.schema import TableSet
from fox_shard.topics.pattern import Pattern

ENCODING = dict(zip(ALL, (JSON, MSGPACK, CBOR), strict=True))
EXCLUDE_ME = frames.EXCLUDE_ME
INVALID_ARGUMENT = "wamp.error.invalid_argument"
INVALID_URI = "wamp.error.invalid_uri"


# PUBLISH


@pytest.mark.parametrize("subprotocol", ALL)
def test_a_publish_reaches_the_gateway_with_its_arguments(subprotocol):
    client = joined(subprotocol)
    encode = ENCODE[subprotocol]
    encoding = ENCODING[subprotocol]
    assert client.send([16, 1, {}, "com.topic", ["x"], {"a": 1}]) == []
    assert client.send([16, 2, {}, "com.topic", ["x"]]) == []
    assert client.send([16, 3, {}, "com.topic"]) == []
    first, second, third = client.asked
    route = first[1]
    assert route.topic == "com.topic"
    assert first == (
        *("publish", route, EXCLUDE_ME, 1, encoding, encode(["x"]), encode({"a": 1})),
        *(None, None, None),
    )
    # The route is looked up once.
    assert second[1] is third[1] is route
    assert second[4:7] == (encoding, encode(["x"]), b"")
    assert third[4:7] == (NONE, b"", b"")


ME = Identity("anonymous", "anonymous")


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "flags", "publisher", "audience", "source"),
    [
        ({}, EXCLUDE_ME, None, None, "WAMP #publish"),
        ({"unknown": [1, {}]}, EXCLUDE_ME, None, None, "WAMP #extensibility"),
        ({"acknowledge": True}, EXCLUDE_ME | frames.ACKNOWLEDGE, None, None, "WAMP #publish"),
        ({"exclude_me": False}, 0, None, None, "WAMP #pubsub-pub-exclusion"),
        ({"exclude_me": True}, EXCLUDE_ME, None, None, "WAMP #pubsub-pub-exclusion"),
        (
            {"disclose_me": True},
            EXCLUDE_ME | frames.DISCLOSE,
            ME,
            None,
            "#pubsub-pub-identification",
        ),
        ({"retain": False}, EXCLUDE_ME, None, None, "WAMP #pubsub-event-retention"),
        ({"exclude": [1]}, EXCLUDE_ME, None, Audience([1]), "WAMP #pubsub-bw-listing"),
        ({"exclude": []}, EXCLUDE_ME, None, Audience([]), "WAMP #pubsub-bw-listing"),
        ({"eligible": []}, EXCLUDE_ME, None, Audience(eligible=[]), "WAMP #pubsub-bw-listing"),
        (
            {
                "exclude": [1, 2],
                "exclude_authid": ["a"],
                "exclude_authrole": ["b"],
                "eligible": [3],
                "eligible_authid": ["c"],
                "eligible_authrole": ["d"],
            },
            EXCLUDE_ME,
            None,
            Audience([1, 2], ["a"], ["b"], [3], ["c"], ["d"]),
            "WAMP #pubsub-bw-listing",
        ),
    ],
)
@pytest.mark.cites("advanced.pubsub_event_retention.2", "basic.messages.5")
def test_the_options_of_publish_become_flags_publisher_and_audience(
    options, flags, publisher, audience, source, subprotocol
):
    client = joined(subprotocol)
    client.send([16, 1, options, "com.topic", ["x"]])
    ((_, _, got_flags, _, _, _, _, got_publisher, got_audience, retain),) = client.asked
    assert (got_flags, got_publisher, got_audience) == (flags, publisher, audience)
    assert retain is None


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "flags", "retain"),
    [
        ({"retain": True}, frames.RETAIN, None),
        ({"retain": 0}, frames.RETAIN, None),
        ({"retain": 1}, frames.RETAIN, RetainOptions(1.0)),
        ({"retain": 0.5}, frames.RETAIN, RetainOptions(0.5)),
        ({"retain": True, "weak": True}, frames.RETAIN, RetainOptions(weak=True)),
        ({"retain": 5, "weak": "public"}, frames.RETAIN, RetainOptions(5.0, weak=True)),
        ({"retain": True, "weak": False}, frames.RETAIN, None),
        (
            {"retain": True, "weak": "private"},
            frames.RETAIN,
            RetainOptions(weak=True, private=True),
        ),
        (
            {"retain": True, "will": {"a": 1}},
            frames.RETAIN,
            RetainOptions(will=msgpack.encode([{"a": 1}])),
        ),
        (
            {"retain": True, "will": [1, 2]},
            frames.RETAIN,
            RetainOptions(will=msgpack.encode([1, 2])),
        ),
        ({"retain": True, "will": None}, frames.RETAIN, RetainOptions(weak=True)),
        ({"retain": True, "will": [None]}, frames.RETAIN, RetainOptions(weak=True)),
        ({"sequence": True}, frames.RETAIN, RetainOptions(sequence=True)),
        ({"sequence": True, "retain": 3}, frames.RETAIN, RetainOptions(3.0, sequence=True)),
        ({"when_id": 0, "watch": True}, frames.CONDITION, RetainOptions(when_id=0, watch=True)),
        ({"trace": True}, frames.TRACE, None),
        ({"when_id": 0}, frames.CONDITION, RetainOptions(when_id=0)),
        (
            {"retain": 2, "when_id": 7},
            frames.RETAIN | frames.CONDITION,
            RetainOptions(2.0, when_id=7),
        ),
        ({"when": None}, frames.CONDITION, RetainOptions(when=msgpack.encode(None))),
        (
            {"when": {"a": {"b": [1, None]}}},
            frames.CONDITION,
            RetainOptions(when=msgpack.encode({"a": {"b": [1, None]}})),
        ),
    ],
)
def test_the_options_of_keys_and_conditions_become_retain_options(
    options, flags, retain, subprotocol
):
    client = joined(subprotocol)
    client.send([16, 1, options, "com.topic", ["x"]])
    ((_, _, got_flags, *_, got_retain),) = client.asked
    assert (got_flags, got_retain) == (EXCLUDE_ME | flags, retain)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("payload", "empty"),
    [
        ([], True),
        ([[]], True),
        ([[None]], True),
        ([[], {}], True),
        ([[0]], False),
        ([[""]], False),
        ([[], {"a": None}], False),
    ],
)
def test_a_retained_publish_says_whether_it_is_empty(payload, empty, subprotocol):
    client = joined(subprotocol)
    client.send([16, 1, {"retain": True}, "com.topic", *payload])
    client.send([16, 1, {}, "com.topic", *payload])
    retained, plain = client.asked
    assert retained[2] == EXCLUDE_ME | frames.RETAIN | (frames.EMPTY if empty else 0)
    assert plain[2] == EXCLUDE_ME


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("lists", "audience"),
    [
        ({}, Audience(eligible=[SESSION])),
        ({"eligible": [1, SESSION]}, Audience(eligible=[SESSION])),
        ({"eligible": [1]}, Audience(eligible=[])),
        (
            {"exclude": [1], "eligible_authid": ["a"]},
            Audience(exclude=[1], eligible=[SESSION], eligible_authid=["a"]),
        ),
    ],
)
def test_a_private_key_is_for_its_publisher_alone(lists, audience, subprotocol):
    client = joined(subprotocol)
    for _ in range(2):  # the second time, the parsed options come from the cache
        client.send([16, 1, {"retain": True, "weak": "private", **lists}, "com.topic", ["x"]])
        ((*_, got_audience, retain),) = client.asked
        assert (got_audience, retain.private) == (audience, True)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize("payload", [[[1]], [["text", {"a": 1}]], [[[{"a": 1}]]]])
def test_a_patch_that_is_no_object_is_refused(payload, subprotocol):
    client = joined(subprotocol)
    options = {"retain": True, "patch": True}
    (answer,) = client.send([16, 7, {"acknowledge": True, **options}, "com.topic", *payload])
    assert answer[:5] == [8, 16, 7, {}, "fox.error.invalid_payload"]
    assert "a patch is an object" in answer[5][0]
    assert client.send([16, 8, options, "com.topic", *payload]) == []
    assert client.asked == []


@pytest.mark.parametrize("payload", [[[{"a": 1}]], [[], {"a": 1}], [[1], {"a": 1}], [], [[None]]])
def test_a_patch_is_an_object_or_empty(payload):
    client = joined()
    assert client.send([16, 1, {"retain": True, "patch": True}, "com.topic", *payload]) == []
    ((*_, retain),) = client.asked
    assert retain == RetainOptions(patch=True)


@pytest.mark.parametrize(
    ("payload", "empty", "patch"),
    [
        ([[], {"h": 1}], True, True),
        ([[1], {"h": 1}], False, False),
        ([[{}], {"h": 1}], False, True),
    ],
)
def test_a_realm_may_have_keyword_arguments_as_headers(payload, empty, patch):
    """Headers neither make an event non-empty nor belong to a patch."""
    client = joined()
    client.session.realm.headers = True
    client.send([16, 1, {"retain": True}, "com.topic", *payload])
    ((_, _, flags, *_),) = client.asked
    assert flags & frames.EMPTY == (frames.EMPTY if empty else 0)
    options = {"acknowledge": True, "retain": True, "patch": True}
    answers = client.send([16, 7, options, "com.topic", *payload])
    assert [answer[4] for answer in answers] == ([] if patch else ["fox.error.invalid_payload"])


TABLES = TableSet.parse(
    {
        "room": {
            "type": "object",
            "properties": {"id": {"type": "string"}},
            "primary_key": ["id"],
        },
        "rule": {"type": "object"},
    }
)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize("topic", ["room", "room.a"])
@pytest.mark.parametrize(
    ("options", "flags", "retain"),
    [
        ({}, 0, None),
        ({"patch": True}, 0, RetainOptions(patch=True)),
        ({"weak": True}, 0, RetainOptions(weak=True)),
        ({"weak": "private"}, 0, RetainOptions(weak=True, private=True)),
        ({"will": {"id": "a"}}, 0, RetainOptions(will=msgpack.encode([{"id": "a"}]))),
        ({"when_id": 7}, frames.CONDITION, RetainOptions(when_id=7)),
        (
            {"when": None, "watch": True, "weak": True},
            frames.CONDITION,
            RetainOptions(when=msgpack.encode(None), watch=True, weak=True),
        ),
        ({"retain": 5, "patch": True}, 0, RetainOptions(5.0, patch=True)),
    ],
)
def test_rows_need_no_retain(options, flags, retain, topic, subprotocol):
    client = joined(subprotocol)
    client.session.realm.tables = TABLES
    for _ in range(2):  # the second time, the parsed options come from the cache
        assert client.send([16, 1, options, topic, [{"id": "a"}]]) == []
        ((_, _, got_flags, *_, got_retain),) = client.asked
        assert (got_flags, got_retain) == (EXCLUDE_ME | frames.RETAIN | flags, retain)


@pytest.mark.parametrize("topic", ["com.topic", "rule", "rooms.a"])
@pytest.mark.parametrize("options", [{"patch": True}, {"weak": "private"}, {"will": 1}])
def test_nothing_else_is_retained_without_retain(options, topic):
    client = joined()
    client.session.realm.tables = TABLES
    # The same options have been cached as those of a row.
    client.send([16, 1, {"acknowledge": True, **options}, "room.a", [{"id": "a"}]])
    client.send([16, 2, {"acknowledge": True, **options}, topic, [{"id": "a"}]])
    row, other = (one[2] for one in client.asked)
    assert row & ~other == frames.RETAIN


@pytest.mark.parametrize(
    ("options", "payload", "uri"),
    [
        ({"patch": True}, [5], "fox.error.invalid_payload"),
        ({"watch": True}, [{"id": "a"}], INVALID_ARGUMENT),
        ({"sequence": True, "patch": True}, [{"id": "a"}], INVALID_ARGUMENT),
    ],
)
def test_what_else_is_wrong_with_options_is_refused_for_rows_too(options, payload, uri):
    client = joined()
    client.session.realm.tables = TABLES
    (answer,) = client.send([16, 1, {"acknowledge": True, **options}, "room.a", payload])
    assert answer[4] == uri
    assert client.asked == []


def test_a_topic_of_a_sequence_leaves_room_for_the_number():
    client = joined(topic_length=64)
    for length, refused in ((46, False), (47, True)):
        answers = client.send([16, 7, {"acknowledge": True, "sequence": True}, "a" * length])
        assert [answer[4] for answer in answers] == ([INVALID_URI] if refused else [])


BAD_URIS = [
    ("", "loose rule"),
    (".", "loose rule"),
    ("a..b", "loose rule"),
    ("a.b.", "loose rule"),
    ("a b", "loose rule"),
    ("a#", "loose rule"),
    ("a.\n", "loose rule"),
    ("a" * 65, "the limit of the settings"),
    ("ä" * 33, "the limit of the settings"),
]
RESERVED = [("wamp.x", "#uris"), ("fox", "ours"), ("$SYS.x", "ours"), ("wamp", "#uris")]


@pytest.mark.parametrize(("uri", "source"), BAD_URIS + RESERVED)
@pytest.mark.cites("basic.building_blocks.5", "basic.uri_reference.2")
def test_publishing_to_a_bad_topic_is_refused(uri, source):
    client = joined(topic_length=64)
    ((*head, says),) = client.send([16, 7, {"acknowledge": True}, uri, ["x"]])
    assert head == [8, 16, 7, {}, INVALID_URI]
    assert len(says) == 1
    # A publish without acknowledgement gets no answer.
    assert client.send([16, 8, {}, uri]) == []
    assert client.send([16, 8, {"acknowledge": False}, uri]) == []
    assert (client.asked, client.hung_up) == ([], 0)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"acknowledge": 1}, "acknowledge"),
        ({"acknowledge": "yes"}, "acknowledge"),
        ({"acknowledge": True, "exclude_me": None}, "exclude_me"),
        ({"acknowledge": True, "disclose_me": 0}, "disclose_me"),
        ({"acknowledge": True, "retain": "yes"}, "retain"),
        ({"acknowledge": True, "retain": -1}, "retain"),
        ({"acknowledge": True, "retain": None}, "retain"),
        ({"acknowledge": True, "weak": "secret"}, "weak"),
        ({"acknowledge": True, "watch": True}, "watch"),
        ({"acknowledge": True, "watch": 1, "when": None}, "watch"),
        ({"acknowledge": True, "sequence": True, "when": None}, "sequence"),
        ({"acknowledge": True, "sequence": True, "patch": True}, "sequence"),
        ({"acknowledge": True, "weak": 1}, "weak"),
        ({"acknowledge": True, "when": 1}, "when"),
        ({"acknowledge": True, "when": []}, "when"),
        ({"acknowledge": True, "when_id": -1}, "when_id"),
        ({"acknowledge": True, "when_id": None}, "when_id"),
        ({"acknowledge": True, "when_id": 2**53}, "when_id"),
        ({"acknowledge": True, "exclude": 5}, "exclude"),
        ({"acknowledge": True, "exclude": [True]}, "exclude"),
        ({"acknowledge": True, "exclude": [0]}, "exclude"),
        ({"acknowledge": True, "exclude": [2**60]}, "exclude"),
        ({"acknowledge": True, "eligible": ["a"]}, "eligible"),
        ({"acknowledge": True, "eligible_authid": [7]}, "eligible_authid"),
        ({"acknowledge": True, "exclude_authrole": "x"}, "exclude_authrole"),
    ],
)
@pytest.mark.cites("basic.messages.1")
def test_a_bad_option_of_publish_is_named(options, names, subprotocol):
    client = joined(subprotocol)
    ((*head, says),) = client.send([16, 7, options, "com.topic"])
    assert head == [8, 16, 7, {}, INVALID_ARGUMENT]
    assert says[0].startswith(f"the option {names}")
    silent = {key: value for key, value in options.items() if key != "acknowledge"}
    if silent:
        assert client.send([16, 8, silent, "com.topic"]) == []
    assert (client.asked, client.hung_up) == ([], 0)


def test_an_option_that_is_not_text_is_refused():
    client = joined("wamp.2.msgpack")
    options = b"\x82\xaeexclude_authid\x91\xa1\xff\xabacknowledge\xc3"
    (answer,) = client.send_bytes(b"\x94\x10\x01" + options + b"\xa1a")
    assert answer[:5] == [8, 16, 1, {}, INVALID_ARGUMENT]
    assert answer[5][0].startswith("the options cannot be read")
    assert (client.asked, client.hung_up) == ([], 0)


def test_a_bad_publish_gets_no_answer_if_its_acknowledge_cannot_be_read():
    client = joined("wamp.2.msgpack")
    options = b"\x82\xa6retain\xa1x\xa1k\x91\xa1\xff"
    assert client.send_bytes(b"\x94\x10\x01" + options + b"\xa1a") == []
    assert (client.asked, client.hung_up) == ([], 0)


def test_the_cache_of_parsed_options_is_bounded():
    client = joined()
    cache = client.serializer.options.publish.cache
    cache.clear()
    for number in range(CACHE_ENTRIES + 10):
        client.send([16, 1, {"exclude": [number + 1]}, "com.topic"])
    assert len(cache) == 10
    client.send([16, 1, {"exclude_authid": ["x" * CACHED_BYTES]}, "com.topic"])
    assert len(cache) == 10
    assert client.asked[-1][-2] == Audience(exclude_authid=["x" * CACHED_BYTES])


# SUBSCRIBE, UNSUBSCRIBE


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "topic", "pattern", "replay", "source"),
    [
        ({}, "com.a", Pattern.wamp("com.a"), False, "WAMP #subscribe"),
        ({"match": "exact"}, "com.a", Pattern.wamp("com.a"), False, "#pattern-based-subscription"),
        (
            {"match": "prefix"},
            "com.a",
            Pattern.wamp("com.a", "prefix"),
            False,
            "#pattern-based-subscription",
        ),
        (
            {"match": "wildcard"},
            "com..a",
            Pattern.wamp("com..a", "wildcard"),
            False,
            "#pattern-based-subscription",
        ),
        ({}, "com.*.#", Pattern.wamp("com.*.#"), False, "semantics: fox-wamp's notation"),
        ({}, "wamp.session.on_join", Pattern.wamp("wamp.session.on_join"), False, "meta events"),
        ({"get_retained": True}, "a", Pattern.wamp("a"), True, "WAMP #pubsub-event-retention"),
        ({"retainedState": True}, "a", Pattern.wamp("a"), True, "semantics: fox-wamp's name"),
        ({"get_retained": False}, "a", Pattern.wamp("a"), False, "WAMP #pubsub-event-retention"),
    ],
)
@pytest.mark.cites("advanced.pubsub_event_retention.4")
def test_a_subscribe_reaches_the_gateway_with_its_pattern_and_options(
    options, topic, pattern, replay, source, subprotocol
):
    client = joined(subprotocol)
    assert client.send([32, 3, options, topic]) == []
    assert client.asked == [("subscribe", 3, pattern, 0, SubscribeOptions(replay=replay))]


@pytest.mark.parametrize(
    ("options", "topic", "uri", "says"),
    [({}, uri, INVALID_URI, "") for uri, _ in BAD_URIS if uri != "a#"]
    + [
        ({"match": "prefix"}, "a b", INVALID_URI, ""),
        ({"match": "wildcard"}, "a b..", INVALID_URI, ""),
        ({"match": "regex"}, "a", INVALID_ARGUMENT, "the option match"),
        ({"match": 1}, "a", INVALID_ARGUMENT, "the option match"),
        ({"get_retained": 1}, "a", INVALID_ARGUMENT, "the option get_retained"),
        ({"retainedState": "x"}, "a", INVALID_ARGUMENT, "the option retainedState"),
    ],
)
@pytest.mark.cites("basic.messages.1", "basic.uri_reference.2")
def test_a_bad_subscribe_is_refused(options, topic, uri, says):
    client = joined(topic_length=64)
    ((*head, message),) = client.send([32, 3, options, topic])
    assert head == [8, 32, 3, {}, uri]
    assert message[0].startswith(says)
    assert (client.asked, client.hung_up) == ([], 0)


def test_an_unsubscribe_reaches_the_gateway_with_the_name_of_the_subscription():
    client = joined()
    client.session.subscribed_to = {5: "=com.a", 6: "=com.b"}
    client.gateway.subscribed = {"=com.a"}
    assert client.send([34, 9, 5]) == [[35, 9]]
    assert client.asked == [("unsubscribe", "=com.a")]
    # Ended already; unknown to the gateway; never subscribed.
    for subscription in (5, 6, 7):
        ((*head, _),) = client.send([34, 10, subscription])
        assert head == [8, 34, 10, {}, "wamp.error.no_such_subscription"]
    client = joined()
    assert client.send([34, 10, 5])[0][4] == "wamp.error.no_such_subscription"


def test_a_subscribe_that_an_unsubscribe_makes_void_is_granted_and_over():
    client = joined()
    subscription = Subscription("realm1", Pattern.parse("=com.a"), SubscribeOptions())
    client.session.unsubscribed_early(3, subscription)
    assert client.received() == [[33, 3, subscription.id]]
    assert client.send([34, 9, subscription.id])[0][4] == "wamp.error.no_such_subscription"


# CALL, CANCEL


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "flags", "timeout", "source"),
    [
        ({}, 0, 0, "WAMP #call"),
        ({"receive_progress": True}, frames.PROGRESS, 0, "#rpc-progressive-call-results"),
        ({"timeout": 0}, 0, 0, "WAMP #rpc-call-timeout"),
        ({"timeout": 250}, 0, 250, "WAMP #rpc-call-timeout"),
        ({"disclose_me": True}, frames.DISCLOSE_CALLER, 0, "#rpc-caller-identification"),
    ],
)
def test_a_call_reaches_the_gateway_with_its_options(options, flags, timeout, source, subprotocol):
    client = joined(subprotocol)
    encode = ENCODE[subprotocol]
    assert client.send([48, 1, options, "com.p", [1], {"a": 2}]) == []
    assert client.send([48, 2, options, "wamp.session.count"]) == []
    encoding = ENCODING[subprotocol]
    assert client.asked == [
        ("call", 1, "com.p", flags, timeout, encoding, encode([1]), encode({"a": 2}), None),
        ("call", 2, "wamp.session.count", flags, timeout, NONE, b"", b"", None),
    ]


@pytest.mark.parametrize(
    ("options", "procedure", "uri", "says"),
    [({}, uri, INVALID_URI, "") for uri, _ in BAD_URIS]
    + [
        ({"timeout": -1}, "a", INVALID_ARGUMENT, "the option timeout"),
        ({"timeout": 1.5}, "a", INVALID_ARGUMENT, "the option timeout"),
        ({"timeout": True}, "a", INVALID_ARGUMENT, "the option timeout"),
        ({"timeout": "1"}, "a", INVALID_ARGUMENT, "the option timeout"),
        ({"timeout": 2**70}, "a", INVALID_ARGUMENT, "the option timeout"),
        ({"receive_progress": 1}, "a", INVALID_ARGUMENT, "the option receive_progress"),
        ({"disclose_me": "x"}, "a", INVALID_ARGUMENT, "the option disclose_me"),
    ],
)
@pytest.mark.cites("basic.messages.1", "basic.uri_reference.2")
def test_a_bad_call_is_refused(options, procedure, uri, says):
    client = joined(topic_length=64)
    ((*head, message),) = client.send([48, 3, options, procedure])
    assert head == [8, 48, 3, {}, uri]
    assert message[0].startswith(says)
    assert (client.asked, client.hung_up) == ([], 0)


def test_a_call_must_not_have_the_id_of_a_running_call():
    """WAMP #ids: requests are told apart by their ids."""
    client = joined()
    client.session.calls = {3: 0}
    ((kind, details, uri),) = client.send([48, 3, {}, "com.p"])
    assert (kind, uri) == (3, "wamp.error.protocol_violation")
    assert "3" in details["message"]


@pytest.mark.parametrize("requests", [(1, 2, 3), (713845233, 25349185, 1), (2**53, 1, 1)])
def test_request_ids_need_not_be_consecutive(requests):
    """Many clients draw ids at random, as WAMP once said, and routers accept that."""
    client = joined()
    for request in requests:
        assert client.send([16, request, {}, "com.topic"]) == []
    assert [asked[3] for asked in client.asked] == list(requests)


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, "killnowait"),
        ({"mode": "skip"}, "skip"),
        ({"mode": "kill"}, "kill"),
        ({"mode": "killnowait"}, "killnowait"),
    ],
)
def test_a_cancel_reaches_the_gateway_with_its_mode(options, mode):
    """WAMP #rpc-call-canceling."""
    client = joined()
    assert client.send([49, 3, options]) == []
    assert client.asked == [("cancel", 3, mode)]


@pytest.mark.parametrize("mode", ["murder", 1, None])
def test_a_bad_mode_of_cancel_is_refused(mode):
    client = joined()
    ((*head, says),) = client.send([49, 3, {"mode": mode}])
    assert head == [8, 49, 3, {}, INVALID_ARGUMENT]
    assert says[0].startswith("the option mode")
    assert client.asked == []


# REGISTER, UNREGISTER


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "procedure", "pattern", "invoke", "concurrency", "force", "source"),
    [
        ({}, "com.p", Pattern.wamp("com.p"), "single", 0, False, "WAMP #register"),
        *[
            (
                {"invoke": invoke},
                "p",
                Pattern.wamp("p"),
                invoke,
                0,
                False,
                "#rpc-shared-registration",
            )
            for invoke in ("single", "first", "last", "random", "roundrobin")
        ],
        ({"concurrency": 3}, "p", Pattern.wamp("p"), "single", 3, False, "semantics 5"),
        ({"force_reregister": True}, "p", Pattern.wamp("p"), "single", 0, True, "Crossbar"),
        (
            {"match": "prefix"},
            "com.p",
            Pattern.wamp("com.p", "prefix"),
            "single",
            0,
            False,
            "WAMP #rpc-pattern-reg",
        ),
        (
            {"match": "wildcard"},
            "..p",
            Pattern.wamp("..p", "wildcard"),
            "single",
            0,
            False,
            "WAMP #rpc-pattern-reg",
        ),
        (
            {"match": "prefix"},
            "",
            Pattern.wamp("", "prefix"),
            "single",
            0,
            False,
            "all that is not reserved",
        ),
    ],
)
def test_a_register_reaches_the_gateway_with_its_pattern_and_options(
    options, procedure, pattern, invoke, concurrency, force, source, subprotocol
):
    client = joined(subprotocol)
    assert client.send([64, 3, options, procedure]) == []
    assert client.asked == [
        ("register", 3, pattern, invoke, concurrency, {"force": force, "disclose": False})
    ]


@pytest.mark.parametrize(
    ("options", "procedure", "uri", "says"),
    [({}, uri, INVALID_URI, "") for uri, _ in BAD_URIS + RESERVED if uri != "a#"]
    + [
        ({"match": "prefix"}, "wamp", INVALID_URI, ""),
        ({"match": "prefix"}, "fox.x", INVALID_URI, ""),
        ({"match": "wildcard"}, "wamp..x", INVALID_URI, ""),
        ({"match": "other"}, "a", INVALID_ARGUMENT, "the option match"),
        ({"invoke": "all"}, "a", INVALID_ARGUMENT, "the option invoke"),
        ({"invoke": 1}, "a", INVALID_ARGUMENT, "the option invoke"),
        ({"concurrency": 0}, "a", INVALID_ARGUMENT, "the option concurrency"),
        ({"concurrency": 1.5}, "a", INVALID_ARGUMENT, "the option concurrency"),
        ({"concurrency": "1"}, "a", INVALID_ARGUMENT, "the option concurrency"),
        ({"force_reregister": 1}, "a", INVALID_ARGUMENT, "the option force_reregister"),
        ({"reducer": 1}, "a", INVALID_ARGUMENT, "the option reducer"),
        ({"reducer": True, "mission": 1}, "a", INVALID_ARGUMENT, "the option mission"),
        ({"reducer": True, "mission": "a..b"}, "a", INVALID_URI, "'a..b'"),
        ({"reducer": True, "mission": "wamp.x"}, "a", INVALID_URI, "'wamp.x'"),
        ({"reducer": True, "mission": "x" * 65}, "a", INVALID_URI, "the URI"),
        ({"reducer": True, "durable": "x" * 257}, "a", INVALID_ARGUMENT, "the option durable"),
        ({"mission": "m"}, "a", INVALID_ARGUMENT, "the options mission and durable"),
        ({"durable": "d"}, "a", INVALID_ARGUMENT, "the options mission and durable"),
        ({"reducer": True}, "fox.x", INVALID_URI, ""),
    ],
)
@pytest.mark.cites("basic.uri_reference.2")
def test_a_bad_register_is_refused(options, procedure, uri, says):
    client = joined(topic_length=64)
    ((*head, message),) = client.send([64, 3, options, procedure])
    assert head == [8, 64, 3, {}, uri]
    assert message[0].startswith(says)
    assert (client.asked, client.hung_up) == ([], 0)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "mission", "durable", "invoke", "concurrency", "force"),
    [
        ({}, "", "", "single", 0, False),
        ({"mission": "m.n"}, "m.n", "", "single", 0, False),
        ({"durable": "d", "invoke": "random"}, "", "d", "random", 0, False),
        ({"concurrency": 3, "force_reregister": True}, "", "", "single", 3, True),
    ],
)
def test_a_reducers_register_reaches_the_gateway(
    options, mission, durable, invoke, concurrency, force, subprotocol
):
    """semantics.md, Reducers."""
    client = joined(subprotocol)
    assert client.send([64, 3, {"reducer": True, **options}, "a.#"]) == []
    pattern = Pattern.wamp("a.#")
    more = {"force": force}
    assert client.asked == [
        ("register_reducer", 3, pattern, mission, durable, invoke, concurrency, more)
    ]


def test_an_unregister_reaches_the_gateway():
    client = joined()
    assert client.send([66, 3, 77]) == []
    assert client.asked == [("unregister", 3, 77)]


# YIELD, ERROR


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("options", "progress"), [({}, False), ({"progress": False}, False), ({"progress": True}, True)]
)
def test_a_yield_reaches_the_gateway_with_its_result(options, progress, subprotocol):
    client = joined(subprotocol)
    client.session.next_invocation = 4
    encode = ENCODE[subprotocol]
    assert client.send([70, 4, options, ["r"], {"a": 1}]) == []
    assert client.send([70, 3, options]) == []
    named = {"progress": progress}
    assert client.asked == [
        ("yield_", 4, ENCODING[subprotocol], encode(["r"]), encode({"a": 1}), named),
        ("yield_", 3, NONE, b"", b"", named),
    ]


def test_a_bad_option_of_yield_is_reported_to_callee_and_caller():
    client = joined()
    client.session.next_invocation = 4
    ((*head, says),) = client.send([70, 4, {"progress": "x"}, ["r"]])
    assert head == [8, 70, 4, {}, INVALID_ARGUMENT]
    ((name, request, uri, encoding, args, kwargs),) = client.asked
    assert (name, request, uri, encoding, kwargs) == (
        *("invocation_error", 4, INVALID_ARGUMENT, MSGPACK),
        b"",
    )
    assert args == ENCODE["wamp.2.msgpack"](says)


@pytest.mark.parametrize("subprotocol", ALL)
def test_an_error_of_a_callee_reaches_the_gateway(subprotocol):
    client = joined(subprotocol)
    client.session.next_invocation = 4
    encode = ENCODE[subprotocol]
    assert client.send([8, 68, 4, {}, "com.error", ["why"], {"a": 1}]) == []
    assert client.send([8, 68, 3, {"x": 1}, "wamp.error.canceled"]) == []
    assert client.asked == [
        (
            *("invocation_error", 4, "com.error", ENCODING[subprotocol]),
            *(encode(["why"]), encode({"a": 1})),
        ),
        ("invocation_error", 3, "wamp.error.canceled", NONE, b"", b""),
    ]


@pytest.mark.parametrize("uri", ["", "not a uri", "a..b"])
def test_an_error_of_a_callee_with_a_bad_uri_gets_a_good_one(uri):
    """The caller's library may refuse a bad URI (WAMP #uris), and end its connection."""
    client = joined()
    client.session.next_invocation = 4
    assert client.send([8, 68, 4, {}, uri, ["why"]]) == []
    assert client.asked[0][:3] == ("invocation_error", 4, INVALID_URI)


def test_a_client_cannot_choose_the_identity_that_it_discloses():
    client = joined()
    client.send([16, 1, {"disclose_me": True, "publisher": 7}, "com.topic"])
    assert client.asked[0][7] == ME
    assert client.session.id == SESSION


@pytest.mark.parametrize("kind", [16, 32, 48, 64])
def test_a_uri_with_too_many_components_is_refused(kind):
    client = joined(topic_components=8)
    (error,) = client.send([kind, 1, {"acknowledge": True}, ".".join("a" * 9)])
    assert error[:2] == [8, kind]
    assert error[4] == "wamp.error.invalid_uri"
    assert client.send([kind, 2, {"acknowledge": True}, ".".join("a" * 8)]) == []
