"""Messages to clients: the calls of the gateway's core to a session, as the client reads them."""

import cbor2
import msgspec
import pytest
from wamp_client import ALL, CANCELABLE, ENCODE, SESSION, joined, registered, subscription

from fox_shard.backplane.frames import (
    DISCLOSE_CALLER,
    PROGRESS,
    Call,
    CallError,
    Event,
    Identity,
    Interrupt,
    Publish,
    Reduce,
    Refused,
    Result,
)
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK, NONE, RAW

ENCODING = dict(zip(ALL, (JSON, MSGPACK, CBOR), strict=True))
BIG = 2**53
UNREADABLE = (MSGPACK, b"\xc1")


def event(encoding=JSON, args=b'["x"]', kwargs=b"", *, topic="com.example", publisher=None):
    publish = Publish(
        "realm1", topic, 99, 1, 1, 0, encoding, args, kwargs, publisher and Identity(*publisher)
    )
    return Event(BIG, publish)


def expecting(*requests, **more):
    """Return a client that has published and waits for these acknowledgements."""
    client = joined(**more)
    for request in requests:
        client.session.expect_published(request)
    return client


def events(client, event, to):
    chunk = client.session.encoder.event(event, to)
    return [client.decode(chunk)] if chunk else []


# EVENT


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("uri", "match", "publisher", "details", "source"),
    [
        ("com.example", "exact", None, {}, "WAMP #event"),
        ("com", "prefix", None, {"topic": "com.example"}, "WAMP #pattern-based-subscription"),
        (".example", "wildcard", None, {"topic": "com.example"}, "#pattern-based-subscription"),
        (
            "com.example",
            "exact",
            ("alice", "admin"),
            {"publisher": 99, "publisher_authid": "alice", "publisher_authrole": "admin"},
            "WAMP #pubsub-pub-identification",
        ),
    ],
)
@pytest.mark.cites("advanced.pubsub_pattern_based_subscription.2")
def test_an_event_has_details_of_its_topic_and_publisher(
    uri, match, publisher, details, source, subprotocol
):
    client = joined(subprotocol)
    to = subscription(uri, match)
    assert events(client, event(publisher=publisher), to) == [[36, to.id, BIG, details, ["x"]]]
    client.session.subscribed(4, to, [event(publisher=publisher)])
    assert client.received() == [
        [33, 4, to.id],
        [36, to.id, BIG, {**details, "retained": True}, ["x"]],
    ]


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("encoding", "args", "kwargs", "arguments"),
    [
        (NONE, b"", b"", []),
        (JSON, b'["x"]', b"", [["x"]]),
        (JSON, b"", b'{"a":1}', [[], {"a": 1}]),
        (JSON, b"[1,2]", b'{"a":1}', [[1, 2], {"a": 1}]),
        (MSGPACK, b"\x91\x01", b"\x81\xa1a\x02", [[1], {"a": 2}]),
        (CBOR, b"\x81\x01", b"\xa1\x61a\x02", [[1], {"a": 2}]),
        (RAW, b'{"a":1}', b"", [[{"a": 1}]]),
        (RAW, b"text", b"", [["text"]]),
        (RAW, b"text\xff", b"", None),
    ],
)
@pytest.mark.cites("basic.building_blocks.9", "basic.building_blocks.10")
def test_an_event_is_transcoded_to_the_serializer_of_the_client(
    encoding, args, kwargs, arguments, subprotocol
):
    client = joined(subprotocol)
    to = subscription()
    if arguments is None:
        # WAMP #binary-support-in-json
        arguments = [["\0dGV4dP8=" if subprotocol == "wamp.2.json" else b"text\xff"]]
    assert events(client, event(encoding, args, kwargs), to) == [[36, to.id, BIG, {}, *arguments]]


def test_an_event_in_the_same_serializer_keeps_its_bytes():
    client = joined()
    chunk = client.session.encoder.event(event(args=b'[ 1e2,"\\u0041" ]'), subscription())
    assert chunk.endswith(b',{},[ 1e2,"\\u0041" ]]')


def test_an_event_that_cannot_be_transcoded_is_dropped():
    client = joined()
    assert events(client, event(*UNREADABLE), subscription()) == []
    client.session.subscribed(1, subscription(), [event(*UNREADABLE), event()])
    assert [message[0] for message in client.received()] == [33, 36]


@pytest.mark.cites("advanced.transport_rawsocket.1", "advanced.transport_rawsocket.11")
def test_an_event_longer_than_the_client_accepts_is_dropped():
    """WAMP #rawsocket: drop the event."""
    client = joined(limit=512)
    assert events(client, event(args=b'["%b"]' % (b"x" * 400)), subscription()) != []
    assert events(client, event(args=b'["%b"]' % (b"x" * 500)), subscription()) == []


