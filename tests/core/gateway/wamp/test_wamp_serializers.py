"""Serializers accept sound messages only; any other message ends just its sender's session."""

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wamp_client import ALL, DECODE, ENCODE, joined

from fox_shard.documents.nesting import DEPTH_LIMIT, json_too_deep, too_deep
from fox_shard.errors import InvalidPayload, ProtocolViolation
from fox_shard.gateway.wamp.messages import NAMES, Publish
from fox_shard.gateway.wamp.serializers import SERIALIZERS

HEAD = {
    "wamp.2.json": b'[16,1,{},"a",%b]',
    "wamp.2.msgpack": b"\x95\x10\x01\x80\xa1a%b",
    "wamp.2.cbor": b"\x85\x10\x01\xa0\x61a%b",
}
JSON, MSGPACK, CBOR = ALL


def nested(name, levels):
    if name == JSON:
        return b"[" * levels + b"]" * levels
    return {MSGPACK: b"\x91", CBOR: b"\x81"}[name] * (levels - 1) + {
        MSGPACK: b"\x90",
        CBOR: b"\x80",
    }[name]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (JSON, b"", "not a WAMP message"),
        (JSON, b"[]", "not a WAMP message"),
        (JSON, b"{}", "not a WAMP message"),
        (JSON, b"7", "not a WAMP message"),
        (JSON, b"null", "not a WAMP message"),
        (JSON, b'["PUBLISH"]', "not a WAMP message"),
        (JSON, b"[[]]", "not a WAMP message"),
        (JSON, b"[true]", "not a WAMP message"),
        (JSON, b"[16", "not a WAMP message"),
        (JSON, b"[16,1,{},'a']", "not a WAMP message"),
        (JSON, b'\xef\xbb\xbf[16,1,{},"a"]', "not a WAMP message"),
        (JSON, b'[16,1,{},"\xff"]', "PUBLISH: "),
        (JSON, b'[16,1,{},"a",["\xff"]]', "PUBLISH: "),
        (JSON, b'[16,1,{},"a",["\\q"]]', "not a WAMP message"),
        (JSON, b'[16,1,{},"a",["\x01"]]', "not a WAMP message"),
        (JSON, b'[16,1,{},"a",[NaN]]', "not a WAMP message"),
        (JSON, b'[16,1,{},"a",[01]]', "not a WAMP message"),
        (JSON, b'[16,1,{},"a",[1,]]', "not a WAMP message"),
        (JSON, b'[16,1,{},"a"] []', "not a WAMP message"),
        (JSON, b"[0]", "0 is not a message type"),
        (JSON, b"[-1]", "-1 is not a message type"),
        (JSON, b"[1000]", "1000 is not a message type"),
        (JSON, b"[337,1]", "337 is not a message type"),
        (JSON, b"[2,1,{}]", "WELCOME is not a message that clients send"),
        (JSON, b"[16]", "PUBLISH: Expected `array` of at least length 4"),
        (JSON, b'[16,1,{},"a",[],{},1]', "PUBLISH: Expected `array` of at most length 5"),
        (JSON, b'[16,0,{},"a"]', "at `request`"),
        (JSON, b'[16,-1,{},"a"]', "at `request`"),
        (JSON, b'[16,9007199254740993,{},"a"]', "at `request`"),
        (JSON, b'[16,1.5,{},"a"]', "at `request`"),
        (JSON, b'[16,true,{},"a"]', "at `request`"),
        (JSON, b'[16,"1",{},"a"]', "at `request`"),
        (JSON, b'[16,null,{},"a"]', "at `request`"),
        (JSON, b'[16,1,{},["a"]]', "at `topic`"),
        (JSON, b"[16,1,{},7]", "at `topic`"),
        (MSGPACK, b"", "not a WAMP message"),
        (MSGPACK, b"\xc1", "not a WAMP message"),
        (MSGPACK, b"\x90", "not a WAMP message"),
        (MSGPACK, b"\xdd\xff\xff\xff\xff\x10", "not a WAMP message"),
        (MSGPACK, b"\x94\x10\x01\x80\xa1az", "not a WAMP message"),
        (MSGPACK, b"\x94\x02\x01\x80\xa1a", "WELCOME is not a message that clients send"),
        (CBOR, b"", "not a WAMP message"),
        (CBOR, b"\x80", "not a WAMP message"),
        (CBOR, b"\x9f\x10\xff", "not a WAMP message"),
        (CBOR, b"\x98\x18\x10", "not a WAMP message"),
        (CBOR, b"\xa0", "not a WAMP message"),
        (CBOR, b"\x81\x10", "PUBLISH: "),
        (CBOR, b"\x84\x10\x01\xa0\x61az", "PUBLISH: there is something behind the message"),
        (CBOR, b"\x84\x02\x01\xa0\x61a", "WELCOME is not a message that clients send"),
        (CBOR, b"\x84\x10\x01\xa0\x9b" + b"\xff" * 8, "PUBLISH: "),
        (CBOR, b"\x84\x10\x00\xa0\x61a", "at `request`"),
        (CBOR, b"\x88\x10\x01\xa0\x61a\x80\xa0\x00", "PUBLISH: Expected `array` of at most length"),
        (CBOR, b"\x81\xf9\x7e\x00", "not a WAMP message"),
    ],
)
def test_a_message_that_cannot_be_read_is_explained(name, data, reason):
    """WAMP #protocol-errors: an incompatible message, or an error while decoding it."""
    with pytest.raises(ProtocolViolation) as caught:
        SERIALIZERS[name].read(data)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("name", "args", "reason"),
    [
        (JSON, b"null", "Arguments must be a list"),
        (JSON, b"{}", "Arguments must be a list"),
        (JSON, b'"text"', "Arguments must be a list"),
        (JSON, b"[],[]", "ArgumentsKw must be a dictionary"),
        (JSON, b"[],null", "ArgumentsKw must be a dictionary"),
        (MSGPACK, b"\xc0", "Arguments must be a list"),
        (MSGPACK, b"\x80", "Arguments must be a list"),
        (MSGPACK, b"\x90\x90", "ArgumentsKw must be a dictionary"),
        (MSGPACK, b"\x90\x81\x01\x02", "ArgumentsKw must be a dictionary"),
        (CBOR, b"\xf6", "Arguments must be a list"),
        (CBOR, b"\xa0", "Arguments must be a list"),
        (CBOR, b"\x81\xf8\x01", "the arguments cannot be read"),
        (CBOR, b"\x80\x80", "ArgumentsKw must be a dictionary"),
        (CBOR, b"\x80\xa1\x01\x02", "ArgumentsKw must be a dictionary whose keys are strings"),
        (CBOR, b"\x9b" + b"\xff" * 8, "the arguments cannot be read"),
    ],
)
def test_bad_arguments_end_the_session(name, args, reason):
    """WAMP #messages: Arguments are a list, ArgumentsKw a dictionary with strings as keys."""
    client = joined(name)
    head = HEAD[name]
    if reason.startswith("ArgumentsKw") or "}" in str(args) or args[:3] == b"\x90\x81\xa1":
        head = head.replace(b"\x95", b"\x96").replace(b"\x85", b"\x86")
    answers = client.send_bytes(head % args)
    assert [answer[0::2] for answer in answers] == [[3, "wamp.error.protocol_violation"]]
    assert reason in answers[0][1]["message"]
    assert client.hung_up == 1
    assert client.asked == [("session_ended", False)]


