"""Calls in several parts, as their caller and their callee see them."""

import pytest
from wamp_client import ALL, ENCODE, joined, registered

from fox_shard.backplane.frames import (
    CONTINUATION,
    CONTINUES,
    DISCLOSE_CALLER,
    Call,
    CallError,
    Result,
)
from fox_shard.documents.payloads import CBOR, JSON, MSGPACK

PARTS = {"features": {"progressive_call_invocations": True, "call_canceling": True}}
ROLES = {"caller": PARTS, "callee": PARTS}
ENCODING = dict(zip(ALL, (JSON, MSGPACK, CBOR), strict=True))
REFUSED = "wamp.error.invalid_argument"


def caller(subprotocol="wamp.2.json", **more):
    return joined(subprotocol, roles=ROLES, **more)


def answer(client, request, *, progress=False):
    """Let the router pass on a result."""
    client.session.result(Result(client.session.id, request, progress, JSON, b"[1]"))
    return client.received()


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.cites(
    "advanced.rpc_progressive_call_invocations.13", "advanced.rpc_progressive_call_invocations.14"
)
def test_calls_with_the_request_of_an_open_call_are_its_parts(subprotocol):
    client = caller(subprotocol)
    encode, encoding = ENCODE[subprotocol], ENCODING[subprotocol]
    options = {"progress": True, "timeout": 7, "disclose_me": True}
    assert client.send([48, 5, options, "com.p", ["a"]]) == []
    assert client.send([48, 5, {"progress": True, "timeout": "ignored"}, "com.p", ["b"]]) == []
    assert client.send([48, 5, {}, "com.p", ["c"], {"d": 1}]) == []
    session_flags = CONTINUES | DISCLOSE_CALLER
    assert client.asked == [
        ("call", 5, "com.p", session_flags, 7, encoding, encode(["a"]), b"", None),
        ("continue_call", 5, encoding, encode(["b"]), b"", {"last": False}),
        ("continue_call", 5, encoding, encode(["c"]), encode({"d": 1}), {"last": True}),
    ]


@pytest.mark.cites("advanced.rpc_progressive_call_invocations.4")
def test_a_caller_must_have_announced_the_feature():
    """WAMP #rpc-progressive-call-invocations: a protocol error otherwise."""
    client = joined()
    ((kind, details, uri),) = client.send([48, 5, {"progress": True}, "com.p"])
    assert (kind, uri) == (3, "wamp.error.protocol_violation")
    assert "progressive_call_invocations" in details["message"]


def test_a_part_of_another_procedure_is_a_violation():
    client = caller()
    client.send([48, 5, {"progress": True}, "com.p"])
    ((kind, _, uri),) = client.send([48, 5, {"progress": True}, "com.other"])
    assert (kind, uri) == (3, "wamp.error.protocol_violation")


@pytest.mark.cites("advanced.rpc_progressive_call_invocations.8")
def test_parts_of_a_call_that_has_ended_are_ignored_until_the_last():
    """WAMP #rpc-progressive-call-invocations: the caller may not know yet that it has ended."""
    client = caller()
    client.send([48, 5, {"progress": True}, "com.p"])
    assert answer(client, 5, progress=True)
    assert answer(client, 5)
    assert client.asked
    for options in ({"progress": True}, {"progress": True}, {}):
        assert client.send([48, 5, options, "com.p"]) == []
    assert client.asked == []
    client.send([48, 5, {}, "com.p"])
    assert [name for name, *_ in client.asked] == ["call"]


@pytest.mark.cites("advanced.rpc_progressive_call_invocations.8")
def test_parts_after_an_error_are_ignored():
    client = caller()
    client.send([48, 5, {"progress": True}, "com.p"])
    client.session.call_error(CallError(client.session.id, 5, "app.error", JSON, b"[]"))
    assert client.received() == [[8, 48, 5, {}, "app.error", []]]
    assert client.asked
    assert client.send([48, 5, {"progress": True}, "com.p"]) == []
    assert client.asked == []


@pytest.mark.parametrize(
    ("options", "procedure"),
    [({"progress": True, "timeout": -1}, "com.p"), ({"progress": True}, "com..p")],
)
def test_parts_of_a_call_that_was_refused_are_ignored(options, procedure):
    client = caller()
    ((kind, request_type, request, *_),) = client.send([48, 5, options, procedure])
    assert (kind, request_type, request) == (8, 48, 5)
    assert client.send([48, 5, {"progress": True}, procedure]) == []
    assert client.send([48, 5, {}, procedure]) == []
    assert client.asked == []


