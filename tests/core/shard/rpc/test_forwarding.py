"""Forwarded calls: each pattern has one home, and calls keep their order across shards."""

import pytest
from shard_harness import REALM, ShardHarness, call, register

from fox_shard.backplane.frames import (
    CallError,
    CallMoved,
    Fence,
    FencePassed,
    FenceQuery,
    Forward,
    Invocation,
    PatternAnnounced,
)

CALLER, CALLEE = "gateway-0", "gateway-1"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2, shards=3)


def announced(harness, shard, word="there"):
    """Announce a pattern that has its home at that shard; return it and a matching procedure."""
    text = harness.home(shard, "^" + word + "{}.")
    harness.say(f"shard-{shard}", PatternAnnounced(REALM, text, gone=False))
    return text, text[1:] + "x"


def test_a_call_goes_to_the_patterns_home_and_the_callers_gateway_hears_which_shard_answers(
    harness,
):
    pattern, procedure = announced(harness, 1)
    harness["shard-1"].silent = True
    sent = call(1, 5, procedure)
    harness.say(CALLER, sent)
    (forward,) = harness.got("shard-1")
    assert (forward.gateway, forward.pattern, forward.call) == (CALLER, pattern, sent)
    # The gateway is told when the home has the call.
    assert harness.got(CALLER) == []
    harness["shard-1"].silent = False
    harness.turns()
    assert harness.got(CALLER) == [CallMoved(1, 5, 1, 1)]
    assert harness.shard.dealer.forwarding.idle


def test_only_calls_that_the_home_has_confirmed_are_reported_as_moved(harness):
    _, procedure = announced(harness, 1)
    harness.say(CALLER, call(1, 5, procedure))
    assert [one.request for one in harness.got(CALLER)] == [5]
    harness["shard-1"].silent = True
    harness.say(CALLER, call(1, 6, procedure))
    home = harness.shard.peers["shard-1"]
    home.link.handled = home.link.sent
    harness.send(CALLER, call(1, 7, procedure))
    harness.turn()
    harness.shard.dealer.forwarding.confirmed(home, 1)
    harness.turns()
    assert [one.request for one in harness.got(CALLER)] == [6]


def test_the_home_invokes_a_callee_for_a_forwarded_call(harness):
    home = harness.home(0, "^here{}.")
    harness.say(CALLEE, register(11, home))
    sent = call(1, 5, home[1:] + "x")
    harness.say("shard-1", Forward(CALLER, home, sent))
    (invocation,) = harness.got(CALLEE, Invocation)
    assert (invocation.callee, invocation.call) == (11, sent)


def test_a_call_of_a_pattern_with_its_home_here_is_not_forwarded(harness):
    home = harness.home(0, "^here{}.")
    harness.say(CALLEE, register(11, home))
    harness.say(CALLER, call(1, 5, home[1:] + "x"))
    assert [one.callee for one in harness.got(CALLEE, Invocation)] == [11]


def test_a_forwarded_call_whose_callees_have_just_gone_is_answered(harness):
    harness.say("shard-1", Forward(CALLER, "^gone.", call(1, 5, "gone.x")))
    assert [one.uri for one in harness.got(CALLER)] == ["wamp.error.no_such_procedure"]


@pytest.mark.parametrize("gateway", [CALLER, "gateway-9"])
def test_a_forwarded_call_of_an_absent_gateway_is_dropped(gateway, harness):
    """An absent gateway answers its callers itself."""
    home = harness.home(0, "^here{}.")
    harness.say(CALLEE, register(11, home))
    harness.kill(CALLER)
    harness.say("shard-1", Forward(gateway, home, call(1, 5, home[1:] + "x")))
    assert harness.got(CALLEE, Invocation) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_call_whose_home_is_down_is_refused_at_once(known):
    harness = ShardHarness(gateways=2, shards=3)
    pattern, procedure = announced(harness, 1)
    harness.kill("shard-1")
    if known:
        # The pattern is still known, because another shard has announced it.
        harness.say("shard-2", PatternAnnounced(REALM, pattern, gone=False))
    harness.say(CALLER, call(1, 5, procedure))
    (error,) = harness.got(CALLER, CallError)
    expected = "wamp.error.unavailable" if known else "wamp.error.no_such_procedure"
    assert error.uri == expected


def test_a_call_that_is_under_way_when_its_home_goes_fails(harness):
    """Nobody knows whether the call arrived, and no call may stay unanswered."""
    _, procedure = announced(harness, 1)
    harness["shard-1"].silent = True
    harness.say(CALLER, call(1, 5, procedure), call(1, 6, procedure))
    harness.kill("shard-1")
    harness.turns()
    errors = harness.got(CALLER)
    assert [(one.request, one.uri) for one in errors] == [
        (5, "wamp.error.unavailable"),
        (6, "wamp.error.unavailable"),
    ]
    assert harness.shard.dealer.forwarding.idle


