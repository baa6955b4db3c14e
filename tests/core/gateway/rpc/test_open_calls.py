"""Calls in several parts, between a gateway and its shards."""

import pytest
from gateway_harness import GatewayHarness, RecordingSession, invocation

from fox_shard.backplane.frames import (
    CONTINUATION,
    CONTINUES,
    Call,
    CallError,
    CallMoved,
    Cancel,
    Identity,
    Interrupt,
    InvocationError,
    Registered,
    Result,
)
from fox_shard.documents.payloads import JSON, MSGPACK
from fox_shard.errors import InvalidArgument
from fox_shard.topics.pattern import Pattern

ME = Identity("me", "user")


@pytest.fixture
def harness():
    return GatewayHarness(shards=2)


def begin(harness, session, procedure, request=5):
    requests = harness.gateway.requests
    requests.call(session, request, procedure, CONTINUES | 1, 700, JSON, b"[0]", b"", ME, b"\x80")


def go_on(harness, session, args=b"[1]", *, last=False, request=5):
    harness.gateway.requests.continue_call(session, request, MSGPACK, args, b"", last=last)


def parts(harness, shard=0):
    """Return (flags, args) of the parts that a shard has got."""
    return [(one.flags, one.args) for one in harness.got(f"shard-{shard}", Call)]


@pytest.mark.cites("advanced.rpc_progressive_call_invocations.14")
def test_all_parts_are_as_the_first_but_for_their_arguments(harness):
    session, procedure = harness.session(), harness.topic(0)
    begin(harness, session, procedure)
    go_on(harness, session)
    go_on(harness, session, b"[2]", last=True)
    first, second, third = harness.got("shard-0", Call)
    assert first.flags == CONTINUES | 1
    for order, flags, encoding, args, one in (
        (2, CONTINUES | CONTINUATION | 1, MSGPACK, b"[1]", second),
        (3, CONTINUATION | 1, MSGPACK, b"[2]", third),
    ):
        assert one == Call(
            first.realm,
            procedure,
            session.id,
            5,
            order,
            flags,
            700,
            encoding,
            args,
            caller=ME,
            attributes=b"\x80",
        )


def test_parts_go_where_the_first_went_even_if_another_shard_answers(harness):
    session = harness.session()
    begin(harness, session, harness.topic(0))
    harness.say("shard-0", CallMoved(session.id, 5, 1, 1))
    go_on(harness, session)
    assert [args for _, args in parts(harness)] == [b"[0]", b"[1]"]
    assert parts(harness, 1) == []


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("answer", ["result", "error"])
def test_an_answer_ends_the_call_also_where_its_parts_go(answer, moved, harness):
    session = harness.session()
    begin(harness, session, harness.topic(0))
    if moved:
        harness.say("shard-0", CallMoved(session.id, 5, 1, 1))
    result = Result(session.id, 5, False, JSON, b"[]")
    error = CallError(session.id, 5, "app.error", JSON, b"[]")
    harness.say(f"shard-{int(moved)}", result if answer == "result" else error)
    parts(harness)
    assert [one.request for one in harness.got("shard-0", Cancel)] == [5]
    go_on(harness, session)
    assert parts(harness) == []
    assert harness.gateway.calls.idle


def test_nothing_is_canceled_once_the_last_part_is_sent(harness):
    session = harness.session()
    begin(harness, session, harness.topic(0))
    go_on(harness, session, last=True)
    harness.say("shard-0", Result(session.id, 5, False, JSON, b"[]"))
    assert harness.got("shard-0", Cancel) == []
    assert harness.gateway.calls.idle


def test_a_part_that_is_refused_ends_the_call(harness):
    session = harness.session()
    begin(harness, session, harness.topic(0))
    harness.say("shard-0", CallMoved(session.id, 5, 1, 1))
    refusal = InvalidArgument("no")
    harness.gateway.requests.give_up_call(session, 5, refusal)
    assert session.take() == [("call_error", 5, refusal.uri)]
    assert [one.mode for one in harness.got("shard-1", Cancel)] == ["killnowait"]
    assert harness.gateway.calls.idle