@pytest.mark.parametrize("args", [b"\x80\x80", b"\x80\xa0\xa0"])
def test_a_cbor_message_must_have_as_many_elements_as_it_says(args):
    client = joined(CBOR)
    count = b"\x85" if args == b"\x80\x80" else b"\x86"
    (answer,) = client.send_bytes(HEAD[CBOR].replace(b"\x85", count) % args)
    assert answer[1]["message"] == "there is something behind the message"


@pytest.mark.parametrize(
    "item",
    [
        b"\xd8\x1c\x81\xd8\x1d\x00",  # a list that contains itself
        b"\xc5\x82\x1a\x7f\xff\xff\xff\x03",  # 3 · 2^2147483647
        b"\xd8\x23\x61(",  # a regular expression, and a bad one
        b"\xd8\x23\x6b(?i)[a-\xf0\x90\x80\x80]",  # one that takes long to compile
        cbor2.dumps(cbor2.CBORTag(35, "a" * 1024)),
        b"\xc4\x82\x1a\x7f\xff\xff\xff\x03",  # 3 · 10^2147483647
        b"\xd8\x1e\x82\x01\x00",  # 1/0
        b"\xd8\x24\x60",  # MIME
        b"\xd9\x01\x02\x01",  # a set that is a number
        b"\xd8\x25\x41a",  # a UUID of one byte
        b"\xd8\x40\x61a",  # a typed array that is text
        b"\xc0\x61x",  # a date that is none
        b"\xc1\xf9\x7e\x00",  # new Date(NaN)
        b"\xc1\xfb\x43\x0e\xd4\x0c\x73\x5a\x80\x00",  # new Date(8.64e15)
    ],
)
def test_cbor_tags_that_some_client_cannot_read_are_refused(item):
    client = joined(CBOR)
    assert client.send_bytes(HEAD[CBOR] % (b"\x81" + item)) == []
    acknowledged = HEAD[CBOR].replace(b"\xa0", cbor2.dumps({"acknowledge": True}))
    (answer,) = client.send_bytes(acknowledged % (b"\x81" + item))
    assert answer[:5] == [8, 16, 1, {}, "fox.error.invalid_payload"]
    call = HEAD[CBOR].replace(b"\x10", b"\x18\x30")
    assert client.send_bytes(call % (b"\x81" + item))[0][1] == 48
    assert client.asked == []


