"""Calls of `fox.schema.…` are handled one in a turn, so that hundreds of them hold up nobody."""

from msgspec import msgpack

from fox_shard.backplane.frames import Call, CallError, Result
from fox_shard.coordinator.schema_calls import MOST_WAITING, SchemaCalls
from fox_shard.coordinator.schemas import Schemas
from fox_shard.deadline import Deadline
from fox_shard.documents import payloads
from fox_shard.documents.payloads import MSGPACK
from fox_shard.store.journal import Journal


def made():
    journal = Journal(Deadline(), lambda *_: None, lambda *_: None, lambda _: None)
    return SchemaCalls(Schemas(["shard-0"], ["realm1"], {}, journal))


def call(request, procedure="fox.schema.get", *args):
    encoded = msgpack.encode([*args])
    return Call("realm1", procedure, 5, request, 1, 0, 0, MSGPACK, encoded, b"")


def test_one_call_is_handled_in_a_turn_in_the_order_of_coming():
    calls = made()
    for request in (1, 2, 3):
        assert calls.add("gateway-0", call(request)) == []
    answers = []
    while calls.busy:
        ((gateway, answer),) = calls.go_on(100.0)
        answers.append((gateway, type(answer), answer.request))
    assert answers == [("gateway-0", Result, request) for request in (1, 2, 3)]
    assert calls.go_on(100.0) == []


def test_more_than_a_hundred_do_not_wait():
    calls = made()
    for request in range(MOST_WAITING):
        assert calls.add("gateway-0", call(request)) == []
    ((_, refused),) = calls.add("gateway-0", call(1000))
    assert (type(refused), refused.uri, refused.request) == (
        CallError,
        "fox.error.queue_full",
        1000,
    )
    assert calls.limit_counts.totals() == {"schema_calls": 1}


def test_arguments_that_are_too_long_are_not_read(monkeypatch):
    read = []
    monkeypatch.setattr(payloads, "decode", lambda *_: read.append(1))
    calls = made()
    calls.add("gateway-0", call(1, "fox.schema.set", {f"k{n}": [] for n in range(300_000)}))
    ((_, refused),) = calls.go_on(100.0)
    assert refused.uri == "wamp.error.invalid_argument"
    assert b"longer than 1,048,576 bytes" in refused.args
    assert not read


def test_a_call_is_canceled_while_it_waits_and_while_its_schema_is_under_way():
    calls = made()
    calls.add("gateway-0", call(1, "fox.schema.set", {"a": {}}))
    calls.add("gateway-0", call(2, "fox.schema.set", {"b": {}}))
    assert calls.go_on(100.0) == []
    for request in (2, 1):
        ((_, refused),) = calls.cancel("gateway-0", 5, request)
        assert (refused.uri, refused.request) == ("wamp.error.canceled", request)
    assert not calls.busy


def test_the_calls_of_a_gateway_that_is_gone_are_forgotten():
    calls = made()
    calls.add("gateway-0", call(1))
    calls.add("gateway-1", call(2))
    calls.gateway_gone("gateway-0")
    ((gateway, answer),) = calls.go_on(100.0)
    assert (gateway, answer.request, calls.busy) == ("gateway-1", 2, False)
