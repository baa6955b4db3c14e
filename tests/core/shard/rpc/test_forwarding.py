"""Calls that another shard answers: patterns live at one home, and order holds across shards."""

import pytest
from shard_harness import REALM, Stage, call, register

from fox_shard.backplane.frames import (
    Announce,
    Ask,
    CallError,
    Fence,
    Forward,
    Forwarded,
    Invocation,
    Reached,
)

CALLER, CALLEE = "gateway-0", "gateway-1"


@pytest.fixture
def stage():
    return Stage(gateways=2, shards=3)


def announced(stage, shard, word="there"):
    """A pattern that lives at that shard, and a procedure that matches it."""
    text = stage.home(shard, "^" + word + "{}.")
    stage.say(f"shard-{shard}", Announce(REALM, text, gone=False))
    return text, text[1:] + "x"


def test_a_call_goes_to_the_patterns_home_and_its_caller_hears_who_answers(stage):
    pattern, procedure = announced(stage, 1)
    stage["shard-1"].silent = True
    sent = call(1, 5, procedure)
    stage.say(CALLER, sent)
    (forward,) = stage.got("shard-1")
    assert (forward.gateway, forward.pattern, forward.call) == (CALLER, pattern, sent)
    # Not before the home has it.
    assert stage.got(CALLER) == []
    stage["shard-1"].silent = False
    stage.turns()
    assert stage.got(CALLER) == [Forwarded(1, 5, 1, 1)]
    assert stage.shard.dealer.forwarding.idle


def test_only_what_the_home_has_is_told_of(stage):
    _, procedure = announced(stage, 1)
    stage.say(CALLER, call(1, 5, procedure))
    assert [one.request for one in stage.got(CALLER)] == [5]
    stage["shard-1"].silent = True
    stage.say(CALLER, call(1, 6, procedure))
    home = stage.shard.peers["shard-1"]
    home.link.handled = home.link.sent
    stage.send(CALLER, call(1, 7, procedure))
    stage.turn()
    stage.shard.dealer.forwarding.settle(home, 1)
    stage.turns()
    assert [one.request for one in stage.got(CALLER)] == [6]


def test_the_home_answers_a_forwarded_call(stage):
    home = stage.home(0, "^here{}.")
    stage.say(CALLEE, register(11, home))
    sent = call(1, 5, home[1:] + "x")
    stage.say("shard-1", Forward(CALLER, home, sent))
    (invocation,) = stage.got(CALLEE, Invocation)
    assert (invocation.callee, invocation.call) == (11, sent)


def test_a_pattern_that_lives_here_is_called_here(stage):
    home = stage.home(0, "^here{}.")
    stage.say(CALLEE, register(11, home))
    stage.say(CALLER, call(1, 5, home[1:] + "x"))
    assert [one.callee for one in stage.got(CALLEE, Invocation)] == [11]


def test_a_forwarded_call_whose_callees_have_just_gone_is_answered(stage):
    stage.say("shard-1", Forward(CALLER, "^gone.", call(1, 5, "gone.x")))
    assert [one.uri for one in stage.got(CALLER)] == ["wamp.error.no_such_procedure"]


@pytest.mark.parametrize("gateway", [CALLER, "gateway-9"])
def test_a_forwarded_call_of_a_gateway_that_is_not_there_is_dropped(gateway, stage):
    """That gateway answers its callers itself."""
    home = stage.home(0, "^here{}.")
    stage.say(CALLEE, register(11, home))
    stage.kill(CALLER)
    stage.say("shard-1", Forward(gateway, home, call(1, 5, home[1:] + "x")))
    assert stage.got(CALLEE, Invocation) == []


@pytest.mark.parametrize("met", [True, False])
def test_a_home_that_is_down_is_told_at_once(met):
    stage = Stage(gateways=2, shards=3)
    pattern, procedure = announced(stage, 1)
    stage.kill("shard-1")
    if met:
        # It may be known of it from elsewhere.
        stage.say("shard-2", Announce(REALM, pattern, gone=False))
    stage.say(CALLER, call(1, 5, procedure))
    (error,) = stage.got(CALLER, CallError)
    expected = "wamp.error.unavailable" if met else "wamp.error.no_such_procedure"
    assert error.uri == expected


def test_a_call_that_is_under_way_when_its_home_goes_fails(stage):
    """Whether it arrived nobody knows: no call ever stays unanswered."""
    _, procedure = announced(stage, 1)
    stage["shard-1"].silent = True
    stage.say(CALLER, call(1, 5, procedure), call(1, 6, procedure))
    stage.kill("shard-1")
    stage.turns()
    errors = stage.got(CALLER)
    assert [(one.request, one.uri) for one in errors] == [
        (5, "wamp.error.unavailable"),
        (6, "wamp.error.unavailable"),
    ]
    assert stage.shard.dealer.forwarding.idle