@pytest.mark.parametrize(
    "item",
    [
        b"\xd9\x01\x02\x82\x01\x61a",  # a set
        b"\xd9\x01\x03\xa1\x01\x02",  # a map of JavaScript
        b"\xd8\x23\x63a.*",  # a regular expression
        b"\xd8\x40\x42\x00\xff",  # a Uint8Array
        b"\xd8\x56\x48" + bytes(8),  # a Float64Array
        b"\xd8\x20\x61a",  # a URI
        b"\xd8\x1b\x82\x65Error\x61a",  # an object of a class
        b"\xc4\x82\x20\x18\x7b",  # 12.3, a Decimal of Python
        b"\xc1\xfb\x41\xd9\x44\xb2\x0d\x00\x00\x00",  # a date
        b"\xd9\xd9\xf7\x01",
        b"\xd9\xff\xff\x00",  # unknown
        b"\xf7",
    ],
)
def test_other_cbor_tags_pass_byte_for_byte(item):
    client = joined(CBOR)
    cbor2.loads(item)
    assert client.send_bytes(HEAD[CBOR] % (b"\x81" + item)) == []
    ((name, *request),) = client.asked
    assert (name, request[4]) == ("publish", b"\x81" + item)


LONE = ["\\ud83d", "\\uDE00", "x\\ud83d\\ud83d\\ude00", "\\ud83dx", "\\\\\\ud83d", "\\ude00\\ud83d"]
DATES = [
    b"\xc7\x0c\xff" + b"\xff" * 12,
    b"\xd7\xff" + b"\xff" * 8,
    b"\xd4\xff\x00",
    b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x07\xdb\xa8\x21\x80\x30\x00",
]


def unreadable():
    """Return (serializer, args) of arguments that are legal, but not text or dates everywhere."""
    return (
        [(JSON, f'["{text}"]'.encode()) for text in LONE]
        + [(MSGPACK, b"\x91" + date) for date in DATES]
        + [
            (MSGPACK, b"\x91\xa1\xff"),
            (MSGPACK, b"\x91\x81\xa3\xed\xa0\xbd\x01"),
            (CBOR, b"\x81\x61\xff"),
            (CBOR, b"\x81\xa1\x63\xed\xa0\xbd\x01"),
            (CBOR, b"\x81\xd8\x20\x61\xff"),
        ]
    )


