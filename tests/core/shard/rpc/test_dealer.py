"""Calls on one shard: every call ends exactly once, whatever happens (semantics: calls)."""

import pytest
from msgspec import msgpack
from shard_harness import ShardHarness, call, leave, register, unregister, yield_

from fox_shard.backplane.frames import (
    PROGRESS,
    CallError,
    Cancel,
    Forward,
    Interrupt,
    Invocation,
    InvocationError,
    PatternAnnounced,
    Registered,
    Result,
    Yield,
)
from fox_shard.config import Rpc
from fox_shard.documents import payloads
from fox_shard.topics.ids import pattern_id

CALLER, CALLEE = "gateway-0", "gateway-1"


@pytest.fixture
def harness():
    return ShardHarness(gateways=3)


def offer(harness, *callees, gateway=CALLEE, **how):
    """Register these sessions for p.q."""
    for session in callees:
        harness.say(gateway, register(session, **how))
        assert harness.got(gateway, Registered)


def invocations(harness, gateway=CALLEE):
    return harness.got(gateway, Invocation)


def ends(harness, gateway=CALLER):
    """Return [(request, None or the error's URI)] of the calls that have ended."""
    return [
        (frame.request, getattr(frame, "uri", None))
        for frame in harness.got(gateway, (Result, CallError))
    ]


# From call to result


def test_a_call_goes_to_the_callee_and_its_result_to_the_caller(harness):
    offer(harness, 11)
    sent = call(1, 5)
    harness.say(CALLER, sent)
    (invocation,) = invocations(harness)
    registration = pattern_id("realm1", "registration", "=p.q")
    assert (invocation.callee, invocation.registration) == (11, registration)
    assert invocation.call == sent
    harness.say(CALLEE, Yield(invocation.invocation, False, payloads.CBOR, b"\x81\x01", b"\xa0"))
    assert harness.got(CALLER) == [Result(1, 5, False, payloads.CBOR, b"\x81\x01", b"\xa0")]
    assert harness.shard.dealer.idle


def test_the_callees_error_goes_to_the_caller(harness):
    offer(harness, 11)
    harness.say(CALLER, call(1, 5))
    (invocation,) = invocations(harness)
    harness.say(
        CALLEE, InvocationError(invocation.invocation, "app.error", payloads.JSON, b"[1]", b"{}")
    )
    assert harness.got(CALLER) == [CallError(1, 5, "app.error", payloads.JSON, b"[1]", b"{}")]
    assert harness.shard.dealer.idle


@pytest.mark.cites("advanced.rpc_pattern_based_registration.3")
def test_a_call_of_an_unknown_procedure_gets_an_error_with_a_sentence(harness):
    harness.say(CALLER, call(1, 5, "no.such"))
    (error,) = harness.got(CALLER)
    assert (error.request, error.uri) == (5, "wamp.error.no_such_procedure")
    assert msgpack.decode(error.args) == ["no callee has registered no.such"]


def test_a_registration_gets_no_calls_of_other_realms(harness):
    offer(harness, 11)
    harness.say(CALLER, call(1, 5, realm="other"))
    assert ends(harness) == [(5, "wamp.error.no_such_procedure")]


@pytest.mark.parametrize("flags", [PROGRESS, 0])
def test_progressive_results_go_only_to_callers_that_want_them(flags, harness):
    """WAMP #rpc-progressive-call-results."""
    offer(harness, 11)
    harness.say(CALLER, call(1, 5, flags=flags))
    (invocation,) = invocations(harness)
    for args, progress in ((b"[1]", True), (b"[2]", True), (b"[3]", False)):
        harness.say(CALLEE, yield_(invocation, args, progress=progress))
    results = [(frame.args, frame.progress) for frame in harness.got(CALLER)]
    assert results == [(b"[1]", True), (b"[2]", True), (b"[3]", False)][0 if flags else 2 :]


@pytest.mark.parametrize("late", ["yield", "failed"])
def test_an_answer_to_an_invocation_that_is_over_is_ignored(late, harness):
    offer(harness, 11)
    harness.say(CALLER, call())
    (invocation,) = invocations(harness)
    harness.say(CALLEE, yield_(invocation))
    harness.got(CALLER)
    number = invocation.invocation
    again = (
        yield_(invocation) if late == "yield" else InvocationError(number, "x", payloads.NONE, b"")
    )
    harness.say(CALLEE, again)
    assert harness.got(CALLER) == []


