"""Webhooks in a shard: their events wait, in order, whatever the target and the worker do."""

import pytest
from msgspec import msgpack
from reducing import PLAIN, asked, emit, number_of, reducer
from shard_harness import REALM, ShardHarness, publish, subscribe

from fox_shard.backplane.frames import (
    Event,
    NotReduced,
    Reduced,
    Refused,
    Registered,
    RegisterReducer,
    Revoked,
)
from fox_shard.config import Realm, Reducers, Webhook
from fox_shard.documents import payloads
from fox_shard.documents.payloads import JSON
from fox_shard.topics.ids import webhook_id

RETRY = "fox.error.retry"


def webhook(**more):
    return Webhook(**{"name": "w", "topic": "a.#", "url": "https://example.com/", **more})


def webhook_harness(*webhooks, **more):
    """Return a shard with webhooks in its configuration, and `configured`, its realms."""
    configured = [Realm(name=REALM, webhook=webhooks or (webhook(),))]
    harness = ShardHarness(gateways=2, realms=configured, **more)
    harness.configured = configured
    harness["gateway-1"].replay = [subscribe("*#")]
    harness.say("gateway-1", subscribe("*#"))
    return harness


def worker(session=1, name="w", *, pattern="*a.#", concurrency=100, replay=False):
    return RegisterReducer(
        REALM, session, 1, pattern, webhook_id(REALM, name), "", name, "roundrobin", concurrency,
        force=False, replay=replay, webhook=True,
    )  # fmt: skip


def work(harness, *workers):
    """Let a worker come."""
    workers = workers or (worker(),)
    harness.say("gateway-0", *workers)
    harness["gateway-0"].replay = [
        worker(one.session, one.durable, pattern=one.pattern, replay=True) for one in workers
    ]


def deliver(harness, one):
    harness.say("gateway-0", Reduced(one.invocation, JSON, b""))


def refuse(harness, one, uri, *args, **kwargs):
    encoded = payloads.encode(list(args), kwargs, JSON)
    harness.say("gateway-0", NotReduced(one.invocation, uri, JSON, *encoded))


def told(harness):
    events = [event.publish for event in harness.got("gateway-1", Event)]
    return [one for one in events if one.topic == "fox.webhook.failed"]


def waiting(harness, name="w"):
    return len(harness.shard.reducers.catalog.by_id[webhook_id(REALM, name)].arrivals)


def counts(harness):
    found = harness.shard.reducers.configured.take_counts()
    return {name.removeprefix("webhook_"): count for name, count in found.items() if count}


def test_events_wait_before_any_worker_has_ever_come_and_go_out_in_the_order_of_their_topic():
    harness = webhook_harness()
    emit(harness, 1, 2)
    emit(harness, 3, topic="a.c")
    work(harness)
    first, other = asked(harness)
    assert (number_of(first), number_of(other)) == (1, 3)
    assert first.retained is None
    deliver(harness, first)
    (second,) = asked(harness)
    assert number_of(second) == 2
    deliver(harness, second)
    deliver(harness, other)
    assert waiting(harness) == 0
    assert counts(harness) == {"delivered": 3}


def test_a_delivery_makes_and_erases_no_key():
    harness = webhook_harness()
    work(harness)
    harness.say("gateway-1", publish("a.b", session=2, flags=1 | 2, args=b'["key"]'), reliable=True)
    for one in asked(harness):
        assert one.retained is None
        deliver(harness, one)
    emit(harness, 1, topic="a.c")
    for one in asked(harness):
        harness.say("gateway-0", Reduced(one.invocation, JSON, b'["a result"]'))
    assert waiting(harness) == 0
    keys = harness.shard.retained_keys.realms[REALM].keys
    assert keys.durable_value("a.c") is None


def test_the_worker_says_when_it_wants_to_be_asked_again():
    harness = webhook_harness()
    work(harness)
    emit(harness, 1, 2)
    (one,) = asked(harness)
    refuse(harness, one, RETRY, "503 Service Unavailable", after=60)
    reducer = harness.shard.reducers.catalog.by_id[webhook_id(REALM, "w")]
    assert (len(reducer.retries), reducer.last_failure) == (1, "503 Service Unavailable")
    harness.pass_time(55, step=5)
    assert asked(harness) == []
    harness.pass_time(10, step=5)
    (again,) = asked(harness)
    assert again.event == one.event
    assert len(reducer.retries) == 0
    assert counts(harness) == {"retries": 1}


@pytest.mark.parametrize("after", [0, -5, "soon", True, None, [1]])
def test_a_delay_that_is_none_is_the_shortest_one(after):
    harness = webhook_harness()
    work(harness)
    emit(harness, 1)
    (one,) = asked(harness)
    refuse(harness, one, RETRY, after=after)
    assert asked(harness) == []
    harness.pass_time(1)
    assert len(asked(harness)) == 1