@pytest.mark.parametrize(("name", "args"), unreadable())
def test_half_a_character_or_a_bad_date_costs_its_request_only(name, args):
    """RFC 8259 8.2 allows such strings, and cbor-x writes them as bytes that are not UTF-8.

    `new Date(NaN)` and far dates are written by libraries, too.
    """
    client = joined(name)
    client.session.next_invocation = 5
    assert client.send_bytes(HEAD[name] % args) == []
    encode = ENCODE[name]
    rest = [encode({}), encode("com.example"), args]
    messages = {
        16: [encode({"acknowledge": True}), encode("com.example"), args],
        48: rest,
        70: [encode({}), args],
    }
    for number, elements in messages.items():
        (answer,) = client.send_bytes(joined_elements(name, [encode(number), encode(3), *elements]))
        assert answer[:5] == [8, number, 3, {}, "fox.error.invalid_payload"]
    ((asked, *_),) = client.asked
    assert asked == "invocation_error"
    error = [encode(8), encode(68), encode(4), encode({}), encode("com.error"), args]
    assert client.send_bytes(joined_elements(name, error)) == []
    assert [(one[0], one[2]) for one in client.asked] == [
        ("invocation_error", "fox.error.invalid_payload")
    ]
    client.send([16, 1, {}, "com.example", ["sound"]])
    assert [one[0] for one in client.asked] == ["publish"]


def joined_elements(name, elements):
    """Return the message that has these encoded elements."""
    if name == JSON:
        return b"[" + b",".join(elements) + b"]"
    return bytes([(0x80 if name == CBOR else 0x90) + len(elements)]) + b"".join(elements)


@pytest.mark.parametrize(
    "text", ["\\ud83d\\ude00", "\\\\ud83d", "\\\\\\\\ud83d", "\\uD83D\\uDe00\\\\u"]
)
def test_whole_characters_pass(text):
    client = joined(JSON)
    args = f'["{text}"]'.encode()
    assert client.send_bytes(HEAD[JSON] % args) == []
    ((_, *request),) = client.asked
    assert request[4] == args


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (b'[32,1,{},"com.\\ud83d"]', 32),
        (b'[64,1,{},"com.\\ud83d"]', 64),
        (b'[48,1,{},"com.\\ud83d"]', 48),
        (b'[16,1,{"acknowledge":true},"com.\\ud83d"]', 16),
        (b'[16,1,{"acknowledge":true,"k":"\\ud83d"},"com.x",["sound"]]', 16),
        (b'[32,1,{"filter":{"a":"\\ud83d"}},"com.x"]', 32),
        (b'[49,1,{"mode":"\\ud83d"}]', 49),
    ],
)
@pytest.mark.cites("basic.building_blocks.1")
def test_half_a_character_in_a_uri_or_an_option_is_refused(message, kind):
    client = joined(JSON)
    (answer,) = client.send_bytes(message)
    assert answer[:4] == [8, kind, 1, {}]
    assert client.hung_up == 0


@pytest.mark.parametrize("name", [MSGPACK, CBOR])
@pytest.mark.cites("basic.building_blocks.1")
def test_a_uri_or_an_option_that_is_not_text_is_refused(name):
    client = joined(name)
    bad = {MSGPACK: b"\xa3\xed\xa0\xbd", CBOR: b"\x63\xed\xa0\xbd"}[name]
    marker = ENCODE[name]("bad")
    for message in (
        [32, 1, {}, "bad"],
        [64, 1, {}, "bad"],
        [48, 1, {}, "bad"],
        [16, 1, {"acknowledge": True}, "bad", ["sound"]],
        [16, 1, {"acknowledge": True, "exclude_authid": ["bad"]}, "com.x"],
        [32, 1, {"match": "bad"}, "com.x"],
        [32, 1, {"filter": {"a": "bad"}}, "com.x"],
        [49, 1, {"mode": "bad"}],
    ):
        (answer,) = client.send_bytes(ENCODE[name](message).replace(marker, bad))
        assert answer[:4] == [8, message[0], 1, {}]
    assert (client.asked, client.hung_up) == ([], 0)


