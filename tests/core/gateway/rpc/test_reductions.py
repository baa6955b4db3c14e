"""Reducers at their gateway: registering at all shards, concurrency, timeouts, ends."""

import pytest
from gateway_harness import REALM, GatewayHarness, event

from fox_shard.backplane.frames import (
    NotReduced,
    Reduce,
    Reduced,
    Register,
    Registered,
    RegisterReducer,
    Revoked,
    UnregisterReducer,
)
from fox_shard.backplane.refusals import refused
from fox_shard.config import Reducers
from fox_shard.documents.payloads import JSON
from fox_shard.errors import ProcedureAlreadyExists, Unavailable
from fox_shard.topics.ids import webhook_id
from fox_shard.topics.pattern import Pattern

SHARDS = ("shard-0", "shard-1", "shard-2")
PATTERN = Pattern.wamp("a.#")


@pytest.fixture
def harness():
    return GatewayHarness(shards=3, reducer=Reducers(timeout=30.0))


def register(harness, session, request=1, *, concurrency=0, force=False, **names):
    harness.gateway.requests.register_reducer(
        session,
        request,
        PATTERN,
        names.get("mission", ""),
        names.get("durable", ""),
        "single",
        concurrency,
        force=force,
        webhook=names.get("webhook", False),
    )


def home(harness):
    return f"shard-{harness.realm.shard_of(PATTERN.text)}"


def others(harness):
    return [name for name in SHARDS if name != home(harness)]


def asked(harness, name):
    """Return the registrations that the shard was asked for since the last call."""
    return harness.got(name, RegisterReducer)


def confirm(harness, *names):
    """Let the shards confirm what they are asked for."""
    for name in names or (home(harness), *others(harness)):
        for frame in asked(harness, name):
            harness.say(name, Registered(frame.session, frame.request, frame.registration))


def registered(harness, session, **more):
    """Register the session at all shards; return the registration's id."""
    register(harness, session, **more)
    confirm(harness)
    ((told, _, registration),) = session.take()
    assert told == "registered"
    return registration


def reduce(number, session, registration):
    return Reduce(number, session.id, registration, event(64 * number))


def taken(session):
    """Return (request, publication) of each event that the session was shown."""
    return [told[1:] for told in session.take() if told[0] == "reduction"]


# Registering


def test_the_home_is_asked_first_and_then_all_other_shards(harness):
    session = harness.session()
    register(harness, session, concurrency=3, mission="m", durable="d")
    (frame,) = asked(harness, home(harness))
    assert [asked(harness, name) for name in others(harness)] == [[], []]
    assert (frame.realm, frame.pattern, frame.mission, frame.durable) == (REALM, "*a.#", "m", "d")
    assert (frame.concurrency, frame.replay) == (3, False)
    harness.say(home(harness), Registered(session.id, 1, frame.registration))
    assert session.take() == []
    confirm(harness, others(harness)[0])
    assert session.take() == []
    confirm(harness, others(harness)[1])
    assert session.take() == [("registered", 1, frame.registration)]
    assert harness.gateway.reductions.idle


def test_a_refusal_of_the_home_is_the_answer(harness):
    session = harness.session()
    register(harness, session)
    refusal = refused(Register, session.id, 1, ProcedureAlreadyExists("it is taken"))
    harness.say(home(harness), refusal)
    assert session.take() == [("refused", 1, "wamp.error.procedure_already_exists")]
    assert harness.gateway.reductions.idle
    assert [asked(harness, name) for name in others(harness)] == [[], []]


def test_a_shard_that_does_not_know_a_webhook_ends_the_registration_everywhere(harness):
    session = harness.session()
    register(harness, session, durable="w", webhook=True)
    (frame,) = harness.got(home(harness), RegisterReducer)
    assert (frame.webhook, frame.registration) == (True, webhook_id(REALM, "w"))
    harness.say(home(harness), Registered(session.id, 1, frame.registration))
    harness.got(others(harness)[0])
    refusal = refused(Register, session.id, 1, Unavailable("it has no such webhook"))
    harness.say(others(harness)[0], refusal)
    assert session.take() == [("refused", 1, "wamp.error.unavailable")]
    assert harness.gateway.reductions.idle
    assert len(harness.got(home(harness), UnregisterReducer)) == 1


