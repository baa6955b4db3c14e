"""The history of real processes: recorded events survive killed shards."""

from contextlib import closing

import pytest
from cluster import Cluster, await_true, write_config
from raw_wamp import (
    CALL,
    ERROR,
    EVENT,
    PUBLISH,
    PUBLISHED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    at_gateway,
)

GET_EVENTS = "wamp.subscription.get_events"
CONFIG = """
[[realm]]
name = "realm1"

[[realm.history]]
topic = "log.#"
max_events = 40
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    config = write_config(tmp_path_factory.mktemp("recording"), CONFIG)
    with Cluster(config=config) as cluster:
        yield cluster


def subscribe(client, topic):
    return client.do(SUBSCRIBE, {}, topic, answer=SUBSCRIBED)[2]


def get_events(client, subscription, answer=RESULT, **kwargs):
    """Call get_events and return the answer, without the live events that come before it."""
    client.request += 1
    client.send(CALL, client.request, {}, GET_EVENTS, [subscription], kwargs)
    while (reply := client.receive())[0] == EVENT:
        pass
    assert reply[0] == answer, reply
    return reply


def events(client, subscription, **kwargs):
    return get_events(client, subscription, **kwargs)[3][0]


def publish(client, topic, number, **options):
    options = {"acknowledge": True, **options}
    return client.do(PUBLISH, options, topic, [number], answer=PUBLISHED)[2]


def numbers(found):
    return [one["args"][0] for one in found]


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_recorded_events_are_read_at_the_other_gateway(cluster, serializer):
    with (
        closing(at_gateway(cluster, 0)) as writer,
        closing(at_gateway(cluster, 1, serializer)) as one,
    ):
        topics = [f"log.{serializer}.{letter}" for letter in "abcdef"]
        ids = [publish(writer, topic, n) for n, topic in enumerate(topics)]
        publish(writer, f"plain.{serializer}", 99)
        traced = publish(writer, f"plain.{serializer}", 100, trace=True)
        found = events(one, subscribe(one, f"log.{serializer}.#"))
        assert [(event["publication"], event["details"]["topic"]) for event in found] == list(
            zip(ids, topics, strict=True)
        )
        assert numbers(found) == list(range(6))
        newest = events(one, subscribe(one, f"log.{serializer}.*"), reverse=True, limit=2)
        assert numbers(newest) == [5, 4]
        between = events(
            one,
            subscribe(one, f"log.{serializer}.*"),
            from_time=found[1]["timestamp"],
            before_time=found[3]["timestamp"],
        )
        assert numbers(between) == [1, 2]
        (only,) = events(one, subscribe(one, f"plain.{serializer}"))
        assert (only["publication"], only["args"]) == (traced, [100])


def test_recorded_events_are_there_once_after_a_shard_was_killed(cluster):
    with closing(at_gateway(cluster, 0)) as writer, closing(at_gateway(cluster, 1)) as reader:
        subscription = subscribe(reader, "log.killed.#")
        ids = [publish(writer, f"log.killed.t{n % 5}", n) for n in range(30)]
        cluster.kill("shard-0")
        writer.send(PUBLISH, 1000, {"acknowledge": True}, "log.killed.t0", [30])
        writer.send(PUBLISH, 1001, {"acknowledge": True}, "log.killed.t1", [31])
        await_true(
            "the gateways know",
            lambda: cluster.health("gateway-1").get("status") != "ok",
        )
        refused = get_events(reader, subscription, ERROR)
        assert refused[4] == "wamp.error.unavailable"
        cluster.start("shard-0")
        ids += [reply[2] for reply in (writer.receive(), writer.receive())]
        cluster.await_ready()
        found = events(reader, subscription)
        assert sorted(numbers(found)) == list(range(32))
        assert [one["publication"] for one in found] == sorted(ids)


def test_a_rule_limits_the_events_that_are_kept(cluster):
    with closing(at_gateway(cluster, 0)) as writer, closing(at_gateway(cluster, 1)) as reader:
        subscription = subscribe(reader, "log.many")
        for number in range(100):
            publish(writer, "log.many", number)
        found = numbers(events(reader, subscription))
        assert found == list(range(100 - len(found), 100))
        assert 40 <= len(found) <= 45
        cluster.restart(f"shard-{cluster.shard_of('log.many')}")
        cluster.await_ready()
        assert numbers(events(reader, subscription)) == found


def follow(client, pattern, after):
    """Subscribe with `after`; return the subscription's id."""
    options = {"match": "prefix", "after": after}
    return client.do(SUBSCRIBE, options, pattern, answer=SUBSCRIBED)[2]


def followed(client, count):
    """Return (publication id, number) of the next events."""
    got = []
    while len(got) < count:
        event = client.receive()
        assert event[0] == EVENT
        got.append((event[2], event[4][0]))
    return got


def test_a_follower_goes_from_the_history_to_live_events_without_a_gap(cluster):
    """While 2,000 events are published on all shards, each follower gets each of them once."""
    count, topics = 2000, [f"flow.{n}" for n in range(20)]
    with closing(at_gateway(cluster, 0)) as writer:
        for number in range(count):
            writer.send(PUBLISH, number + 1, {"trace": True}, topics[number % 20], [number])
            if number % 200 == 100:
                with closing(at_gateway(cluster, number // 200 % 2)) as follower:
                    follow(follower, "flow.", 0)
                    some = followed(follower, number // 2)
                last = {id_ % 64: id_ for id_, _ in sorted(some)}
                with closing(at_gateway(cluster, 1)) as follower:
                    follow(follower, "flow.", list(last.values()))
                    rest = followed(follower, number + 1 - len(some))
                assert sorted(one for _, one in some + rest) == list(range(number + 1))


def test_a_follower_that_comes_back_too_late_is_told_the_oldest_id(cluster):
    with closing(at_gateway(cluster, 0)) as client:
        ids = [publish(client, "log.gap", number) for number in range(100)]
        client.request += 1
        client.send(SUBSCRIBE, client.request, {"after": ids[0]}, "log.gap")
        refusal = client.receive()
        assert (refusal[0], refusal[4]) == (ERROR, "fox.error.history_gap")
        oldest = refusal[6]["oldest"]
        assert oldest in ids
        behind = ids[ids.index(oldest) - 1]
        client.do(SUBSCRIBE, {"after": behind}, "log.gap", answer=SUBSCRIBED)
        assert followed(client, 1)[0][0] == oldest


def test_a_follower_misses_no_event_of_a_shard_that_was_killed(cluster):
    with closing(at_gateway(cluster, 0)) as writer, closing(at_gateway(cluster, 1)) as follower:
        publish(writer, "log.deadly.a", 0)
        follow(follower, "log.deadly.", 0)
        assert [number for _, number in followed(follower, 1)] == [0]
        for number in range(1, 4):
            publish(writer, "log.deadly.a", number)
            cluster.restart(f"shard-{cluster.shard_of('log.deadly.a')}")
        cluster.await_ready()
        publish(writer, "log.deadly.a", 4)
        assert [number for _, number in followed(follower, 4)] == [1, 2, 3, 4]