@pytest.mark.parametrize("length", [20_000, 70_000])
def test_a_long_uri_that_is_not_text_is_refused(length):
    client = joined(CBOR)
    uri = b"\x7a" + length.to_bytes(4, "big") + b"a" * (length - 1) + b"\xff"
    for kind in (16, 32, 48, 64):
        head = cbor2.dumps([kind, 1, {"acknowledge": True}, ""])[:-1]
        (answer,) = client.send_bytes(head + uri)
        assert answer[:5] == [8, kind, 1, {}, "wamp.error.invalid_uri"]
    assert (client.asked, client.hung_up) == ([], 0)


UNDEFINED = {MSGPACK: b"\xd4\x00\x00", CBOR: b"\xf7"}


@pytest.mark.parametrize("name", [MSGPACK, CBOR])
def test_an_undefined_option_is_absent(name):
    client = joined(name)
    marker = ENCODE[name]("undefined")

    def send(message):
        return client.send_bytes(ENCODE[name](message).replace(marker, UNDEFINED[name]))

    u = "undefined"
    options = {"acknowledge": u, "exclude": u, "retain": u, "eligible_authid": u, "when": u}
    assert send([16, 1, options, "com.example", [1]]) == []
    assert send([16, 1, {}, "com.example", [1]]) == []
    one, other = client.asked
    assert one == other
    assert send([32, 2, {"match": u, "filter": {"a": 1, "b": u}}, "com.example"]) == []
    assert send([32, 2, {"filter": {"a": 1}}, "com.example"]) == []
    one, other = client.asked
    assert one == other
    assert send([48, 3, {"timeout": u, "receive_progress": u}, "com.example", [u]]) == []
    ((asked, *call),) = client.asked
    assert (asked, call[3]) == ("call", 0)
    assert send([64, 4, {"invoke": u, "concurrency": u}, "com.example"]) == []
    assert [asked[0] for asked in client.asked] == ["register"]
    assert client.hung_up == 0


@pytest.mark.parametrize("name", ALL)
def test_whole_numbers_written_as_floats_are_integers(name):
    """cbor-x and msgpackr write integers beyond 32 bits as floats."""
    client = joined(name)
    client.session.next_invocation = 5
    big = 2.0**53
    assert client.send([48.0, big, {"timeout": 5000.0}, "com.example", [1.0]]) == []
    ((asked, request, _, _, timeout, _, args, *_),) = client.asked
    assert (asked, request, timeout) == ("call", 2**53, 5000)
    assert type(request) is int
    assert args == ENCODE[name]([1.0])
    assert client.send([64, 7.0, {"concurrency": 3.0}, "com.example"]) == []
    assert client.asked[0][4] == 3
    assert client.send([16, 8, {"exclude": [big], "when_id": big - 1}, "com.example"]) == []
    assert client.asked[0][-2].exclude == [2**53]
    assert client.send([70, 5.0, {}, [1]]) == []
    assert [one[:2] for one in client.asked] == [("yield_", 5)]
    assert client.send([8, 68.0, 5.0, {}, "com.error"]) == []
    assert [one[:2] for one in client.asked] == [("invocation_error", 5)]
    (answer,) = client.send([34, 9.0, big])
    assert answer[:3] == [8, 34, 9]
    assert client.send([48, 10, {"timeout": 0.5}, "com.example"])[0][4] == (
        "wamp.error.invalid_argument"
    )


