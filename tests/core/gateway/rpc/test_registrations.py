"""Callees: what one session decides costs steps in proportion, never a product."""

import pytest
from gateway_harness import GatewayHarness, fence, invocation

from fox_shard.backplane.frames import (
    FencePassed,
    Interrupt,
    InvocationError,
    Register,
    Registered,
    Yield,
)
from fox_shard.topics.pattern import Pattern


@pytest.fixture
def harness():
    return GatewayHarness(shards=1)


class CountedDict(dict):
    """A dict that counts how often its entries are walked through."""

    walks = 0

    def items(self):
        self.walks += 1
        return super().items()


def register(harness, session, text, request=1):
    pattern = Pattern.parse(text)
    harness.gateway.requests.register(
        session, request, pattern, "single", 0, force=False, disclose=False
    )


def test_canceling_many_calls_finds_each_invocation_at_once(harness):
    callee = harness.session()
    register(harness, callee, "=p.q")
    (asked,) = harness.got("shard-0", Register)
    harness.say("shard-0", Registered(callee.id, 1, asked.registration))
    for number in range(1, 101):
        harness.say(
            "shard-0", invocation(number, callee.id, registration=asked.registration, order=number)
        )
    callee.invocations = CountedDict(callee.invocations)
    callee.take()
    for number in range(1, 101):
        harness.say("shard-0", Interrupt(number, callee.id, "kill", "wamp.error.canceled"))
    assert callee.take() == [("interrupt", number, "kill") for number in range(1, 101)]
    assert callee.invocations.walks == 0


def test_the_end_of_a_callee_forgets_only_what_is_its_own(harness):
    callee, other = harness.session(), harness.session()
    register(harness, callee, "=p.q")
    register(harness, other, "=p.r")
    harness.gateway.requests.session_ended(callee, "gone")
    assert not harness.gateway.registrations.idle
    harness.gateway.requests.session_ended(other, "gone")
    assert harness.gateway.registrations.idle


# Limits


def test_a_session_has_so_many_registrations_and_no_more():
    harness = GatewayHarness(shards=1, max_registrations=2)
    session = harness.session()
    for request in (1, 2, 3):
        register(harness, session, f"=p.q{request}", request)
    assert session.take() == [("refused", 3, "fox.error.limit_exceeded")]
    asked = harness.got("shard-0", Register)
    harness.say(
        "shard-0",
        *(Registered(session.id, frame.request, frame.registration) for frame in asked),
    )
    session.take()
    register(harness, session, "=p.q4", 4)
    assert session.take() == [("refused", 4, "fox.error.limit_exceeded")]
    harness.gateway.requests.unregister(session, 5, asked[0].registration)
    register(harness, session, "=p.q4", 6)
    assert session.take() == []


CANCELED = "wamp.error.canceled"


def callee_of(harness, many, first=1):
    """Return a callee that has been invoked so many times. first: number of an invocation."""
    callee = harness.session()
    register(harness, callee, "=p.q")
    (asked,) = harness.got("shard-0", Register)
    harness.say("shard-0", Registered(callee.id, 1, asked.registration))
    for number in range(first, first + many):
        harness.say(
            "shard-0", invocation(number, callee.id, registration=asked.registration, order=number)
        )
    callee.take()
    return callee


@pytest.mark.parametrize(("mode", "told"), [("killnowait", 5), ("skip", 0)])
def test_of_abandoned_invocations_the_oldest_are_taken_for_answered(mode, told):
    harness = GatewayHarness(shards=1, max_abandoned_invocations=3)
    callee = callee_of(harness, 6)
    for number in range(1, 6):
        harness.say("shard-0", Interrupt(number, callee.id, mode, CANCELED))
    assert len(callee.take()) == told
    over = harness.got("shard-0", InvocationError)
    assert [(one.invocation, one.uri) for one in over] == [(1, CANCELED), (2, CANCELED)]
    assert [*callee.invocations] == [3, 4, 5, 6]
    # A late answer to one of those is ignored, the others count.
    for request in (1, 2, 3, 6):
        harness.gateway.requests.yield_(callee, request, 0, b"", b"", progress=False)
    assert [one.invocation for one in harness.got("shard-0", Yield)] == [3, 6]
    harness.say("shard-0", Interrupt(4, callee.id, mode, CANCELED))
    assert harness.got("shard-0", InvocationError) == []