# Order (WAMP #ordering-guarantees: calls of one caller to one callee)


def test_calls_to_one_home_need_no_fence(stage):
    _, procedure = announced(stage, 1)
    for request in (1, 2, 3):
        stage.say(CALLER, call(1, request, procedure))
    assert [one.call.fence for one in stage.got("shard-1", Forward)] == [None] * 3


def test_a_call_to_another_home_does_not_overtake_one_that_is_under_way(stage):
    _, one = announced(stage, 1, "one")
    _, two = announced(stage, 2, "two")
    stage["shard-1"].silent = True
    stage.say(CALLER, call(1, 1, one))
    seq = stage[CALLER].link.sent
    stage.say(CALLER, call(1, 2, two))
    (forward,) = stage.got("shard-2", Forward)
    ((shard, epoch, mark),) = forward.call.fence.marks
    assert (shard, epoch) == (0, stage[CALLER].link.epoch)
    assert mark >= seq
    # Who asks about the mark is answered when the first call has arrived where it was sent.
    stage.say(CALLEE, Ask(CALLER, epoch, mark))
    assert stage.got(CALLEE) == []
    stage["shard-1"].silent = False
    stage.turns()
    assert [type(frame) for frame in stage.got(CALLEE)] == [Reached]


def test_a_mark_is_added_to_the_fence_that_a_call_has(stage):
    _, one = announced(stage, 1, "one")
    _, two = announced(stage, 2, "two")
    stage["shard-1"].silent = True
    stage.say(CALLER, call(1, 1, one))
    second = call(1, 2, two)
    second.fence = Fence(CALLER, [(7, 8, 9)])
    stage.say(CALLER, second)
    (forward,) = stage.got("shard-2", Forward)
    assert [mark[0] for mark in forward.call.fence.marks] == [7, 0]


def test_a_call_of_this_shards_own_does_not_overtake_a_forwarded_one(stage):
    _, there = announced(stage, 1)
    stage.say(CALLEE, register(11))
    stage["shard-1"].silent = True
    stage.say(CALLER, call(1, 1, there))
    stage.say(CALLER, call(1, 2, "p.q"))
    (invocation,) = stage.got(CALLEE, Invocation)
    assert invocation.call.fence.marks[0][0] == 0


def test_once_it_has_arrived_nothing_is_fenced(stage):
    _, there = announced(stage, 1)
    stage.say(CALLEE, register(11))
    stage.say(CALLER, call(1, 1, there))
    stage.say(CALLER, call(1, 2, "p.q"))
    (invocation,) = stage.got(CALLEE, Invocation)
    assert invocation.call.fence is None


def test_a_forwarded_call_does_not_overtake_what_its_caller_has_out_here(stage):
    _, there = announced(stage, 1)
    stage.say(CALLEE, register(11))
    stage.say(CALLER, call(1, 1, "p.q"))
    stage.say(CALLER, call(1, 2, there))
    (forward,) = stage.got("shard-1", Forward)
    assert forward.call.fence.marks[0][0] == 0


def test_sessions_do_not_wait_for_each_other(stage):
    _, one = announced(stage, 1, "one")
    _, two = announced(stage, 2, "two")
    stage.say(CALLER, call(1, 1, one))
    stage.say(CALLER, call(2, 1, two))
    (forward,) = stage.got("shard-2", Forward)
    assert forward.call.fence is None


def test_after_two_homes_a_call_to_either_is_fenced(stage):
    _, one = announced(stage, 1, "one")
    _, two = announced(stage, 2, "two")
    stage["shard-1"].silent = stage["shard-2"].silent = True
    stage.say(CALLER, call(1, 1, one), call(1, 2, two))
    stage.say(CALLER, call(1, 3, one))
    last = stage.got("shard-1", Forward)[-1]
    assert last.call.fence is not None


def test_what_is_remembered_of_sessions_is_bounded(stage):
    """1000 and more sessions that forwarded something, all of which has arrived."""
    _, there = announced(stage, 1)
    for first in range(0, 2400, 300):
        stage.say(CALLER, *(call(session, 1, there) for session in range(first, first + 300)))
        stage.turns()
    assert stage.shard.dealer.forwarding.remembered(stage.shard.peers[CALLER]) <= 1300
    assert stage.shard.dealer.forwarding.idle