def test_a_result_for_a_gateway_that_has_gone_is_dropped(harness):
    offer(harness, 11)
    harness.say(CALLER, call())
    (invocation,) = invocations(harness)
    harness.kill(CALLER)
    harness.say(CALLEE, yield_(invocation))
    assert harness.shard.dealer.idle


# Patterns (see also test_forwarding)


def test_an_exact_registration_is_called_before_a_pattern(harness):
    """WAMP #rpc-pattern-based: exact, then the longest prefix, then wildcards."""
    harness.say(CALLEE, register(11, "^p"), register(12, "^p."), register(13, "*+.q"))
    harness.say(CALLEE, register(14, "=p.q"))
    harness.say(CALLER, *(call(1, n, uri) for n, uri in enumerate(["p.q", "p.x", "px", "x.q"])))
    assert [one.callee for one in invocations(harness)] == [14, 12, 11, 13]


@pytest.mark.parametrize("down", [False, True])
def test_a_call_of_another_shards_pattern_is_forwarded_or_refused_if_that_shard_is_down(down):
    harness = ShardHarness(gateways=2, shards=2)
    pattern = harness.home(1, "^there{}.")
    harness.say("shard-1", PatternAnnounced("realm1", pattern, gone=False))
    if down:
        harness.shard.peers["shard-1"].link.break_off(harness.now)
    harness.say(CALLER, call(1, 5, pattern[1:] + "x"))
    (answer,) = harness.got(CALLER)
    if down:
        assert answer.uri == "wamp.error.unavailable"
    else:
        assert (answer.shard, answer.incarnation) == (1, 1)


def test_the_home_of_a_pattern_answers_forwarded_calls():
    harness = ShardHarness(gateways=2, shards=2)
    pattern = harness.home(0, "^here{}.")
    harness.say(CALLEE, register(11, pattern))
    for text, gateway in ((pattern, CALLER), ("^gone.", CALLER), (pattern, "gateway-9")):
        harness.say("shard-1", Forward(gateway, text, call(1, 5, text[1:] + "x")))
    (invocation,) = invocations(harness)
    assert ends(harness) == [(5, "wamp.error.no_such_procedure")]
    harness.say(CALLEE, yield_(invocation))
    assert ends(harness) == [(5, None)]


@pytest.mark.cites("advanced.rpc_pattern_based_registration.3")
def test_a_call_that_matches_no_pattern_gets_an_error(harness):
    harness.say(CALLEE, register(11, "^p."))
    harness.say(CALLER, call(1, 5, "q.x"))
    assert ends(harness) == [(5, "wamp.error.no_such_procedure")]


# Concurrency and the queue


@pytest.mark.parametrize("concurrency", [1, 2])
def test_calls_beyond_the_concurrency_wait_in_order(concurrency, harness):
    offer(harness, 11, concurrency=concurrency)
    harness.say(CALLER, *(call(1, request) for request in range(1, 5)))
    seen = out = invocations(harness)
    assert len(out) == concurrency
    assert harness.shard.dealer.invocations.kept.queued == 4 - concurrency
    while out:
        harness.say(CALLEE, yield_(out[0]))
        out = invocations(harness)
        seen += out
        if len(seen) == 4:
            break
    assert [invocation.call.request for invocation in seen] == [1, 2, 3, 4]


def test_the_concurrency_of_all_callees_adds_up(harness):
    offer(harness, 11, 12, invoke="roundrobin", concurrency=1)
    offer(harness, 13, gateway="gateway-2", invoke="roundrobin", concurrency=1)
    harness.say(CALLER, *(call(1, request) for request in range(1, 5)))
    assert [one.callee for one in invocations(harness)] == [11, 12]
    (third,) = invocations(harness, "gateway-2")
    assert third.callee == 13
    harness.say("gateway-2", yield_(third))
    assert [one.call.request for one in invocations(harness, "gateway-2")] == [4]


