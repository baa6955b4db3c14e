"""Registrations: which sessions may be callees, and how patterns are announced to all shards."""

import pytest
from shard_harness import ShardHarness, call, leave, register, unregister, yield_

from fox_shard.backplane.frames import (
    CallError,
    Invocation,
    PatternAnnounced,
    Refused,
    Registered,
    Result,
    Revoked,
    Unregistered,
)
from fox_shard.topics.ids import pattern_id

CALLER, CALLEE = "gateway-0", "gateway-1"
REGISTER, UNREGISTER = 10, 12
ID = pattern_id("realm1", "registration", "=p.q")


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def answers(harness, gateway=CALLEE):
    """Return the URI of each refusal, and None for each confirmation, in order."""
    return [
        getattr(frame, "uri", None)
        for frame in harness.got(gateway, (Registered, Unregistered, Refused))
    ]


def callee_of(harness, request=1):
    """Call p.q; return the session that is invoked, or None."""
    harness.say(CALLER, call(1, request))
    called = [*harness.got(CALLEE, Invocation), *harness.got(CALLER, Invocation)]
    return called[0].callee if called else None


def test_a_registration_is_confirmed_with_its_id(harness):
    harness.say(CALLEE, register(11, request=5))
    assert harness.got(CALLEE) == [Registered(11, 5, ID)]
    assert callee_of(harness) == 11


@pytest.mark.parametrize(
    ("first", "second", "uri"),
    [
        ("single", "single", "wamp.error.procedure_already_exists"),
        ("first", "first", None),
        ("last", "last", None),
        ("random", "random", None),
        ("roundrobin", "roundrobin", None),
        ("single", "first", "wamp.error.procedure_exists_with_different_invocation_policy"),
        ("first", "single", "wamp.error.procedure_exists_with_different_invocation_policy"),
        ("first", "last", "wamp.error.procedure_exists_with_different_invocation_policy"),
    ],
)
@pytest.mark.cites("advanced.rpc_shared_registration.1", "advanced.rpc_shared_registration.2")
def test_a_second_callee_shares_the_procedure_only_with_the_same_policy(
    first, second, uri, harness
):
    """WAMP #rpc-shared-registration."""
    harness.say(CALLEE, register(11, invoke=first))
    harness.say(CALLER, register(12, invoke=second))
    assert answers(harness, CALLER) == [uri]


@pytest.mark.parametrize("invoke", ["single", "first", "roundrobin"])
def test_a_session_may_register_a_procedure_only_once(invoke, harness):
    harness.say(CALLEE, register(11, invoke=invoke), register(11, request=2, invoke=invoke))
    refused = harness.got(CALLEE, Refused)
    assert [(one.session, one.request, one.kind) for one in refused] == [(11, 2, REGISTER)]
    assert refused[0].uri == "wamp.error.procedure_already_exists"
    assert "force_reregister" in refused[0].message


def test_other_realms_have_procedures_of_their_own(harness):
    harness.say(CALLEE, register(11), register(12, realm="other"))
    assert answers(harness) == [None, None]


# Unregistering


def test_a_callee_that_has_unregistered_is_not_called(harness):
    harness.say(CALLEE, register(11))
    harness.say(CALLEE, unregister(11, request=6))
    assert harness.got(CALLEE)[1:] == [Unregistered(11, 6)]
    assert callee_of(harness) is None
    harness.say(CALLEE, register(12))
    assert answers(harness) == [None]


@pytest.mark.parametrize("session", [11, 12])
def test_a_session_cannot_unregister_what_it_has_not_registered(session, harness):
    if session == 12:
        harness.say(CALLER, register(11))
    harness.say(CALLEE, unregister(session, request=6))
    (refused,) = harness.got(CALLEE)
    assert (refused.session, refused.request, refused.kind) == (session, 6, UNREGISTER)
    assert refused.uri == "wamp.error.no_such_registration"


