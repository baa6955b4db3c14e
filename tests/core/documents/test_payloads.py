"""Payloads: conversion between encodings and to MQTT, empty events, documents."""

import datetime
import math
from contextlib import suppress

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.documents import nesting, payloads
from fox_shard.documents.payloads import (
    CBOR,
    JSON,
    MSGPACK,
    NONE,
    RAW,
    decode,
    decode_exactly,
    document,
    encode,
    is_empty,
    to_mqtt,
    transcode,
)
from fox_shard.errors import InvalidPayload

DEEP = 100_000
WAMP_ENCODINGS = [JSON, MSGPACK, CBOR]


def packed(value):
    return msgspec.msgpack.encode(value)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text[:1] != "\0")
    | st.binary()
)
NAMES = st.text(st.sampled_from("ab\0é"), max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
ARGS = st.lists(VALUES, max_size=3)
KWARGS = st.dictionaries(NAMES, VALUES, max_size=3)
ENCODINGS = st.sampled_from(WAMP_ENCODINGS)


@given(ARGS, KWARGS, ENCODINGS)
def test_decoding_restores_encoded_arguments(args, kwargs, encoding):
    assert decode(encoding, *encode(args, kwargs, encoding)) == (args, kwargs)


@given(ARGS, KWARGS, ENCODINGS, ENCODINGS)
def test_conversion_keeps_every_value_and_its_type(args, kwargs, source, target):
    converted = transcode(source, *encode(args, kwargs, source), target)
    back = transcode(target, *converted, source)
    assert repr(decode(target, *converted)) == repr((args, kwargs))
    assert repr(decode(source, *back)) == repr((args, kwargs))


@given(ARGS, KWARGS, ENCODINGS, ENCODINGS)
def test_mqtt_clients_get_the_same_payload_from_every_encoding(args, kwargs, one, other):
    received = to_mqtt(one, *encode(args, kwargs, one))
    assert received == to_mqtt(other, *encode(args, kwargs, other))


@given(st.lists(VALUES, min_size=2, max_size=4))
def test_several_arguments_survive_the_way_to_mqtt_and_back(args):
    received = to_mqtt(MSGPACK, *encode(args, {}, MSGPACK))
    assert repr(decode(RAW, received, b"")) == repr((args, {}))


@given(ARGS, KWARGS, ENCODINGS)
def test_is_empty_agrees_with_the_decoded_arguments(args, kwargs, encoding):
    payload = encode(args, kwargs, encoding)
    assert is_empty(encoding, *payload) is (not kwargs and args in ([], [None]))


@given(st.binary(), st.binary(), st.sampled_from([*WAMP_ENCODINGS, RAW]), ENCODINGS)
def test_any_bytes_raise_nothing_but_invalid_payload(args, kwargs, encoding, target):
    kwargs = b"" if encoding == RAW else kwargs
    for use in (
        lambda: transcode(encoding, args, kwargs, target),
        lambda: to_mqtt(encoding, args, kwargs),
        lambda: is_empty(encoding, args, kwargs),
        lambda: document(encoding, args, kwargs),
    ):
        with suppress(InvalidPayload):
            use()


@given(st.binary() | st.text(st.sampled_from('[]{}:," 019.-eE\\u\0n'), max_size=15).map(str.encode))
def test_every_mqtt_payload_becomes_arguments(payload):
    args, kwargs = decode(RAW, payload, b"")
    for target in WAMP_ENCODINGS:
        converted, nothing = transcode(RAW, payload, b"", target)
        assert nothing == b""
        # JSON and CBOR have integers of any size; a table below covers MessagePack.
        if target != MSGPACK:
            assert repr(decode(target, converted, b"")) == repr((args, kwargs))


@pytest.mark.parametrize(
    ("payload", "args"),
    [
        (b"", []),
        (b"[]", []),
        (b"[1,2]", [1, 2]),
        (b" [1,\n 2]\n", [1, 2]),
        (b"[[1]]", [[1]]),
        (b'{"a":1}', [{"a": 1}]),
        (b"23.5", [23.5]),
        (b"null", [None]),
        (b'"on"', ["on"]),
        (b" 7 ", [7]),
        (b"on", ["on"]),
        (b"ON", ["ON"]),
        (b"online", ["online"]),
        ("grüß".encode(), ["grüß"]),
        (b"a\x00b", ["a\x00b"]),
        (b"[1,", ["[1,"]),
        (b"NaN", ["NaN"]),
        (b"1e999", ["1e999"]),
        (b"\xff\x00", [b"\xff\x00"]),
        (b"on\xff", [b"on\xff"]),
        (b"\x00aGk=", [b"\x00aGk="]),
        (b"\xed\xa0\x80", [b"\xed\xa0\x80"]),
        (b'"\xff"', [b'"\xff"']),
        (b'"\\ud800"', ['"\\ud800"']),
        (b"\xef\xbb\xbf1", ["\ufeff1"]),
        (b"[" * DEEP + b"]" * DEEP, ["[" * DEEP + "]" * DEEP]),
        (b'"\\u0000aGk="', [b"hi"]),
        (b"18446744073709551615", [18446744073709551615]),
    ],
)
def test_an_mqtt_payload_becomes_these_arguments(payload, args):
    """semantics.md, Payloads: an array is args, other JSON one arg, text a string, else bytes."""
    assert decode(RAW, payload, b"") == (args, {})
    for target in WAMP_ENCODINGS:
        assert decode(target, *transcode(RAW, payload, b"", target)) == (args, {})


@pytest.mark.parametrize("payload", [b"[1,2]", b'["a",{"b":[1.50]}]', b"[1e2, 3 ]"])
def test_a_json_array_from_mqtt_is_not_rewritten(payload):
    assert transcode(RAW, payload, b"", JSON) == (payload, b"")


@pytest.mark.parametrize(
    ("args", "kwargs", "received"),
    [
        ([], {}, b""),
        ([1], {}, b"1"),
        (["on"], {}, b'"on"'),
        ([None], {}, b"null"),
        ([b"\x00\xff"], {}, b"\x00\xff"),
        ([{"a": 1}], {}, b'{"a":1}'),
        ([[1, 2]], {}, b"[1,2]"),
        ([1, "a"], {}, b'[1,"a"]'),
        ([b"hi", 1], {}, b'["\\u0000aGk=",1]'),
        ([], {"a": b"hi"}, b'{"a":"\\u0000aGk="}'),
        ([1], {"a": 2}, b'{"args":[1],"kwargs":{"a":2}}'),
    ],
)
@pytest.mark.parametrize("encoding", WAMP_ENCODINGS)
def test_arguments_become_this_mqtt_payload(encoding, args, kwargs, received):
    assert to_mqtt(encoding, *encode(args, kwargs, encoding)) == received


@pytest.mark.parametrize(
    ("encoding", "args", "kwargs", "received"),
    [
        (NONE, b"", b"", b""),
        (RAW, b"any \xff", b"", b"any \xff"),
        (JSON, b'[ {"b" : 1.50} ]', b"{ }", b'{"b" : 1.50}'),
        (JSON, b"[1, 2]", b"", b"[1, 2]"),
        (JSON, b"[]", b'{"a": 1}', b'{"a": 1}'),
        (JSON, b"[ ]", b"{}", b""),
        (JSON, b'["\\u0000no base64"]', b"", b'"\\u0000no base64"'),
        (MSGPACK, b"\x90", b"\x80", b""),
        (CBOR, b"\x9f\xff", b"\xbf\xff", b""),
    ],
)
def test_an_mqtt_client_receives_the_publishers_bytes_where_possible(
    encoding, args, kwargs, received
):
    assert to_mqtt(encoding, args, kwargs) == received


@pytest.mark.parametrize(
    ("encoding", "args", "kwargs", "empty"),
    [
        (NONE, b"", b"", True),
        (RAW, b"", b"", True),
        (RAW, b"null", b"", False),
        (RAW, b"[]", b"", False),
        (JSON, b"", b"", True),
        (JSON, b"[]", b"{}", True),
        (JSON, b"[ \n]", b"{ }", True),
        (JSON, b"[null]", b"", True),
        (JSON, b"[ null\t]", b"", True),
        (JSON, b"[[]]", b"", False),
        (JSON, b"[[null]]", b"", False),
        (JSON, b"[null,null]", b"", False),
        (JSON, b"[0]", b"", False),
        (JSON, b'[""]', b"", False),
        (JSON, b"[null]", b'{"a":null}', False),
        (MSGPACK, b"\x90", b"\x80", True),
        (MSGPACK, b"\x91\xc0", b"", True),
        (MSGPACK, b"\xdd\x00\x00\x00\x01\xc0", b"\xdf\x00\x00\x00\x00", True),
        (MSGPACK, b"\x91\x90", b"", False),
        (MSGPACK, b"", b"\x81\xa1a\xc0", False),
        (CBOR, b"\x80", b"\xa0", True),
        (CBOR, b"\x81\xf6", b"", True),
        (CBOR, b"\x81\xf7", b"", True),
        (CBOR, b"\x9b\x00\x00\x00\x00\x00\x00\x00\x01\xf6", b"\xbf\xff", True),
        (CBOR, b"\x9f\xf6\xff", b"", True),
        (CBOR, b"\x81\xf4", b"", False),
    ],
)
def test_an_event_without_arguments_or_with_null_alone_is_empty(encoding, args, kwargs, empty):
    """semantics.md, Keys: no kwargs, and args absent, [] or [null]; from MQTT, zero bytes."""
    assert is_empty(encoding, args, kwargs) is empty


@pytest.mark.parametrize(
    ("encoding", "args", "kwargs", "expected"),
    [
        (NONE, b"", b"", None),
        (JSON, b'[{"a":1,"b":2},3]', b'{"b":4,"c":5}', {"a": 1, "b": 4, "c": 5}),
        (JSON, b"[1]", b"", None),
        (JSON, b"[1]", b"{}", None),
        (JSON, b"[{}]", b"", {}),
        (JSON, b"", b'{"a":1}', {"a": 1}),
        (JSON, b'[2,{"b":1}]', b'{"a":1}', {"a": 1}),
        (RAW, b'{"a":1}', b"", {"a": 1}),
        (RAW, b'[{"a":1}]', b"", {"a": 1}),
        (RAW, b"7", b"", None),
        (RAW, b"", b"", None),
        (MSGPACK, packed([{"a": b"x"}]), b"", {"a": b"x"}),
        (CBOR, cbor2.dumps([{"a": [1, None]}]), cbor2.dumps({}), {"a": [1, None]}),
    ],
)
def test_the_document_is_the_first_argument_updated_with_kwargs(encoding, args, kwargs, expected):
    """semantics.md, Conditions: args[0], if that is an object, updated with kwargs."""
    assert document(encoding, args, kwargs) == expected


@pytest.mark.parametrize("target", WAMP_ENCODINGS)
def test_a_missing_payload_stays_empty_in_every_encoding(target):
    assert transcode(NONE, b"", b"", target) == (b"", b"")


@pytest.mark.parametrize("encoding", [*WAMP_ENCODINGS, RAW])
def test_a_payload_for_the_same_encoding_is_not_read(encoding):
    assert transcode(encoding, b"\xff any", b"thing", encoding) == (b"\xff any", b"thing")


@pytest.mark.parametrize(
    ("source", "args", "target", "expected"),
    [
        (JSON, b'["\\u0000EOP/kFMHXFJvX8BtT+N82w=="]', MSGPACK, None),
        (JSON, b'["\\u0000"]', MSGPACK, packed([b""])),
        (JSON, b'["\\u0000no base64"]', MSGPACK, packed(["\0no base64"])),
        (JSON, b'["a\\u0000aGk="]', MSGPACK, packed(["a\0aGk="])),
        (JSON, b'[{"\\u0000aGk=":1}]', MSGPACK, packed([{"\0aGk=": 1}])),
        (JSON, b"[18446744073709551615,-9223372036854775808]", MSGPACK, None),
        (JSON, b"[18446744073709551616,1]", MSGPACK, packed([2.0**64, 1])),
        (JSON, b"[18446744073709551616]", CBOR, cbor2.dumps([2**64])),
        (CBOR, cbor2.dumps([2**64]), JSON, b"[18446744073709551616]"),
        (MSGPACK, packed([math.nan, math.inf]), JSON, b"[null,null]"),
        (CBOR, cbor2.dumps([math.nan, -math.inf]), JSON, b"[null,null]"),
        (MSGPACK, packed([{1: 2}]), JSON, b'[{"1":2}]'),
        (CBOR, b"\x82\xf7\x81\xf7", JSON, b"[null,[null]]"),
        (CBOR, b"\x81\xc0\x61a", JSON, b'["a"]'),
        (CBOR, b"\x81\xc1\x05", MSGPACK, packed([5])),
        (
            MSGPACK,
            packed([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)]),
            JSON,
            b'["2024-01-01T00:00:00Z"]',
        ),
    ],
)
def test_values_that_another_encoding_lacks_are_converted(source, args, target, expected):
    """WAMP #binary-support-in-json; numbers are converted as in JavaScript."""
    if expected is None:
        assert decode(target, *transcode(source, args, b"", target)) == decode(source, args, b"")
    else:
        assert transcode(source, args, b"", target) == (expected, b"")