def test_a_full_queue_refuses_at_once(harness):
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, *(call(1, request) for request in range(1, 6)))
    (error,) = harness.got(CALLER)
    assert (error.request, error.uri) == (5, "fox.error.queue_full")
    assert "3 calls wait for p.q already" in msgpack.decode(error.args)[0]
    assert harness.shard.dealer.invocations.kept.queued == 3


def test_a_new_call_does_not_overtake_the_queue(harness):
    """A new callee with room is given the calls that wait before a new one."""
    offer(harness, 11, invoke="first", concurrency=1)
    harness.say(CALLER, call(1, 1), call(1, 2))
    invocations(harness)
    harness.send(CALLEE, register(12, invoke="first", concurrency=1))
    harness.say(CALLEE)
    harness.say(CALLER, call(1, 3))
    assert [(one.callee, one.call.request) for one in invocations(harness)] == [(12, 2)]


@pytest.mark.parametrize(
    ("invoke", "callees"),
    [("first", [11] * 4), ("last", [13] * 4), ("roundrobin", [11, 12, 13, 11])],
)
def test_the_policy_chooses_the_callee(invoke, callees, harness):
    """WAMP #rpc-shared-registration."""
    offer(harness, 11, 12, 13, invoke=invoke)
    harness.say(CALLER, *(call(1, request) for request in range(1, 5)))
    assert [one.callee for one in invocations(harness)] == callees


def test_random_reaches_all_callees(harness):
    offer(harness, 11, 12, invoke="random")
    harness.say(CALLER, *(call(1, request) for request in range(1, 41)))
    assert {one.callee for one in invocations(harness)} == {11, 12}


# Canceling (WAMP #rpc-call-canceling)


@pytest.mark.parametrize(
    ("mode", "answered"), [("skip", True), ("killnowait", True), ("kill", False)]
)
def test_the_cancel_mode_decides_what_happens_to_a_running_call(mode, answered, harness):
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, call(1, 5))
    (invocation,) = invocations(harness)
    harness.say(CALLER, Cancel(1, 5, mode))
    expected = Interrupt(invocation.invocation, 11, mode, "wamp.error.canceled")
    assert harness.got(CALLEE) == [expected]
    assert ends(harness) == ([(5, "wamp.error.canceled")] if answered else [])
    # The callee is busy until it answers, even if nobody wants the answer.
    harness.say(CALLER, call(1, 6))
    assert invocations(harness) == []
    number = invocation.invocation
    harness.say(CALLEE, InvocationError(number, "wamp.error.canceled", payloads.NONE, b""))
    assert ends(harness) == ([] if answered else [(5, "wamp.error.canceled")])
    assert [one.call.request for one in invocations(harness)] == [6]


@pytest.mark.parametrize("mode", ["skip", "kill", "killnowait"])
def test_canceling_a_call_that_waits_drops_it(mode, harness):
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, call(1, 5), call(1, 6), call(1, 7))
    (first,) = invocations(harness)
    harness.say(CALLER, Cancel(1, 6, mode))
    assert ends(harness) == [(6, "wamp.error.canceled")]
    assert harness.shard.dealer.invocations.kept.queued == 1
    harness.say(CALLEE, yield_(first))
    assert [one.call.request for one in invocations(harness)] == [7]


@pytest.mark.parametrize(("session", "request_"), [(1, 5), (1, 99), (77, 5)])
def test_canceling_a_call_that_is_over_or_unknown_is_ignored(session, request_, harness):
    offer(harness, 11)
    harness.say(CALLER, call(1, 5))
    harness.say(CALLEE, yield_(*invocations(harness)))
    harness.got(CALLER)
    harness.say(CALLER, Cancel(session, request_, "kill"))
    assert (harness.got(CALLER), harness.got(CALLEE)) == ([], [])


def test_after_a_cancel_with_kill_a_result_still_counts(harness):
    """The result was on its way when the interrupt came."""
    offer(harness, 11)
    harness.say(CALLER, call(1, 5))
    (invocation,) = invocations(harness)
    harness.say(CALLER, Cancel(1, 5, "kill"))
    harness.say(CALLEE, yield_(invocation))
    assert ends(harness) == [(5, None)]
    assert harness.shard.dealer.idle