def test_an_invocation_whose_answer_is_awaited_is_not_given_up():
    harness = GatewayHarness(shards=1, max_abandoned_invocations=1)
    callee = callee_of(harness, 3)
    for number in range(1, 4):
        harness.say("shard-0", Interrupt(number, callee.id, "kill", CANCELED))
    assert harness.got("shard-0", InvocationError) == []
    assert len(callee.invocations) == 3


def test_a_callee_with_too_many_unanswered_invocations_gets_no_more():
    harness = GatewayHarness(shards=1, max_invocations=2)
    callee = callee_of(harness, 4)
    refused = harness.got("shard-0", InvocationError)
    assert [(one.invocation, one.uri) for one in refused] == [
        (3, "fox.error.limit_exceeded"),
        (4, "fox.error.limit_exceeded"),
    ]
    assert [*callee.invocations] == [1, 2]


def test_nothing_is_kept_of_abandoned_invocations_that_are_over():
    harness = GatewayHarness(shards=1)
    callee, other, third = (callee_of(harness, 2, first) for first in (1, 11, 21))
    for number, one in ((1, callee), (11, other), (21, third)):
        harness.say("shard-0", Interrupt(number, one.id, "killnowait", CANCELED))
    harness.gateway.requests.invocation_error(callee, 1, "a.b", 0, b"", b"")
    harness.gateway.requests.session_ended(other, "gone")
    assert not harness.gateway.registrations.idle
    harness.kill("shard-0")
    assert harness.gateway.registrations.idle


# What is kept for invocations that come too early


def held_back(harness, callee, numbers):
    """Let invocations arrive that wait until shard-1 answers; return the answer's frame."""
    mark = fence((1, 7, 5))
    for number in numbers:
        harness.say("shard-0", invocation(number, callee.id, order=number, fence=mark))
    return FencePassed("gateway-1", 7, 5)


def test_an_interrupt_is_kept_for_an_invocation_that_is_held_back_and_for_no_other():
    harness = GatewayHarness(shards=2)
    callee = harness.session()
    answer = held_back(harness, callee, (1, 2))
    for number in range(2, 100):
        harness.say("shard-0", Interrupt(number, callee.id, "killnowait", "wamp.error.canceled"))
    assert [*harness.gateway.registrations._interrupted] == [(0, 2)]
    harness.say("shard-1", answer)
    assert callee.take() == [
        ("invocation", 1, 1),
        ("invocation", 2, 1),
        ("interrupt", 2, "killnowait"),
    ]
    assert harness.gateway.registrations._interrupted == {}
    assert not harness.gateway.ordering.held_invocations


@pytest.mark.parametrize("ends", ["callee", "shard"])
def test_no_interrupt_is_kept_of_invocations_that_are_not_delivered(ends):
    harness = GatewayHarness(shards=2)
    callee = harness.session()
    answer = held_back(harness, callee, (1,))
    harness.say("shard-0", Interrupt(1, callee.id, "killnowait", "wamp.error.canceled"))
    if ends == "callee":
        harness.gateway.requests.session_ended(callee, "gone")
        harness.say("shard-1", answer)
    else:
        harness.kill("shard-0")
    assert harness.gateway.registrations._interrupted == {}
    assert not harness.gateway.ordering.held_invocations


@pytest.mark.parametrize(
    ("settings", "kept", "limit"),
    [
        ({"max_invocations": 3}, 3, "max_invocations"),
        ({"outbound_limit": 1 << 16}, 7, "outbound_limit"),
    ],
)
def test_calls_that_wait_for_a_registration_are_limited(settings, kept, limit):
    harness = GatewayHarness(shards=1, **settings)
    callee = harness.session()
    register(harness, callee, "=p.q")
    (asked,) = harness.got("shard-0", Register)
    for number in range(1, 11):
        frame = invocation(number, callee.id, registration=asked.registration, order=number)
        frame.call.args = b'["%s"]' % (b"x" * 10_000)
        harness.say("shard-0", frame)
    failed = [frame.invocation for frame in harness.got("shard-0", InvocationError)]
    assert failed == [*range(kept + 1, 11)]
    assert harness.gateway.limit_counts.totals() == {limit: 10 - kept}
    harness.say("shard-0", Interrupt(1, callee.id, "killnowait", "wamp.error.canceled"))
    harness.say("shard-0", Registered(callee.id, 1, asked.registration))
    told = [("registered", 1, asked.registration), ("invocation", 1, 1)]
    assert callee.take()[:3] == [*told, ("interrupt", 1, "killnowait")]
    assert not harness.gateway.registrations._early.kept
