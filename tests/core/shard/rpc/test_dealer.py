"""Calls on one shard: every call has one end, whatever happens to whom (semantics: calls)."""

import pytest
from msgspec import msgpack
from shard_harness import Stage, call, leave, register, unregister, yield_

from fox_shard.backplane.frames import (
    PROGRESS,
    Announce,
    CallError,
    Cancel,
    Failed,
    Forward,
    Interrupt,
    Invocation,
    Registered,
    Result,
    Yield,
)
from fox_shard.documents import payloads
from fox_shard.topics.ids import pattern_id

CALLER, CALLEE = "gateway-0", "gateway-1"


@pytest.fixture
def stage():
    return Stage(gateways=3)


def offer(stage, *callees, gateway=CALLEE, **how):
    """Register these sessions for p.q."""
    for session in callees:
        stage.say(gateway, register(session, **how))
        assert stage.got(gateway, Registered)


def invocations(stage, gateway=CALLEE):
    return stage.got(gateway, Invocation)


def ends(stage, gateway=CALLER):
    """[(request, None or the error's URI)] of the calls that have ended."""
    return [
        (frame.request, getattr(frame, "uri", None))
        for frame in stage.got(gateway, (Result, CallError))
    ]


# From call to result


def test_a_call_goes_to_the_callee_and_its_result_to_the_caller(stage):
    offer(stage, 11)
    sent = call(1, 5)
    stage.say(CALLER, sent)
    (invocation,) = invocations(stage)
    registration = pattern_id("realm1", "registration", "=p.q")
    assert (invocation.callee, invocation.registration) == (11, registration)
    assert invocation.call == sent
    stage.say(CALLEE, Yield(invocation.invocation, False, payloads.CBOR, b"\x81\x01", b"\xa0"))
    assert stage.got(CALLER) == [Result(1, 5, False, payloads.CBOR, b"\x81\x01", b"\xa0")]
    assert stage.shard.dealer.idle


def test_the_callees_error_is_the_callers(stage):
    offer(stage, 11)
    stage.say(CALLER, call(1, 5))
    (invocation,) = invocations(stage)
    stage.say(CALLEE, Failed(invocation.invocation, "app.error", payloads.JSON, b"[1]", b"{}"))
    assert stage.got(CALLER) == [CallError(1, 5, "app.error", payloads.JSON, b"[1]", b"{}")]
    assert stage.shard.dealer.idle


def test_an_unknown_procedure_is_an_error_with_a_sentence(stage):
    stage.say(CALLER, call(1, 5, "no.such"))
    (error,) = stage.got(CALLER)
    assert (error.request, error.uri) == (5, "wamp.error.no_such_procedure")
    assert msgpack.decode(error.args) == ["no callee has registered no.such"]


def test_calls_of_other_realms_are_not_for_it(stage):
    offer(stage, 11)
    stage.say(CALLER, call(1, 5, realm="other"))
    assert ends(stage) == [(5, "wamp.error.no_such_procedure")]


@pytest.mark.parametrize("flags", [PROGRESS, 0])
def test_progress_comes_to_who_wants_it(flags, stage):
    """WAMP #rpc-progressive-call-results."""
    offer(stage, 11)
    stage.say(CALLER, call(1, 5, flags=flags))
    (invocation,) = invocations(stage)
    for args, progress in ((b"[1]", True), (b"[2]", True), (b"[3]", False)):
        stage.say(CALLEE, yield_(invocation, args, progress=progress))
    results = [(frame.args, frame.progress) for frame in stage.got(CALLER)]
    assert results == [(b"[1]", True), (b"[2]", True), (b"[3]", False)][0 if flags else 2 :]


@pytest.mark.parametrize("late", ["yield", "failed"])
def test_what_comes_for_an_invocation_that_is_over_is_ignored(late, stage):
    offer(stage, 11)
    stage.say(CALLER, call())
    (invocation,) = invocations(stage)
    stage.say(CALLEE, yield_(invocation))
    stage.got(CALLER)
    number = invocation.invocation
    again = yield_(invocation) if late == "yield" else Failed(number, "x", payloads.NONE, b"")
    stage.say(CALLEE, again)
    assert stage.got(CALLER) == []


def test_a_result_for_a_gateway_that_has_gone_goes_nowhere(stage):
    offer(stage, 11)
    stage.say(CALLER, call())
    (invocation,) = invocations(stage)
    stage.kill(CALLER)
    stage.say(CALLEE, yield_(invocation))
    assert stage.shard.dealer.idle