# Order (WAMP #ordering-guarantees: calls of one caller to one callee)


def test_calls_to_one_home_need_no_fence(harness):
    _, procedure = announced(harness, 1)
    for request in (1, 2, 3):
        harness.say(CALLER, call(1, request, procedure))
    assert [one.call.fence for one in harness.got("shard-1", Forward)] == [None] * 3


def test_a_call_to_another_home_does_not_overtake_one_that_is_under_way(harness):
    _, one = announced(harness, 1, "one")
    _, two = announced(harness, 2, "two")
    harness["shard-1"].silent = True
    harness.say(CALLER, call(1, 1, one))
    seq = harness[CALLER].link.sent
    harness.say(CALLER, call(1, 2, two))
    (forward,) = harness.got("shard-2", Forward)
    ((shard, epoch, mark),) = forward.call.fence.marks
    assert (shard, epoch) == (0, harness[CALLER].link.epoch)
    assert mark >= seq
    # A fence query about the mark is answered when the first call has arrived at its home.
    harness.say(CALLEE, FenceQuery(CALLER, epoch, mark))
    assert harness.got(CALLEE) == []
    harness["shard-1"].silent = False
    harness.turns()
    assert [type(frame) for frame in harness.got(CALLEE)] == [FencePassed]


def test_a_mark_is_added_to_a_calls_own_fence(harness):
    _, one = announced(harness, 1, "one")
    _, two = announced(harness, 2, "two")
    harness["shard-1"].silent = True
    harness.say(CALLER, call(1, 1, one))
    second = call(1, 2, two)
    second.fence = Fence(CALLER, [(7, 8, 9)])
    harness.say(CALLER, second)
    (forward,) = harness.got("shard-2", Forward)
    assert [mark[0] for mark in forward.call.fence.marks] == [7, 0]


def test_a_call_answered_by_this_shard_does_not_overtake_a_forwarded_one(harness):
    _, procedure = announced(harness, 1)
    harness.say(CALLEE, register(11))
    harness["shard-1"].silent = True
    harness.say(CALLER, call(1, 1, procedure))
    harness.say(CALLER, call(1, 2, "p.q"))
    (invocation,) = harness.got(CALLEE, Invocation)
    assert invocation.call.fence.marks[0][0] == 0


def test_a_call_is_not_fenced_once_the_forwarded_one_has_arrived(harness):
    _, procedure = announced(harness, 1)
    harness.say(CALLEE, register(11))
    harness.say(CALLER, call(1, 1, procedure))
    harness.say(CALLER, call(1, 2, "p.q"))
    (invocation,) = harness.got(CALLEE, Invocation)
    assert invocation.call.fence is None


def test_a_forwarded_call_does_not_overtake_a_running_call_of_its_caller_here(harness):
    _, procedure = announced(harness, 1)
    harness.say(CALLEE, register(11))
    harness.say(CALLER, call(1, 1, "p.q"))
    harness.say(CALLER, call(1, 2, procedure))
    (forward,) = harness.got("shard-1", Forward)
    assert forward.call.fence.marks[0][0] == 0


def test_sessions_do_not_wait_for_each_other(harness):
    _, one = announced(harness, 1, "one")
    _, two = announced(harness, 2, "two")
    harness.say(CALLER, call(1, 1, one))
    harness.say(CALLER, call(2, 1, two))
    (forward,) = harness.got("shard-2", Forward)
    assert forward.call.fence is None


def test_a_call_is_fenced_while_calls_to_two_homes_are_under_way(harness):
    _, one = announced(harness, 1, "one")
    _, two = announced(harness, 2, "two")
    harness["shard-1"].silent = harness["shard-2"].silent = True
    harness.say(CALLER, call(1, 1, one), call(1, 2, two))
    harness.say(CALLER, call(1, 3, one))
    last = harness.got("shard-1", Forward)[-1]
    assert last.call.fence is not None


def test_the_memory_of_sessions_that_forwarded_calls_is_bounded(harness):
    """More than 1000 sessions have forwarded a call, and all these calls have arrived."""
    _, procedure = announced(harness, 1)
    for first in range(0, 2400, 300):
        harness.say(CALLER, *(call(session, 1, procedure) for session in range(first, first + 300)))
        harness.turns()
    assert harness.shard.dealer.forwarding.kept_sessions(harness.shard.peers[CALLER]) <= 1300
    assert harness.shard.dealer.forwarding.idle
