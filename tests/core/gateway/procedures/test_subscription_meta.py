"""`wamp.subscription.…`, as gateways answer them (WAMP #subscription-metapi).

What holds for registrations as well is in test_meta_procedures.py.
"""

import pytest
from gateway_harness import REALM, GatewayHarness
from meta_calls import MetaCalls
from msgspec import msgpack

from fox_shard.backplane.frames import (
    CaughtUp,
    Inquiry,
    InquiryPage,
    RelayedInquiry,
    RelayedPage,
    Subscribe,
    Subscribed,
)
from fox_shard.backplane.meta_api import (
    MATCHING_SUBSCRIPTIONS,
    SUBSCRIBER_COUNT,
    SUBSCRIBERS,
    SubscriptionState,
    decode_count,
    decode_ids,
    id_key,
)
from fox_shard.gateway.procedures import subscribers
from fox_shard.topics.ids import pattern_id


@pytest.fixture
def calling():
    return MetaCalls("subscription")


STATE = SubscriptionState(7, 1_800_000_000.0, "^a.", 1, ["gateway-1", "gateway-0"])
FOUND = (id_key(7), msgpack.encode(STATE))


def test_match_asks_all_shards(calling):
    calling.call("match", "a.b")
    found = [(id_key(1), msgpack.encode([9, 4]))]
    assert calling.answer(found) == {(n, MATCHING_SUBSCRIPTIONS, b"a.b") for n in (0, 1)}
    assert calling.result == [4, 9]
    calling.call("match", "a.b")
    calling.answer()
    assert calling.result is None


def test_subscribers_are_asked_of_the_gateways_that_have_some(calling):
    calling.call("list_subscribers", 7)
    calling.answer([FOUND])
    first, second = calling.relayed()
    assert [first.gateway, second.gateway] == ["gateway-0", "gateway-1"]
    assert (first.inquiry.kind, first.inquiry.body) == (SUBSCRIBERS, id_key(7))
    calling.page(first, [2, 5], more=id_key(6))
    calling.page(second, [1, 9])
    (rest,) = calling.relayed()
    assert (rest.gateway, rest.inquiry.start) == ("gateway-0", id_key(6))
    calling.page(rest, [6])
    assert calling.result == [1, 2, 5, 6, 9]
    assert calling.harness.gateway.inquiries.idle


def test_subscribers_are_counted(calling):
    calling.call("count_subscribers", 7)
    calling.answer([FOUND])
    for frame, count in zip(calling.relayed(), (3, 4), strict=True):
        assert frame.inquiry.kind == SUBSCRIBER_COUNT
        page = InquiryPage(frame.inquiry.token, [(b"", msgpack.encode(count))])
        calling.harness.say("shard-1", RelayedPage(frame.gateway, page))
    assert calling.result == 7


@pytest.mark.parametrize("procedure", ["list_subscribers", "count_subscribers"])
def test_a_gateway_that_is_down_makes_the_answer_unavailable(calling, procedure):
    calling.call(procedure, 7)
    calling.answer([FOUND])
    first, _ = calling.relayed()
    calling.page(first, uri="wamp.error.unavailable", message="gateway-0 is down")
    assert calling.result == "wamp.error.unavailable"


def test_a_shard_that_goes_down_with_the_relay_makes_the_answer_unavailable(calling):
    calling.call("list_subscribers", 7)
    calling.answer([FOUND])
    calling.relayed()
    calling.harness.kill("shard-1")
    calling.harness.turns()
    assert calling.result == "wamp.error.unavailable"


@pytest.mark.parametrize("procedure", ["list_subscribers", "count_subscribers"])
def test_the_last_subscriber_leaves_meanwhile(calling, procedure):
    calling.call(procedure, 7)
    calling.answer([FOUND])
    for frame in calling.relayed():
        calling.page(frame)
    assert calling.result == "wamp.error.no_such_subscription"


def test_an_answer_that_would_be_too_long_is_refused():
    calling = MetaCalls("subscription", answer_bytes=10)
    calling.call("list_subscribers", 7)
    calling.answer([FOUND])
    for frame in calling.relayed():
        calling.page(frame, [*range(1, 20)])
    assert calling.result == "fox.error.limit_exceeded"


# What this gateway tells others


def relay(harness, kind, id_, start=b"", realm=REALM):
    """Let gateway-1 ask by way of shard-0; return the page that it gets."""
    frame = RelayedInquiry("gateway-1", Inquiry(3, realm, kind, id_key(id_), start, 1000))
    harness.say("shard-0", frame)
    (relayed,) = harness.got("shard-0", RelayedPage)
    assert relayed.gateway == "gateway-1"
    assert relayed.page.token == 3
    return relayed.page


def subscribed(harness, sessions, text, **options):
    """Let the sessions subscribe, and the shards confirm; return the subscription's id."""
    for session in sessions:
        harness.subscribe(session, text, **options)
        for shard in (0, 1):
            for frame in harness.got(f"shard-{shard}", Subscribe):
                harness.say(f"shard-{shard}", Subscribed(frame.token))
    return next(iter(sessions[0].subscriptions.values())).id if sessions[0].subscriptions else 0


def test_a_gateway_tells_its_subscribers_in_pages(monkeypatch):
    monkeypatch.setattr(subscribers, "PAGE_IDS", 2)
    harness = GatewayHarness(2)
    sessions = [harness.session() for _ in range(5)]
    harness.session()
    id_ = subscribed(harness, sessions, "^a.")
    told, start = [], b""
    while True:
        page = relay(harness, SUBSCRIBERS, id_, start)
        told += [one for _, value in page.items for one in decode_ids(value)]
        if not page.more:
            break
        start = page.next
    assert told == sorted(session.id for session in sessions)
    ((_, count),) = relay(harness, SUBSCRIBER_COUNT, id_).items
    assert decode_count(count) == 5


def test_sessions_that_wait_for_their_confirmation_are_no_subscribers_yet():
    harness = GatewayHarness(2)
    session = harness.session()
    harness.subscribe(session, "^a.")
    id_ = pattern_id(REALM, "subscription", "^a.")
    assert relay(harness, SUBSCRIBERS, id_).items == []
    ((_, count),) = relay(harness, SUBSCRIBER_COUNT, id_).items
    assert decode_count(count) == 0


def test_followers_are_subscribers_while_their_history_comes():
    harness = GatewayHarness(2)
    session = harness.session()
    harness.subscribe(session, "^a.", after=())
    for shard in (0, 1):
        for frame in harness.got(f"shard-{shard}", Subscribe):
            id_ = frame.selector.id
            harness.say(f"shard-{shard}", Subscribed(frame.token))
    for _ in range(2):
        ((_, ids),) = relay(harness, SUBSCRIBERS, id_).items
        ((_, count),) = relay(harness, SUBSCRIBER_COUNT, id_).items
        assert (decode_ids(ids), decode_count(count)) == ([session.id], 1)
        for shard in (0, 1):
            harness.say(f"shard-{shard}", CaughtUp(frame.token, 1))


@pytest.mark.parametrize("realm", [REALM, "nowhere"])
def test_a_gateway_without_the_subscription_tells_nothing(realm):
    assert relay(GatewayHarness(2), SUBSCRIBERS, 7, realm=realm).items == []
