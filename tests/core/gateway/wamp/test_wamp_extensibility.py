"""WAMP #extensibility: the keys of options and details, and attributes that nobody knows."""

import re

import pytest
from msgspec import msgpack
from user_samples import bot, users
from wamp_client import ALL, CANCELABLE, ENCODE, ROLES, Client, joined, registered, subscription

from fox_shard.backplane.frames import (
    CONTINUES,
    DISCLOSE_CALLER,
    PROGRESS,
    Call,
    CallError,
    Event,
    Identity,
    Interrupt,
    Publish,
    Reduce,
    Result,
)
from fox_shard.documents.payloads import JSON
from fox_shard.gateway.sessions.realm import Route

JSON_, MSGPACK_, CBOR_ = ALL
VIOLATION = "wamp.error.protocol_violation"
UNKNOWN = {"unknown_one": [1, {"a": None}], "later": True, "Strange": "x"}


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize(
    ("head", "options", "rest"),
    [
        ([16, 1], {"acknowledge": True}, ["com.topic", [1]]),
        ([32, 1], {"match": "prefix"}, ["com.topic"]),
        ([48, 1], {"timeout": 5}, ["com.p", [1]]),
        ([49, 1], {"mode": "skip"}, []),
        ([64, 1], {"invoke": "random"}, ["com.p"]),
        ([70, 1], {"progress": True}, [[1]]),
        ([8, 68, 1], {}, ["com.error", [1]]),
        ([6], {"message": "bye"}, ["wamp.close.normal"]),
        ([3], {"message": "bye"}, ["wamp.error.x"]),
    ],
    ids=lambda it: str(it),
)
@pytest.mark.cites("basic.messages.5")
def test_unknown_attributes_change_nothing(head, options, rest, subprotocol):
    plain, with_more = joined(subprotocol), joined(subprotocol)
    for client in (plain, with_more):
        client.session.next_invocation = 1
    answers = plain.send([*head, options, *rest])
    assert with_more.send([*head, {**options, **UNKNOWN}, *rest]) == answers
    asked, the_same = plain.asked, with_more.asked
    assert [name for name, *_ in asked] == [name for name, *_ in the_same]
    assert without_routes(asked) == without_routes(the_same)
    assert plain.hung_up == with_more.hung_up


def without_routes(asked):
    """Return what was asked, without the routes of topics, which each client's gateway makes."""
    return [[one for one in request if not isinstance(one, Route)] for request in asked]


@pytest.mark.parametrize("subprotocol", [MSGPACK_, CBOR_])
@pytest.mark.parametrize("key", [7, None, True, b"match", 1.5])
@pytest.mark.parametrize(
    "make",
    [
        lambda strange: [16, 1, {"acknowledge": True, **strange}, "com.topic"],
        lambda strange: [32, 1, strange, "com.topic"],
        lambda strange: [48, 1, strange, "com.p"],
        lambda strange: [49, 1, strange],
        lambda strange: [64, 1, strange, "com.p"],
        lambda strange: [70, 1, strange],
        lambda strange: [8, 68, 1, {"x_some": 1, **strange}, "com.error"],
        lambda strange: [48, 1, {}, "com.p", [], strange],
    ],
    ids=[
        "PUBLISH",
        "SUBSCRIBE",
        "CALL",
        "CANCEL",
        "REGISTER",
        "YIELD",
        "ERROR",
        "kwargs",
    ],
)
@pytest.mark.cites("basic.messages.2", "basic.messages.3")
def test_a_key_that_is_no_string_is_refused(make, key, subprotocol):
    """Wherever the router reads the dictionary; it does not read the details of GOODBYE."""
    client = joined(subprotocol)
    client.session.next_invocation = 1
    answers = client.send(make({key: 1}))
    assert [answer[0::2] for answer in answers] == [[3, VIOLATION]]
    assert client.asked == [("session_ended", False)]


def keys_of(value):
    """Yield all keys of dictionaries in the value."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from keys_of(item)


def details_that_the_router_sends():
    """Yield (message, its options or details) of the router's messages that have some."""
    ((_, _, welcome),) = Client().send([1, "realm1", {"roles": ROLES}])
    yield "WELCOME", welcome
    for method in ("ticket", "wampcra", "scram", "wamp-scram", "cryptosign"):
        client = Client()
        client.gateway.authentication.users = users(bot("ab" * 32))
        hello = {"authid": "peter", "authmethods": [method], "roles": ROLES}
        hello["authextra"] = {"nonce": "egVDf3DMJh0=", "pubkey": "ab" * 32}
        ((_, chosen, extra),) = client.send([1, "realm1", hello])
        assert chosen == method
        yield "CHALLENGE", extra
    ((_, abort, _),) = Client().send([1, "nowhere", {"roles": ROLES}])
    yield "ABORT", abort
    features = {"registration_revocation": True, "progressive_call_invocations": True}
    features |= {"call_timeout": True, **CANCELABLE["callee"]["features"]}
    client = joined(roles={"callee": {"features": features}})
    session = client.session
    who = Identity("alice", "admin")
    publish = Publish("realm1", "com.example", 9, 1, 1, 0, JSON, b"[1]", b"", who)
    to = subscription("com", "prefix")
    session.subscribed(1, to, [Event(5, publish)])
    session.subscription_revoked(to, "fox.close.snapshot")
    session.revoked(7, "wamp.registration.revoked")
    registered(client, 7, "com", "prefix")
    flags = CONTINUES | DISCLOSE_CALLER | PROGRESS
    session.invocation(1, 7, Call("realm1", "com.p", 9, 1, 1, flags, 50, JSON, b"[1]", caller=who))
    session.reduction(2, Reduce(5, 1, 7, Event(6, publish), None))
    session.interrupt(1, Interrupt(1, 1, "kill", "wamp.error.canceled"))
    session.result(Result(1, 5, True, JSON, b"[1]"))
    session.call_error(CallError(1, 5, "com.error", JSON, b"[1]"))
    session.end("wamp.close.killed", "enough")
    for message in client.received():
        for details in message:
            if isinstance(details, dict):
                yield str(message[0]), details


@pytest.mark.cites("basic.messages.2", "basic.messages.3")
def test_keys_that_the_router_sends_are_as_the_specification_wants_them():
    seen = {}
    for message, details in details_that_the_router_sends():
        seen.setdefault(message, set()).update(keys_of(details))
    for keys in seen.values():
        for key in keys:
            assert re.fullmatch("[a-z][a-z0-9_]{2,}", key), key
    assert {"WELCOME", "CHALLENGE", "ABORT", "36", "67", "35", "68", "69", "50", "6"} <= set(seen)
    assert {"procedure", "caller", "receive_progress", "progress", "timeout"} <= seen["68"]
    assert {"topic", "publisher", "retained"} <= seen["36"]


@pytest.mark.parametrize("subprotocol", ALL)
def test_keys_of_its_dictionaries_are_sent_once(subprotocol):
    """JSON, MessagePack and CBOR could write a key twice; `msgspec` and `cbor2` do not."""
    client = joined(subprotocol)
    client.session.result(Result(1, 5, True, JSON, b"[1]", b"", msgpack.encode({"x_a": 1})))
    (chunk,) = client.connection.out
    for key in ("progress", "x_a"):
        assert chunk.count(ENCODE[subprotocol](key).strip(b'"')) == 1
