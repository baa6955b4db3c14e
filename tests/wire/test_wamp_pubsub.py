"""Publish and subscribe between autobahn-python sessions (WAMP #publish-and-subscribe)."""

import asyncio
import re
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from uuid import UUID

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions, SubscribeOptions
from raw_wamp import PUBLISH, PUBLISHED, RawWamp
from wamp_peers import KINDS

ACKNOWLEDGE = PublishOptions(acknowledge=True)
EVERYTHING = [None, True, 0, -1, 2**53, 1.5, "ä€𝄞", [], {}, [[1], {"a": {"b": None}}]]


async def publish(session, topic, *args, **kwargs):
    """Publish with acknowledgement, or with other `options`; return the Publication."""
    kwargs.setdefault("options", ACKNOWLEDGE)
    return await session.publish(topic, *args, **kwargs)


def drained(queue):
    """Return the args of all events that have arrived."""
    return [queue.get_nowait()[0] for _ in range(queue.qsize())]


async def settle(publisher, *subscribers):
    """Wait until everything published before has arrived, by an event sent after it."""
    topic = f"settle.{publisher.details.session}"
    queues = [await subscriber.events(topic) for subscriber in subscribers]
    await publish(publisher, topic, options=PublishOptions(acknowledge=True, exclude_me=False))
    for queue in queues:
        await queue.get()
        await queue.subscription.unsubscribe()


@pytest.mark.parametrize(("transport", "serializer"), KINDS)
async def test_an_event_reaches_every_kind_of_subscriber_as_it_was_sent(
    wamp, transport, serializer
):
    publisher = await wamp.join(transport, serializer, gateway=0)
    subscribers = [await wamp.join(*kind, gateway=1) for kind in KINDS]
    queues = [await subscriber.events("kinds.topic") for subscriber in subscribers]
    publication = await publish(publisher, "kinds.topic", *EVERYTHING, k="v", n={"x": [1]})
    for queue in queues:
        args, kwargs, details = await queue.get()
        assert list(args) == EVERYTHING
        assert kwargs == {"k": "v", "n": {"x": [1]}}
        assert details.publication == publication.id


@pytest.mark.parametrize(("transport", "serializer"), KINDS)
async def test_binary_arguments_arrive_as_they_were_sent(wamp, transport, serializer):
    publisher, other = await wamp.two(transport, serializer)
    queue = await other.events("binary.topic")
    data = bytes(range(256))
    publisher.publish("binary.topic", data, [data])
    assert (await queue.get())[0] == (data, [data])


async def test_a_compressed_connection_carries_large_events(wamp):
    publisher = await wamp.join(gateway=0, deflate=True)
    subscriber = await wamp.join(gateway=1, deflate=True)
    queue = await subscriber.events("deflate.topic")
    text = "compress me " * 100_000
    await publish(publisher, "deflate.topic", text)
    assert (await queue.get())[0] == (text,)


@pytest.mark.parametrize("path", ["/", "/ws", "/wss", "/wamp"])
async def test_wamp_is_spoken_at_these_paths(wamp, path):
    session = await wamp.join(path=path)
    assert session.details.realm == "realm1"


@pytest.mark.parametrize(
    ("match", "pattern", "matching", "others"),
    [
        ("exact", "p1.a.b", ["p1.a.b"], ["p1.a", "p1.a.b.c"]),
        ("prefix", "p2.a", ["p2.a", "p2.a.b", "p2.abc.d"], ["p2.b", "p2"]),
        ("wildcard", "p3..b", ["p3.x.b", "p3.y.b"], ["p3.x.c", "p3.x.b.c", "p3.b"]),
        ("wildcard", "p4.a.", ["p4.a.x", "p4.a.y"], ["p4.a", "p4.a.x.y"]),
        ("exact", "p5.*.b", ["p5.x.b"], ["p5.x.c"]),
    ],
)
async def test_a_pattern_gets_the_topics_it_matches(wamp, match, pattern, matching, others):
    """WAMP #pattern-based-subscription."""
    publisher, subscriber = await wamp.two()
    queue = await subscriber.events(pattern, SubscribeOptions(match=match))
    for topic in [*others, *matching]:
        publisher.publish(topic, topic)
    for topic in matching:
        args, _, details = await queue.get()
        assert args == (topic,)
        if pattern != topic:
            assert details.topic == topic
    await settle(publisher, subscriber)
    assert queue.empty()


async def test_a_session_gets_an_event_once_for_each_of_its_subscriptions(wamp):
    publisher, subscriber = await wamp.two("rawsocket", "msgpack")
    exact = await subscriber.events("twice.a.b")
    prefix = await subscriber.events("twice", SubscribeOptions(match="prefix"))
    publication = await publish(publisher, "twice.a.b", 1)
    for queue in (exact, prefix):
        args, _, details = await queue.get()
        assert args == (1,)
        assert details.publication == publication.id


async def test_the_publisher_is_excluded_unless_exclude_me_is_false(wamp):
    """WAMP #pubsub-pub-exclusion."""
    session = await wamp.join()
    queue = await session.events("exclusion.topic")
    await publish(session, "exclusion.topic", "not for me")
    option = PublishOptions(acknowledge=True, exclude_me=False)
    await publish(session, "exclusion.topic", "for me too", options=option)
    assert (await queue.get())[0] == ("for me too",)


