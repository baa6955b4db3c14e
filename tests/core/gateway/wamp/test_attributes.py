"""Attributes of options that are passed on: payload passthru and custom attributes."""

import pytest
from msgspec import msgpack
from wamp_client import ALL, joined, subscription

from fox_shard.backplane.attributes import is_passthru
from fox_shard.backplane.frames import CALLER_PASSTHRU, Call, CallError, Event, Publish, Result
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK, encode
from fox_shard.errors import InvalidArgument, LimitExceeded
from fox_shard.gateway.wamp.attributes import (
    ATTRIBUTE_BYTES,
    attributes_of,
    check_passthru_payload,
)
from fox_shard.gateway.wamp.serializers import Json

PPT = {"ppt_scheme": "x_mine", "ppt_serializer": "cbor", "ppt_cipher": "c", "ppt_keyid": "k"}


@pytest.mark.parametrize(
    ("options", "passed"),
    [
        ({}, None),
        ({"acknowledge": True, "disclose_me": True, "unknown_one": 1}, None),
        ({"_abc": 1, "x_b": [2], "_ab": 3, "X_c": 4, "_aBc": 5}, {"_abc": 1, "x_b": [2]}),
        ({**PPT, "retain": True}, PPT),
        ({"ppt_scheme": "mqtt", "ppt_keyid": None}, {"ppt_scheme": "mqtt"}),
        ({"ppt_scheme": "mqtt", "ppt_keyid": ""}, {"ppt_scheme": "mqtt"}),
        ({"ppt_scheme": ""}, None),
        ({"ppt_scheme": "", "ppt_serializer": "", "ppt_cipher": None, "_abc": 1}, {"_abc": 1}),
    ],
)
def test_custom_attributes_and_those_of_passthru_are_passed_on(options, passed):
    found = attributes_of(options)
    assert (found and msgpack.decode(found.packed)) == passed
    assert (found is not None and found.passthru) == bool(options.get("ppt_scheme"))
    assert found is None or is_passthru(found.packed) == found.passthru


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"ppt_scheme": 5}, InvalidArgument),
        ({"ppt_cipher": "c"}, InvalidArgument),
        ({"ppt_scheme": "", "ppt_cipher": "c"}, InvalidArgument),
        ({"x_long": "a" * ATTRIBUTE_BYTES}, LimitExceeded),
        ({"_long": 1, "ppt_scheme": "a" * ATTRIBUTE_BYTES}, LimitExceeded),
    ],
)
def test_what_cannot_be_passed_on_is_refused(options, refusal):
    with pytest.raises(refusal):
        attributes_of(options)


def test_attributes_that_nest_too_deep_are_refused():
    value = []
    for _ in range(130):
        value = [value]
    with pytest.raises(LimitExceeded):
        attributes_of({"x_deep": value})


@pytest.mark.parametrize("encoding", [JSON, MSGPACK, CBOR])
@pytest.mark.parametrize(
    ("args", "kwargs", "valid"),
    [
        ([b"\0\1"], {}, True),
        (["text"], {}, True),
        ([], {}, False),
        ([b"a", b"b"], {}, False),
        ([{"args": [1]}], {}, True),
        ([b"a"], {"b": 1}, False),
    ],
)
def test_a_passthru_payload_is_one_item(encoding, args, kwargs, valid):
    payload = encode(args, kwargs, encoding)
    if valid:
        check_passthru_payload(encoding, *payload)
        return
    with pytest.raises(InvalidArgument):
        check_passthru_payload(encoding, *payload)


def test_an_attribute_that_a_serializer_cannot_express_is_left_out():
    packed = msgpack.encode({"x_ext": msgpack.Ext(5, b"e"), "x_data": b"\1", "x_text": "a"})
    assert set(Json().attributes(packed)) == {"x_data", "x_text"}


# Sessions

ABLE = {
    role: {"features": {"payload_passthru_mode": True}}
    for role in ("publisher", "subscriber", "caller", "callee")
}
UNABLE = {role: {} for role in ABLE}
SECRET = {"ppt_scheme": "x_mine", "ppt_keyid": "k", "x_more": [b"\1"]}
PACKED = msgpack.encode(SECRET)
ARGS = msgpack.encode([b"\0secret"])
NOT_SUPPORTED = "wamp.error.feature_not_supported"


def able(roles=ABLE, subprotocol="wamp.2.msgpack"):
    return joined(subprotocol, roles=roles)


