"""Meta events of registrations and subscriptions over two gateways, of which one is killed.

WAMP #registration-metapi, #subscription-metapi.
"""

import asyncio

import pytest
from autobahn.wamp.types import RegisterOptions, SubscribeOptions
from cluster import Cluster
from wamp_peers import WampPeers

STEPS = {
    "registration": ("on_create", "on_register", "on_unregister", "on_delete"),
    "subscription": ("on_create", "on_subscribe", "on_unsubscribe", "on_delete"),
}

PREFIX = "com.example.metaevents"


async def listen(session, kind):
    """Return a queue of (step, args); the steps are subscribed to one by one."""
    queue = asyncio.Queue()

    async def to(step):
        await session.subscribe(
            lambda *args: queue.put_nowait((step, list(args))), f"wamp.{kind}.{step}"
        )

    for step in STEPS[kind]:
        await to(step)
    while not queue.empty():  # of its own subscriptions
        queue.get_nowait()
    return queue


async def take(queue, count, wanted):
    """Return the next events about these ids, which others may be among."""
    found = []
    while len(found) < count:
        step, args = await queue.get()
        id_ = args[1]["id"] if step == "on_create" else args[1]
        if id_ in wanted:
            found.append((step, args[0], id_))
    return found


@pytest.fixture(scope="module")
def events_cluster():
    """A broker whose processes are killed; every test leaves it running and linked."""
    with Cluster() as cluster:
        yield cluster


async def test_listeners_are_told_once_of_what_a_killed_gateway_ends(events_cluster):
    async with WampPeers(events_cluster) as wamp:
        listener = await wamp.join(gateway=0)
        registrations = await listen(listener, "registration")
        subscriptions = await listen(listener, "subscription")
        staying, dying = await wamp.join(gateway=0), await wamp.join(gateway=1)
        here, there = staying.details.session, dying.details.session
        shared = RegisterOptions(invoke="roundrobin")
        both = await staying.register(lambda: 1, f"{PREFIX}.both", options=shared)
        await dying.register(lambda: 2, f"{PREFIX}.both", options=shared)
        one = await dying.register(
            lambda: 3, f"{PREFIX}.one", options=RegisterOptions(match="prefix")
        )
        assert await take(registrations, 5, {both.id, one.id}) == [
            ("on_create", here, both.id),
            ("on_register", here, both.id),
            ("on_register", there, both.id),
            ("on_create", there, one.id),
            ("on_register", there, one.id),
        ]
        topic = await dying.subscribe(lambda *_: None, f"{PREFIX}.topic")
        await staying.subscribe(lambda *_: None, f"{PREFIX}.topic")
        wild = await dying.subscribe(
            lambda *_: None, f"{PREFIX}..w", options=SubscribeOptions(match="wildcard")
        )
        assert await take(subscriptions, 5, {topic.id, wild.id}) == [
            ("on_create", there, topic.id),
            ("on_subscribe", there, topic.id),
            ("on_subscribe", here, topic.id),
            ("on_create", there, wild.id),
            ("on_subscribe", there, wild.id),
        ]
        events_cluster.restart("gateway-1")
        ended = await take(registrations, 3, {both.id, one.id})
        assert sorted(ended) == sorted(
            [
                ("on_unregister", there, both.id),
                ("on_unregister", there, one.id),
                ("on_delete", there, one.id),
            ]
        )
        ended = await take(subscriptions, 3, {topic.id, wild.id})
        assert sorted(ended) == sorted(
            [
                ("on_unsubscribe", there, topic.id),
                ("on_unsubscribe", there, wild.id),
                ("on_delete", there, wild.id),
            ]
        )
        await both.unregister()
        assert await take(registrations, 2, {both.id, one.id}) == [
            ("on_unregister", here, both.id),
            ("on_delete", here, both.id),
        ]
    events_cluster.await_ready()


async def test_listeners_are_told_once_of_what_happens_without_the_coordinator(events_cluster):
    async with WampPeers(events_cluster) as wamp:
        listener = await wamp.join(gateway=0)
        events = await listen(listener, "subscription")
        one = await wamp.join(gateway=1)
        mine = one.details.session
        first = await one.subscribe(lambda *_: None, f"{PREFIX}.first")
        assert len(await take(events, 2, {first.id})) == 2
        events_cluster.kill("coordinator")
        await first.unsubscribe()
        second = await one.subscribe(lambda *_: None, f"{PREFIX}.second")
        events_cluster.start("coordinator")
        assert await take(events, 4, {first.id, second.id}) == [
            ("on_unsubscribe", mine, first.id),
            ("on_delete", mine, first.id),
            ("on_create", mine, second.id),
            ("on_subscribe", mine, second.id),
        ]
        for shard in events_cluster.shard_names:
            events_cluster.kill(shard)
        for shard in events_cluster.shard_names:
            events_cluster.start(shard)
        await second.unsubscribe()
        assert await take(events, 2, {first.id, second.id}) == [
            ("on_unsubscribe", mine, second.id),
            ("on_delete", mine, second.id),
        ]
    events_cluster.await_ready()


async def test_created_is_described_as_by_the_procedure(wamp, mqtt):
    """MQTT subscriptions count; what is there already is not told, nor what is told twice."""
    listener = await wamp.join(gateway=0)
    other = await wamp.join(gateway=1)
    events = {
        kind: await listener.events(f"wamp.{kind}.on_create")
        for kind in ("registration", "subscription")
    }
    registration = await other.register(lambda: 1, f"{PREFIX}.described")
    device = await asyncio.to_thread(mqtt.connect, "meta-events-device", gateway=1)
    await asyncio.to_thread(device.subscribe, "com/example/metaevents/+")
    lookup = {"match": "wildcard"}
    subscription = await other.call("wamp.subscription.lookup", f"{PREFIX}.", lookup)
    for kind, id_ in (("registration", registration.id), ("subscription", subscription)):
        while True:
            args, _, _ = await events[kind].get()
            if args[1]["id"] == id_:
                break
        described = await other.call(f"wamp.{kind}.get", id_)
        # What changes all the time is no part of the event.
        assert args[1] == {name: described[name] for name in described if name[:2] != "x_"}
