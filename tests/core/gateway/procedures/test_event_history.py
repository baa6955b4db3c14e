"""`wamp.subscription.get_events` at the caller's gateway (WAMP #pubsub-event-history)."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from gateway_harness import REALM, GatewayStage, event
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import (
    Audience,
    Call,
    Event,
    Identity,
    Publish,
    Recall,
    Recalled,
    Subscribed,
)
from fox_shard.backplane.frames import Subscribe as SubscribeFrame
from fox_shard.documents import payloads
from fox_shard.errors import InvalidArgument
from fox_shard.gateway.procedures import event_history as history
from fox_shard.gateway.procedures.history_query import (
    GET_EVENTS,
    LAST,
    MOST,
    Query,
    read_query,
    time_of,
)
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS
from fox_shard.topics.pattern import Pattern

SECOND = SHARDS * TICKS


class Asking:
    """A gateway of two shards; a session that has subscribed, and what it is answered."""

    def __init__(self, pattern="*#", wish=None):
        self.stage = GatewayStage()
        self.session = self.stage.session()
        self.answers = []
        self.session.result = lambda frame: self.answers.append(self.read(frame))
        self.session.call_error = lambda frame: self.answers.append(self.read(frame))
        self.request = 0
        self.subscribe(self.session, pattern, wish or SubscribeOptions())

    @staticmethod
    def read(frame):
        args, kwargs = payloads.decode(frame.encoding, frame.args, frame.kwargs)
        return (getattr(frame, "uri", "") or "result", args, kwargs)

    def subscribe(self, session, text, wish):
        stage = self.stage
        pattern = Pattern.parse(text)
        stage.gateway.requests.subscribe(session, 1, pattern, 0, wish)
        for shard in range(2):
            for frame in stage.got(f"shard-{shard}", SubscribeFrame):
                stage.say(f"shard-{shard}", Subscribed(frame.token))
        subscriptions = stage.gateway.subscriptions[REALM]
        self.subscription = next(iter(subscriptions.by_id))

    def call(self, *args, session=None, **kwargs):
        self.request += 1
        args, kwargs = payloads.encode(list(args), kwargs, payloads.JSON)
        self.stage.gateway.requests.call(
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
        self.stage.turns()

    def ask(self, **kwargs):
        self.call(self.subscription, **kwargs)

    def asked(self, shard):
        return self.stage.got(f"shard-{shard}", Recall)

    def answer(self, shard, *events, more=False):
        """To all that the shard was asked."""
        (recall,) = self.asked(shard)
        self.stage.say(f"shard-{shard}", Recalled(recall.token, list(events), more))
        return recall

    def ids(self):
        ((kind, (events,), _),) = self.answers
        assert kind == "result"
        return [one["publication"] for one in events]

    def error(self):
        ((uri, (sentence,), _),) = self.answers
        return uri, sentence


def at(seconds, **more):
    """An event that was published so many seconds after the beginning."""
    return event(seconds * SECOND, **more)


# Asking


def test_all_shards_of_a_pattern_are_asked_and_merged_by_id():
    asking = Asking()
    asking.ask()
    recall = asking.answer(0, event(64), event(192))
    assert recall == Recall(1, REALM, "*#", 1, LAST, MOST, False)
    assert asking.answers == []
    asking.answer(1, event(65), event(257))
    assert asking.ids() == [64, 65, 192, 257]
    assert asking.answers[0][2] == {"more": False}
    assert asking.stage.gateway.recollections.idle
    assert asking.session.calls == {}


def test_an_exact_subscription_asks_the_shard_of_its_topic():
    topic = GatewayStage().topic(1)
    asking = Asking(f"={topic}")
    asking.ask()
    assert asking.asked(0) == []
    asking.answer(1, event(65, topic))
    assert asking.ids() == [65]


def test_no_shard_is_called():
    asking = Asking()
    asking.ask()
    assert [asking.stage.got(f"shard-{n}", Call) for n in range(2)] == [[], []]


def test_reversed_the_highest_ids_come_first():
    asking = Asking()
    asking.ask(reverse=True, limit=3)
    assert asking.answer(0, event(192), event(64)).reverse
    asking.answer(1, event(257), event(65))
    assert asking.ids() == [257, 192, 65]
    assert asking.answers[0][2] == {"more": True}


def test_pages_are_asked_for_as_they_are_used_up():
    asking = Asking()
    asking.ask(limit=5)
    assert asking.answer(0, event(64), event(128), more=True).limit == 5
    asking.answer(1, event(129), more=True)
    # 64 and 128 are taken; then 129 might not be the next of all.
    (recall,) = asking.asked(0)
    assert (recall.first, recall.limit, asking.asked(1)) == (129, 3, [])
    asking.stage.say("shard-0", Recalled(recall.token, [event(640)], False))
    (recall,) = asking.asked(1)
    assert (recall.first, recall.limit) == (130, 2)
    asking.stage.say("shard-1", Recalled(recall.token, [], False))
    assert asking.ids() == [64, 128, 129, 640]


def test_what_the_caller_may_not_see_is_left_out_and_others_take_its_place():
    asking = Asking("=" + GatewayStage().topic(0))
    asking.ask(limit=2, reverse=True)
    hidden = event(192, audience=Audience(exclude_authrole=["role"]))
    shown = event(128, audience=Audience(eligible_authid=["user"]))
    asking.answer(0, hidden, shown, more=True)
    recall = asking.answer(0, event(64), more=True)
    assert (recall.last, recall.limit) == (127, 1)
    assert asking.ids() == [128, 64]


def test_a_filter_holds_for_its_history():
    asking = Asking(wish=SubscribeOptions(filter=msgspec.msgpack.encode({"a": {"$gt": 1}})))
    asking.ask()
    documents = [b'[{"a":1}]', b'[{"a":2}]', b"[3]", b"\xff"]
    found = [
        Event(64 * n, Publish(REALM, "t", 1, 1, 1, 0, payloads.JSON, args))
        for n, args in enumerate(documents, 1)
    ]
    asking.answer(0, *found)
    asking.answer(1)
    assert asking.ids() == [128]


def test_an_answer_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(history, "MOST_BYTES", 4)
    asking = Asking("=" + GatewayStage().topic(0))
    asking.ask()
    asking.answer(0, event(64), event(128), event(192))
    assert asking.ids() == [64, 128]
    assert asking.answers[0][2] == {"more": True}


def test_what_an_event_looks_like():
    asking = Asking("=" + GatewayStage().topic(0))
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


def test_what_the_caller_cannot_read_is_left_out():
    asking = Asking("=" + GatewayStage().topic(0))
    asking.ask()
    unreadable = Publish(REALM, "t", 1, 1, 1, 0, payloads.MSGPACK, b"\xc1")
    asking.answer(0, event(64), Event(128, unreadable))
    assert asking.ids() == [64]


# What is asked for


def test_a_topic_of_a_pattern_is_asked_of_its_shard():
    asking = Asking("^t")
    topic = asking.stage.topic(1)
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
def test_where_there_can_be_nothing_nobody_is_asked(kwargs):
    asking = Asking("^t")
    asking.ask(**kwargs)
    assert asking.ids() == []
    assert (asking.asked(0), asking.asked(1)) == ([], [])


@pytest.mark.parametrize(
    ("kwargs", "span"),
    [
        ({}, (1, LAST)),
        ({"from_publication": 5, "until_publication": 9}, (5, 9)),
        ({"after_publication": 5, "before_publication": 9}, (6, 8)),
        ({"from_publication": 5, "after_publication": 5}, (6, LAST)),
        ({"from_time": "2024-01-01T00:00:02Z"}, (2 * SECOND, LAST)),
        ({"before_time": "2024-01-01T01:00:02+01:00"}, (1, 2 * SECOND - 1)),
    ],
)
def test_publications_and_times_are_a_span_of_ids(kwargs, span):
    assert msgspec.convert(kwargs, Query).span == span


@given(st.integers(0, LAST // 2), st.integers(-40, 40))
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


def test_the_time_of_a_publication():
    assert time_of(0) == "2024-01-01T00:00:00.000000Z"
    now = datetime(2026, 5, 6, 7, 8, 9, tzinfo=timezone.utc)  # noqa: UP017 (as the standard says)
    assert time_of(int(now.timestamp() - EPOCH) * SECOND) == "2026-05-06T07:08:09.000000Z"


# Refused


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [
        ([], {}, "one argument"),
        (["x"], {}, "one argument"),
        ([True], {}, "one argument"),
        ([1, 2], {}, "one argument"),
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
def test_what_cannot_be_meant_is_named(args, kwargs, named):
    with pytest.raises(InvalidArgument) as caught:
        read_query(args, kwargs)
    assert named in caught.value.message
    asking = Asking()
    asking.call(*args, **kwargs)
    assert asking.error() == ("wamp.error.invalid_argument", caught.value.message)


def test_a_subscription_that_the_caller_has_not_is_none():
    asking = Asking()
    other = asking.stage.session()
    other.call_error = asking.session.call_error
    asking.call(asking.subscription, session=other)
    assert asking.error()[0] == "wamp.error.no_such_subscription"
    asking.answers.clear()
    asking.call(12345)
    assert asking.error()[0] == "wamp.error.no_such_subscription"


# Who is not there


def test_a_shard_that_is_down_is_told_at_once():
    asking = Asking()
    asking.stage.kill("shard-1")
    asking.ask()
    uri, sentence = asking.error()
    assert (uri, sentence.partition(":")[0]) == ("wamp.error.unavailable", "shard-1 is down")
    assert asking.session.calls == {}


@pytest.mark.parametrize("more", [True, False])
def test_a_shard_that_goes_down_is_told_if_it_had_more_to_say(more):
    asking = Asking()
    asking.ask()
    asking.answer(0, event(64), more=more)
    asking.stage.kill("shard-0")
    asking.stage.turns()
    if more:
        assert asking.error()[0] == "wamp.error.unavailable"
    else:
        asking.answer(1)
        assert asking.ids() == [64]
    assert asking.stage.gateway.recollections.idle


def test_who_has_gone_is_not_answered():
    asking = Asking()
    asking.ask()
    asking.stage.gateway.requests.detach(asking.session, "gone")
    asking.answer(0, event(64))
    asking.answer(1)
    assert (asking.answers, asking.stage.gateway.recollections.idle) == ([], True)


def test_a_cancel_does_not_matter():
    asking = Asking()
    asking.ask()
    asking.stage.gateway.requests.cancel(asking.session, asking.request, "kill")
    asking.answer(0)
    asking.answer(1)
    assert asking.ids() == []


def test_an_answer_to_nobody_is_ignored():
    asking = Asking()
    asking.stage.say("shard-0", Recalled(77, [event(64)], more=False))
    assert asking.answers == []
