"""Callees: what one session decides costs steps in proportion, never a product."""

import pytest
from gateway_harness import GatewayHarness, invocation

from fox_shard.backplane.frames import Interrupt, Register, Registered
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