# Timeouts (WAMP #rpc-call-timeout)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.cites("advanced.rpc_call_timeout.1", "advanced.rpc_call_timeout.2")
def test_a_call_that_times_out_is_answered_and_interrupted(waits, harness):
    offer(harness, 11, concurrency=1)
    if waits:
        harness.say(CALLER, call(1, 1))
        invocations(harness)
    harness.say(CALLER, call(1, 5, timeout=1500))
    out = invocations(harness)
    assert len(out) == (not waits)
    assert harness.shard.dealer.invocations.next_timeout() == pytest.approx(harness.now + 1.5)
    harness.pass_time(1.25)
    assert ends(harness) == []
    harness.pass_time(0.5)
    (error,) = harness.got(CALLER)
    assert (error.request, error.uri) == (5, "wamp.error.timeout")
    assert msgpack.decode(error.args) == ["no result within 1500 ms"]
    expected = [Interrupt(one.invocation, 11, "killnowait", "wamp.error.timeout") for one in out]
    assert harness.got(CALLEE, Interrupt) == expected
    assert harness.shard.dealer.invocations.kept.queued == 0


@pytest.mark.parametrize("flags", [PROGRESS, 0])
def test_a_timeout_counts_from_the_last_progressive_result(flags, harness):
    """WAMP #rpc-call-timeout. Progress that the caller does not want is no sign of life to it."""
    offer(harness, 11)
    harness.say(CALLER, call(1, 5, timeout=1000, flags=flags))
    (invocation,) = invocations(harness)
    for _ in range(3):
        harness.pass_time(0.75)
        harness.say(CALLEE, yield_(invocation, progress=True))
    answers = harness.got(CALLER)
    if not flags:
        assert [answer.uri for answer in answers] == ["wamp.error.timeout"]
        return
    assert [answer.progress for answer in answers] == [True] * 3
    assert len(harness.shard.dealer.invocations._timeouts) == 1
    assert harness.shard.deadline.at <= harness.now + 1
    harness.pass_time(1.25)
    assert ends(harness) == [(5, "wamp.error.timeout")]


def test_the_deadline_covers_the_timeout_of_a_call(harness):
    """Otherwise the process would not wake up while nothing arrives."""
    offer(harness, 11)
    harness.say(CALLER, call(1, 5, timeout=50))
    assert harness.shard.deadline.at <= harness.now + 0.05


@pytest.mark.parametrize("ended_by", ["result", "cancel"])
def test_a_call_that_ended_in_time_does_not_time_out(ended_by, harness):
    offer(harness, 11)
    harness.say(CALLER, call(1, 5, timeout=100), call(1, 6, timeout=100_000))
    invocation, _ = invocations(harness)
    if ended_by == "result":
        harness.say(CALLEE, yield_(invocation))
    else:
        harness.say(CALLER, Cancel(1, 5, "skip"))
        harness.got(CALLEE)
    harness.got(CALLER)
    harness.pass_time(1.0)
    assert ends(harness) == []
    assert harness.got(CALLEE, Interrupt) == []


# Sessions and gateways that leave


@pytest.mark.parametrize("leaves", ["session", "gateway"])
@pytest.mark.cites("basic.remote_procedure_call.1")
def test_calls_of_a_caller_that_leaves_are_dropped(leaves, harness):
    offer(harness, 11, gateway="gateway-2", concurrency=1)
    harness.say(CALLER, call(1, 5), call(1, 6))
    harness.say(CALLEE, call(2, 7))
    (invocation,) = invocations(harness, "gateway-2")
    assert harness.shard.dealer.invocations.kept.queued == 2
    if leaves == "session":
        harness.say(CALLER, leave(1))
    else:
        harness.kill(CALLER)
        harness.turns()
    interrupt = Interrupt(invocation.invocation, 11, "killnowait", "wamp.error.canceled")
    assert harness.got("gateway-2", Interrupt) == [interrupt]
    assert harness.shard.dealer.invocations.kept.queued == 1
    harness.say("gateway-2", yield_(invocation))
    assert [one.call.request for one in invocations(harness, "gateway-2")] == [7]