def test_an_event_is_sent_only_for_a_subscription():
    with pytest.raises(ValueError, match="subscription"):
        joined().session.encoder.event(event(), None)
    client = joined()
    client.session.deliver(event(), 1)
    assert client.received() == []


# Publish and subscribe


def test_published_has_the_request_and_the_publication():
    """WAMP #published."""
    client = expecting(5, 7)
    client.session.published([5, 7], [BIG, BIG - 1])
    assert client.received() == [[17, 5, BIG], [17, 7, BIG - 1]]


@pytest.mark.parametrize("first", ["published", "refused"])
def test_a_publish_has_one_answer(first):
    """A restarted shard may answer again, even a publish that wanted no answer."""
    client = expecting(5)
    refusal = Refused(SESSION, 5, 1, "wamp.error.unavailable", "later")
    if first == "published":
        client.session.published([5], [BIG])
    else:
        client.session.refused(refusal)
    assert len(client.received()) == 1
    client.session.published([4, 5, 6], [BIG, BIG, BIG])
    client.session.refused(refusal)
    assert client.received() == []


@pytest.mark.parametrize("acknowledge", [True, False])
def test_a_publish_is_acknowledged_only_if_it_asks_for_that(acknowledge):
    client = joined()
    assert client.send([16, 5, {"acknowledge": acknowledge}, "com.example"]) == []
    client.session.published([5], [BIG])
    assert client.received() == ([[17, 5, BIG]] if acknowledge else [])


def test_expected_answers_are_found_in_a_run_with_others():
    client = expecting(5, 7)
    client.session.published([4, 5, 6, 7], [1, 2, 3, 4])
    assert client.received() == [[17, 5, 2], [17, 7, 4]]


def test_a_session_expects_only_its_own_answers():
    expecting(5)
    client = joined()
    client.session.published([5], [BIG])
    assert client.received() == []


@pytest.mark.parametrize(("kind", "request_type"), [(1, 16), (5, 32), (10, 64), (12, 66)])
def test_a_refused_request_is_answered_with_error(kind, request_type):
    """WAMP #error."""
    client = expecting(5)
    client.session.refused(Refused(SESSION, 5, kind, "wamp.error.unavailable", "later"))
    assert client.received() == [[8, request_type, 5, {}, "wamp.error.unavailable", ["later"]]]


def test_a_subscription_is_ended_by_its_id():
    client = joined()
    to = subscription()
    client.session.subscribed(5, to, [])
    client.session.subscribed(6, to, [])
    assert client.received() == [[33, 5, to.id], [33, 6, to.id]]
    client.gateway.subscribed = {to.pattern.text}
    assert client.send([34, 7, to.id]) == [[35, 7]]


# Registrations


@pytest.mark.cites("advanced.rpc_registration_revocation.3")
def test_registrations_are_confirmed_ended_and_revoked():
    """WAMP #registered, #unregistered, #rpc-registration-revocation."""
    features = {"registration_revocation": True}
    client = joined(roles={"callee": {"features": features}})
    client.session.registered(5, 77)
    client.session.unregistered(6)
    client.session.revoked(77, "wamp.registration.revoked")
    assert client.received() == [
        [65, 5, 77],
        [67, 6],
        [67, 0, {"registration": 77, "reason": "wamp.registration.revoked"}],
    ]


# Invocations


