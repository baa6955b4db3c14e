"""Testaments of real clients, over both gateways (WAMP #testament)."""

import asyncio
from contextlib import closing

import pytest
from autobahn.wamp.types import PublishOptions, SubscribeOptions
from raw_wamp import CALL, EVENT, RESULT, SUBSCRIBE, SUBSCRIBED, at_gateway

ADD = "wamp.session.add_testament"
FLUSH = "wamp.session.flush_testaments"


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize("graceful", [True, False])
async def test_testaments_are_published_in_order_when_a_session_ends(wamp, serializer, graceful):
    topic = f"testament.{serializer}.{'left' if graceful else 'lost'}"
    watcher = await wamp.join(serializer="msgpack", gateway=0)
    events = await watcher.events(topic, SubscribeOptions(match="prefix"))
    client = await wamp.join(serializer=serializer, gateway=1)
    # Topics of several shards.
    await client.call(ADD, f"{topic}.a", ["last", 1.5], {"named": ["é", None]})
    await client.call(ADD, f"{topic}.b", ["first"], {}, scope="detached")
    await client.call(ADD, f"{topic}.c", ["flushed"], {}, scope="detached")
    await client.call(FLUSH, scope="detached")
    await client.call(ADD, f"{topic}.d", ["first"], {}, scope="detached")
    if graceful:
        await client.bye()
    else:
        client._transport.abort()
    first, last = await events.get(), await events.get()
    assert first[:2] == (("first",), {})
    assert last[:2] == (("last", 1.5), {"named": ["é", None]})
    assert first[2].topic == f"{topic}.d"


async def test_the_publish_options_of_a_testament_are_honoured(wamp):
    topic = "testament.options"
    chosen, other = await wamp.two()
    details = [await one.events(topic, SubscribeOptions()) for one in (chosen, other)]
    client = await wamp.join()
    session = client.details.session
    await client.call(
        ADD,
        topic,
        ["gone"],
        {},
        publish_options={
            "retain": True,
            "disclose_me": True,
            "eligible": [chosen.details.session],
        },
    )
    await client.bye()
    args, _, event = await details[0].get()
    assert (args, event.publisher) == (("gone",), session)
    chosen.publish(topic, "end", options=PublishOptions(exclude_me=False))
    assert (await details[1].get())[0] == ("end",)


def test_testaments_of_a_killed_gateway_are_published_once(own_cluster):
    with own_cluster() as cluster:
        topics = [f"testament.killed.{number}" for number in range(8)]
        with closing(at_gateway(cluster, 0)) as watcher, closing(at_gateway(cluster, 1)) as client:
            watcher.do(SUBSCRIBE, {"match": "prefix"}, "testament.killed", answer=SUBSCRIBED)
            for topic in topics:
                client.do(CALL, {}, ADD, [topic, [topic], {}], answer=RESULT)
            cluster.restart("gateway-1")
            cluster.await_ready()
            got = [watcher.receive() for _ in topics]
            assert sorted(event[4][0] for event in got) == topics
            # Nothing comes twice: what is published now is next.
            with closing(at_gateway(cluster, 1)) as late:
                late.do(CALL, {}, ADD, ["testament.killed.late", ["late"], {}], answer=RESULT)
                late.send(6, {}, "wamp.close.close_realm")
                event = watcher.receive()
                assert (event[0], event[4]) == (EVENT, ["late"])


async def test_a_session_that_is_killed_leaves_its_testaments(wamp):
    killer, victim = await wamp.two()
    events = await killer.events("testament.by.kill")
    await victim.call(ADD, "testament.by.kill", ["over"], {})
    await killer.call("wamp.session.kill", victim.details.session)
    assert (await asyncio.wait_for(events.get(), 20))[0] == ("over",)