@pytest.mark.parametrize("leaves", ["session", "gateway"])
@pytest.mark.cites("advanced.rpc_progressive_call_results.4", "basic.remote_procedure_call.2")
def test_the_running_invocations_of_a_callee_that_leaves_fail(leaves, harness):
    """Waiting calls go to the other callees (semantics: calls)."""
    offer(harness, 11, gateway=CALLEE, invoke="roundrobin", concurrency=1)
    offer(harness, 12, gateway="gateway-2", invoke="roundrobin", concurrency=1)
    harness.say(CALLER, *(call(1, request) for request in range(1, 4)))
    (other,) = invocations(harness, "gateway-2")
    if leaves == "session":
        harness.say(CALLEE, leave(11))
    else:
        harness.kill(CALLEE)
        harness.turns()
    assert ends(harness) == [(1, "wamp.error.canceled")]
    harness.say("gateway-2", yield_(other))
    assert [one.call.request for one in invocations(harness, "gateway-2")] == [3]


@pytest.mark.parametrize("how", ["leaves", "unregisters"])
def test_waiting_calls_are_answered_when_the_last_callee_has_gone(how, harness):
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, *(call(1, request) for request in range(1, 4)))
    (invocation,) = invocations(harness)
    harness.say(CALLEE, leave(11) if how == "leaves" else unregister(11))
    gone = [(2, "wamp.error.no_such_procedure"), (3, "wamp.error.no_such_procedure")]
    if how == "leaves":
        assert ends(harness) == [(1, "wamp.error.canceled"), *gone]
    else:
        # A callee that merely unregisters still answers its running invocations.
        assert ends(harness) == gone
        harness.say(CALLEE, yield_(invocation))
        assert ends(harness) == [(1, None)]
    assert harness.shard.dealer.idle
    harness.say(CALLER, call(1, 9))
    assert ends(harness) == [(9, "wamp.error.no_such_procedure")]


def test_the_running_invocations_of_a_callee_that_unregistered_and_then_left_fail(harness):
    offer(harness, 11)
    harness.say(CALLER, call(1, 5))
    harness.say(CALLEE, unregister(11))
    harness.say(CALLEE, leave(11))
    assert ends(harness) == [(5, "wamp.error.canceled")]
    assert harness.shard.dealer.idle


def test_a_canceled_call_of_a_callee_that_leaves_is_not_answered_twice(harness):
    offer(harness, 11)
    harness.say(CALLER, call(1, 5))
    harness.say(CALLER, Cancel(1, 5, "killnowait"))
    assert ends(harness) == [(5, "wamp.error.canceled")]
    harness.say(CALLEE, leave(11))
    assert ends(harness) == []
    assert harness.shard.dealer.idle


# Limits


def large_call(request, size=1000, **more):
    asked = call(request=request, **more)
    asked.args = b'["%b"]' % (size * b"x")
    return asked


def test_waiting_calls_are_limited_in_bytes_over_all_procedures():
    harness = ShardHarness(rpc=Rpc(queue_bytes=4000))
    harness.say("gateway-1", *(register(20, f"={name}", concurrency=1) for name in ("p", "q")))
    busy = [call(request=1, procedure="p"), call(request=2, procedure="q")]
    harness.say("gateway-0", *busy, large_call(3, procedure="p"), large_call(4, procedure="q"))
    harness.say("gateway-0", large_call(5, procedure="q"), call(request=6, procedure="q"))
    refused = harness.got("gateway-0", CallError)
    assert [(one.request, one.uri) for one in refused] == [(5, "fox.error.queue_full")]
    # The bytes are free again when a callee has the call, or the caller has gone.
    running = {one.call.request: one for one in harness.got("gateway-1", Invocation)}
    harness.say("gateway-1", yield_(running[1]), yield_(running[2]))
    harness.say("gateway-0", leave(1))
    assert (
        harness.shard.dealer.invocations.kept.queued_bytes
        == harness.shard.dealer.invocations.kept.queued
        == 0
    )


def test_the_arguments_of_a_running_call_are_not_kept():
    harness = ShardHarness()
    harness.say("gateway-1", register(20))
    asked = large_call(1)
    harness.say("gateway-0", asked)
    ((pending,),) = (calls.values() for calls in harness.shard.dealer.invocations._callers.values())
    assert pending.waiting is None