def call(flags=0, encoding=JSON, args=b"[1]", kwargs=b"", caller=None):
    return Call("realm1", "com.p", 99, 8, 1, flags, 0, encoding, args, kwargs, caller)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("uri", "match", "frame", "details", "source"),
    [
        ("com.p", "exact", call(), {}, "WAMP #invocation"),
        ("com", "prefix", call(), {"procedure": "com.p"}, "WAMP #rpc-pattern-reg"),
        (".p", "wildcard", call(), {"procedure": "com.p"}, "WAMP #rpc-pattern-reg"),
        # The registration is not known any more, so the callee is told the procedure.
        (None, None, call(), {"procedure": "com.p"}, "unregistered meanwhile"),
        ("com.p", "exact", call(caller=Identity("alice", "admin")), {}, "nobody asked"),
        (
            "com.p",
            "exact",
            call(PROGRESS),
            {"receive_progress": True},
            "WAMP #rpc-progressive-call-results",
        ),
        (
            "com.p",
            "exact",
            call(DISCLOSE_CALLER, caller=Identity("alice", "admin")),
            {"caller": 99, "caller_authid": "alice", "caller_authrole": "admin"},
            "WAMP #rpc-caller-identification",
        ),
        (
            "com.p",
            "exact",
            call(DISCLOSE_CALLER),
            {"caller": 99, "caller_authid": "anonymous", "caller_authrole": "anonymous"},
            "a call without an identity is an anonymous client's",
        ),
    ],
)
@pytest.mark.cites(
    "advanced.rpc_caller_identification.1", "advanced.rpc_pattern_based_registration.4"
)
def test_an_invocation_has_details_of_its_call(uri, match, frame, details, source, subprotocol):
    client = joined(subprotocol, roles=CANCELABLE)
    if uri:
        registered(client, 77, uri, match)
    client.session.invocation(1, 77, frame)
    assert client.received() == [[68, 1, 77, details, [1]]]


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.cites("advanced.rpc_caller_identification.1")
def test_a_callee_may_ask_who_calls(subprotocol):
    """WAMP #rpc-caller-identification: REGISTER.Options.disclose_caller."""
    client = joined(subprotocol)
    assert client.send([64, 1, {"disclose_caller": True}, "com.p"]) == []
    assert client.asked[0][-1] == {"force": False, "disclose": True}
    registered(client, 77, "com.p", "exact", disclose=True)
    client.session.invocation(1, 77, call(caller=Identity("alice", "admin")))
    details = {"caller": 99, "caller_authid": "alice", "caller_authrole": "admin"}
    assert client.received() == [[68, 1, 77, details, [1]]]


def test_progress_is_not_asked_of_a_callee_that_cannot_give_it():
    client = joined()
    registered(client, 77, "com.p", "exact")
    client.session.invocation(1, 77, call(PROGRESS))
    assert client.received() == [[68, 1, 77, {}, [1]]]


@pytest.mark.parametrize(
    ("frame", "limit", "uri"),
    [
        (call(encoding=MSGPACK, args=b"\xc1"), None, "fox.error.invalid_payload"),
        (call(args=b'["%b"]' % (b"x" * 600)), 512, "wamp.error.payload_size_exceeded"),
    ],
)
def test_a_call_that_its_callee_cannot_receive_fails(frame, limit, uri):
    client = joined(**({"limit": limit} if limit else {}))
    client.session.invocation(1, 77, frame)
    assert client.received() == []
    ((name, request, got, encoding, args, _),) = client.asked
    assert (name, request, got, encoding) == ("invocation_error", 1, uri, MSGPACK)
    assert isinstance(msgspec.msgpack.decode(args)[0], str)


def reduce(retained=None, encoding=JSON, args=b"[1]", kwargs=b""):
    publish = Publish("realm1", "a.b", 99, 8, 1, 0, encoding, args, kwargs)
    return Reduce(5, SESSION, 77, Event(4096, publish), retained)


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("retained", "value"),
    [
        (None, None),
        ((JSON, b"[17]", b""), 17),
        ((JSON, b'[{"a":[1]}]', b""), {"a": [1]}),
        ((JSON, b"[[1,2]]", b""), [1, 2]),
        ((JSON, b"[1,2]", b""), [1, 2]),
        ((JSON, b"[]", b'{"a":1}'), {"a": 1}),
        ((JSON, b"[1]", b'{"a":1}'), {"args": [1], "kwargs": {"a": 1}}),
        ((MSGPACK, msgspec.msgpack.encode(["x"]), b""), "x"),
        ((CBOR, cbor2.dumps(["x"]), b""), "x"),
        ((RAW, b"21.5", b""), 21.5),
        ((RAW, b"[1,2]", b""), [1, 2]),
        ((RAW, b"online", b""), "online"),
    ],
)
def test_a_reducer_is_told_the_topic_and_what_is_retained(retained, value, subprotocol):
    """semantics.md, Reducers."""
    client = joined(subprotocol)
    client.session.reduction(1, reduce(retained))
    details = {"procedure": "a.b", "topic": "a.b", "publication": 4096, "retained": value}
    assert client.received() == [[68, 1, 77, details, [1]]]


@pytest.mark.parametrize("subprotocol", ALL)
def test_a_reducer_gets_the_events_arguments(subprotocol):
    client = joined(subprotocol)
    client.session.reduction(1, reduce(kwargs=b'{"value":2}'))
    assert client.received()[0][4:] == [[1], {"value": 2}]
    client.session.reduction(2, reduce(encoding=RAW, args=b'{"t":1}'))
    assert client.received()[0][4:] == [[{"t": 1}]]