ACKNOWLEDGED = {
    "wamp.2.json": b'[16,1,{"acknowledge":true},"a",%b]',
    "wamp.2.msgpack": b"\x95\x10\x01\x81\xabacknowledge\xc3\xa1a%b",
    "wamp.2.cbor": b"\x85\x10\x01\xa1\x6backnowledge\xf5\x61a%b",
}


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *((name, nested(name, levels)) for name in ALL for levels in (121, 900, 100_000)),
        (JSON, b" [ " + nested(JSON, 5_000_000) + b"]"),
        (JSON, b"[]," + b'{"a":' * 121 + b"1" + b"}" * 121),
        (MSGPACK, b"\x90\x81\xa1a" + nested(MSGPACK, 121)),
        (MSGPACK, b"\x92" + nested(MSGPACK, 900) + b"\xc5\x80\x00" + bytes(32_768)),
    ],
)
def test_arguments_that_nest_too_deep_cost_their_request_only(name, args):
    client = joined(name)
    head = ACKNOWLEDGED[name]
    if b"}" in args or args[:3] == b"\x90\x81\xa1":
        head = head.replace(b"\x95", b"\x96")
    (answer,) = client.send_bytes(head % args)
    assert answer[0:5:2] == [8, 1, "fox.error.invalid_payload"]
    assert client.send([16, 2, {}, "com.example", [1]]) == []
    assert len(client.asked) == 1


@pytest.mark.parametrize("name", ALL)
def test_no_depth_ends_a_session(name):
    """The decoders give up somewhere near a thousand, which depends on who calls them."""
    client = joined(name)
    for levels in (*range(800, 1050), 2000):
        (answer,) = client.send_bytes(ACKNOWLEDGED[name] % nested(name, levels))
        assert answer[0:5:2] == [8, 1, "fox.error.invalid_payload"]


DEEP = object()
"""In place of a value that nests too deep to be read."""


def deep(name, *message, levels=3000):
    """Encode a message in which that many lists replace DEEP."""
    place = {JSON: b'"?"', MSGPACK: b"\xa1?", CBOR: b"\x61?"}[name]
    data = ENCODE[name](_marked(message))
    assert data.count(place) == 1
    return data.replace(place, nested(name, levels))


def _marked(value):
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    return "?" if value is DEEP else value


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "message",
    [
        (16, 9, {"acknowledge": True}, "a", [DEEP]),
        (16, 9, {"acknowledge": True}, "a", [], {"k": DEEP}),
        (16, 9, {"acknowledge": True, "will": DEEP}, "a"),
        (32, 9, {"x": DEEP}, "a"),
        (48, 9, {}, "a", [1, DEEP]),
        (48, 9, {}, "a", [], {"k": [DEEP]}),
        (48, 9, {"x": DEEP}, "a"),
        (49, 9, {"x": DEEP}),
        (64, 9, {"x": DEEP}, "a"),
        (48, 9, DEEP, "a"),
        (48, 9, {}, DEEP),
        (34, 9, DEEP),
    ],
)
def test_a_request_that_cannot_be_read_because_it_nests_too_deep_gets_an_error(name, message):
    client = joined(name)
    (answer,) = client.send_bytes(deep(name, *message))
    assert answer[0:5:2] == [8, 9, "fox.error.invalid_payload"]
    assert answer[1] == message[0]
    assert client.asked == []
    assert client.hung_up == 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("options", [{}, {"acknowledge": False}, {"exclude": [1]}, {"x": DEEP}])