def test_the_other_callees_stay_when_one_unregisters(harness):
    harness.say(CALLEE, register(11, invoke="first"), register(12, invoke="first"))
    harness.say(CALLEE, unregister(11))
    assert callee_of(harness) == 12


def test_waiting_calls_go_to_the_other_callees_when_one_unregisters(harness):
    harness.say(CALLEE, register(11, invoke="first", concurrency=1))
    harness.say(CALLER, call(1, 1), call(1, 2))
    harness.send(CALLEE, register(12, invoke="first", concurrency=2))
    harness.say(CALLEE, unregister(11))
    assert [one.callee for one in harness.got(CALLEE, Invocation)] == [11, 12]


@pytest.mark.cites("basic.building_blocks.18", "basic.building_blocks.20")
def test_a_session_that_leaves_loses_all_its_registrations(harness):
    patterns = ["=p.q", "=p.r", "^p"]
    harness.say(CALLEE, *(register(11, pattern) for pattern in patterns))
    harness.say(CALLEE, leave(11))
    harness.say(CALLEE, *(register(12, pattern) for pattern in patterns))
    assert answers(harness) == [None] * 6


# force_reregister (WAMP #rpc-registration-revocation)


@pytest.mark.cites("advanced.rpc_registration_revocation.3")
def test_a_forced_registration_takes_the_procedure_over(harness):
    harness.say(CALLEE, register(11, invoke="roundrobin"), register(12, invoke="roundrobin"))
    harness.say(CALLER, register(13, invoke="single", force=True))
    assert answers(harness, CALLER) == [None]
    reason = "wamp.registration.revoked"
    assert harness.got(CALLEE, Revoked) == [Revoked(11, ID, reason), Revoked(12, ID, reason)]
    assert callee_of(harness) == 13
    # The policy is that of the new registration.
    harness.say(CALLEE, register(14, invoke="single"))
    assert harness.got(CALLEE, Refused)[0].uri == "wamp.error.procedure_already_exists"


def test_a_revoked_callee_may_register_again(harness):
    harness.say(CALLEE, register(11))
    harness.say(CALLER, register(12, force=True))
    harness.say(CALLEE, register(11, request=2, force=True))
    assert harness.got(CALLER, Revoked)
    assert callee_of(harness) == 11


def test_a_revoked_callee_still_answers_its_running_invocations(harness):
    harness.say(CALLEE, register(11))
    harness.say(CALLER, call(1, 5))
    (invocation,) = harness.got(CALLEE, Invocation)
    harness.say(CALLER, register(12, force=True))
    harness.say(CALLEE, yield_(invocation))
    assert harness.got(CALLER, Result)[0].request == 5


def test_the_running_invocations_of_a_revoked_callee_fail_when_it_leaves(harness):
    harness.say(CALLEE, register(11))
    harness.say(CALLER, call(1, 5))
    harness.say(CALLER, register(12, force=True))
    harness.say(CALLEE, leave(11))
    assert [one.uri for one in harness.got(CALLER, CallError)] == ["wamp.error.canceled"]


def test_a_session_that_registers_and_unregisters_while_it_is_busy_costs_no_memory(harness):
    for request in range(1, 11):
        harness.say(CALLEE, register(11))
        harness.say(CALLER, call(1, request))
        (invocation,) = harness.got(CALLEE, Invocation)
        harness.say(CALLEE, unregister(11), yield_(invocation))
        assert [result.request for result in harness.got(CALLER, Result)] == [request]
    assert harness.shard.registrar._retired == {11: {}}
    harness.say(CALLEE, leave(11))
    assert harness.shard.registrar._retired == {}


def test_waiting_calls_go_to_the_new_callee(harness):
    harness.say(CALLEE, register(11, concurrency=1))
    harness.say(CALLER, call(1, 1), call(1, 2))
    harness.say(CALLEE, register(12, force=True))
    assert [(o.callee, o.call.request) for o in harness.got(CALLEE, Invocation)] == [
        (11, 1),
        (12, 2),
    ]