# Patterns (see also test_forwarding)


def test_an_exact_registration_is_called_before_a_pattern(stage):
    """WAMP #rpc-pattern-based: exact, then the longest prefix, then wildcards."""
    stage.say(CALLEE, register(11, "^p"), register(12, "^p."), register(13, "*+.q"))
    stage.say(CALLEE, register(14, "=p.q"))
    stage.say(CALLER, *(call(1, n, uri) for n, uri in enumerate(["p.q", "p.x", "px", "x.q"])))
    assert [one.callee for one in invocations(stage)] == [14, 12, 11, 13]


@pytest.mark.parametrize("down", [False, True])
def test_a_pattern_of_another_shard_is_called_there(down):
    stage = Stage(gateways=2, shards=2)
    pattern = stage.home(1, "^there{}.")
    stage.say("shard-1", Announce("realm1", pattern, gone=False))
    if down:
        stage.shard.peers["shard-1"].link.break_off(stage.now)
    stage.say(CALLER, call(1, 5, pattern[1:] + "x"))
    (answer,) = stage.got(CALLER)
    if down:
        assert answer.uri == "wamp.error.unavailable"
    else:
        assert (answer.shard, answer.incarnation) == (1, 1)


def test_a_call_forwarded_to_here_is_this_shards_to_answer():
    stage = Stage(gateways=2, shards=2)
    pattern = stage.home(0, "^here{}.")
    stage.say(CALLEE, register(11, pattern))
    for text, gateway in ((pattern, CALLER), ("^gone.", CALLER), (pattern, "gateway-9")):
        stage.say("shard-1", Forward(gateway, text, call(1, 5, text[1:] + "x")))
    (invocation,) = invocations(stage)
    assert ends(stage) == [(5, "wamp.error.no_such_procedure")]
    stage.say(CALLEE, yield_(invocation))
    assert ends(stage) == [(5, None)]


def test_a_call_for_a_pattern_of_nobody_is_an_error(stage):
    stage.say(CALLEE, register(11, "^p."))
    stage.say(CALLER, call(1, 5, "q.x"))
    assert ends(stage) == [(5, "wamp.error.no_such_procedure")]


# Concurrency and the queue


@pytest.mark.parametrize("concurrency", [1, 2])
def test_beyond_the_concurrency_calls_wait_first_in_first_out(concurrency, stage):
    offer(stage, 11, concurrency=concurrency)
    stage.say(CALLER, *(call(1, request) for request in range(1, 5)))
    seen = out = invocations(stage)
    assert len(out) == concurrency
    assert stage.shard.dealer.queued == 4 - concurrency
    while out:
        stage.say(CALLEE, yield_(out[0]))
        out = invocations(stage)
        seen += out
        if len(seen) == 4:
            break
    assert [invocation.call.request for invocation in seen] == [1, 2, 3, 4]


def test_the_capacity_is_that_of_all_callees(stage):
    offer(stage, 11, 12, invoke="roundrobin", concurrency=1)
    offer(stage, 13, gateway="gateway-2", invoke="roundrobin", concurrency=1)
    stage.say(CALLER, *(call(1, request) for request in range(1, 5)))
    assert [one.callee for one in invocations(stage)] == [11, 12]
    (third,) = invocations(stage, "gateway-2")
    assert third.callee == 13
    stage.say("gateway-2", yield_(third))
    assert [one.call.request for one in invocations(stage, "gateway-2")] == [4]


def test_a_full_queue_refuses_at_once(stage):
    offer(stage, 11, concurrency=1)
    stage.say(CALLER, *(call(1, request) for request in range(1, 6)))
    (error,) = stage.got(CALLER)
    assert (error.request, error.uri) == (5, "fox.error.queue_full")
    assert "3 calls wait for p.q already" in msgpack.decode(error.args)[0]
    assert stage.shard.dealer.queued == 3


def test_nobody_overtakes_the_queue(stage):
    """A callee with room that comes is given who waits, before a new call."""
    offer(stage, 11, invoke="first", concurrency=1)
    stage.say(CALLER, call(1, 1), call(1, 2))
    invocations(stage)
    stage.send(CALLEE, register(12, invoke="first", concurrency=1))
    stage.say(CALLEE)
    stage.say(CALLER, call(1, 3))
    assert [(one.callee, one.call.request) for one in invocations(stage)] == [(12, 2)]


