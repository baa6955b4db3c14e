"""`wamp.subscription.…`, as gateways answer them (WAMP #subscription-metapi)."""

import pytest
from gateway_harness import REALM, GatewayHarness
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
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    IdLists,
    SubscriptionState,
    decode_count,
    decode_ids,
    id_key,
)
from fox_shard.documents import payloads
from fox_shard.gateway.procedures import subscribers
from fox_shard.topics.ids import pattern_id


class Calling:
    """A session that calls meta procedures, and two shards that answer."""

    def __init__(self, **settings):
        self.harness = GatewayHarness(2, **settings)
        self.session = self.harness.session()
        self.answers = []
        self.session.result = self.session.call_error = self.answers.append

    def call(self, name, *args):
        encoded = payloads.encode(list(args), {}, payloads.JSON)
        self.harness.gateway.requests.call(
            self.session, 1, f"wamp.subscription.{name}", 0, 0, payloads.JSON, *encoded, None
        )
        self.harness.turns()

    def asked(self):
        return {n: one for n in (0, 1) for one in self.harness.got(f"shard-{n}", Inquiry)}

    def answer(self, found=(), by=0):
        """Let all shards that were asked answer, `by` with the items; return what was asked."""
        asked = self.asked()
        for shard, frame in asked.items():
            items = [*found] if shard == by or len(asked) == 1 else []
            self.harness.say(f"shard-{shard}", InquiryPage(frame.token, items, b""))
        return {(shard, one.kind, one.body) for shard, one in asked.items()}

    def relayed(self, shard=1):
        return self.harness.got(f"shard-{shard}", RelayedInquiry)

    def page(self, frame, value=None, *, more=b"", **refusal):
        items = [] if value is None else [(id_key(value[0]), msgpack.encode(value))]
        page = InquiryPage(frame.inquiry.token, items, more, **refusal)
        self.harness.say("shard-1", RelayedPage(frame.gateway, page))

    @property
    def result(self):
        (answer,) = self.answers
        self.answers.clear()
        (value,), _ = payloads.decode(answer.encoding, answer.args, answer.kwargs)
        return getattr(answer, "uri", value)


@pytest.fixture
def calling():
    return Calling()


STATE = SubscriptionState(7, 1_800_000_000.0, "^a.", 1, ["gateway-1", "gateway-0"])
FOUND = (id_key(7), msgpack.encode(STATE))


def test_list_gathers_the_ids_of_all_shards(calling):
    calling.call("list")
    for shard, lists in ((0, IdLists([5, 1], [2], [])), (1, IdLists([3], [], [4]))):
        (asked,) = calling.harness.got(f"shard-{shard}", Inquiry)
        assert (asked.kind, asked.realm) == (SUBSCRIPTIONS, REALM)
        page = InquiryPage(asked.token, [(id_key(1), msgpack.encode(lists))], b"")
        calling.harness.say(f"shard-{shard}", page)
    assert calling.result == {"exact": [5, 1, 3], "prefix": [2], "wildcard": [4]}


@pytest.mark.parametrize(
    ("args", "text"),
    [(["a.b"], "=a.b"), (["a.", {"match": "prefix"}], "^a."), (["a.+"], "=a.+")],
)
def test_lookup_asks_the_home_of_the_pattern(calling, args, text):
    id_ = pattern_id(REALM, "subscription", text)
    home = calling.harness.realm.shard_of(text.removeprefix("="))
    calling.call("lookup", *args)
    assert calling.answer() == {(home, SUBSCRIPTION, id_key(id_))}
    assert calling.result is None
    calling.call("lookup", *args)
    calling.answer([FOUND])
    assert calling.result == id_


def test_match_asks_all_shards(calling):
    calling.call("match", "a.b")
    found = [(id_key(1), msgpack.encode([9, 4]))]
    assert calling.answer(found) == {(n, MATCHING_SUBSCRIPTIONS, b"a.b") for n in (0, 1)}
    assert calling.result == [4, 9]
    calling.call("match", "a.b")
    calling.answer()
    assert calling.result is None


def test_get_returns_the_details(calling):
    calling.call("get", 7)
    assert calling.answer([FOUND], by=1) == {(n, SUBSCRIPTION, id_key(7)) for n in (0, 1)}
    created = "2027-01-15T08:00:00.000Z"
    assert calling.result == {"id": 7, "created": created, "uri": "a.", "match": "prefix"}


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


@pytest.mark.parametrize("procedure", ["get", "list_subscribers", "count_subscribers"])
def test_an_unknown_subscription_is_an_error(calling, procedure):
    calling.call(procedure, 7)
    calling.answer()
    assert calling.result == "wamp.error.no_such_subscription"


@pytest.mark.parametrize(
    ("procedure", "args", "error"),
    [
        ("list", [1], "invalid_argument"),
        ("lookup", [], "invalid_argument"),
        ("match", ["a b"], "invalid_uri"),
        ("get", ["x"], "invalid_argument"),
        ("list_subscribers", [1, 2], "invalid_argument"),
        ("count_subscribers", [], "invalid_argument"),
    ],
)
def test_wrong_arguments_are_refused_before_any_shard_is_asked(calling, procedure, args, error):
    calling.call(procedure, *args)
    assert calling.result == f"wamp.error.{error}"
    assert calling.asked() == {}


def test_an_answer_that_would_be_too_long_is_refused():
    calling = Calling(answer_bytes=10)
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