def test_a_deep_publish_without_acknowledgement_gets_no_error(name, options):
    client = joined(name)
    args = [] if DEEP in options.values() else [[DEEP]]
    assert client.send_bytes(deep(name, 16, 9, options, "a", *args)) == []
    assert client.hung_up == 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("message", "answers"),
    [
        ((70, 1, {}, [DEEP]), [[8, 70, 1, {}, "fox.error.invalid_payload"]]),
        ((8, 68, 1, {}, "a.b", [DEEP]), []),
    ],
)
def test_the_answer_of_a_callee_that_nests_too_deep_fails_the_call(name, message, answers):
    client = joined(name)
    client.session.next_invocation = 1
    assert [answer[:5] for answer in client.send_bytes(deep(name, *message))] == answers
    ((kind, request, uri, *_),) = client.asked
    assert (kind, request, uri) == ("invocation_error", 1, "fox.error.invalid_payload")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "message",
    [
        (6, {"x": DEEP}, "wamp.close.normal"),
        (16, 0, {"x": DEEP}, "a"),
        (16, "1", {"x": DEEP}, "a"),
        (99, 1, {"x": DEEP}),
        (70, 2, {}, [DEEP]),
    ],
)
def test_what_is_no_request_and_nests_too_deep_ends_the_session(name, message):
    client = joined(name)
    answers = client.send_bytes(deep(name, *message))
    assert [answer[0::2] for answer in answers] == [[3, "wamp.error.protocol_violation"]]


@pytest.mark.parametrize("name", ALL)
def test_arguments_may_nest_to_the_limit(name):
    client = joined(name)
    args = nested(name, DEPTH_LIMIT)
    client.send_bytes(HEAD[name] % args)
    assert client.asked[0][5] == args
    wide = ENCODE[name]([[[]] * 200, {"a": [{}] * 200}, "[{" * 200 + '\\"'])
    client.send_bytes(HEAD[name] % wide)
    assert client.asked[0][5] == wide


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (["x"], None),
        ([], None),
        ([None, 1.5, {"a": [True]}], {"k": "ä"}),
        ([], {"k": 1}),
        (['\\"[{', "\n"], {}),
        (None, None),
    ],
)
def test_arguments_pass_byte_for_byte(name, args, kwargs):
    serializer = SERIALIZERS[name]
    encode = ENCODE[name]
    rest = [part for part in (args, kwargs) if part is not None]
    message = serializer.read(encode([16, 5, {"acknowledge": True}, "com.example", *rest]))
    assert (message.request, message.topic) == (5, "com.example")
    payload = serializer.payload(message)
    assert payload == (
        b"" if args is None else encode(args),
        b"" if kwargs is None else encode(kwargs),
    )
    built = serializer.write((36, 1, 2, {}), *payload)
    assert DECODE[name](built) == [36, 1, 2, {}, *rest]


def test_json_keeps_the_spelling_of_arguments():
    serializer = SERIALIZERS[JSON]
    message = serializer.read(' [16, 1 ,{} ,"a", [ 1e2, "\\u00e4ö" ] , { } ] '.encode())
    assert serializer.payload(message) == ('[ 1e2, "\\u00e4ö" ]'.encode(), b"{ }")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (JSON, b'[36,1,2,{},[],{"a":1}]'),
        (MSGPACK, b"\x96\x24\x01\x02\x80\x90\x81\xa1a\x01"),
        (CBOR, b"\x86\x18\x24\x01\x02\xa0\x80\xa1\x61a\x01"),
    ],
)
def test_kwargs_alone_follow_empty_args(name, written):
    kwargs = ENCODE[name]({"a": 1})
    assert SERIALIZERS[name].write((36, 1, 2, {}), b"", kwargs) == written


def depth(value):
    if isinstance(value, dict):
        return 1 + max(map(depth, [*value.keys(), *value.values()]), default=0)
    if isinstance(value, list | tuple):
        return 1 + max(map(depth, value), default=0)
    return 0


TEXT = st.text(st.sampled_from('[]{}\\"a'), max_size=300)
VALUES = st.recursive(
    TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


@given(st.lists(VALUES), st.integers(0, 130), st.booleans())
def test_measuring_depth_agrees_with_counting(value, more, as_maps):
    for _ in range(more):
        value = {"[": value} if as_maps else ["]", value]
    expected = depth(value) > DEPTH_LIMIT
    assert too_deep(value) is expected
    assert json_too_deep(msgspec.json.encode(value)) is expected


@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused(data):
    for name in ALL:
        for message in (data, HEAD[name] % data):
            answers = joined(name).send_bytes(message)
            assert [answer[0] for answer in answers] in ([], [3], [8])


WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.sampled_from(ALL), st.sampled_from([*NAMES, 0, 999]), st.lists(WILD, max_size=6))
def test_wrong_types_anywhere_are_answered(name, number, elements):
    client = joined(name)
    client.session.next_invocation = 5
    answers = client.send([number, *elements])
    for answer in answers:
        assert answer[0] in (3, 6, 8, 35)
    assert client.hung_up == (3 in [a[0] for a in answers] or 6 in [a[0] for a in answers]) or (
        number == 3
    )