def test_an_event_that_was_given_up_is_told_and_counted_and_the_next_one_goes_out():
    harness = webhook_harness()
    harness.say("gateway-1", subscribe("=fox.webhook.failed"))
    work(harness)
    emit(harness, 1, 2)
    (one,) = asked(harness)
    refuse(harness, one, "fox.error.not_delivered", "410 Gone")
    (failure,) = told(harness)
    assert msgpack.decode(failure.args) == [
        "a.#",
        "a.b",
        one.event.publication,
        "fox.error.not_delivered",
        ["410 Gone"],
        {"args": [1], "kwargs": {}},
    ]
    assert msgpack.decode(failure.kwargs) == {"skipped": True, "match": "exact", "webhook": "w"}
    assert number_of(asked(harness)[0]) == 2
    assert counts(harness) == {"given_up": 1}


def test_a_full_queue_refuses_nobody_and_counts_what_it_does_not_take():
    harness = webhook_harness(webhook(queue_limit=2))
    emit(harness, 1, 2, 3)
    emit(harness, 4, flags=PLAIN)
    assert harness.got("gateway-1", Refused) == []
    assert waiting(harness) == 2
    assert counts(harness) == {"dropped": 2}


def test_a_queue_is_full_by_its_bytes_too():
    harness = webhook_harness(webhook(queue_bytes=4096))
    emit(harness, 1, 2, 3, 4, 5)
    assert (waiting(harness), counts(harness)) == (3, {"dropped": 2})


def test_a_full_queue_refuses_acknowledged_events_where_that_is_wanted():
    harness = webhook_harness(webhook(queue_limit=1, when_full="refuse"))
    emit(harness, 1, 2)
    emit(harness, 3, flags=PLAIN)
    (refusal,) = harness.got("gateway-1", Refused)
    assert (refusal.request, refusal.uri) == (2, "fox.error.queue_full")
    assert 'the webhook "w" (its queue_limit)' in refusal.message
    assert counts(harness) == {"dropped": 1}


def test_a_full_webhook_takes_no_room_from_reducers_and_other_webhooks():
    harness = webhook_harness(
        webhook(), webhook(name="other"), reducer=Reducers(queue_bytes=4096, queue_limit=2)
    )
    emit(harness, 1, 2, 3, 4, 5)
    assert (waiting(harness), waiting(harness, "other")) == (5, 5)
    harness.say("gateway-0", reducer(durable="d"))
    emit(harness, 6, 7)
    assert harness.got("gateway-1", Refused) == []


def test_webhooks_count_for_no_limit_of_reducers():
    harness = webhook_harness(reducer=Reducers(max_durable=1, max_reducers=1))
    harness.say("gateway-0", reducer(durable="d"))
    assert len(harness.got("gateway-0", Registered)) == 1


def test_a_killed_shard_asks_again_about_what_was_out_with_the_same_publication():
    harness = webhook_harness()
    work(harness)
    emit(harness, 1, 2)
    (one,) = asked(harness)
    harness.restart()
    harness.turns(12)
    (again,) = asked(harness)
    assert again.event.publication == one.event.publication
    deliver(harness, again)
    (second,) = asked(harness)
    assert number_of(second) == 2


def test_a_delivered_event_is_not_asked_about_after_a_restart():
    harness = webhook_harness()
    work(harness)
    emit(harness, 1)
    deliver(harness, *asked(harness))
    harness.restart()
    harness.turns(12)
    assert asked(harness) == []


def test_what_waits_for_a_webhook_that_has_another_topic_now_still_goes_out():
    harness = webhook_harness()
    emit(harness, 1)
    harness.configured[:] = [Realm(name=REALM, webhook=(webhook(topic="b.#"),))]
    harness.restart()
    harness.turns(12)
    emit(harness, 2)
    emit(harness, 3, topic="b.c")
    work(harness, worker(pattern="*b.#"))
    assert sorted(number_of(one) for one in asked(harness)) == [1, 3]


def test_what_waits_for_a_webhook_that_is_not_configured_any_more_is_dropped_and_told():
    harness = webhook_harness()
    emit(harness, 1, 2)
    harness.configured[:] = [Realm(name=REALM)]
    harness.restart()
    dropped = ("webhook_events_dropped", {"realm": REALM, "webhook": "w", "events": 2})
    assert dropped in harness.shard.notices
    harness.turns(12)
    harness.configured[:] = [Realm(name=REALM, webhook=(webhook(),))]
    harness.restart()
    harness.turns(12)
    assert waiting(harness) == 0


def test_a_shard_that_does_not_know_a_webhook_lets_nobody_post_its_events():
    harness = webhook_harness()
    harness.say("gateway-0", worker(name="unknown"))
    (refusal,) = harness.got("gateway-0", Refused)
    assert (refusal.uri, "unknown" in refusal.message) == ("wamp.error.unavailable", True)
    harness.say("gateway-0", worker(name="unknown", replay=True))
    assert len(harness.got("gateway-0", Revoked)) == 1
    emit(harness, 1)
    assert all(one.durable == "w" for one in harness.shard.reducers.catalog)
