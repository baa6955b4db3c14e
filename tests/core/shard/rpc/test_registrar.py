"""Registrations: who may be a callee of what, and that all shards know the patterns."""

import pytest
from shard_harness import Stage, call, leave, register, unregister, yield_

from fox_shard.backplane.frames import (
    Announce,
    CallError,
    Invocation,
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
def stage():
    return Stage(gateways=2)


def answers(stage, gateway=CALLEE):
    """URIs of what was refused, None for what stands."""
    return [
        getattr(frame, "uri", None)
        for frame in stage.got(gateway, (Registered, Unregistered, Refused))
    ]


def callee_of(stage, request=1):
    """The session that is called, or None."""
    stage.say(CALLER, call(1, request))
    called = [*stage.got(CALLEE, Invocation), *stage.got(CALLER, Invocation)]
    return called[0].callee if called else None


def test_a_registration_is_confirmed_with_its_id(stage):
    stage.say(CALLEE, register(11, request=5))
    assert stage.got(CALLEE) == [Registered(11, 5, ID)]
    assert callee_of(stage) == 11


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
def test_a_second_callee_shares_the_procedure_by_the_same_policy_only(first, second, uri, stage):
    """WAMP #rpc-shared-registration."""
    stage.say(CALLEE, register(11, invoke=first))
    stage.say(CALLER, register(12, invoke=second))
    assert answers(stage, CALLER) == [uri]


@pytest.mark.parametrize("invoke", ["single", "first", "roundrobin"])
def test_a_session_registers_a_procedure_once(invoke, stage):
    stage.say(CALLEE, register(11, invoke=invoke), register(11, request=2, invoke=invoke))
    refused = stage.got(CALLEE, Refused)
    assert [(one.session, one.request, one.kind) for one in refused] == [(11, 2, REGISTER)]
    assert refused[0].uri == "wamp.error.procedure_already_exists"
    assert "force_reregister" in refused[0].message


def test_other_realms_have_procedures_of_their_own(stage):
    stage.say(CALLEE, register(11), register(12, realm="other"))
    assert answers(stage) == [None, None]


# Unregistering


def test_who_unregisters_is_not_called_any_more(stage):
    stage.say(CALLEE, register(11))
    stage.say(CALLEE, unregister(11, request=6))
    assert stage.got(CALLEE)[1:] == [Unregistered(11, 6)]
    assert callee_of(stage) is None
    stage.say(CALLEE, register(12))
    assert answers(stage) == [None]


@pytest.mark.parametrize("session", [11, 12])
def test_what_a_session_has_not_registered_it_cannot_unregister(session, stage):
    if session == 12:
        stage.say(CALLER, register(11))
    stage.say(CALLEE, unregister(session, request=6))
    (refused,) = stage.got(CALLEE)
    assert (refused.session, refused.request, refused.kind) == (session, 6, UNREGISTER)
    assert refused.uri == "wamp.error.no_such_registration"


def test_the_other_callees_go_on(stage):
    stage.say(CALLEE, register(11, invoke="first"), register(12, invoke="first"))
    stage.say(CALLEE, unregister(11))
    assert callee_of(stage) == 12


def test_when_one_of_several_unregisters_who_waits_goes_to_the_others(stage):
    stage.say(CALLEE, register(11, invoke="first", concurrency=1))
    stage.say(CALLER, call(1, 1), call(1, 2))
    stage.send(CALLEE, register(12, invoke="first", concurrency=2))
    stage.say(CALLEE, unregister(11))
    assert [one.callee for one in stage.got(CALLEE, Invocation)] == [11, 12]


def test_who_leaves_leaves_all_its_registrations(stage):
    patterns = ["=p.q", "=p.r", "^p"]
    stage.say(CALLEE, *(register(11, pattern) for pattern in patterns))
    stage.say(CALLEE, leave(11))
    stage.say(CALLEE, *(register(12, pattern) for pattern in patterns))
    assert answers(stage) == [None] * 6


# force_reregister (WAMP #rpc-registration-revocation)


def test_a_forced_registration_takes_the_procedure_over(stage):
    stage.say(CALLEE, register(11, invoke="roundrobin"), register(12, invoke="roundrobin"))
    stage.say(CALLER, register(13, invoke="single", force=True))
    assert answers(stage, CALLER) == [None]
    reason = "wamp.registration.revoked"
    assert stage.got(CALLEE, Revoked) == [Revoked(11, ID, reason), Revoked(12, ID, reason)]
    assert callee_of(stage) == 13
    # The policy is the new one's.
    stage.say(CALLEE, register(14, invoke="single"))
    assert stage.got(CALLEE, Refused)[0].uri == "wamp.error.procedure_already_exists"


def test_who_was_revoked_may_register_again(stage):
    stage.say(CALLEE, register(11))
    stage.say(CALLER, register(12, force=True))
    stage.say(CALLEE, register(11, request=2, force=True))
    assert stage.got(CALLER, Revoked)
    assert callee_of(stage) == 11


def test_what_a_revoked_callee_is_busy_with_it_still_answers(stage):
    stage.say(CALLEE, register(11))
    stage.say(CALLER, call(1, 5))
    (invocation,) = stage.got(CALLEE, Invocation)
    stage.say(CALLER, register(12, force=True))
    stage.say(CALLEE, yield_(invocation))
    assert stage.got(CALLER, Result)[0].request == 5


def test_what_a_revoked_callee_is_busy_with_fails_when_it_leaves(stage):
    stage.say(CALLEE, register(11))
    stage.say(CALLER, call(1, 5))
    stage.say(CALLER, register(12, force=True))
    stage.say(CALLEE, leave(11))
    assert [one.uri for one in stage.got(CALLER, CallError)] == ["wamp.error.canceled"]


def test_who_waits_goes_to_the_new_callee(stage):
    stage.say(CALLEE, register(11, concurrency=1))
    stage.say(CALLER, call(1, 1), call(1, 2))
    stage.say(CALLEE, register(12, force=True))
    assert [(o.callee, o.call.request) for o in stage.got(CALLEE, Invocation)] == [(11, 1), (12, 2)]


def test_forcing_what_nobody_had_is_just_registering(stage):
    stage.say(CALLEE, register(11, force=True))
    assert stage.got(CALLEE) == [Registered(11, 1, ID)]


# Replay


def test_a_registration_told_again_is_not_answered(stage):
    stage.say(CALLEE, register(11, replay=True))
    assert stage.got(CALLEE) == []
    assert callee_of(stage) == 11


def test_who_tells_again_what_somebody_else_took_meanwhile_is_revoked(stage):
    stage.say(CALLER, register(12))
    stage.say(CALLEE, register(11, replay=True))
    assert stage.got(CALLEE) == [Revoked(11, ID, "wamp.registration.revoked")]
    assert callee_of(stage) == 12


def test_a_gateway_that_comes_back_tells_its_registrations_again(stage):
    stage.say(CALLEE, register(11), register(12, "=p.r"))
    stage.kill(CALLEE)
    stage.join(CALLEE, replay=[register(11, replay=True)])
    stage.turns(6)
    assert callee_of(stage) == 11
    stage.say(CALLER, call(1, 2, "p.r"))
    assert [one.uri for one in stage.got(CALLER, CallError)] == ["wamp.error.no_such_procedure"]


# Patterns, which every shard knows


@pytest.fixture
def shards():
    return Stage(gateways=2, shards=3)


def test_a_pattern_is_announced_to_all_shards_while_it_has_callees(shards):
    home = shards.home(0)
    shards.say(CALLEE, register(11, home, invoke="first"), register(12, home, invoke="first"))
    there = Announce("realm1", home, gone=False)
    assert shards.got("shard-1") == shards.got("shard-2") == [there]
    shards.say(CALLEE, unregister(11, home))
    assert shards.got("shard-1") == []
    shards.say(CALLEE, leave(12))
    assert shards.got("shard-1") == [Announce("realm1", home, gone=True)]


def test_an_exact_procedure_is_not_announced(shards):
    shards.say(CALLEE, register(11))
    assert shards.got("shard-1") == []
    assert answers(shards) == [None]


def test_a_registration_stands_when_every_shard_knows_of_it(shards):
    shards["shard-2"].silent = True
    shards.say(CALLEE, register(11, shards.home(0)))
    assert shards.got(CALLEE) == []
    shards["shard-2"].silent = False
    shards.turns()
    assert answers(shards) == [None]


def test_a_shard_that_comes_is_told_all_patterns(shards):
    home = shards.home(0)
    shards.say(CALLEE, register(11, home), register(11, "=p.q"))
    shards.kill("shard-1")
    shards.join("shard-1", incarnation=2)
    shards.turns(6)
    assert shards.got("shard-1") == [Announce("realm1", home, gone=False)]


@pytest.mark.parametrize("how", ["gone", "restart"])
def test_patterns_of_other_shards_are_known_until_they_go(how, shards):
    theirs = shards.home(1, "*{}.#")
    procedure = theirs[1:].removesuffix(".#") + ".x"
    shards.say("shard-1", Announce("realm1", theirs, gone=False))
    other = shards.home(2, "*other{}.#")
    shards.say("shard-2", Announce("realm1", other, gone=False))
    shards.say(CALLER, call(1, 1, procedure))
    assert len(shards.got("shard-1")) == 1
    if how == "gone":
        shards.say("shard-1", Announce("realm1", theirs, gone=True))
    else:
        shards.kill("shard-1")
        shards.join("shard-1", incarnation=2)
        shards.turns(6)
    shards.got(CALLER)
    shards.say(CALLER, call(1, 2, procedure))
    (error,) = shards.got(CALLER, CallError)
    assert error.uri == "wamp.error.no_such_procedure"
    assert [one.text for one in shards.shard.dealer.procedures("realm1").announced()] == [other]