def test_force_reregister_without_an_earlier_callee_just_registers(harness):
    harness.say(CALLEE, register(11, force=True))
    assert harness.got(CALLEE) == [Registered(11, 1, ID)]


# Replay


def test_a_replayed_registration_is_not_answered(harness):
    harness.say(CALLEE, register(11, replay=True))
    assert harness.got(CALLEE) == []
    assert callee_of(harness) == 11


def test_a_replayed_registration_that_another_session_took_meanwhile_is_revoked(harness):
    harness.say(CALLER, register(12))
    harness.say(CALLEE, register(11, replay=True))
    assert harness.got(CALLEE) == [Revoked(11, ID, "wamp.registration.revoked")]
    assert callee_of(harness) == 12


def test_registrations_that_a_returning_gateway_does_not_replay_are_dropped(harness):
    harness.say(CALLEE, register(11), register(12, "=p.r"))
    harness.kill(CALLEE)
    harness.join(CALLEE, replay=[register(11, replay=True)])
    harness.turns(6)
    assert callee_of(harness) == 11
    harness.say(CALLER, call(1, 2, "p.r"))
    assert [one.uri for one in harness.got(CALLER, CallError)] == ["wamp.error.no_such_procedure"]


# Patterns, which every shard knows


@pytest.fixture
def shards():
    return ShardHarness(gateways=2, shards=3)


def test_a_pattern_is_announced_to_all_shards_while_it_has_callees(shards):
    home = shards.home(0)
    shards.say(CALLEE, register(11, home, invoke="first"), register(12, home, invoke="first"))
    announcement = PatternAnnounced("realm1", home, gone=False)
    assert shards.got("shard-1") == shards.got("shard-2") == [announcement]
    shards.say(CALLEE, unregister(11, home))
    assert shards.got("shard-1") == []
    shards.say(CALLEE, leave(12))
    assert shards.got("shard-1") == [PatternAnnounced("realm1", home, gone=True)]


def test_an_exact_procedure_is_not_announced(shards):
    shards.say(CALLEE, register(11))
    assert shards.got("shard-1") == []
    assert answers(shards) == [None]


def test_a_pattern_registration_is_confirmed_when_every_shard_knows_it(shards):
    shards["shard-2"].silent = True
    shards.say(CALLEE, register(11, shards.home(0)))
    assert shards.got(CALLEE) == []
    shards["shard-2"].silent = False
    shards.turns()
    assert answers(shards) == [None]


def test_a_newly_linked_shard_is_told_all_patterns(shards):
    home = shards.home(0)
    shards.say(CALLEE, register(11, home), register(11, "=p.q"))
    shards.kill("shard-1")
    shards.join("shard-1", incarnation=2)
    shards.turns(6)
    assert shards.got("shard-1") == [PatternAnnounced("realm1", home, gone=False)]


@pytest.mark.parametrize("how", ["gone", "restart"])
def test_another_shards_pattern_is_known_until_it_is_withdrawn_or_that_shard_restarts(how, shards):
    theirs = shards.home(1, "*{}.#")
    procedure = theirs[1:].removesuffix(".#") + ".x"
    shards.say("shard-1", PatternAnnounced("realm1", theirs, gone=False))
    other = shards.home(2, "*other{}.#")
    shards.say("shard-2", PatternAnnounced("realm1", other, gone=False))
    shards.say(CALLER, call(1, 1, procedure))
    assert len(shards.got("shard-1")) == 1
    if how == "gone":
        shards.say("shard-1", PatternAnnounced("realm1", theirs, gone=True))
    else:
        shards.kill("shard-1")
        shards.join("shard-1", incarnation=2)
        shards.turns(6)
    shards.got(CALLER)
    shards.say(CALLER, call(1, 2, procedure))
    (error,) = shards.got(CALLER, CallError)
    assert error.uri == "wamp.error.no_such_procedure"
    assert [one.text for one in shards.shard.dealer.procedures("realm1").announced()] == [other]