def test_different_missions_and_names_are_different_reducers(harness):
    session = harness.session()
    ids = {
        registered(harness, session, **names)
        for names in ({}, {"mission": "m"}, {"durable": "d"}, {"mission": "d"})
    }
    assert len(ids) == 4


def test_a_session_registers_a_reducer_once(harness):
    session = harness.session()
    registered(harness, session)
    register(harness, session, 2)
    assert session.take() == [("refused", 2, "wamp.error.procedure_already_exists")]


def test_while_a_shard_is_down_nothing_is_registered(harness):
    session = harness.session()
    harness.kill(others(harness)[0])
    harness.turns()
    register(harness, session)
    assert session.take() == [("refused", 1, "wamp.error.unavailable")]
    assert harness.gateway.reductions.of(session) == {}


def test_a_shard_that_dies_meanwhile_ends_the_registration_everywhere(harness):
    session = harness.session()
    register(harness, session)
    confirm(harness, home(harness))
    harness.kill(others(harness)[0])
    harness.turns()
    assert session.take() == [("refused", 1, "wamp.error.unavailable")]
    assert len(harness.got(home(harness), UnregisterReducer)) == 1
    assert harness.gateway.reductions.idle


def test_a_shard_that_returns_is_told_again(harness):
    session = harness.session()
    registration = registered(harness, session, force=True)
    harness.kill("shard-1")
    harness.turns()
    harness.join("shard-1", incarnation=2)
    harness.pass_time(1)
    (frame,) = asked(harness, "shard-1")
    assert (frame.registration, frame.replay, frame.force) == (registration, True, False)


def test_the_limit_of_registrations_counts_both_kinds():
    harness = GatewayHarness(shards=1, max_registrations=1)
    session = harness.session()
    register(harness, session)
    (frame,) = asked(harness, "shard-0")
    harness.say("shard-0", Registered(session.id, 1, frame.registration))
    session.take()
    register(harness, session, 2, mission="other")
    harness.gateway.requests.register(
        session, 3, Pattern.wamp("p"), "single", 0, force=False, disclose=False
    )
    uri = "fox.error.limit_exceeded"
    assert session.take() == [("refused", 2, uri), ("refused", 3, uri)]


# Events


def test_events_wait_until_the_registration_is_confirmed(harness):
    session = harness.session()
    register(harness, session)
    (frame,) = asked(harness, home(harness))
    harness.say(home(harness), Registered(session.id, 1, frame.registration))
    harness.say(home(harness), reduce(1, session, frame.registration))
    assert session.take() == []
    confirm(harness, *others(harness))
    assert [told[0] for told in session.take()] == ["registered", "reduction"]


def test_results_go_to_the_shard_that_has_asked(harness):
    session = harness.session()
    registration = registered(harness, session)
    harness.say("shard-1", reduce(5, session, registration))
    harness.say("shard-2", reduce(5, session, registration))
    assert taken(session) == [(1, 320), (2, 320)]
    requests = harness.gateway.requests
    requests.yield_(session, 2, JSON, b"[1]", b"", progress=True)
    assert harness.got("shard-2", Reduced) == []
    requests.yield_(session, 2, JSON, b"[2]", b"", progress=False)
    requests.invocation_error(session, 1, "app.bad", JSON, b'["x"]', b"")
    assert harness.got("shard-2", Reduced) == [Reduced(5, JSON, b"[2]")]
    assert harness.got("shard-1", NotReduced) == [NotReduced(5, "app.bad", JSON, b'["x"]')]
    requests.yield_(session, 1, JSON, b"[3]", b"", progress=False)
    assert harness.got("shard-1", Reduced) == []


