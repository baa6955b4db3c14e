"""What a shard tells of subscriptions (WAMP #subscription-metapi)."""

import pytest
from shard_harness import REALM, WALL, ShardHarness, subscribe

from fox_shard.backplane.frames import (
    Inquiry,
    InquiryPage,
    SelectorSpec,
    Subscribe,
    Unsubscribe,
)
from fox_shard.backplane.meta_api import (
    MATCHING_SUBSCRIPTIONS,
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    SubscriptionState,
    decode_ids,
    decode_lists,
    decode_subscription,
    id_key,
)
from fox_shard.shard import inquiries
from fox_shard.topics.ids import pattern_id

ASKER, OTHER = "gateway-0", "gateway-1"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def id_of(text):
    return pattern_id(REALM, "subscription", text)


def ask(harness, kind, body=b"", *, limit=1000, realm=REALM):
    items, start = [], b""
    while True:
        harness.say(ASKER, Inquiry(1, realm, kind, body, start, limit))
        (page,) = harness.got(ASKER, InquiryPage)
        assert page.uri == ""
        items += page.items
        if not page.more:
            assert items == sorted(items)
            return items
        start = page.next


def state(harness, text):
    return [
        decode_subscription(value) for _, value in ask(harness, SUBSCRIPTION, id_key(id_of(text)))
    ]


def listed(harness, **more):
    found = [decode_lists(value) for _, value in ask(harness, SUBSCRIPTIONS, **more)]
    return [
        sorted(id_ for lists in found for id_ in getattr(lists, match))
        for match in ("exact", "prefix", "wildcard")
    ]


def matching(harness, topic, **more):
    items = ask(harness, MATCHING_SUBSCRIPTIONS, topic.encode(), **more)
    return sorted(id_ for _, value in items for id_ in decode_ids(value))


def selected(text, id_, **more):
    return Subscribe(0, REALM, text, False, selector=SelectorSpec(id_, **more))


def test_subscriptions_are_listed_by_policy_once_for_all_gateways(harness):
    harness.say(ASKER, *(subscribe(text) for text in ("=a.b", "^a.", "*a.+")))
    harness.say(OTHER, *(subscribe(text) for text in ("=a.b", "=c", "^a.")))
    harness.say(OTHER, subscribe("=x", realm="other"))
    exact = sorted(map(id_of, ("=a.b", "=c")))
    assert listed(harness) == [exact, [id_of("^a.")], [id_of("*a.+")]]
    assert listed(harness, realm="third") == [[], [], []]


def test_a_subscription_ends_with_the_last_gateway_that_has_it(harness):
    harness.say(ASKER, subscribe("=a.b"))
    harness.now += 7
    harness.say(OTHER, subscribe("=a.b"))
    created = WALL + 100
    both = SubscriptionState(id_of("=a.b"), created, "=a.b", 0, [ASKER, OTHER])
    assert state(harness, "=a.b") == [both]
    harness.say(ASKER, Unsubscribe(REALM, "=a.b"), Unsubscribe(REALM, "=a.b"))
    one = SubscriptionState(id_of("=a.b"), created, "=a.b", 0, [OTHER])
    assert state(harness, "=a.b") == [one]
    harness.say(OTHER, Unsubscribe(REALM, "=a.b"))
    assert state(harness, "=a.b") == []
    assert listed(harness) == [[], [], []]


def test_a_pattern_is_listed_by_its_home_only():
    harness = ShardHarness(gateways=2, shards=2)
    here, elsewhere = harness.home(0), harness.home(1)
    harness.say(ASKER, subscribe(here), subscribe(elsewhere))
    assert listed(harness) == [[], [], [id_of(here)]]
    assert state(harness, elsewhere) == []
    harness.say(ASKER, Unsubscribe(REALM, here), Unsubscribe(REALM, elsewhere))
    assert listed(harness) == [[], [], []]


def test_subscriptions_with_options_have_ids_of_their_own(harness):
    harness.say(ASKER, subscribe("=a.b"), selected("=a.b", 5, state=True))
    assert listed(harness)[0] == sorted([5, id_of("=a.b")])
    harness.say(ASKER, Unsubscribe(REALM, "=a.b", 5))
    assert listed(harness)[0] == [id_of("=a.b")]


def test_a_snapshot_is_no_subscription(harness):
    harness.say(ASKER, Subscribe(1, REALM, "=a.b", replay=True, once=True))
    assert listed(harness) == [[], [], []]


def test_a_replayed_subscription_keeps_its_age(harness):
    for gateway, created in ((ASKER, 1000.0), (OTHER, 900.0)):
        frame = subscribe("=a.b")
        frame.created = created
        harness.say(gateway, frame)
    assert state(harness, "=a.b")[0].created == 900.0


def test_those_that_a_returning_gateway_does_not_replay_are_removed(harness):
    harness.say(OTHER, subscribe("=a.b"), subscribe("=c"))
    harness.kill(OTHER)
    harness.turns()
    assert listed(harness)[0] == sorted(map(id_of, ("=a.b", "=c")))
    harness.join(OTHER, replay=[subscribe("=c")])
    harness.turns(8)
    assert listed(harness)[0] == [id_of("=c")]


def test_a_gateway_that_is_gone_has_no_subscriptions(harness):
    harness.say(OTHER, subscribe("=a.b"), selected("^a.", 5, state=True))
    harness.kill(OTHER)
    harness.pass_time(30)
    assert listed(harness) == [[], [], []]


def test_all_subscriptions_match_whatever_their_policy(harness):
    texts = ("=a.b", "^a.", "*a.+", "*#", "=a.c", "^b")
    harness.say(ASKER, *map(subscribe, texts), selected("=a.b", 5, state=True))
    expected = sorted([5, *map(id_of, ("=a.b", "^a.", "*a.+", "*#"))])
    assert matching(harness, "a.b") == expected
    assert matching(harness, "a.b", realm="third") == []


def test_lists_come_in_pages(harness, monkeypatch):
    monkeypatch.setattr(inquiries, "CHUNK", 10)
    harness.say(ASKER, *(subscribe(f"=t{n}") for n in range(95)))
    harness.say(ASKER, *(selected("=a.b", n, state=True) for n in range(1, 36)))
    assert listed(harness, limit=3)[0] == sorted(
        [*range(1, 36), *(id_of(f"=t{n}") for n in range(95))]
    )
    assert matching(harness, "a.b", limit=1) == [*range(1, 36)]


def test_a_restarted_shard_knows_what_is_replayed(harness):
    harness.say(OTHER, subscribe("=a.b"))
    harness[OTHER].replay = [subscribe("=a.b"), subscribe("^a.")]
    harness.restart()
    harness.turns(10)
    assert listed(harness) == [[id_of("=a.b")], [id_of("^a.")], []]
