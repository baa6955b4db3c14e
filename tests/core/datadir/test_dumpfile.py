"""Dumps: both forms give every key back unchanged, and files that are no whole dump are refused."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack, structs

from fox_shard.backplane.frames import Audience, Event, Identity, Publish
from fox_shard.datadir.dumpfile import Key, event_of, key_of, read, write
from fox_shard.documents import payloads
from fox_shard.store.store import StoreError

FORMS = ["jsonl", "msgpack"]


def event(encoding=payloads.NONE, args=b"", kwargs=b"", **others):
    return Event(64, Publish("realm1", "a.b", 7, 1, 1, 2, encoding, args, kwargs, **others))


def dumped(form, *events):
    out = io.BytesIO()
    assert write(out, form, 2, map(key_of, events)) == len(events)
    return out.getvalue()


def loaded(data):
    return [event_of(key) for key in read(io.BytesIO(data))]


texts = st.text(max_size=8)
numbers = st.integers(0, 2**53 - 1)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def any_payload(draw):
    encoding = draw(st.sampled_from([payloads.JSON, payloads.MSGPACK, payloads.CBOR]))
    args = draw(st.lists(values, max_size=3))
    kwargs = draw(st.dictionaries(texts, values, max_size=3))
    return encoding, *payloads.encode(args, kwargs, encoding)


# Bytes that no codec can read; the broker does not look inside payloads.
garbage = st.tuples(st.sampled_from([1, 2, 3]), st.binary(max_size=12), st.binary(max_size=12))
jsonlike = st.text('[]{}",:1 a\n\r\\u0', max_size=12).map(str.encode)
raw = st.binary(max_size=12) | st.text(max_size=12).map(str.encode) | jsonlike
payload = (
    any_payload()
    | garbage
    | st.tuples(st.just(payloads.JSON), jsonlike, jsonlike)
    | st.tuples(st.just(payloads.RAW), raw, st.just(b""))
    | st.just((payloads.NONE, b"", b""))
)
audiences = st.builds(
    Audience,
    *[st.none() | st.lists(kind, max_size=2) for kind in (numbers, texts, texts) * 2],
)


@st.composite
def events(draw):
    encoding, args, kwargs = draw(payload)
    publish = Publish(
        realm=draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)),
        topic=draw(texts),
        session=draw(numbers),
        request=draw(numbers),
        order=draw(numbers),
        flags=draw(st.integers(0, 127)),
        encoding=encoding,
        args=args,
        kwargs=kwargs,
        publisher=draw(st.none() | st.builds(Identity, texts, texts)),
        audience=draw(st.none() | audiences),
    )
    return Event(draw(st.integers(1, 2**53 - 1)), publish)


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(events(), max_size=4))
def test_keys_come_back_byte_for_byte(form, found):
    data = dumped(form, *found)
    assert msgpack.encode(loaded(data)) == msgpack.encode(found)
    if form == "jsonl":
        # Other tools find one JSON document per line.
        assert len([json.loads(line) for line in data.decode().split("\n")[:-1]]) == len(found) + 2


def test_a_record_has_all_fields_of_a_publish():
    names = {field.name for field in structs.fields(Publish)} - {"fence", "retain", "attributes"}
    assert names | {"publication", "expires"} == {field.name for field in structs.fields(Key)}


@pytest.mark.parametrize(
    ("publish", "shown"),
    [
        (
            (payloads.JSON, b'[21.5, "x"]', b'{"unit":"C"}'),
            {"args": [21.5, "x"], "kwargs": {"unit": "C"}},
        ),
        ((payloads.JSON, b"[1,\n2]"), {"base64": ["WzEsCjJd", ""]}),
        ((payloads.JSON, b'[1],"topic":"x"'), {"base64": ["WzFdLCJ0b3BpYyI6Ingi", ""]}),
        ((payloads.MSGPACK, b"\x92\x01\xc4\x01\xff", b""), {"args": [1, "\0/w=="]}),
        # JSON would turn this float of 4 bytes into one of 8.
        ((payloads.MSGPACK, b"\x91\xca\x3f\x80\x00\x00", b""), {"base64": ["kco/gAAA", ""]}),
        ((payloads.CBOR, b"\x81\x01", b""), {"args": [1]}),
        ((payloads.RAW, b'{"celsius": 21.5}'), {"payload": {"celsius": 21.5}}),
        ((payloads.RAW, b"21.5"), {"payload": 21.5}),
        ((payloads.RAW, "21,5 °C".encode()), {"text": "21,5 °C"}),
        ((payloads.RAW, b" 21.5\n"), {"text": " 21.5\n"}),
        ((payloads.RAW, b"\xff\x00"), {"base64": ["/wA=", ""]}),
        ((payloads.NONE,), {}),
    ],
)
def test_json_lines_show_payloads_readably_where_they_can(publish, shown):
    line = json.loads(dumped("jsonl", event(*publish)).splitlines()[1])
    about = {"record": "key", "realm": "realm1", "topic": "a.b", "publication": 64}
    assert about.items() <= line.items()
    assert {name: line[name] for name in line if name in shown} == shown
    assert not {"args", "kwargs", "payload", "text", "base64"} & set(line) - set(shown)


def test_publisher_and_audience_are_readable():
    found = event(
        publisher=Identity("alice", "admin"), audience=Audience(eligible_authrole=["admin"])
    )
    line = json.loads(dumped("jsonl", found).splitlines()[1])
    assert line["publisher"] == {"authid": "alice", "authrole": "admin"}
    assert line["audience"] == {"eligible_authrole": ["admin"]}


def test_a_dump_begins_with_a_header_and_ends_with_a_count():
    lines = dumped("jsonl", event()).splitlines()
    assert json.loads(lines[0]) == {"record": "header", "version": 1, "shards": 2}
    assert json.loads(lines[-1]) == {"record": "end", "keys": 1}


# Refused


@pytest.mark.parametrize("form", FORMS)
def test_a_dump_that_was_cut_off_anywhere_is_recognised(form):
    data = dumped(form, event(payloads.RAW, b"1"), event(payloads.RAW, b"\xff"))
    whole = len(data) - (form == "jsonl")  # a dump without its last newline is whole
    for length in range(whole):
        with pytest.raises(StoreError, match=r"cut off|is damaged|is no dump"):
            loaded(data[:length])
    assert len(loaded(data[:whole])) == 2


def test_a_large_dump_is_read_piece_by_piece():
    found = [event(payloads.RAW, bytes(100_000)) for _ in range(20)]
    for form in FORMS:
        assert loaded(dumped(form, *found)) == found


HEADER = b'{"record":"header","version":1,"shards":2}\n'
END = b'{"record":"end","keys":0}\n'
SCHEMA = b'{"record":"schema","realm":"r","text":"{}"}\n'
KEY = b'{"record":"key","realm":"r","topic":"t","publication":64,"encoding":"none"}\n'


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This is no dump of fox-shard: it does not begin with its header."),
        (b"hello", "This is no dump of fox-shard: "),
        (b"{}\n", "This is no dump of fox-shard: its record number 1: "),
        (b"\x80", "This is no dump of fox-shard: its record number 1: "),
        (b"\xc1", "This is no dump of fox-shard: its record number 1: "),
        (END, "This is no dump of fox-shard: it does not begin with its header."),
        (
            HEADER.replace(b"1", b"3") + END,
            "The dump is of version 3, and this version of fox-shard",
        ),
        (HEADER, "The dump was cut off behind its key number 0"),
        (HEADER + KEY, "The dump was cut off behind its key number 1"),
        (HEADER + KEY + END, "The dump is damaged: 1 keys are not all, or it goes on."),
        (HEADER + END + END, "The dump is damaged: 0 keys are not all, or it goes on."),
        (HEADER + HEADER + END, "The dump is damaged: 0 keys are not all, or it goes on."),
        (HEADER + KEY + SCHEMA + END, "The dump is damaged: 1 keys are not all, or it goes on."),
        (HEADER + b"oops\n", "The dump is damaged: its record number 2: "),
        (HEADER + KEY.replace(b"64", b"-1"), "The dump is damaged: its record number 2: "),
        (HEADER + KEY.replace(b'"r"', b'"r\\u0000"'), "The dump is damaged: its record number 2: "),
        (HEADER + KEY.replace(b'"none"', b'"zip"'), "The dump is damaged: its record number 2: "),
        (HEADER + KEY.replace(b'"none"', b'"none","base64":["*",""]'), "The dump is damaged: "),
        (HEADER + KEY.replace(b'"none"', b'"cbor","args":1'), "The dump is damaged: "),
        (HEADER + KEY.replace(b'"none"', b'"raw","args":1,"x":2'), "The dump is damaged: "),
        (HEADER + b'{"record":"key","realm":' + b"[" * 100_000, "The dump is damaged: "),
    ],
)
def test_files_that_are_no_whole_dump_are_refused(data, sentence):
    with pytest.raises(StoreError) as error:
        loaded(data)
    assert str(error.value).startswith(sentence)