def test_the_concurrency_holds_over_all_shards(harness):
    session = harness.session()
    registration = registered(harness, session, concurrency=2)
    for number in (1, 2):
        for name in SHARDS:
            harness.say(name, reduce(number, session, registration))
    assert len(taken(session)) == 2
    for request in range(1, 7):
        harness.gateway.requests.yield_(session, request, JSON, b"[1]", b"", progress=False)
    assert len(taken(session)) == 4
    assert harness.gateway.reductions.idle


def test_an_instance_that_does_not_answer_is_interrupted_and_has_room_again(harness):
    session = harness.session()
    registration = registered(harness, session, concurrency=1)
    harness.say("shard-1", reduce(1, session, registration), reduce(2, session, registration))
    assert taken(session) == [(1, 64)]
    harness.pass_time(29)
    assert harness.got("shard-1", NotReduced) == []
    harness.pass_time(2)
    (late,) = harness.got("shard-1", NotReduced)
    assert (late.invocation, late.uri, late.timed_out) == (1, "wamp.error.timeout", True)
    assert session.take() == [("interrupt", 1, "killnowait"), ("reduction", 2, 128)]
    harness.pass_time(31)
    assert [late.invocation for late in harness.got("shard-1", NotReduced)] == [2]


def test_an_event_for_a_session_that_has_left_is_left_to_its_shard(harness):
    session = harness.session()
    registration = registered(harness, session)
    harness.say("shard-1", reduce(1, session, registration))
    harness.gateway.requests.session_ended(session, "gone")
    harness.say("shard-1", reduce(2, session, registration))
    assert harness.got("shard-1", (Reduced, NotReduced)) == []
    assert harness.gateway.reductions.idle


def test_a_broken_link_ends_what_its_shard_waits_for(harness):
    session = harness.session()
    registration = registered(harness, session, concurrency=2)
    harness.say("shard-1", reduce(1, session, registration))
    harness.say("shard-2", reduce(9, session, registration))
    session.take()
    harness.kill("shard-1")
    harness.turns()
    harness.join("shard-1", incarnation=2)
    harness.pass_time(1)
    harness.say("shard-1", reduce(1, session, registration))
    # The instance is still busy with the first event.
    assert taken(session) == []
    harness.gateway.requests.yield_(session, 1, JSON, b"[1]", b"", progress=False)
    assert harness.got("shard-1", Reduced) == []
    assert taken(session) == [(3, 64)]


def test_unregistering_is_told_to_all_shards(harness):
    session = harness.session()
    registration = registered(harness, session)
    harness.gateway.requests.unregister(session, 2, registration)
    assert session.take() == [("unregistered", 2)]
    for name in SHARDS:
        assert [one.registration for one in harness.got(name, UnregisterReducer)] == [registration]
    harness.say("shard-1", reduce(1, session, registration))
    assert session.take() == []


def test_a_revoked_reducer_is_unregistered_at_all_shards(harness):
    session = harness.session()
    registration = registered(harness, session)
    harness.say(home(harness), Revoked(session.id, registration, "wamp.registration.revoked"))
    assert session.take() == [("revoked", registration, "wamp.registration.revoked")]
    for name in SHARDS:
        assert len(harness.got(name, UnregisterReducer)) == 1


def test_many_events_that_cannot_be_shown_fail_one_after_the_other(harness):
    """Each failure makes room for the next event: this must not recurse."""
    session = harness.session()
    registration = registered(harness, session, concurrency=1)

    def fail(request, frame):
        harness.gateway.requests.invocation_error(session, request, "x", JSON, b"", b"")

    harness.say("shard-1", reduce(1, session, registration))
    session.reduction = fail
    for start in range(2, 3000, 500):
        frames = [reduce(number, session, registration) for number in range(start, start + 500)]
        for frame in frames:
            harness["shard-1"].link.send(frame)
        harness.turns()
    harness.gateway.requests.yield_(session, 1, JSON, b"[1]", b"", progress=False)
    assert len(harness.got("shard-1", NotReduced)) == 3000