@pytest.mark.parametrize(
    ("invoke", "callees"),
    [("first", [11] * 4), ("last", [13] * 4), ("roundrobin", [11, 12, 13, 11])],
)
def test_the_policy_chooses_the_callee(invoke, callees, stage):
    """WAMP #rpc-shared-registration."""
    offer(stage, 11, 12, 13, invoke=invoke)
    stage.say(CALLER, *(call(1, request) for request in range(1, 5)))
    assert [one.callee for one in invocations(stage)] == callees


def test_random_reaches_all_callees(stage):
    offer(stage, 11, 12, invoke="random")
    stage.say(CALLER, *(call(1, request) for request in range(1, 41)))
    assert {one.callee for one in invocations(stage)} == {11, 12}


# Canceling (WAMP #rpc-call-canceling)


@pytest.mark.parametrize(
    ("mode", "interrupted", "answered"),
    [("skip", False, True), ("killnowait", True, True), ("kill", True, False)],
)
def test_cancel_modes_of_a_call_that_is_out(mode, interrupted, answered, stage):
    offer(stage, 11, concurrency=1)
    stage.say(CALLER, call(1, 5))
    (invocation,) = invocations(stage)
    stage.say(CALLER, Cancel(1, 5, mode))
    expected = Interrupt(invocation.invocation, 11, mode, "wamp.error.canceled")
    assert stage.got(CALLEE) == ([expected] if interrupted else [])
    assert ends(stage) == ([(5, "wamp.error.canceled")] if answered else [])
    # The callee is busy until it answers, whether that is wanted or not.
    stage.say(CALLER, call(1, 6))
    assert invocations(stage) == []
    number = invocation.invocation
    stage.say(CALLEE, Failed(number, "wamp.error.canceled", payloads.NONE, b""))
    assert ends(stage) == ([] if answered else [(5, "wamp.error.canceled")])
    assert [one.call.request for one in invocations(stage)] == [6]


@pytest.mark.parametrize("mode", ["skip", "kill", "killnowait"])
def test_canceling_a_call_that_waits_drops_it(mode, stage):
    offer(stage, 11, concurrency=1)
    stage.say(CALLER, call(1, 5), call(1, 6), call(1, 7))
    (first,) = invocations(stage)
    stage.say(CALLER, Cancel(1, 6, mode))
    assert ends(stage) == [(6, "wamp.error.canceled")]
    assert stage.shard.dealer.queued == 1
    stage.say(CALLEE, yield_(first))
    assert [one.call.request for one in invocations(stage)] == [7]


@pytest.mark.parametrize(("session", "request_"), [(1, 5), (1, 99), (77, 5)])
def test_canceling_what_is_over_or_unknown_is_ignored(session, request_, stage):
    offer(stage, 11)
    stage.say(CALLER, call(1, 5))
    stage.say(CALLEE, yield_(*invocations(stage)))
    stage.got(CALLER)
    stage.say(CALLER, Cancel(session, request_, "kill"))
    assert (stage.got(CALLER), stage.got(CALLEE)) == ([], [])


def test_after_a_cancel_with_kill_a_result_still_counts(stage):
    """It was on its way when the interrupt came."""
    offer(stage, 11)
    stage.say(CALLER, call(1, 5))
    (invocation,) = invocations(stage)
    stage.say(CALLER, Cancel(1, 5, "kill"))
    stage.say(CALLEE, yield_(invocation))
    assert ends(stage) == [(5, None)]
    assert stage.shard.dealer.idle


# Timeouts (WAMP #rpc-call-timeout)


@pytest.mark.parametrize("waits", [False, True])
def test_a_call_that_times_out_is_answered_and_interrupted(waits, stage):
    offer(stage, 11, concurrency=1)
    if waits:
        stage.say(CALLER, call(1, 1))
        invocations(stage)
    stage.say(CALLER, call(1, 5, timeout=1500))
    out = invocations(stage)
    assert len(out) == (not waits)
    assert stage.shard.dealer.next_timeout() == pytest.approx(stage.now + 1.5)
    stage.pass_time(1.25)
    assert ends(stage) == []
    stage.pass_time(0.5)
    (error,) = stage.got(CALLER)
    assert (error.request, error.uri) == (5, "wamp.error.timeout")
    assert msgpack.decode(error.args) == ["no result within 1500 ms"]
    expected = [Interrupt(one.invocation, 11, "killnowait", "wamp.error.timeout") for one in out]
    assert stage.got(CALLEE, Interrupt) == expected
    assert stage.shard.dealer.queued == 0