@given(st.sampled_from(ALL), st.binary(max_size=40), st.integers(0, 200))
def test_an_accepted_message_can_be_read_by_every_client(name, noise, at):
    """A mutated message is either refused, or every client can read its event."""
    message = bytearray(ENCODE[name]([16, 1, {}, "a", ["text", [1, {"k": "v"}]], {"k": [None]}]))
    message[at % len(message) : at % len(message) + len(noise)] = noise
    serializer = SERIALIZERS[name]
    try:
        read = serializer.read(bytes(message))
        if not isinstance(read, Publish):
            return
        payload = serializer.payload(read)
    except (ProtocolViolation, InvalidPayload):
        return
    DECODE[name](serializer.write((36, 1, 2, {}), *payload))


# Keys of maps


def arguments_with_keys(name, keys):
    """Return a PUBLISH whose only argument is a map with those keys."""
    dumps = cbor2.dumps if name == CBOR else msgspec.msgpack.encode
    pairs = b"".join(dumps(key) + b"\x00" for key in keys)
    head = b"\xb9" if name == CBOR else b"\xde"
    args = (b"\x81" if name == CBOR else b"\x91") + head + len(keys).to_bytes(2, "big") + pairs
    return HEAD[name] % args


@pytest.mark.parametrize("name", [MSGPACK, CBOR])
@pytest.mark.parametrize("key", [lambda n: [n], lambda n: n << 40, lambda n: n + 0.5])
def test_keys_that_a_client_could_make_collide_are_refused_in_long_arguments(name, key):
    serializer = SERIALIZERS[name]
    few, many = [key(n) for n in range(1, 1_001)], [key(n) for n in range(1, 10_001)]
    args, _ = serializer.payload(serializer.read(arguments_with_keys(name, few)))
    assert len(DECODE[name](args)[0]) == 1_000
    with pytest.raises(InvalidPayload, match="map key"):
        serializer.payload(serializer.read(arguments_with_keys(name, many)))


@pytest.mark.parametrize("name", [MSGPACK, CBOR])
@pytest.mark.parametrize("key", [str, lambda n: b"%d" % n])
def test_strings_and_bytes_are_keys_of_arguments_of_any_length(name, key):
    serializer = SERIALIZERS[name]
    keys = [key(n) for n in range(10_000)]
    args, _ = serializer.payload(serializer.read(arguments_with_keys(name, keys)))
    assert len(DECODE[name](args)[0]) == 10_000


@pytest.mark.parametrize("name", [MSGPACK, CBOR])
@pytest.mark.cites("basic.messages.2")
def test_keys_of_long_options_are_strings(name):
    dumps = cbor2.dumps if name == CBOR else msgspec.msgpack.encode
    pairs = b"".join(dumps([n]) + b"\x00" for n in range(10_000))
    head = b"\xa1" + dumps("x") + b"\xb9" if name == CBOR else b"\x81" + dumps("x") + b"\xde"
    options = head + (10_000).to_bytes(2, "big") + pairs
    serializer = SERIALIZERS[name]
    start, rest = (b"\x84\x18\x20\x01", b"\x61a") if name == CBOR else (b"\x94\x20\x01", b"\xa1a")

    def read():
        message = serializer.read(start + options + rest)
        return serializer.dictionary(bytes(message.options), dict, "Options")

    with pytest.raises(ProtocolViolation):
        read()