def invoked(client, flags=CALLER_PASSTHRU, attributes=None):
    client.session.next_invocation = 1
    call = Call("r", "p", 9, 1, 1, flags, 0, MSGPACK, ARGS, attributes=attributes)
    client.session.invocation(1, 5, call)
    return client.received()


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ([16, 1, SECRET, "t", [b"\0secret"]], "publish"),
        ([48, 1, SECRET, "p", [b"\0secret"]], "call"),
        ([70, 1, SECRET, [b"\0secret"]], "yield_"),
        ([8, 68, 1, SECRET, "com.error", [b"\0secret"]], "invocation_error"),
    ],
)
@pytest.mark.cites(
    "advanced.payload_passthru_mode.2",
    "advanced.payload_passthru_mode.5",
    "advanced.payload_passthru_mode.7",
    "advanced.payload_passthru_mode.10",
)
def test_a_passthru_message_is_passed_on_if_its_role_was_announced(message, name):
    """WAMP #payload-passthru-mode."""
    client = able()
    invoked(client)
    assert client.send(message) == []
    ((asked, *rest),) = client.asked
    assert asked == name
    assert ARGS in rest
    assert msgpack.decode(rest[-2] if name == "yield_" else rest[-1]) == SECRET
    unable = able(UNABLE)
    invoked(unable)
    (abort,) = unable.send(message)
    assert (abort[0], abort[2]) == (3, "wamp.error.protocol_violation")


def test_a_message_with_an_empty_scheme_is_an_ordinary_one():
    """It needs no announcement, and its arguments are not counted."""
    client = able(UNABLE)
    invoked(client)
    empty = {"ppt_scheme": "", "ppt_serializer": ""}
    for message in ([16, 1, empty, "t", [1, 2]], [48, 1, empty, "p", []], [70, 1, empty, [1, 2]]):
        assert client.send(message) == []
    assert [name for name, *_ in client.asked] == ["publish", "call", "yield_"]


@pytest.mark.parametrize("message", [[70, 1, SECRET, [b"a"]], [8, 68, 1, SECRET, "com.e", [b"a"]]])
@pytest.mark.cites("advanced.payload_passthru_mode.9")
def test_an_answer_for_a_caller_without_passthru_is_an_error_for_both(message):
    client = able()
    invoked(client, flags=0)
    answers = client.send(message)
    assert [(one[0], one[1], one[4]) for one in answers] == [(8, 70, NOT_SUPPORTED)] * (
        message[0] == 70
    )
    ((name, request, uri, *_),) = client.asked
    assert (name, request, uri) == ("invocation_error", 1, NOT_SUPPORTED)


@pytest.mark.cites("advanced.payload_passthru_mode.4")
def test_a_passthru_call_to_a_callee_without_passthru_fails():
    client = able(UNABLE)
    assert invoked(client, attributes=PACKED) == []
    ((name, request, uri, *_),) = client.asked
    assert (name, request, uri) == ("invocation_error", 1, NOT_SUPPORTED)
    custom = msgpack.encode({"x_a": 1})
    assert invoked(able(UNABLE), attributes=custom)[0][3]["x_a"] == 1


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.cites(
    "advanced.payload_passthru_mode.10",
    "advanced.payload_passthru_mode.11",
    "advanced.payload_passthru_mode.12",
)
def test_details_have_the_attributes(subprotocol):
    client = able(subprotocol=subprotocol)
    ((*_, details, args),) = invoked(client, attributes=PACKED)
    text = subprotocol == "wamp.2.json"
    more = ["\0AQ=="] if text else [b"\1"]
    secret = {"ppt_scheme": "x_mine", "ppt_keyid": "k", "x_more": more}
    assert details == {"procedure": "p", **secret}
    assert args == (["\0AHNlY3JldA=="] if text else [b"\0secret"])
    client.session.result(Result(1, 7, False, MSGPACK, ARGS, b"", PACKED))
    client.session.call_error(CallError(1, 8, "com.e", MSGPACK, ARGS, b"", PACKED))
    assert client.received() == [[50, 7, secret, args], [8, 48, 8, secret, "com.e", args]]


@pytest.mark.cites("advanced.payload_passthru_mode.10", "advanced.pubsub_event_retention.7")
def test_events_have_the_attributes():
    client = able()
    publish = Publish("realm1", "t", 9, 1, 1, 0, MSGPACK, ARGS, attributes=PACKED)
    to = subscription("t")
    chunk = client.session.encoder.event(Event(4, publish), to)
    assert msgpack.decode(chunk)[3] == SECRET
    retained = client.session.encoder.retained(Event(4, publish), to)
    assert msgpack.decode(retained)[3] == {**SECRET, "retained": True}


def test_invalid_attributes_are_refused_and_the_session_goes_on():
    client = able()
    for number, options in enumerate([{"ppt_keyid": "k"}, {"ppt_scheme": 1}], 1):
        (error,) = client.send([48, number, options, "p", [b"a"]])
        assert (error[0], error[4]) == (8, "wamp.error.invalid_argument")
    (error,) = client.send([48, 9, {"ppt_scheme": "a"}, "p", [1, 2]])
    assert error[4] == "wamp.error.invalid_argument"
    assert client.asked == []