def test_binary_data_in_json_looks_like_the_example_of_the_specification():
    """WAMP #binary-support-in-json."""
    data = bytes.fromhex("10e3ff9053075c526f5fc06d4fe37cdb")
    assert encode([data], {}, JSON) == (b'["\\u0000EOP/kFMHXFJvX8BtT+N82w=="]', b"")


SHARED_VALUE = b"\x82\xd8\x1c\x81\x00\xd8\x1d\x00"
SHARED_STRING = b"\xd9\x01\x00\x82\x63aaa\xd8\x19\x00"


@pytest.mark.parametrize(
    ("source", "args", "kwargs", "target"),
    [
        (JSON, b"[" * DEEP + b"]" * DEEP, b"", MSGPACK),
        (JSON, b"[" * 900 + b'"\\u0000"' + b"]" * 900, b"", MSGPACK),
        (MSGPACK, b"\x91" * DEEP + b"\xc0", b"", JSON),
        (MSGPACK, b"\x91" * 900 + b"\xc0", b"", JSON),
        (CBOR, b"\x81" * DEEP + b"\x00", b"", JSON),
        (CBOR, b"\xc0" * DEEP + b"\x00", b"", JSON),
        (JSON, b"[NaN]", b"", CBOR),
        (JSON, b"[1", b"", CBOR),
        (JSON, b'["\xff"]', b"", CBOR),
        (JSON, b"[1e999]", b"", CBOR),
        (JSON, b"{}", b"", CBOR),
        (JSON, b"[]", b"[]", CBOR),
        (JSON, b"[1" + b"0" * 400 + b"]", b"", MSGPACK),
        (MSGPACK, b"\x91\xd4\x05\x01", b"", JSON),
        (MSGPACK, b"\x91\xd4\x05\x01", b"", CBOR),
        (MSGPACK, b"\x91\xa1\xff", b"", JSON),
        (MSGPACK, b"\x91\x81\x91\x01\x02", b"", JSON),
        (MSGPACK, b"\x91\x81\x80\x02", b"", JSON),
        (MSGPACK, b"\xdd\xff\xff\xff\xff", b"", JSON),
        (MSGPACK, b"\x80", b"", JSON),
        (MSGPACK, b"", b"\x90", JSON),
        (CBOR, b"\xa0", b"", JSON),
        (CBOR, b"", b"\x80", JSON),
        (CBOR, b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff", b"", JSON),
        (CBOR, b"\x81\xf0", b"", JSON),
        (CBOR, b"\x81\xc2\x59\x10\x00" + b"\xff" * 4096, b"", JSON),
        (CBOR, SHARED_VALUE, b"", JSON),
        (CBOR, SHARED_STRING, b"", JSON),
        (CBOR, b"\x81\xd8\x23\x61a", b"", JSON),
        (CBOR, b"\x81\xd9\x03\xe8\x01", b"", JSON),
    ],
)
def test_a_payload_that_cannot_be_converted_is_invalid(source, args, kwargs, target):
    with pytest.raises(InvalidPayload) as caught:
        transcode(source, args, kwargs, target)
    assert caught.value.message.startswith("the payload ")


@pytest.mark.parametrize(
    "args", [b"[1", b"{}", b"[" * DEEP, b'["\\u0000\xff"]', b"[" * DEEP + b"]" * DEEP]
)
def test_malformed_json_is_not_sent_to_mqtt(args):
    with pytest.raises(InvalidPayload):
        to_mqtt(JSON, args, b"")


def test_only_these_cbor_tags_are_interpreted():
    """RFC 8949, section 3.4. This test fails if a later cbor2 interprets another tag."""
    for tag in [*range(2000), 43000, 43001, 55799]:
        args = cbor2.dumps([cbor2.CBORTag(tag, b"\x01" if tag in (2, 3) else [])])
        if tag in (0, 1, 2, 3, 55799):
            decode(CBOR, args, b"")
        else:
            with pytest.raises(InvalidPayload, match="tag"):
                decode(CBOR, args, b"")


@pytest.mark.parametrize("tag", [64, 68, 72, 77, 81, 85, 86, 87])
@pytest.mark.parametrize("target", [JSON, MSGPACK])
def test_the_typed_arrays_of_cbor_are_their_bytes_elsewhere(tag, target):
    """RFC 8746: cbor-x writes a Uint8Array as tag 64."""
    args = cbor2.dumps([cbor2.CBORTag(tag, b"\x01\xff")])
    assert decode(target, *transcode(CBOR, args, b"", target)) == ([b"\x01\xff"], {})
    assert to_mqtt(CBOR, args, b"") == b"\x01\xff"


@pytest.mark.parametrize("target", [JSON, CBOR])
def test_undefined_in_messagepack_is_null(target):
    """MessagePack libraries of JavaScript write it as the extension type 0 with the data 0."""
    args = b"\x92\xd4\x00\x00\x81\xa1a\xd4\x00\x00"
    assert decode(target, *transcode(MSGPACK, args, b"", target)) == ([None, {"a": None}], {})
    assert is_empty(MSGPACK, b"\x91\xd4\x00\x00", b"")


def test_an_event_that_only_cbor_can_express_is_not_empty():
    a_set = b"\xd9\x01\x02\x80"
    assert not is_empty(CBOR, b"\x81" + a_set, b"")
    assert not is_empty(CBOR, b"", b"\xa1\x61a" + a_set)


# Nesting


def test_an_mqtt_payload_that_nests_too_deep_for_wamp_is_no_json():
    """Else an MQTT client could end the connections of WAMP clients whose readers give up."""
    limit = nesting.DEPTH_LIMIT
    for just, too in (
        (b"[" * limit + b"]" * limit, b"[" * (limit + 1) + b"]" * (limit + 1)),
        (
            b'{"a":' * (limit - 1) + b"1" + b"}" * (limit - 1),
            b'{"a":' * limit + b"1" + b"}" * limit,
        ),
    ):
        args, _ = payloads.transcode(payloads.RAW, just, b"", payloads.JSON)
        assert not nesting.json_too_deep(args)
        assert just in args
        assert payloads.document(payloads.RAW, too, b"") is None
        for target in (payloads.JSON, payloads.MSGPACK, payloads.CBOR):
            values, _ = payloads.decode(target, *payloads.transcode(payloads.RAW, too, b"", target))
            assert not nesting.too_deep(values)


TAGGED = [
    b"\xd9\x01\x02\x82\x01\x02",
    b"\xd9\x01\x03\xa1\x01\xd9\x01\x02\x81\x01",
    b"\xc0\x63abc",
    b"\xc1\x1a\x65\x92\x00\x80",
    b"\xc2\x49\x01" + bytes(8),
    b"\xd8\x40\x42\x00\xff",
    b"\xd8\x23\x63a.*",
    b"\xc4\x82\x20\x18\x7b",
    b"\xd9\xff\xff\x00",
    b"\xf7",
    b"\xfb\x3f\xf8" + bytes(6),
]


@pytest.mark.parametrize("item", TAGGED)
def test_what_is_decoded_exactly_is_encoded_as_it_was(item):
    args, kwargs = b"\x81" + item, b"\xa1\x61a" + item
    assert encode(*decode_exactly(CBOR, args, kwargs), CBOR) == (args, kwargs)


@given(ARGS, KWARGS, ENCODINGS)
def test_decoding_exactly_agrees_with_decoding(args, kwargs, encoding):
    payload = encode(args, kwargs, encoding)
    assert repr(decode_exactly(encoding, *payload)) == repr(decode(encoding, *payload))


@pytest.mark.parametrize("target", [JSON, MSGPACK, CBOR])
def test_long_lists_are_encoded_whatever_is_among_their_numbers(target):
    args = [[*range(100)], [*range(100), b"x"], [1.5, 2, [b"y", 3]], [1, True, None]]
    encoded, _ = encode(args, {}, target)
    assert decode(target, encoded, b"") == (args, {})
