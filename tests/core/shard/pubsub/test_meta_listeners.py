"""Listeners to meta events: the coordinator is told of them, and they wait for the coordinator."""

import pytest
from shard_harness import REALM, ShardHarness, subscribe

from fox_shard.backplane.frames import Listened, Listening, More, Subscribed, Unsubscribe
from fox_shard.config import History, Realm

NOBODY = [("session", False), ("registration", False), ("subscription", False)]

TOPIC = "=wamp.subscription.on_create"


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=2, realms=[Realm(name=REALM)])
    harness.join("coordinator")
    harness.turns()
    return harness


def told(harness):
    return [(one.kind, one.number > 0) for one in harness.got("coordinator", Listening)]


def answered(harness, gateway="gateway-0"):
    return [one.token for one in harness.got(gateway, Subscribed)]


def listen(harness, pattern=TOPIC, token=1, gateway="gateway-0"):
    """Subscribe; return the number that the coordinator is told."""
    harness.say(gateway, subscribe(pattern, token=token))
    numbers = [one.number for one in harness.got("coordinator", Listening)]
    return numbers[-1] if numbers else None


def test_nothing_is_said_of_other_subscriptions(harness):
    assert told(harness) == NOBODY
    for token, pattern in enumerate(("=a.b", "*#", "*+.subscription.on_create", "^wam", "^"), 1):
        harness.say("gateway-0", subscribe(pattern, token=token))
    assert told(harness) == []
    assert answered(harness) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "pattern",
    [
        TOPIC,
        "=wamp.subscription.on_delete",
        "^wamp.sub",
        "*wamp.subscription.+",
        "*wamp.+.on_delete",
    ],
)
def test_a_listener_is_answered_when_the_coordinator_is_ready(harness, pattern):
    harness.got("coordinator")
    harness.say("gateway-0", subscribe(pattern, token=1))
    announced = harness.got("coordinator", Listening)
    assert "subscription" in {one.kind for one in announced}
    assert answered(harness) == []
    for one in announced:
        harness.say("coordinator", Listened(REALM, one.kind, one.number))
    assert answered(harness) == [1]
    # Another one need not wait.
    assert listen(harness, token=2, gateway="gateway-1") is None
    assert answered(harness, "gateway-1") == [2]


@pytest.mark.parametrize(
    "pattern", ["=wamp.session.on_join", "=wamp.session.on_leave", "^wamp.ses"]
)
def test_listeners_to_session_meta_events_wait_as_well(harness, pattern):
    harness.got("coordinator")
    harness.say("gateway-0", subscribe(pattern, token=1))
    (announced,) = harness.got("coordinator", Listening)
    assert (announced.kind, answered(harness)) == ("session", [])
    harness.say("coordinator", Listened(REALM, "session", announced.number))
    assert answered(harness) == [1]


def test_only_the_last_listener_that_leaves_is_told(harness):
    harness.got("coordinator")
    listen(harness)
    listen(harness, "=wamp.subscription.on_delete", gateway="gateway-1")
    harness.say("gateway-0", Unsubscribe(REALM, TOPIC))
    assert told(harness) == []
    harness.say("gateway-1", Unsubscribe(REALM, "=wamp.subscription.on_delete"))
    assert told(harness) == [("subscription", False)]


def test_an_answer_to_former_listeners_is_ignored(harness):
    harness.got("coordinator")
    former = listen(harness)
    harness.say("gateway-0", Unsubscribe(REALM, TOPIC))
    number = listen(harness, token=2)
    assert number > former
    harness.say("coordinator", Listened(REALM, "subscription", former))
    assert answered(harness) == []
    harness.say("coordinator", Listened(REALM, "subscription", number))
    assert answered(harness) == [2]


def test_a_gateway_whose_link_broke_is_not_answered(harness):
    harness.got("coordinator")
    number = listen(harness)
    harness.kill("gateway-0")
    harness.join("gateway-0").replay = [subscribe(TOPIC)]
    harness.turns(8)
    harness.say("coordinator", Listened(REALM, "subscription", number))
    assert answered(harness) == []


def test_a_request_that_is_given_up_is_not_answered(harness):
    harness.got("coordinator")
    number = listen(harness)
    harness.say("gateway-0", More(1, enough=True))
    harness.say("coordinator", Listened(REALM, "subscription", number))
    assert answered(harness) == []


def test_a_coordinator_that_returns_is_told_again(harness):
    number = listen(harness)
    harness.kill("coordinator")
    harness.join("coordinator", incarnation=2)
    harness.turns(8)
    again = {one.kind: one.number for one in harness.got("coordinator", Listening)}
    assert again == {"session": 0, "registration": 0, "subscription": number}


def test_a_shard_that_returns_says_nothing_before_all_have_replayed(harness):
    """Otherwise the coordinator would take it that nobody listens any more."""
    listen(harness)
    harness["gateway-0"].replay = [subscribe(TOPIC)]
    harness["gateway-1"].silent = True
    harness.restart()
    harness.turns(8)
    assert told(harness) == []
    harness["gateway-1"].silent = False
    harness.turns(8)
    assert told(harness) == [*NOBODY[:2], ("subscription", True)]


def test_a_rule_of_the_history_listens():
    rule = History(topic="wamp.subscription.#", match="exact", max_events=10)
    harness = ShardHarness(realms=[Realm(name=REALM, history=(rule,))])
    harness.join("coordinator")
    harness.turns(8)
    assert told(harness) == [*NOBODY[:2], ("subscription", True)]
