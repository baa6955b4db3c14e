"""Registrations by pattern that several callees share (WAMP #rpc-pattern-reg, #rpc-shared-…)."""

import pytest
from shard_harness import ShardHarness, call, leave, register, unregister, yield_

from fox_shard.backplane.frames import CallError, Invocation, Refused, Registered
from fox_shard.topics.pattern import Pattern

CALLER, CALLEE = "gateway-0", "gateway-1"
EXISTS = "wamp.error.procedure_already_exists"
OTHER_POLICY = "wamp.error.procedure_exists_with_different_invocation_policy"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def offer(harness, text, *callees, invoke="single"):
    """Register these sessions; return the errors, None for each that is registered."""
    harness.say(CALLEE, *(register(one, text, invoke=invoke) for one in callees))
    return [getattr(one, "uri", None) for one in harness.got(CALLEE, (Registered, Refused))]


def called(harness, *procedures):
    """Return who is invoked for each of these calls; None: the call has failed."""
    found = []
    for number, procedure in enumerate(procedures, 1):
        harness.say(CALLER, call(1, number, procedure))
        invocations = harness.got(CALLEE, Invocation)
        found += [one.callee for one in invocations] or [None]
        harness.say(CALLEE, *map(yield_, invocations))
    return found


PATTERNS = ["=p.q", "^p", "^p.", "*p.+", "*+.q"]


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize("first", ["single", "first", "last", "random", "roundrobin"])
@pytest.mark.parametrize("second", ["single", "first", "last", "random", "roundrobin"])
@pytest.mark.cites("advanced.rpc_shared_registration.1", "advanced.rpc_shared_registration.2")
def test_a_pattern_is_shared_only_with_the_same_policy(first, second, text, harness):
    assert offer(harness, text, 11, invoke=first) == [None]
    refusal = OTHER_POLICY if first != second else EXISTS if first == "single" else None
    assert offer(harness, text, 12, invoke=second) == [refusal]


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize(
    ("invoke", "callees"),
    [
        ("first", [11, 11, 11, 11]),
        ("last", [13, 13, 13, 13]),
        ("roundrobin", [11, 12, 13, 11]),
    ],
)
def test_the_policy_of_a_pattern_chooses_the_callee(invoke, callees, text, harness):
    offer(harness, text, 11, 12, 13, invoke=invoke)
    assert called(harness, *["p.q"] * 4) == callees


def test_the_same_uri_may_be_registered_by_each_match_with_a_policy_of_its_own(harness):
    """They are registrations of their own: the best one is called, by its policy alone."""
    assert offer(harness, "=p.q", 11) == [None]
    assert offer(harness, "^p.q", 12, 13, invoke="last") == [None, None]
    assert offer(harness, "*p.q", 14, 15, invoke="roundrobin") == [None, None]
    assert offer(harness, "^p.q", 16, invoke="roundrobin") == [OTHER_POLICY]
    assert called(harness, "p.q", "p.q") == [11, 11]
    harness.say(CALLEE, unregister(11, "=p.q"))
    assert called(harness, "p.q", "p.q") == [13, 13]
    harness.say(CALLEE, leave(12), leave(13))
    assert called(harness, "p.q", "p.q", "p.q") == [14, 15, 14]
    harness.say(CALLEE, leave(14), leave(15))
    assert called(harness, "p.q") == [None]


def test_round_robin_counts_for_a_pattern_and_not_for_each_procedure(harness):
    offer(harness, "^p", 11, 12, 13, invoke="roundrobin")
    assert called(harness, "p.a", "p.b", "p.a", "p.b") == [11, 12, 13, 11]


# The examples of the specification, with the numbers of its table as callees.
REGISTERED = {
    1: ("a1.b2.c3.d4.e55", "exact"),
    2: ("a1.b2.c3", "prefix"),
    3: ("a1.b2.c3.d4", "prefix"),
    4: ("a1.b2..d4.e5", "wildcard"),
    5: ("a1.b2.c33..e5", "wildcard"),
    6: ("a1.b2..d4.e5..g7", "wildcard"),
    7: ("a1.b2..d4..f6.g7", "wildcard"),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("procedure", "chosen"),
    [
        ("a1.b2.c3.d4.e55", 1),
        ("a1.b2.c3.d98.e74", 2),
        ("a1.b2.c3.d4.e325", 3),
        ("a1.b2.c55.d4.e5", 4),
        # The table has 5 here, but c33 begins with c3, and its own rule puts prefixes first.
        ("a1.b2.c33.d4.e5", 2),
        ("a1.b2.c88.d4.e5.f6.g7", 6),
        ("a2.b2.c2.d2.e2", None),
    ],
)
@pytest.mark.cites(
    "advanced.rpc_pattern_based_registration.2", "advanced.rpc_pattern_based_registration.3"
)
def test_the_examples_of_the_specification(procedure, chosen, backwards, harness):
    for number, (uri, match) in sorted(REGISTERED.items(), reverse=backwards):
        assert offer(harness, Pattern.wamp(uri, match).text, number) == [None]
    assert called(harness, procedure) == [chosen]
    if chosen is None:
        (error,) = harness.got(CALLER, CallError)
        assert error.uri == "wamp.error.no_such_procedure"


def test_without_that_prefix_the_longest_literal_beginning_wins(harness):
    for number in (4, 5, 6, 7):
        offer(harness, Pattern.wamp(*REGISTERED[number]).text, number)
    assert called(harness, "a1.b2.c33.d4.e5") == [5]
