"""Calls that go to another callee because one is not available (WAMP #rpc-call-rerouting)."""

import pytest
from shard_harness import ShardHarness, call, leave, register, unregister, yield_

from fox_shard.backplane.frames import (
    CONTINUES,
    PROGRESS,
    CallError,
    Cancel,
    Invocation,
    InvocationError,
    Registered,
    Result,
)
from fox_shard.config import Rpc
from fox_shard.documents import payloads

CALLER, CALLEE = "gateway-0", "gateway-1"
UNAVAILABLE = "wamp.error.unavailable"
NONE_AVAILABLE = "wamp.error.no_available_callee"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def offer(harness, *callees, reroutes=True, **how):
    for session in callees:
        frame = register(session, **how)
        frame.reroutes = reroutes
        harness.say(CALLEE, frame)
    harness.got(CALLEE, Registered)


def unavailable(invocation):
    return InvocationError(invocation.invocation, UNAVAILABLE, payloads.JSON, b"[]", reroute=True)


def asked(harness, *, available=()):
    """Let all callees but `available` say that they are not; return which were asked, in order."""
    order = []
    while invocations := harness.got(CALLEE, Invocation):
        (one,) = invocations
        order.append(one.callee)
        harness.say(CALLEE, yield_(one) if one.callee in available else unavailable(one))
    return order


def ends(harness):
    return [
        (frame.request, getattr(frame, "uri", None))
        for frame in harness.got(CALLER, (Result, CallError))
    ]


@pytest.mark.parametrize(
    ("invoke", "order"),
    [
        ("single", [11]),
        ("first", [11, 12, 13]),
        ("last", [13, 12, 11]),
        ("roundrobin", [11, 12, 13]),
    ],
)
@pytest.mark.cites(
    "advanced.rpc_call_rerouting.2",
    "advanced.rpc_call_rerouting.3",
    "advanced.rpc_call_rerouting.4",
)
def test_the_policy_says_which_callee_is_asked_next(invoke, order, harness):
    offer(harness, *([11] if invoke == "single" else [11, 12, 13]), invoke=invoke)
    harness.say(CALLER, call(1, 5))
    assert asked(harness) == order
    assert ends(harness) == [(5, NONE_AVAILABLE)]
    assert harness.shard.dealer.idle
    assert harness.shard.dealer.invocations.kept.copied_bytes == 0


@pytest.mark.cites("advanced.rpc_call_rerouting.2", "advanced.rpc_call_rerouting.3")
def test_random_asks_each_callee_once(harness):
    offer(harness, 11, 12, 13, 14, invoke="random")
    harness.say(CALLER, call(1, 5))
    assert sorted(asked(harness)) == [11, 12, 13, 14]


def test_the_caller_hears_only_of_the_result(harness):
    offer(harness, 11, 12, invoke="first")
    sent = call(1, 5)
    harness.say(CALLER, sent)
    (first,) = harness.got(CALLEE, Invocation)
    harness.say(CALLEE, unavailable(first))
    (second,) = harness.got(CALLEE, Invocation)
    assert (second.callee, second.call) == (12, sent)
    harness.say(CALLEE, yield_(second))
    assert ends(harness) == [(5, None)]
    assert harness.shard.dealer.invocations.kept.copied_bytes == 0


def test_a_call_is_rerouted_only_so_often():
    harness = ShardHarness(gateways=2, rpc=Rpc(reroutes=2))
    offer(harness, 11, 12, 13, 14, 15, invoke="first")
    harness.say(CALLER, call(1, 5))
    assert asked(harness) == [11, 12, 13]
    assert ends(harness) == [(5, NONE_AVAILABLE)]
    assert harness.shard.dealer.invocations.limit_counts.totals() == {"reroutes": 1}


def test_a_callee_that_is_busy_is_not_available(harness):
    offer(harness, 11, 12, invoke="first", concurrency=1)
    harness.say(CALLER, call(1, 4), call(1, 5))
    (_, second) = harness.got(CALLEE, Invocation)
    harness.say(CALLEE, unavailable(second))
    assert ends(harness) == [(5, NONE_AVAILABLE)]


def test_a_callee_that_was_not_available_gets_the_next_call(harness):
    offer(harness, 11, 12, invoke="first")
    harness.say(CALLER, call(1, 5))
    assert asked(harness, available=[12]) == [11, 12]
    harness.say(CALLER, call(1, 6))
    assert asked(harness, available=[11]) == [11]


@pytest.mark.parametrize("why", ["not announced", "progress", "parts", "canceled", "no room"])
def test_a_call_that_cannot_go_elsewhere_gets_the_callees_error(why):
    rpc = Rpc(queue_bytes=100 if why == "no room" else 1 << 20)
    harness = ShardHarness(gateways=2, rpc=rpc)
    offer(harness, 11, 12, invoke="first", reroutes=why != "not announced")
    harness.say(CALLER, call(1, 5, flags=CONTINUES if why == "parts" else PROGRESS))
    (one,) = harness.got(CALLEE, Invocation)
    if why == "progress":
        harness.say(CALLEE, yield_(one, progress=True))
        harness.got(CALLER)
    if why == "canceled":
        harness.say(CALLER, Cancel(1, 5, "kill"))
    error = unavailable(one)
    error.reroute = why != "not announced"
    harness.say(CALLEE, error)
    assert ends(harness) == [(5, UNAVAILABLE)]
    assert harness.got(CALLEE, Invocation) == []
    assert harness.shard.dealer.idle


@pytest.mark.parametrize("gone", ["caller", "canceled", "last callee"])
def test_a_call_that_is_over_is_not_rerouted(gone, harness):
    offer(harness, 11, 12, invoke="first")
    harness.say(CALLER, call(1, 5))
    (one,) = harness.got(CALLEE, Invocation)
    if gone == "caller":
        harness.say(CALLER, leave(1))
    elif gone == "canceled":
        harness.say(CALLER, Cancel(1, 5, "killnowait"))
        assert ends(harness) == [(5, "wamp.error.canceled")]
    else:
        harness.say(CALLEE, unregister(11), unregister(12))
    harness.say(CALLEE, unavailable(one))
    assert harness.got(CALLEE, Invocation) == []
    assert ends(harness) == ([(5, NONE_AVAILABLE)] if gone == "last callee" else [])
    assert harness.shard.dealer.idle
    assert harness.shard.dealer.invocations.kept.copied_bytes == 0


def test_a_rerouted_call_leaves_room_at_its_first_callee(harness):
    offer(harness, 11, 12, invoke="first", concurrency=1)
    harness.say(CALLER, call(1, 5))
    (one,) = harness.got(CALLEE, Invocation)
    harness.say(CALLEE, unavailable(one))
    harness.say(CALLER, call(1, 6))
    assert [two.callee for two in harness.got(CALLEE, Invocation)] == [12, 11]
