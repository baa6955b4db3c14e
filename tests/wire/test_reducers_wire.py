"""Reducers of autobahn-python and autobahn-js, events of MQTT clients, and `fox reducers`."""

import asyncio
import json
import sys

import node
import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions
from cluster import ROOT
from programs import Fox
from wamp_peers import SERIALIZERS

sys.path.insert(0, str(ROOT / "examples"))
from keys import ReducerOptions, StateOptions

ACKNOWLEDGE = PublishOptions(acknowledge=True)


async def values(session, prefix):
    """Return a queue of (topic, value) of the keys with that prefix, as they change."""
    queue = asyncio.Queue()

    def on_change(*args, details):
        queue.put_nowait((details.topic, *args))

    await session.subscribe(on_change, prefix, StateOptions(match="prefix"))
    return queue


async def until(queue, *expected):
    """Read from the queue until all of these have come last of their topics."""
    last = {}
    while not all(last.get(topic) == value for topic, value in expected):
        topic, *value = await queue.get()
        last[topic] = value[0] if value else None


def add(*args, details, **kwargs):
    return (details.retained or 0) + (args[0] if args else kwargs["value"])


@pytest.mark.parametrize("serializer", SERIALIZERS)
async def test_a_reducer_folds_events_into_its_topics_keys(wamp, serializer):
    reducing = await wamp.join(serializer=serializer)
    publishing = await wamp.join()
    topic = f"fold.{serializer}"
    await reducing.register(add, topic, ReducerOptions("prefix"))
    changes = await values(publishing, topic)
    for number in range(1, 11):
        await publishing.publish(f"{topic}.a", number, options=ACKNOWLEDGE)
        await publishing.publish(f"{topic}.b", value=-number, options=ACKNOWLEDGE)
    await until(changes, (f"{topic}.a", 55), (f"{topic}.b", -55))


async def test_events_of_mqtt_clients_are_reduced(wamp, mqtt):
    reducing = await wamp.join()
    seen = asyncio.Queue()

    def longest(*args, details):
        seen.put_nowait((details.topic, details.retained, args))
        return max(details.retained or 0.0, args[0])

    await reducing.register(longest, "meter..power", ReducerOptions("wildcard", durable="longest"))
    changes = await values(reducing, "meter")
    client = await asyncio.to_thread(mqtt.connect)
    for payload in ("21.5", "30", "7"):
        await asyncio.to_thread(client.publish, "meter/kitchen/power", payload, 1)
    await until(changes, ("meter.kitchen.power", 30))
    assert [await seen.get() for _ in range(3)] == [
        ("meter.kitchen.power", None, (21.5,)),
        ("meter.kitchen.power", 21.5, (30,)),
        ("meter.kitchen.power", 30, (7,)),
    ]


async def test_two_instances_share_the_topics_and_one_may_leave(wamp):
    instances = await wamp.two()
    publishing = await wamp.join()
    asked = {0: set(), 1: set()}
    for number, instance in enumerate(instances):

        def count(number=number, *, details):
            asked[number].add(details.topic)
            return (details.retained or 0) + 1

        await instance.register(
            lambda *_, count=count, details: count(details=details),
            "shared",
            ReducerOptions("prefix", "roundrobin", durable="shared", concurrency=2),
        )
    changes = await values(publishing, "shared")
    topics = [f"shared.{number}" for number in range(40)]
    for topic in topics:
        await publishing.publish(topic, options=ACKNOWLEDGE)
    await until(changes, *((topic, 1) for topic in topics))
    assert all(asked.values())
    assert not asked[0] & asked[1]
    await instances[0].bye()
    for topic in topics:
        await publishing.publish(topic, options=ACKNOWLEDGE)
    await until(changes, *((topic, 2) for topic in topics))


async def test_failures_are_told_and_other_events_go_on(wamp):
    reducing, publishing = await wamp.two()

    async def picky(number, details):
        if number == 2:
            raise ApplicationError("app.error.picky", "not this one")
        return [*(details.retained or []), number]

    await reducing.register(picky, "picky", ReducerOptions("prefix"))
    failures = await publishing.events("fox.reducer.failed")
    changes = await values(publishing, "picky")
    for number in (1, 2, 3):
        await publishing.publish("picky.a", number, options=ACKNOWLEDGE)
    await until(changes, ("picky.a", [1, 3]))
    args, _, _ = await failures.get()
    event = {"args": [2], "kwargs": {}}
    assert args[:2] == ("picky", "picky.a")
    assert args[3:] == ("app.error.picky", ["not this one"], event)


async def test_with_a_mission_all_topics_are_folded_into_one_key(wamp):
    reducing, publishing = await wamp.two()
    for number in range(5):
        mission = f"mission.total.{number}"
        options = ReducerOptions("prefix", mission=mission)
        await reducing.register(add, f"mission.of.{number}", options)
        changes = await values(publishing, mission)
        for topic in range(10):
            await publishing.publish(f"mission.of.{number}.{topic}", 1, options=ACKNOWLEDGE)
        await until(changes, (mission, 10))


def test_the_seeds_example_runs_as_it_is_printed(cluster):
    seen = node.run("reducer.cjs", cluster.websocket)
    assert seen == {"reduce.the.key.a": 10, "reduce.the.key.b": 7}


async def test_reducers_are_listed_by_the_command(cluster, wamp):
    reducing = await wamp.join()
    await reducing.register(
        add, "fold.listed.a", ReducerOptions(durable="mine", mission="fold.listed.sum")
    )
    await reducing.publish("fold.listed.a", 5, options=ACKNOWLEDGE)
    listed = await asyncio.to_thread(Fox(cluster).prints, "reducers", "--json")
    (found,) = [one for one in map(json.loads, listed.splitlines()) if one["durable"] == "mine"]
    assert (found["pattern"], found["mission"], found["instances"]) == (
        "fold.listed.a",
        "fold.listed.sum",
        1,
    )
    table = await asyncio.to_thread(Fox(cluster).prints, "reducers")
    assert table.splitlines()[0].split()[:3] == ["PATTERN", "FOLDED", "BY"]
    assert "fold.listed.a" in table
    await reducing.bye()
    remove = (
        "reducers",
        "remove",
        "mine",
        "--pattern",
        "fold.listed.a",
        "--mission",
        "fold.listed.sum",
    )
    await asyncio.to_thread(Fox(cluster).prints, *remove)
    listed = await asyncio.to_thread(Fox(cluster).prints, "reducers", "--json")
    assert "fold.listed.a" not in listed
