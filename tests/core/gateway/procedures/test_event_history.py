"""`wamp.subscription.get_events` at the caller's gateway (WAMP #pubsub-event-history)."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from gateway_harness import REALM, GatewayHarness, event
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import (
    Audience,
    Call,
    Event,
    HistoryPage,
    Identity,
    Publish,
    ReadHistory,
    Subscribed,
)
from fox_shard.backplane.frames import Subscribe as SubscribeFrame
from fox_shard.documents import payloads
from fox_shard.errors import InvalidArgument
from fox_shard.gateway.procedures.history_query import (
    GET_EVENTS,
    MAX_EVENTS,
    Query,
    read_query,
    time_of,
)
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.topics.ids import EPOCH, MAX_ID, SHARDS, TICKS
from fox_shard.topics.pattern import Pattern

SECOND = SHARDS * TICKS


class Asking:
    """A session that has subscribed, at a gateway of two shards, and the answers to its calls."""

    def __init__(self, pattern="*#", options=None, **settings):
        self.harness = GatewayHarness(**settings)
        self.session = self.harness.session()
        self.answers = []
        self.session.result = lambda frame: self.answers.append(self.read(frame))
        self.session.call_error = lambda frame: self.answers.append(self.read(frame))
        self.request = 0
        self.subscribe(self.session, pattern, options or SubscribeOptions())

    @staticmethod
    def read(frame):
        args, kwargs = payloads.decode(frame.encoding, frame.args, frame.kwargs)
        return (getattr(frame, "uri", "") or "result", args, kwargs)

    def subscribe(self, session, text, options):
        harness = self.harness
        pattern = Pattern.parse(text)
        harness.gateway.requests.subscribe(session, 1, pattern, 0, options)
        for shard in range(2):
            for frame in harness.got(f"shard-{shard}", SubscribeFrame):
                harness.say(f"shard-{shard}", Subscribed(frame.token))
        subscriptions = harness.gateway.subscriptions[REALM]
        self.subscription = next(iter(subscriptions.by_id))

    def call(self, *args, session=None, **kwargs):
        self.request += 1
        args, kwargs = payloads.encode(list(args), kwargs, payloads.JSON)
        self.harness.gateway.requests.call(
            session or self.session,
            self.request,
            GET_EVENTS,
            0,
            0,
            payloads.JSON,
            args,
            kwargs,
            None,
        )
        self.harness.turns()

    def ask(self, **kwargs):
        self.call(self.subscription, **kwargs)

    def asked(self, shard):
        return self.harness.got(f"shard-{shard}", ReadHistory)

    def answer(self, shard, *events, more=False):
        """Answer the one ReadHistory that the shard has got; return that frame."""
        (request,) = self.asked(shard)
        self.harness.say(f"shard-{shard}", HistoryPage(request.token, list(events), more))
        return request

    def ids(self):
        ((kind, (events,), _),) = self.answers
        assert kind == "result"
        return [one["publication"] for one in events]

    def error(self):
        ((uri, (sentence,), _),) = self.answers
        return uri, sentence


def at(seconds, **more):
    """Return an event published so many seconds after the epoch of publication ids."""
    return event(seconds * SECOND, **more)


# Shards and pages


def test_all_shards_of_a_pattern_are_asked_and_their_events_merged_by_id():
    asking = Asking()
    asking.ask()
    request = asking.answer(0, event(64), event(192))
    assert request == ReadHistory(1, REALM, "*#", 1, MAX_ID, MAX_EVENTS, False)
    assert asking.answers == []
    asking.answer(1, event(65), event(257))
    assert asking.ids() == [64, 65, 192, 257]
    assert asking.answers[0][2] == {"more": False}
    assert asking.harness.gateway.inquiries.idle
    assert asking.session.calls == {}


def test_an_exact_subscription_asks_the_shard_of_its_topic():
    topic = GatewayHarness().topic(1)
    asking = Asking(f"={topic}")
    asking.ask()
    assert asking.asked(0) == []
    asking.answer(1, event(65, topic))
    assert asking.ids() == [65]


def test_no_shard_gets_a_call():
    asking = Asking()
    asking.ask()
    assert [asking.harness.got(f"shard-{n}", Call) for n in range(2)] == [[], []]


def test_the_highest_ids_come_first_in_reverse():
    asking = Asking()
    asking.ask(reverse=True, limit=3)
    assert asking.answer(0, event(192), event(64)).reverse
    asking.answer(1, event(257), event(65))
    assert asking.ids() == [257, 192, 65]
    assert asking.answers[0][2] == {"more": True}


def test_a_page_is_requested_when_the_last_one_is_used_up():
    asking = Asking()
    asking.ask(limit=5)
    assert asking.answer(0, event(64), event(128), more=True).limit == 5
    asking.answer(1, event(129), more=True)
    # 64 and 128 are taken; then shard-0 might have an event before 129.
    (request,) = asking.asked(0)
    assert (request.first, request.limit, asking.asked(1)) == (129, 3, [])
    asking.harness.say("shard-0", HistoryPage(request.token, [event(640)], False))
    (request,) = asking.asked(1)
    assert (request.first, request.limit) == (130, 2)
    asking.harness.say("shard-1", HistoryPage(request.token, [], False))
    assert asking.ids() == [64, 128, 129, 640]


def test_events_that_the_caller_may_not_see_are_replaced_by_others():
    asking = Asking("=" + GatewayHarness().topic(0))
    asking.ask(limit=2, reverse=True)
    hidden = event(192, audience=Audience(exclude_authrole=["role"]))
    shown = event(128, audience=Audience(eligible_authid=["user"]))
    asking.answer(0, hidden, shown, more=True)
    request = asking.answer(0, event(64), more=True)
    assert (request.last, request.limit) == (127, 1)
    assert asking.ids() == [128, 64]


def test_the_filter_of_a_subscription_applies_to_its_history():
    asking = Asking(options=SubscribeOptions(filter=msgspec.msgpack.encode({"a": {"$gt": 1}})))
    asking.ask()
    documents = [b'[{"a":1}]', b'[{"a":2}]', b"[3]", b"\xff"]
    found = [
        Event(64 * n, Publish(REALM, "t", 1, 1, 1, 0, payloads.JSON, args))
        for n, args in enumerate(documents, 1)
    ]
    asking.answer(0, *found)
    asking.answer(1)
    assert asking.ids() == [128]


def test_an_answer_is_bounded_in_bytes():
    asking = Asking("=" + GatewayHarness().topic(0), answer_bytes=4)
    asking.ask()
    asking.answer(0, event(64), event(128), event(192))
    assert asking.ids() == [64, 128]
    assert asking.answers[0][2] == {"more": True}


def test_an_event_is_returned_with_all_its_fields():
    asking = Asking("=" + GatewayHarness().topic(0))
    asking.ask()
    publish = Publish(
        REALM, "a.b", 5, 1, 1, 0, payloads.JSON, b"[1]", b'{"k":2}', Identity("me", "role")
    )
    asking.answer(0, Event(90 * SECOND + SHARDS, publish))
    ((_, (events,), _),) = asking.answers
    assert events == [
        {
            "timestamp": "2024-01-01T00:01:30.000007Z",
            "subscription": asking.subscription,
            "publication": 90 * SECOND + SHARDS,
            "details": {
                "topic": "a.b",
                "publisher": 5,
                "publisher_authid": "me",
                "publisher_authrole": "role",
            },
            "args": [1],
            "kwargs": {"k": 2},
        }
    ]


def test_an_event_that_cannot_be_transcoded_is_left_out():
    asking = Asking("=" + GatewayHarness().topic(0))
    asking.ask()
    unreadable = Publish(REALM, "t", 1, 1, 1, 0, payloads.MSGPACK, b"\xc1")
    asking.answer(0, event(64), Event(128, unreadable))
    assert asking.ids() == [64]


# Arguments


def test_one_topic_of_a_pattern_is_read_at_its_shard():
    asking = Asking("^t")
    topic = asking.harness.topic(1)
    asking.ask(topic=topic)
    assert asking.asked(0) == []
    assert asking.answer(1).pattern == f"={topic}"
    assert asking.ids() == []


@pytest.mark.parametrize(
    "kwargs",
    [
        {"topic": "other"},
        {"from_publication": 10, "until_publication": 9},
        {"from_time": "9999-01-01T00:00:00Z"},
        {"until_time": "1999-01-01T00:00:00Z"},
    ],
)
def test_no_shard_is_asked_where_there_can_be_no_event(kwargs):
    asking = Asking("^t")
    asking.ask(**kwargs)
    assert asking.ids() == []
    assert (asking.asked(0), asking.asked(1)) == ([], [])


@pytest.mark.parametrize(
    ("kwargs", "span"),
    [
        ({}, (1, MAX_ID)),
        ({"from_publication": 5, "until_publication": 9}, (5, 9)),
        ({"after_publication": 5, "before_publication": 9}, (6, 8)),
        ({"from_publication": 5, "after_publication": 5}, (6, MAX_ID)),
        ({"from_time": "2024-01-01T00:00:02Z"}, (2 * SECOND, MAX_ID)),
        ({"before_time": "2024-01-01T01:00:02+01:00"}, (1, 2 * SECOND - 1)),
    ],
)
def test_publications_and_times_become_a_span_of_ids(kwargs, span):
    assert msgspec.convert(kwargs, Query).span == span


@given(st.integers(0, MAX_ID // 2), st.integers(-40, 40))
def test_times_are_compared_as_they_are_shown(publication, microseconds):
    shown = datetime.fromisoformat(time_of(publication))
    other = shown + timedelta(microseconds=microseconds)

    def meant(**kwargs):
        first, last = Query(**kwargs).span
        return first <= publication <= last

    publication = max(publication, 1)
    assert meant(from_time=other) is (shown >= other)
    assert meant(after_time=other) is (shown > other)
    assert meant(before_time=other) is (shown < other)
    assert meant(until_time=other) is (shown <= other)


def test_the_time_of_a_publication_id_is_shown_in_rfc_3339():
    assert time_of(0) == "2024-01-01T00:00:00.000000Z"
    now = datetime(2026, 5, 6, 7, 8, 9, tzinfo=timezone.utc)  # noqa: UP017 (as the standard says)
    assert time_of(int(now.timestamp() - EPOCH) * SECOND) == "2026-05-06T07:08:09.000000Z"


def test_whole_numbers_written_as_floats_are_integers():
    """cbor-x and msgpackr write integers beyond 32 bits as floats."""
    id_, query = read_query([2.0**40], {"limit": 5.0, "after_publication": 2.0**50})
    assert (id_, query.limit, query.after_publication) == (2**40, 5, 2**50)
    assert [type(number) for number in (id_, query.limit)] == [int, int]


# Refusals


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [
        ([], {}, "one argument"),
        (["x"], {}, "one argument"),
        ([True], {}, "one argument"),
        ([1, 2], {}, "one argument"),
        ([1.5], {}, "one argument"),
        ([1], {"limits": 1}, "`limits`"),
        ([1], {"limit": 0}, "limit"),
        ([1], {"limit": 1001}, "limit"),
        ([1], {"limit": "5"}, "limit"),
        ([1], {"reverse": 1}, "reverse"),
        ([1], {"from_time": "yesterday"}, "from_time"),
        ([1], {"from_time": "2024-01-01T00:00:00"}, "from_time"),
        ([1], {"topic": 7}, "topic"),
        ([1], {"after_publication": -1}, "after_publication"),
    ],
)
def test_a_bad_argument_is_refused_and_named(args, kwargs, named):
    with pytest.raises(InvalidArgument) as caught:
        read_query(args, kwargs)
    assert named in caught.value.message
    asking = Asking()
    asking.call(*args, **kwargs)
    assert asking.error() == ("wamp.error.invalid_argument", caught.value.message)


def test_a_subscription_of_another_session_is_unknown():
    asking = Asking()
    other = asking.harness.session()
    other.call_error = asking.session.call_error
    asking.call(asking.subscription, session=other)
    assert asking.error()[0] == "wamp.error.no_such_subscription"
    asking.answers.clear()
    asking.call(12345)
    assert asking.error()[0] == "wamp.error.no_such_subscription"


# Shards and sessions that are gone


def test_a_call_fails_at_once_if_a_shard_is_down():
    asking = Asking()
    asking.harness.kill("shard-1")
    asking.ask()
    uri, sentence = asking.error()
    assert (uri, sentence.partition(":")[0]) == ("wamp.error.unavailable", "shard-1 is down")
    assert asking.session.calls == {}


@pytest.mark.parametrize("more", [True, False])
def test_a_call_fails_if_a_shard_goes_down_before_its_last_page(more):
    asking = Asking()
    asking.ask()
    asking.answer(0, event(64), more=more)
    asking.harness.kill("shard-0")
    asking.harness.turns()
    if more:
        assert asking.error()[0] == "wamp.error.unavailable"
    else:
        asking.answer(1)
        assert asking.ids() == [64]
    assert asking.harness.gateway.inquiries.idle


def test_a_session_that_has_ended_is_not_answered():
    asking = Asking()
    asking.ask()
    asking.harness.gateway.requests.session_ended(asking.session, "gone")
    asking.answer(0, event(64))
    asking.answer(1)
    assert (asking.answers, asking.harness.gateway.inquiries.idle) == ([], True)


def test_a_cancel_has_no_effect():
    asking = Asking()
    asking.ask()
    asking.harness.gateway.requests.cancel(asking.session, asking.request, "kill")
    asking.answer(0)
    asking.answer(1)
    assert asking.ids() == []


def test_a_page_that_no_call_awaits_is_ignored():
    asking = Asking()
    asking.harness.say("shard-0", HistoryPage(77, [event(64)], more=False))
    assert asking.answers == []