@pytest.mark.parametrize(
    ("frame", "limit", "uri"),
    [
        (reduce(encoding=MSGPACK, args=b"\xc1"), None, "fox.error.invalid_payload"),
        (reduce((MSGPACK, b"\x92\xc1\xc1", b"")), None, "fox.error.invalid_payload"),
        (reduce((JSON, b'["%b"]' % (b"x" * 600), b"")), 512, "wamp.error.payload_size_exceeded"),
    ],
)
def test_an_event_that_its_reducer_cannot_receive_fails(frame, limit, uri):
    client = joined(**({"limit": limit} if limit else {}))
    client.session.reduction(1, frame)
    assert client.received() == []
    assert [asked[:3] for asked in client.asked] == [("invocation_error", 1, uri)]


@pytest.mark.parametrize("mode", ["kill", "killnowait"])
@pytest.mark.cites("basic.remote_procedure_call.1")
def test_an_interrupt_has_its_mode_and_reason(mode):
    """WAMP #rpc-call-canceling."""
    client = joined(roles=CANCELABLE)
    assert client.session.interrupt(3, Interrupt(1, SESSION, mode, "wamp.error.timeout"))
    assert client.received() == [[69, 3, {"mode": mode, "reason": "wamp.error.timeout"}]]
    assert client.asked == []


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("kill", [("invocation_error", 3, "wamp.error.canceled", NONE, b"", b"")]),
        ("killnowait", []),
    ],
)
def test_a_callee_that_cannot_be_canceled_is_skipped(mode, asked):
    """WAMP #rpc-call-canceling: if the callee does not support canceling, the mode is skip."""
    client = joined()
    assert not client.session.interrupt(3, Interrupt(1, SESSION, mode, "wamp.error.canceled"))
    assert client.received() == []
    assert client.asked == asked


# Results


@pytest.mark.parametrize("subprotocol", ALL)
def test_results_and_errors_reach_the_caller(subprotocol):
    """WAMP #result, #rpc-progressive-call-results, #error."""
    client = joined(subprotocol)
    session = client.session
    session.result(Result(SESSION, 5, True, JSON, b"[1]"))
    session.result(Result(SESSION, 5, False, MSGPACK, b"\x91\x02", b"\x81\xa1a\x03"))
    session.result(Result(SESSION, 6, False, NONE, b""))
    session.call_error(CallError(SESSION, 7, "com.error", CBOR, b"\x81\x04"))
    session.call_error(CallError(SESSION, 8, "com.error", NONE, b""))
    assert client.received() == [
        [50, 5, {"progress": True}, [1]],
        [50, 5, {}, [2], {"a": 3}],
        [50, 6, {}],
        [8, 48, 7, {}, "com.error", [4]],
        [8, 48, 8, {}, "com.error"],
    ]


@pytest.mark.parametrize(
    ("encoding", "args", "limit", "uri"),
    [
        (*UNREADABLE, None, "fox.error.invalid_payload"),
        (JSON, b'["%b"]' % (b"x" * 600), 512, "wamp.error.payload_size_exceeded"),
    ],
)
@pytest.mark.cites(
    "advanced.rpc_progressive_call_results.4",
    "advanced.transport_rawsocket.1",
    "advanced.transport_rawsocket.11",
)
def test_a_call_always_ends(encoding, args, limit, uri):
    """A result that cannot be sent becomes an error (WAMP #rpc-progressive-call-results)."""
    client = joined(**({"limit": limit} if limit else {}))
    client.session.result(Result(SESSION, 5, True, encoding, args))
    assert client.received() == []
    client.session.result(Result(SESSION, 5, False, encoding, args))
    ((*head, _),) = client.received()
    assert head == [8, 48, 5, {}, uri]
    client.session.call_error(CallError(SESSION, 5, "com.error", encoding, args))
    assert client.received() == [[8, 48, 5, {}, "com.error"]]


def test_an_error_longer_than_the_client_accepts_is_sent_without_its_sentence():
    client = expecting(5, limit=512)
    client.session.refused(Refused(SESSION, 5, 1, "wamp.error.unavailable", "ä" * 600))
    assert client.received() == [[8, 16, 5, {}, "wamp.error.unavailable"]]


def test_arguments_of_a_client_come_back_unchanged():
    client = joined("wamp.2.msgpack")
    args = ENCODE["wamp.2.msgpack"](["x", b"\x00\xff"])
    client.session.result(Result(SESSION, 5, False, MSGPACK, args))
    assert client.received() == [[50, 5, {}, ["x", b"\x00\xff"]]]
