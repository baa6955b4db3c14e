"""Calls in several parts (WAMP #rpc-progressive-call-invocations), on one shard."""

import pytest
from shard_harness import ShardHarness, call, leave, register, yield_

from fox_shard.backplane.frames import (
    CONTINUATION,
    CONTINUES,
    PROGRESS,
    CallError,
    CallMoved,
    Cancel,
    Forward,
    Interrupt,
    Invocation,
    InvocationError,
    PatternAnnounced,
    Registered,
    Result,
)
from fox_shard.config import Rpc
from fox_shard.documents import payloads

CALLER, CALLEE = "gateway-0", "gateway-1"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def part(number, *, last=False, session=1, request=5, procedure="p.q", flags=0, **more):
    """Return the part of a call with that number, from 0."""
    flags |= (CONTINUATION if number else 0) | (0 if last else CONTINUES)
    made = call(session, request, procedure, flags=flags, **more)
    made.args = f"[{number}]".encode()
    return made


def offer(harness, *callees, **how):
    for session in callees:
        harness.say(CALLEE, register(session, **how))
    harness.got(CALLEE, Registered)


def invoked(harness, gateway=CALLEE):
    """Return (callee, invocation, arguments) of each part that has come."""
    return [(one.callee, one.invocation, one.call.args) for one in harness.got(gateway, Invocation)]


def ends(harness, gateway=CALLER):
    return [
        (frame.request, getattr(frame, "uri", None))
        for frame in harness.got(gateway, (Result, CallError))
    ]


@pytest.mark.cites("advanced.rpc_progressive_call_invocations.7")
def test_all_parts_are_one_invocation_of_one_callee(harness):
    offer(harness, 11, 12, 13, invoke="roundrobin")
    harness.say(CALLER, part(0), part(0, request=6), part(1), part(1, request=6))
    harness.say(CALLER, part(2, last=True), part(2, request=6, last=True))
    got = invoked(harness)
    assert [args for callee, _, args in got if callee == 11] == [b"[0]", b"[1]", b"[2]"]
    assert [args for callee, _, args in got if callee == 12] == [b"[0]", b"[1]", b"[2]"]
    assert len({(callee, number) for callee, number, _ in got}) == 2


def test_results_may_come_between_the_parts(harness):
    offer(harness, 11)
    harness.say(CALLER, part(0, flags=PROGRESS))
    (invocation,) = harness.got(CALLEE, Invocation)
    harness.say(CALLEE, yield_(invocation, b"[7]", progress=True))
    harness.say(CALLER, part(1, last=True))
    harness.say(CALLEE, yield_(invocation, b"[8]"))
    assert [(one.progress, one.args) for one in harness.got(CALLER)] == [
        (True, b"[7]"),
        (False, b"[8]"),
    ]
    assert harness.shard.dealer.idle


@pytest.mark.parametrize("answer", ["result", "error"])
@pytest.mark.cites("advanced.rpc_progressive_call_invocations.8")
def test_parts_after_the_answer_are_ignored(answer, harness):
    offer(harness, 11)
    harness.say(CALLER, part(0))
    (invocation,) = harness.got(CALLEE, Invocation)
    error = InvocationError(invocation.invocation, "app.error", payloads.NONE, b"")
    harness.say(CALLEE, yield_(invocation) if answer == "result" else error)
    assert len(ends(harness)) == 1
    harness.say(CALLER, part(1), part(2, last=True))
    assert invoked(harness) == []
    assert harness.got(CALLER) == []
    assert harness.shard.dealer.idle


def test_a_part_of_a_call_that_has_had_its_last_part_is_ignored(harness):
    offer(harness, 11)
    harness.say(CALLER, part(0), part(1, last=True), part(2))
    assert len(invoked(harness)) == 2


# While the callee is busy


@pytest.mark.cites("advanced.rpc_progressive_call_invocations.7")
def test_parts_wait_with_their_call_and_go_to_one_callee(harness):
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, call(1, 1), part(0), part(1), call(1, 6), part(2, last=True))
    (running,) = harness.got(CALLEE, Invocation)
    harness.say(CALLEE, yield_(running))
    assert [args for _, _, args in invoked(harness)] == [b"[0]", b"[1]", b"[2]"]
    assert harness.shard.dealer.invocations.kept.queued == 1


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (Rpc(queued_parts=2), "queued_parts"),
        (Rpc(queue_bytes=2000), "queue_bytes"),
    ],
)
def test_the_parts_that_wait_are_limited_in_number_and_in_bytes(settings, limit):
    harness = ShardHarness(gateways=2, rpc=settings)
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, call(1, 1))
    harness.got(CALLEE)
    harness.say(CALLER, *(part(number) for number in range(6)))
    assert ends(harness) == [(5, "fox.error.queue_full")]
    kept = harness.shard.dealer.invocations.kept
    assert (kept.queued, kept.queued_bytes) == (0, 0)
    assert harness.shard.dealer.invocations.limit_counts.totals() == {limit: 1}


# Ends


@pytest.mark.parametrize("mode", ["skip", "killnowait"])
def test_a_callee_that_gets_no_more_parts_is_interrupted_and_free(mode, harness):
    """It need not answer, so it must not stay busy for ever."""
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, part(0), call(1, 6))
    harness.got(CALLEE, Invocation)
    harness.say(CALLER, Cancel(1, 5, mode))
    assert [one.mode for one in harness.got(CALLEE, Interrupt)] == ["killnowait"]
    assert ends(harness) == [(5, "wamp.error.canceled")]
    assert len(invoked(harness)) == 1
    harness.say(CALLER, part(1))
    assert invoked(harness) == []