def test_a_call_whose_last_part_may_be_lost_fails(harness):
    session = harness.session()
    begin(harness, session, harness.topic(0))
    harness.say("shard-0", CallMoved(session.id, 5, 1, 1))
    go_on(harness, session, last=True)
    harness.kill("shard-0")
    assert session.take() == [("call_error", 5, "wamp.error.unavailable")]
    assert [one.mode for one in harness.got("shard-1", Cancel)] == ["killnowait"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_call_fails_if_the_shard_of_its_parts_goes_down(moved, harness):
    session = harness.session()
    begin(harness, session, harness.topic(0))
    if moved:
        harness.say("shard-0", CallMoved(session.id, 5, 1, 1))
    harness.kill("shard-0")
    assert session.take() == [("call_error", 5, "wamp.error.unavailable")]
    assert [one.mode for one in harness.got("shard-1", Cancel)] == ["killnowait"] * moved
    go_on(harness, session)
    assert harness.gateway.calls.idle


def test_nothing_is_kept_of_a_session_that_has_ended(harness):
    session = harness.session()
    begin(harness, session, harness.topic(0))
    harness.gateway.requests.session_ended(session, "gone")
    assert harness.gateway.calls.idle


@pytest.mark.parametrize("procedure", ["wamp.session.count", "wamp.registration.list"])
def test_the_routers_own_procedures_take_whole_calls_only(procedure, harness):
    session = harness.session()
    begin(harness, session, procedure)
    assert session.take() == [("call_error", 5, "wamp.error.feature_not_supported")]
    assert harness.gateway.calls.idle


# The callee


class Callee(RecordingSession):
    def invocation(self, request, registration, call):
        self.told.append((request, call.args))


def part(number, args, *, last=False):
    made = invocation(7, number, registration=5)
    made.call.flags = (CONTINUATION if args != b"[0]" else 0) | (0 if last else CONTINUES)
    made.call.args = args
    return made


@pytest.fixture
def callee(harness):
    session = harness.session()
    session.__class__ = Callee
    return session


def test_all_parts_are_one_invocation(harness, callee):
    harness.say("shard-0", part(callee.id, b"[0]"), part(callee.id, b"[1]"))
    harness.say("shard-0", part(callee.id, b"[2]", last=True))
    assert callee.take() == [(1, b"[0]"), (1, b"[1]"), (1, b"[2]")]


def test_parts_of_an_invocation_that_is_over_are_dropped(harness, callee):
    harness.say("shard-0", part(callee.id, b"[0]"))
    harness.gateway.requests.yield_(callee, 1, JSON, b"[]", b"", progress=False)
    harness.say("shard-0", part(callee.id, b"[1]"))
    assert callee.take() == [(1, b"[0]")]


def test_parts_wait_until_the_registration_is_confirmed(harness, callee):
    pattern = Pattern.wamp(harness.topic(0), "exact")
    harness.gateway.requests.register(
        callee, 3, pattern, "single", 0, force=False, disclose=False, reroutes=True
    )
    (register,) = [one for one in harness.got("shard-0") if hasattr(one, "reroutes")]
    assert register.reroutes
    for args in (b"[0]", b"[1]"):
        one = part(callee.id, args)
        one.registration = register.registration
        harness.say("shard-0", one)
    assert callee.take() == []
    harness.say("shard-0", Registered(callee.id, 3, register.registration))
    assert callee.take()[1:] == [(1, b"[0]"), (1, b"[1]")]


def test_an_invocation_that_is_over_is_forgotten(harness, callee):
    harness.say("shard-0", part(callee.id, b"[0]"))
    harness.say("shard-0", Interrupt(7, callee.id, "killnowait", "x", over=True))
    assert callee.take() == [(1, b"[0]"), ("interrupt", 1, "killnowait")]
    assert callee.invocations == {}
    harness.say("shard-0", part(callee.id, b"[1]"))
    assert callee.take() == []
    assert harness.gateway.registrations.idle


@pytest.mark.parametrize("last", [False, True])
def test_a_callee_that_waits_for_parts_is_interrupted_if_their_shard_goes_down(
    last, harness, callee
):
    harness.say("shard-0", part(callee.id, b"[0]"), part(callee.id, b"[1]", last=last))
    callee.take()
    harness.kill("shard-0")
    assert callee.take() == ([] if last else [("interrupt", 1, "killnowait")])
    assert harness.gateway.registrations.idle


def test_a_callee_may_ask_for_rerouting(harness, callee):
    harness.say("shard-0", part(callee.id, b"[0]"))
    harness.gateway.requests.invocation_error(
        callee, 1, "wamp.error.unavailable", JSON, b"[]", b"", reroute=True
    )
    (error,) = harness.got("shard-0", InvocationError)
    assert error.reroute