def test_the_process_is_woken_for_the_timeout(stage):
    """Its deadline tells when, although nothing arrives."""
    offer(stage, 11)
    stage.say(CALLER, call(1, 5, timeout=50))
    assert stage.shard.deadline.at <= stage.now + 0.05


@pytest.mark.parametrize("ended_by", ["result", "cancel"])
def test_a_call_that_ended_in_time_does_not_time_out(ended_by, stage):
    offer(stage, 11)
    stage.say(CALLER, call(1, 5, timeout=100), call(1, 6, timeout=100_000))
    invocation, _ = invocations(stage)
    if ended_by == "result":
        stage.say(CALLEE, yield_(invocation))
    else:
        stage.say(CALLER, Cancel(1, 5, "skip"))
    stage.got(CALLER)
    stage.pass_time(1.0)
    assert ends(stage) == []
    assert stage.got(CALLEE, Interrupt) == []


# Who leaves


@pytest.mark.parametrize("leaves", ["session", "gateway"])
def test_calls_of_a_caller_that_leaves_are_dropped(leaves, stage):
    offer(stage, 11, gateway="gateway-2", concurrency=1)
    stage.say(CALLER, call(1, 5), call(1, 6))
    stage.say(CALLEE, call(2, 7))
    (invocation,) = invocations(stage, "gateway-2")
    assert stage.shard.dealer.queued == 2
    if leaves == "session":
        stage.say(CALLER, leave(1))
    else:
        stage.kill(CALLER)
        stage.turns()
    interrupt = Interrupt(invocation.invocation, 11, "killnowait", "wamp.error.canceled")
    assert stage.got("gateway-2", Interrupt) == [interrupt]
    assert stage.shard.dealer.queued == 1
    stage.say("gateway-2", yield_(invocation))
    assert [one.call.request for one in invocations(stage, "gateway-2")] == [7]


@pytest.mark.parametrize("leaves", ["session", "gateway"])
def test_a_callee_that_leaves_fails_what_it_was_busy_with(leaves, stage):
    """What waits goes on to the other callees (semantics: calls)."""
    offer(stage, 11, gateway=CALLEE, invoke="roundrobin", concurrency=1)
    offer(stage, 12, gateway="gateway-2", invoke="roundrobin", concurrency=1)
    stage.say(CALLER, *(call(1, request) for request in range(1, 4)))
    (other,) = invocations(stage, "gateway-2")
    if leaves == "session":
        stage.say(CALLEE, leave(11))
    else:
        stage.kill(CALLEE)
        stage.turns()
    assert ends(stage) == [(1, "wamp.error.canceled")]
    stage.say("gateway-2", yield_(other))
    assert [one.call.request for one in invocations(stage, "gateway-2")] == [3]


@pytest.mark.parametrize("how", ["leaves", "unregisters"])
def test_without_any_callee_what_waits_is_answered(how, stage):
    offer(stage, 11, concurrency=1)
    stage.say(CALLER, *(call(1, request) for request in range(1, 4)))
    (invocation,) = invocations(stage)
    stage.say(CALLEE, leave(11) if how == "leaves" else unregister(11))
    gone = [(2, "wamp.error.no_such_procedure"), (3, "wamp.error.no_such_procedure")]
    if how == "leaves":
        assert ends(stage) == [(1, "wamp.error.canceled"), *gone]
    else:
        # Who merely unregisters still answers what it was given.
        assert ends(stage) == gone
        stage.say(CALLEE, yield_(invocation))
        assert ends(stage) == [(1, None)]
    assert stage.shard.dealer.idle
    stage.say(CALLER, call(1, 9))
    assert ends(stage) == [(9, "wamp.error.no_such_procedure")]


def test_a_callee_that_unregistered_and_then_left_fails_what_it_was_busy_with(stage):
    offer(stage, 11)
    stage.say(CALLER, call(1, 5))
    stage.say(CALLEE, unregister(11))
    stage.say(CALLEE, leave(11))
    assert ends(stage) == [(5, "wamp.error.canceled")]
    assert stage.shard.dealer.idle


def test_a_canceled_call_of_a_callee_that_leaves_is_not_answered_twice(stage):
    offer(stage, 11)
    stage.say(CALLER, call(1, 5))
    stage.say(CALLER, Cancel(1, 5, "killnowait"))
    assert ends(stage) == [(5, "wamp.error.canceled")]
    stage.say(CALLEE, leave(11))
    assert ends(stage) == []
    assert stage.shard.dealer.idle