async def test_events_go_to_eligible_and_not_to_excluded_sessions(wamp):
    """WAMP #pubsub-bw-listing."""
    publisher, first = await wamp.two()
    second, third = await wamp.two("rawsocket", "cbor")
    receivers = [first, second, third]
    queues = [await receiver.events("listing.topic") for receiver in receivers]
    ids = [receiver.details.session for receiver in receivers]
    cases = [
        ("all", {}, [0, 1, 2]),
        ("one", {"eligible": [ids[1]]}, [1]),
        ("not one", {"exclude": [ids[1]]}, [0, 2]),
        ("exclusion wins", {"eligible": ids[:2], "exclude": ids[:1]}, [1]),
        ("nobody", {"eligible": []}, []),
        ("by role", {"exclude_authrole": "anonymous"}, []),
        ("by other role", {"exclude_authrole": "admin"}, [0, 1, 2]),
        ("eligible role", {"eligible_authrole": "anonymous"}, [0, 1, 2]),
    ]
    for name, options, _ in cases:
        await publish(
            publisher, "listing.topic", name, options=PublishOptions(acknowledge=True, **options)
        )
    await settle(publisher, *receivers)
    for number, queue in enumerate(queues):
        assert drained(queue) == [(name,) for name, _, gets in cases if number in gets]


async def test_a_publisher_is_disclosed_if_it_asks_for_that(wamp, cluster):
    """WAMP #pubsub-pub-identification. A raw client asks for it, because autobahn-python cannot."""
    with closing(RawWamp(cluster.rawsocket)) as publisher:
        subscriber = await wamp.join()
        queue = await subscriber.events("disclosure.topic")
        publisher.do(PUBLISH, {"acknowledge": True}, "disclosure.topic", answer=PUBLISHED)
        assert (await queue.get())[2].publisher is None
        options = {"acknowledge": True, "disclose_me": True}
        publisher.do(PUBLISH, options, "disclosure.topic", answer=PUBLISHED)
        details = (await queue.get())[2]
        assert details.publisher == publisher.session
        assert details.publisher_authrole == "anonymous"


async def test_a_refused_publish_is_answered_and_the_session_goes_on(wamp):
    session = await wamp.join()
    for topic in ("wamp.topic", "fox.topic", "$SYS.topic"):
        with pytest.raises(ApplicationError) as caught:
            await publish(session, topic)
        assert caught.value.error == "wamp.error.invalid_uri"
    assert (await publish(session, "good.topic")).id


async def test_no_event_comes_after_unsubscribed(wamp):
    publisher, subscriber = await wamp.two()
    queue = await subscriber.events("unsubscribe.topic")
    await publish(publisher, "unsubscribe.topic", 1)
    assert (await queue.get())[0] == (1,)
    await queue.subscription.unsubscribe()
    await publish(publisher, "unsubscribe.topic", 2)
    await settle(publisher, subscriber)
    assert queue.empty()


@pytest.mark.cites("advanced.pubsub_event_retention.7")
async def test_a_retained_event_is_shown_to_subscribers_that_ask_for_it(wamp):
    """WAMP #pubsub-event-retention."""
    publisher, subscriber = await wamp.two()
    await publish(
        publisher, "kept.topic", "kept", options=PublishOptions(acknowledge=True, retain=True)
    )
    plain = await subscriber.events("kept.topic")
    asked = await publisher.events("kept.topic", SubscribeOptions(get_retained=True))
    args, _, details = await asked.get()
    assert args == ("kept",)
    assert details.retained is True
    pattern = await subscriber.events("kept.t", SubscribeOptions(match="prefix", get_retained=True))
    args, _, details = await pattern.get()
    assert (args, details.topic) == (("kept",), "kept.topic")
    await publish(publisher, "kept.topic", options=PublishOptions(acknowledge=True, retain=True))
    assert (await plain.get())[0] == ()
    late = await (await wamp.join()).events("kept.topic", SubscribeOptions(get_retained=True))
    await publish(publisher, "kept.topic", "live")
    args, _, details = await late.get()
    assert args == ("live",)
    assert not details.retained


async def test_one_session_may_have_a_thousand_subscriptions(wamp):
    publisher, subscriber = await wamp.two("rawsocket", "msgpack")
    queues = await asyncio.gather(
        *(subscriber.events(f"many.t{number}") for number in range(1000)),
    )
    for number in range(1000):
        publisher.publish(f"many.t{number}", number)
    assert [(await queue.get())[0] for queue in queues] == [(number,) for number in range(1000)]
    await asyncio.gather(*(queue.subscription.unsubscribe() for queue in queues))


ONLY_CBOR = [
    Decimal("12.345"),
    Fraction(1, 3),
    {1, 2},
    UUID(int=7),
    IPv4Address("127.0.0.1"),
    date(2026, 11, 28),
    re.compile("a.*"),
]
"""What autobahn-python's CBOR writes with tags that no other serializer knows."""


async def test_what_only_cbor_can_express_reaches_cbor_clients(wamp):
    publisher = await wamp.join("websocket", "cbor", gateway=0)
    same, json = await wamp.join("websocket", "cbor", gateway=1), await wamp.join(gateway=1)
    queue, other = [await session.events("cbor.only") for session in (same, json)]
    await publisher.publish("cbor.only", *ONLY_CBOR, options=ACKNOWLEDGE)
    moment = datetime(2026, 11, 28, tzinfo=UTC)
    await publisher.publish("cbor.only", moment, 2**70, options=ACKNOWLEDGE)
    assert (await queue.get())[0] == tuple(ONLY_CBOR)
    assert (await queue.get())[0] == (moment, 2**70)
    # The other one misses the first event, and goes on.
    assert (await other.get())[0] == ("2026-11-28T00:00:00Z", 2**70)
    await same.register(lambda: ONLY_CBOR[0], "cbor.decimal")
    assert await publisher.call("cbor.decimal") == ONLY_CBOR[0]
    with pytest.raises(ApplicationError, match="invalid_payload"):
        await json.call("cbor.decimal")
