"""Lists and maps are counted exactly, whatever else there is, and none of them is made."""

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.documents.containers import cbor_has_more, json_has_more, msgpack_has_more
from fox_shard.documents.payloads import RAW, decode, transcode

TEXTS = st.text() | st.sampled_from(["[{", '\\"[', "ä" * 30, "\u0791" * 300, "x" * 70_000])
BLOBS = st.binary() | st.sampled_from([b"\x80" * 23, b"\x90" * 24, b"\xa0" * 300, b"\x9f" * 70_000])
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(SCALARS, lambda one: st.lists(one) | st.dictionaries(TEXTS, one))
BINARY_VALUES = st.recursive(
    SCALARS | BLOBS, lambda one: st.lists(one) | st.dictionaries(TEXTS, one)
)
TAGGED_VALUES = st.recursive(
    SCALARS | BLOBS | st.integers() | st.just(cbor2.undefined),
    lambda one: (
        st.lists(one)
        | st.dictionaries(TEXTS, one)
        | st.builds(cbor2.CBORTag, st.integers(300, 2**40), one)
    ),
)


def containers(value):
    if isinstance(value, cbor2.CBORTag):
        return 1 + containers(value.value)
    if isinstance(value, dict):
        return 1 + sum(map(containers, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(containers, value))
    # A big integer is a tag.
    return int(type(value) is int and not -(2**64) <= value < 2**64)


def check(has_more, data, count):
    assert not has_more(data, count)
    assert count == 0 or has_more(data, count - 1)


@given(VALUES)
def test_json(value):
    check(json_has_more, msgspec.json.encode(value), containers(value))


@given(BINARY_VALUES)
def test_msgpack(value):
    check(msgpack_has_more, msgspec.msgpack.encode(value), containers(value))


@given(TAGGED_VALUES)
def test_cbor(value):
    check(cbor_has_more, cbor2.dumps(value), containers(value))


@given(TAGGED_VALUES)
def test_cbor_without_lengths(value):
    check(cbor_has_more, cbor2.dumps(value, indefinite_containers=True), containers(value))


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"\x7f\x61a\x78\x18" + "ä".encode() * 12 + b"\xff", 0),
        (b"\x5f\x41\x80\x58\x18" + b"\x90" * 24 + b"\xff", 0),
        (b"\x83\xf8\x80\xfb" + b"\x80" * 8 + b"\xf9\x80\x80", 1),
        (b"\xb8\x01\x01\x98\x01\x80", 3),
    ],
)
def test_cbor_that_our_writer_does_not_write(data, count):
    cbor2.loads(data)
    check(cbor_has_more, data, count)


@given(st.binary(), st.integers(0, 5))
def test_what_is_not_well_formed_ends_the_count(data, most):
    """None of them fails, and whatever can be read was counted."""
    json_has_more(data, most)
    msgpack_has_more(data, most)
    try:
        value = cbor2.loads(data, tag_hook=lambda tag, _: tag)
    except (cbor2.CBORError, ValueError):
        cbor_has_more(data, most)
        return
    if isinstance(value, list) and len(value) > most:
        assert cbor_has_more(b"\x80" * (most + 1) + data, most)


@pytest.mark.parametrize("data", [b"\x7b" + b"\xff" * 8, b"\x5b\x7f" + b"\xff" * 8, b"\x58"])
def test_cbor_whose_length_is_beyond_its_end_ends_the_count(data):
    assert not cbor_has_more(b"\x80" + data, 1)
    assert cbor_has_more(b"\x80\x80" + data, 1)


@pytest.mark.parametrize("most", [0, 3])
def test_msgpack_of_any_keys_is_counted(most):
    """Keys that cannot be hashed, or of which many have one hash, are not hashed."""
    assert msgpack_has_more(b"\x81" + b"\x94\x90\x90\x90\x90" + b"\x01", most)
    assert not msgpack_has_more(b"\x81" + b"\x94\x90\x90\x90\x90" + b"\x01", 6)


def test_msgpack_that_cannot_be_counted_has_too_many():
    bad_timestamp = b"\xc7\x0c\xff" + b"\xff" * 12
    assert msgpack_has_more(b"\x92" + bad_timestamp + b"\x90" * 10, 5)
    assert msgpack_has_more(b"\x91" * 5000 + b"\x90", 4000)


def test_an_mqtt_payload_of_too_many_lists_is_text():
    payload = b"[" + b",".join([b"[]"] * 100_000) + b"]"
    assert decode(RAW, payload, b"") == ([payload.decode()], {})
    assert transcode(RAW, payload, b"", 1)[0][:4] == b'["[['
    assert len(decode(RAW, payload[:-4] + b"]", b"")[0]) == 99_999
