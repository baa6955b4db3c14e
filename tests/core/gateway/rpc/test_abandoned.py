"""Callees that need not answer any more do not stay busy for ever (WAMP #rpc-call-canceling)."""

import pytest
from gateway_harness import GatewayHarness, RecordingSession, invocation

from fox_shard.backplane.frames import Interrupt, InvocationError, Registered, Yield
from fox_shard.backplane.frames import Register as RegisterFrame
from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern

CANCELED = "wamp.error.canceled"


class Cancelable(RecordingSession):
    """A callee that has announced call canceling, and so is told to stop."""

    def interrupt(self, request, interrupt):
        super().interrupt(request, interrupt)
        return True


@pytest.fixture
def harness():
    return GatewayHarness(shards=1, interrupt_timeout=5.0)


def callee_of(harness, kind=Cancelable):
    """Return a callee that has been invoked as 1, 2 and 3."""
    callee = harness.session()
    callee.__class__ = kind
    pattern = Pattern.parse("=p.q")
    harness.gateway.requests.register(
        callee, 1, pattern, "single", 1, force=False, disclose=False, reroutes=False
    )
    (asked,) = harness.got("shard-0", RegisterFrame)
    harness.say("shard-0", Registered(callee.id, 1, asked.registration))
    for number in (1, 2, 3):
        harness.say(
            "shard-0", invocation(number, callee.id, registration=asked.registration, order=number)
        )
    callee.take()
    return callee


def given_up(harness):
    return [(one.invocation, one.uri) for one in harness.got("shard-0", InvocationError)]


def test_a_callee_that_was_interrupted_counts_as_free_after_a_while(harness):
    callee = callee_of(harness)
    harness.say("shard-0", Interrupt(1, callee.id, "killnowait", CANCELED))
    harness.pass_time(2.0)
    harness.say("shard-0", Interrupt(2, callee.id, "killnowait", CANCELED))
    harness.pass_time(2.5)
    assert given_up(harness) == []
    harness.pass_time(1.0)
    assert given_up(harness) == [(1, CANCELED)]
    harness.pass_time(2.0)
    assert given_up(harness) == [(2, CANCELED)]
    assert [*callee.invocations] == [3]
    assert harness.gateway.registrations.idle


def test_a_callee_that_answers_in_time_is_free_at_once_and_only_then(harness):
    callee = callee_of(harness)
    harness.say("shard-0", Interrupt(1, callee.id, "killnowait", CANCELED))
    harness.gateway.requests.invocation_error(callee, 1, CANCELED, 0, b"", b"")
    assert given_up(harness) == [(1, CANCELED)]
    harness.pass_time(20.0)
    assert given_up(harness) == []


def test_a_late_answer_is_ignored(harness):
    callee = callee_of(harness)
    harness.say("shard-0", Interrupt(1, callee.id, "killnowait", CANCELED))
    harness.pass_time(6.0)
    assert given_up(harness) == [(1, CANCELED)]
    harness.gateway.requests.yield_(callee, 1, 0, b"", b"", progress=False)
    assert harness.got("shard-0", Yield) == []


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(Cancelable, "kill"), (Cancelable, "skip"), (RecordingSession, "killnowait")],
)
def test_a_callee_that_has_to_answer_is_waited_for(kind, mode, harness):
    """It was not told that nobody waits for its answer."""
    callee = callee_of(harness, kind)
    harness.say("shard-0", Interrupt(1, callee.id, mode, CANCELED))
    harness.pass_time(1000.0)
    assert given_up(harness) == []
    assert [*callee.invocations] == [1, 2, 3]


@pytest.mark.parametrize("end", ["callee", "shard"])
def test_nothing_is_kept_when_the_callee_or_the_shard_has_gone(end, harness):
    callee = callee_of(harness)
    harness.say("shard-0", Interrupt(1, callee.id, "killnowait", CANCELED))
    if end == "callee":
        harness.gateway.requests.session_ended(callee, "gone")
    else:
        harness.kill("shard-0")
    assert harness.gateway.registrations.idle
    harness.pass_time(20.0)
    assert harness.gateway.registrations.idle


@pytest.mark.parametrize("match", ["exact", "prefix"])
def test_a_call_that_waits_gets_the_callee_that_did_not_answer(match):
    """From client to client, over a gateway and two shards."""
    world = World(seed=3, gateways=1, shards=2)
    world.run_until(lambda: world.linked)
    callee, caller = WampClient(world, 0), WampClient(world, 0)
    world.run_until(lambda: callee.session and caller.session)
    callee.register("com.p", match=match, concurrency=1)
    world.run_until(lambda: any(message[0] == 65 for message in callee.inbox))
    first = caller.request(48, {}, "com.p")
    world.run(1.0)
    second = caller.request(48, {}, "com.p")
    world.run(1.0)

    def requests():
        return [message[1] for message in callee.inbox if message[0] == 68]

    assert requests() == [1]
    caller.send([49, first, {"mode": "killnowait"}])
    world.run_until(lambda: len(requests()) == 2)
    callee.send([70, 2, {}, ["done"]])
    callee.send([70, 1, {}, ["too late"]])
    world.run(2.0)
    answers = [message for message in caller.inbox if message[0] in (8, 50)]
    assert answers[0][:5] == [8, 48, first, {}, CANCELED]
    assert answers[1:] == [[50, second, {}, ["done"]]]
    assert not callee.closed