def test_a_cancel_with_kill_waits_for_the_callee(harness):
    offer(harness, 11)
    harness.say(CALLER, part(0), Cancel(1, 5, "kill"))
    assert [one.mode for one in harness.got(CALLEE, Interrupt)] == ["kill"]
    assert ends(harness) == []


@pytest.mark.parametrize("how", ["leave", "kill"])
def test_the_callee_is_interrupted_if_the_caller_leaves(how, harness):
    offer(harness, 11, concurrency=1)
    harness.say(CALLER, part(0))
    if how == "leave":
        harness.say(CALLER, leave(1))
    else:
        harness.kill(CALLER)
        harness.turns()
    assert [one.mode for one in harness.got(CALLEE, Interrupt)] == ["killnowait"]
    assert harness.shard.dealer.idle


def test_a_call_fails_if_its_callee_leaves(harness):
    offer(harness, 11)
    harness.say(CALLER, part(0))
    harness.say(CALLEE, leave(11))
    harness.say(CALLER, part(1))
    assert ends(harness) == [(5, "wamp.error.canceled")]
    assert harness.shard.dealer.idle


def test_the_timeout_begins_again_with_each_part(harness):
    offer(harness, 11)
    harness.say(CALLER, part(0, timeout=1000))
    harness.pass_time(0.75)
    harness.say(CALLER, part(1, timeout=1000))
    harness.pass_time(0.75)
    assert ends(harness) == []
    harness.pass_time(0.5)
    assert ends(harness) == [(5, "wamp.error.timeout")]
    assert [one.mode for one in harness.got(CALLEE, Interrupt)] == ["killnowait"]
    assert harness.shard.dealer.idle


# Patterns with another home


def forwarding_harness():
    """Return a harness, and a procedure whose pattern has its home at shard-1."""
    harness = ShardHarness(gateways=2, shards=2)
    pattern = harness.home(1, "^there{}.")
    harness.say("shard-1", PatternAnnounced("realm1", pattern, gone=False))
    procedure = next(
        name
        for name in (f"{pattern[1:]}x{n}" for n in range(100))
        if harness.placement.shard_of("realm1", name) == 0
    )
    return harness, pattern, procedure


def test_all_parts_are_forwarded_even_if_a_better_registration_comes():
    harness, pattern, procedure = forwarding_harness()
    harness.say(CALLER, part(0, procedure=procedure))
    offer(harness, 11, pattern="=" + procedure)
    harness.say(CALLER, part(1, procedure=procedure), part(2, procedure=procedure, last=True))
    got = harness.got("shard-1", Forward)
    assert [(one.pattern, one.call.args) for one in got] == [
        (pattern, b"[0]"),
        (pattern, b"[1]"),
        (pattern, b"[2]"),
    ]
    assert len(harness.got(CALLER, CallMoved)) == 1
    assert invoked(harness) == []
    harness.say(CALLER, part(3, procedure=procedure))
    assert harness.got("shard-1", Forward) == []
    assert harness.shard.dealer.idle


@pytest.mark.parametrize("how", ["cancel", "leave", "gateway"])
def test_the_way_of_a_call_that_is_over_is_forgotten(how):
    harness, _, procedure = forwarding_harness()
    harness.say(CALLER, part(0, procedure=procedure))
    assert not harness.shard.dealer.idle
    if how == "cancel":
        harness.say(CALLER, Cancel(1, 5, "killnowait"))
    elif how == "leave":
        harness.say(CALLER, leave(1))
    else:
        harness.kill(CALLER)
        harness.turns()
    assert harness.shard.dealer.idle
    # The gateway may not know the home, or have no link to it.
    assert [one.mode for one in harness.got("shard-1", Cancel)] == ["killnowait"]


def test_the_home_sends_forwarded_parts_to_one_callee():
    harness = ShardHarness(gateways=2, shards=2)
    pattern = harness.home(0, "^here{}.")
    offer(harness, 11, 12, pattern=pattern, invoke="roundrobin")
    for number in range(3):
        sent = part(number, procedure=pattern[1:] + "x", last=number == 2)
        harness.say("shard-1", Forward(CALLER, pattern, sent))
    got = invoked(harness)
    assert [(callee, args) for callee, _, args in got] == [
        (11, b"[0]"),
        (11, b"[1]"),
        (11, b"[2]"),
    ]


@pytest.mark.parametrize("last", [False, True])
def test_an_interrupted_callee_need_not_answer_if_there_were_several_parts(last, harness):
    """Its gateway is told that the invocation is over. A whole call waits for its answer."""
    offer(harness, 11)
    harness.say(CALLER, part(0), part(1, last=last), Cancel(1, 5, "killnowait"))
    harness.say(CALLER, call(1, 6), Cancel(1, 6, "killnowait"))
    assert [one.over for one in harness.got(CALLEE, Interrupt)] == [True, False]


def test_the_home_fails_calls_whose_further_parts_cannot_come():
    """The shard that forwards them is down; parts that were under way are lost."""
    harness = ShardHarness(gateways=2, shards=2)
    pattern = harness.home(0, "^here{}.")
    offer(harness, 11, pattern=pattern)
    name = pattern[1:] + "x"
    harness.say("shard-1", Forward(CALLER, pattern, part(0, procedure=name)))
    whole = part(0, procedure=name, request=6, last=True)
    harness.say("shard-1", Forward(CALLER, pattern, whole))
    harness.kill("shard-1")
    harness.turns()
    assert ends(harness) == [(5, "wamp.error.unavailable")]
    assert [one.mode for one in harness.got(CALLEE, Interrupt)] == ["killnowait"]
