"""Canceling calls between their progressive results (WAMP #rpc-call-canceling)."""

import pytest
from shard_harness import ShardHarness, call, leave, register, yield_

from fox_shard.backplane.frames import (
    PROGRESS,
    CallError,
    Cancel,
    Interrupt,
    Invocation,
    InvocationError,
    Registered,
    Result,
)
from fox_shard.documents import payloads

CALLER, CALLEE = "gateway-0", "gateway-1"
CANCELED = "wamp.error.canceled"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def streaming(harness):
    """Return the invocation of a call that has had one progressive result."""
    harness.say(CALLEE, register(11))
    harness.got(CALLEE, Registered)
    harness.say(CALLER, call(1, 5, flags=PROGRESS))
    (invocation,) = harness.got(CALLEE, Invocation)
    harness.say(CALLEE, yield_(invocation, b"[1]", progress=True))
    assert answers(harness) == [(True, b"[1]")]
    return invocation


def answers(harness):
    """Return (progress, arguments) of results, (None, URI) of errors."""
    return [
        (one.progress, one.args) if isinstance(one, Result) else (None, one.uri)
        for one in harness.got(CALLER, (Result, CallError))
    ]


@pytest.mark.parametrize("mode", ["skip", "killnowait"])
def test_after_the_error_no_result_comes_any_more(mode, harness):
    """The dealer discards them, progressive ones as well."""
    invocation = streaming(harness)
    harness.say(CALLER, Cancel(1, 5, mode))
    assert answers(harness) == [(None, CANCELED)]
    harness.say(CALLEE, yield_(invocation, b"[2]", progress=True), yield_(invocation, b"[3]"))
    assert answers(harness) == []
    assert harness.shard.dealer.idle


@pytest.mark.parametrize("end", ["result", "error"])
def test_with_kill_results_come_until_the_callee_has_ended_the_call(end, harness):
    """The caller gets whichever of RESULT and ERROR the callee sends last."""
    invocation = streaming(harness)
    harness.say(CALLER, Cancel(1, 5, "kill"))
    assert harness.got(CALLEE, Interrupt) == [
        Interrupt(invocation.invocation, 11, "kill", CANCELED)
    ]
    assert answers(harness) == []
    harness.say(CALLEE, yield_(invocation, b"[2]", progress=True))
    error = InvocationError(invocation.invocation, CANCELED, payloads.NONE, b"")
    harness.say(CALLEE, yield_(invocation, b"[3]") if end == "result" else error)
    last = (False, b"[3]") if end == "result" else (None, CANCELED)
    assert answers(harness) == [(True, b"[2]"), last]
    assert harness.shard.dealer.idle


def test_a_second_cancel_with_another_mode_does_not_wait_any_more(harness):
    invocation = streaming(harness)
    harness.say(CALLER, Cancel(1, 5, "kill"))
    harness.say(CALLER, Cancel(1, 5, "killnowait"))
    assert [one.mode for one in harness.got(CALLEE, Interrupt)] == ["kill", "killnowait"]
    assert answers(harness) == [(None, CANCELED)]
    harness.say(CALLEE, yield_(invocation, b"[3]"))
    assert answers(harness) == []
    assert harness.shard.dealer.idle


@pytest.mark.parametrize("leaves", ["session", "gateway"])
@pytest.mark.cites("advanced.rpc_progressive_call_results.2", "basic.remote_procedure_call.1")
def test_a_callee_is_interrupted_when_the_caller_leaves_between_results(leaves, harness):
    invocation = streaming(harness)
    if leaves == "session":
        harness.say(CALLER, leave(1))
    else:
        harness.kill(CALLER)
        harness.turns()
    interrupt = Interrupt(invocation.invocation, 11, "killnowait", CANCELED)
    assert harness.got(CALLEE, Interrupt) == [interrupt]
    harness.say(CALLEE, yield_(invocation, b"[2]", progress=True))
    if leaves == "session":
        assert answers(harness) == []


@pytest.mark.parametrize("leaves", ["session", "gateway"])
@pytest.mark.cites("basic.remote_procedure_call.2")
def test_a_caller_is_told_when_the_callee_leaves_between_results(leaves, harness):
    streaming(harness)
    if leaves == "session":
        harness.say(CALLEE, leave(11))
    else:
        harness.kill(CALLEE)
        harness.turns()
    assert answers(harness) == [(None, CANCELED)]
    assert harness.shard.dealer.idle