def test_the_calls_that_have_ended_are_remembered_up_to_a_limit():
    client = caller(max_calls=2)
    for request in (1, 2, 3):
        client.send([48, request, {"progress": True}, "com.p"])
        answer(client, request)
    assert client.asked
    for request in (1, 2, 3):
        client.send([48, request, {}, "com.p"])
    assert [(name, request) for name, request, *_ in client.asked] == [("call", 1)]


@pytest.mark.parametrize("subprotocol", ALL)
def test_a_part_that_is_refused_ends_the_call(subprotocol):
    client = caller(subprotocol)
    client.send([48, 5, {"progress": True}, "com.p"])
    assert client.asked
    client.send([48, 5, {"progress": 7}, "com.p"])
    ((name, request, refusal),) = client.asked
    assert (name, request, refusal.uri) == ("give_up_call", 5, REFUSED)


# The callee


def part(flags, args=b"[1]"):
    return Call("realm1", "com.p", 1, 5, 1, flags, 0, JSON, args)


@pytest.mark.cites("advanced.rpc_progressive_call_invocations.14")
def test_a_callee_gets_all_parts_with_one_request():
    client = joined(roles=ROLES)
    registered(client, 6, "com.p")
    flags = (CONTINUES, CONTINUES | CONTINUATION, CONTINUATION)
    for number, one in enumerate(flags):
        client.session.invocation(3, 6, part(one | DISCLOSE_CALLER, b"[%d]" % number))
    who = {"caller": 1, "caller_authid": "anonymous", "caller_authrole": "anonymous"}
    assert client.received() == [
        [68, 3, 6, {"progress": True, **who}, [0]],
        [68, 3, 6, {"progress": True, **who}, [1]],
        [68, 3, 6, who, [2]],
    ]


@pytest.mark.parametrize(
    "features",
    [{}, {"progressive_call_invocations": True}, {"call_canceling": True}],
)
@pytest.mark.cites(
    "advanced.rpc_progressive_call_invocations.2",
    "advanced.rpc_progressive_call_invocations.5",
    "advanced.rpc_progressive_call_invocations.11",
)
def test_a_callee_that_has_not_announced_both_features_is_not_invoked(features):
    client = joined(roles={"callee": {"features": features}})
    client.session.invocation(3, 6, part(CONTINUES))
    assert client.received() == []
    ((name, request, uri, *_),) = client.asked
    assert (name, request) == ("invocation_error", 3)
    assert uri == "wamp.error.feature_not_supported"


def test_a_callee_that_cannot_receive_a_part_is_interrupted():
    client = joined(roles=ROLES, limit=200)
    registered(client, 6, "com.p")
    client.session.invocation(3, 6, part(CONTINUES))
    client.session.invocation(3, 6, part(CONTINUES | CONTINUATION, b'["%s"]' % (b"x" * 500)))
    assert [(kind, request) for kind, request, *_ in client.received()] == [(68, 3), (69, 3)]
    assert [name for name, *_ in client.asked] == ["invocation_error"]


@pytest.mark.parametrize("spelling", ["call_canceling", "call_cancelling"])
def test_canceling_has_two_spellings(spelling):
    """The specification itself has both."""
    features = {"progressive_call_invocations": True, spelling: True}
    client = joined(roles={"callee": {"features": features}})
    registered(client, 6, "com.p")
    client.session.invocation(3, 6, part(CONTINUES))
    assert client.received() == [[68, 3, 6, {"progress": True}, [1]]]


# Rerouting and timeouts


@pytest.mark.parametrize("announced", [True, False])
def test_a_callee_that_has_announced_it_may_ask_for_rerouting(announced):
    client = joined(roles={"callee": {"features": {"call_reroute": announced}}})
    client.send([64, 1, {}, "com.p"])
    client.session.next_invocation = 9
    client.send([8, 68, 9, {}, "wamp.error.unavailable"])
    client.send([8, 68, 9, {}, "app.error"])
    register, unavailable, error = client.asked
    assert register[-1].get("reroutes", False) is announced
    assert (
        "reroute" in unavailable[-1] if isinstance(unavailable[-1], dict) else False
    ) is announced
    assert not isinstance(error[-1], dict)


@pytest.mark.parametrize("announced", [True, False])
def test_a_timeout_is_passed_on_to_callees_that_have_announced_timeouts(announced):
    """WAMP #rpc-call-timeout."""
    client = joined(roles={"callee": {"features": {"call_timeout": announced}}})
    registered(client, 6, "com.p")
    call = part(0)
    call.timeout = 500
    client.session.invocation(3, 6, call)
    assert client.received() == [[68, 3, 6, {"timeout": 500} if announced else {}, [1]]]
