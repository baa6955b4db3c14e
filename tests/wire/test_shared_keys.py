"""Keys as clients see them: conditions, expiry, owners, across gateways and restarts."""

import json
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from cluster import Cluster, await_true
from programs import of_script
from raw_wamp import (
    ERROR,
    EVENT,
    PUBLISH,
    PUBLISHED,
    SUBSCRIBE,
    SUBSCRIBED,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    at_gateway,
)

PUBLISHER = Path(__file__).with_name("publishing_client.py")
FAILED = "fox.error.condition_failed"


@pytest.fixture(scope="module")
def keeper():
    """A broker that every test leaves running and linked."""
    with Cluster() as cluster:
        yield cluster


def publish(client, topic, *args, **options):
    """Publish; return the publication id, or the negative id of the key if the condition failed."""
    client.request += 1
    client.send(PUBLISH, client.request, {"acknowledge": True, **options}, topic, list(args))
    reply = client.receive()
    if reply[0] == PUBLISHED:
        return reply[2]
    assert (reply[0], reply[4]) == (ERROR, FAILED)
    assert "the condition does not hold" in reply[5][0]
    return -reply[6]["publication"]


def key(client, topic):
    """Return (publication id, arguments) of the key, None if there is none."""
    reply = client.do(SUBSCRIBE, {"get_retained": True}, topic, answer=SUBSCRIBED)
    client.request += 1
    client.send(PUBLISH, client.request, {"exclude_me": False}, topic, ["end"])
    found = None
    while True:
        event = client.receive()
        assert event[:2] == [EVENT, reply[2]]
        if event[4] == ["end"]:
            break
        found = event[2], event[4]
    client.do(UNSUBSCRIBE, reply[2], answer=UNSUBSCRIBED)
    return found


def test_compare_and_set_holds_between_sessions_at_different_gateways(keeper):
    with closing(at_gateway(keeper, 0)) as one, closing(at_gateway(keeper, 1)) as other:
        first = publish(one, "keys.cas", 1, retain=True, when_id=0)
        assert first > 0
        assert publish(other, "keys.cas", 2, retain=True, when_id=0) == -first
        second = publish(other, "keys.cas", 2, retain=True, when_id=first)
        assert second > first
        assert key(one, "keys.cas") == (second, [2])


def test_a_condition_is_about_what_the_key_contains(keeper):
    with closing(at_gateway(keeper, 0)) as client:
        topic = "keys.contains"
        assert publish(client, topic, retain=True, when={"state": "on"}) == 0
        on = publish(client, topic, {"state": "on", "by": [1]}, retain=True, when=None)
        assert publish(client, topic, {"state": "off"}, retain=True, when=None) == -on
        assert publish(client, topic, {"state": "off"}, retain=True, when={"by": ["1"]}) == -on
        off = publish(client, topic, {"state": "off"}, retain=True, when={"by": [1.0]})
        assert key(client, topic) == (off, [{"state": "off"}])


def test_expiry_and_conditions_survive_killed_shards(keeper):
    with closing(at_gateway(keeper, 0)) as client:
        stays = publish(client, "keys.stays", "x", retain=3600)
        publish(client, "keys.goes", "y", retain=0.2)
        for shard in keeper.shard_names:
            keeper.kill(shard)
            keeper.start(shard)
        keeper.await_ready()
        assert key(client, "keys.stays") == (stays, ["x"])
        await_true("the key has expired", lambda: key(client, "keys.goes") is None)
        assert publish(client, "keys.stays", retain=True, when_id=0) == -stays
        assert publish(client, "keys.stays", retain=True, when_id=stays) > stays
        assert key(client, "keys.stays") is None


def test_a_weak_key_shows_the_presence_of_a_session(keeper):
    with closing(at_gateway(keeper, 0)) as watcher:
        with closing(at_gateway(keeper, 1)) as present:
            publish(present, "keys.presence.one", "here", retain=True, weak=True)
            assert key(watcher, "keys.presence.one")[1] == ["here"]
        await_true("it has gone", lambda: key(watcher, "keys.presence.one") is None)
        with closing(at_gateway(keeper, 1)) as present:
            publish(present, "keys.presence.one", "again", retain=True, weak=True)
            keeper.kill("gateway-1")
        await_true("it has gone", lambda: key(watcher, "keys.presence.one") is None)
        keeper.start("gateway-1")
        keeper.await_ready()


@contextmanager
def publisher(cluster, topic, argument, **options):
    """Run a process that publishes; yield the process and the publication id."""
    arguments = [str(cluster.rawsocket), topic, json.dumps(options), json.dumps(argument)]
    process = subprocess.Popen(
        [sys.executable, str(PUBLISHER), *arguments],
        env=of_script(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process, int(process.stdout.readline())
        process.kill()


def subscribe(client, topic, **options):
    return client.do(SUBSCRIBE, options, topic, answer=SUBSCRIBED)[2]


def test_a_key_takes_the_will_of_a_killed_process(keeper):
    topic = "keys.willed"
    with closing(at_gateway(keeper, 0)) as watcher:
        subscription = subscribe(watcher, topic)
        will = {"retain": True, "will": {"state": "gone"}}
        with publisher(keeper, topic, {"state": "here"}, **will) as (process, here):
            assert watcher.receive()[:3] == [EVENT, subscription, here]
            process.kill()  # SIGKILL
            event = watcher.receive()
        assert (event[:2], event[4]) == ([EVENT, subscription], [{"state": "gone"}])
        assert event[2] > here
    with closing(at_gateway(keeper, 1)) as client:
        assert key(client, topic) == (event[2], [{"state": "gone"}])


def test_a_will_that_another_publish_has_cancelled_is_not_published(keeper):
    topic = "keys.cancelled"
    with closing(at_gateway(keeper, 0)) as client:
        with publisher(keeper, topic, "here", retain=True, will="gone") as (process, _):
            later = publish(client, topic, "taken over", retain=True)
            process.kill()
        # The end has been handled when the weak key of a session that ended later is gone.
        with closing(at_gateway(keeper, 0)) as other:
            publish(other, topic + ".end", "here", retain=True, weak=True)
        await_true("it has gone", lambda: key(client, topic + ".end") is None)
        assert key(client, topic) == (later, ["taken over"])


def test_the_wills_of_a_killed_gateway_are_published_although_shards_were_killed(keeper):
    topic = "keys.both.killed"
    with closing(at_gateway(keeper, 0)) as watcher:
        subscribe(watcher, topic)
        with closing(at_gateway(keeper, 1)) as client:
            here = publish(client, topic, "here", retain=True, will=["gone", 1])
            assert watcher.receive()[2] == here
            for name in ("gateway-1", *keeper.shard_names):
                keeper.kill(name)
            for name in (*keeper.shard_names, "gateway-1"):
                keeper.start(name)
            assert watcher.receive()[4] == ["gone", 1]
        keeper.await_ready()
        assert key(watcher, topic)[1] == ["gone", 1]


@pytest.fixture
def clients(keeper):
    """Two sessions that act, one at each gateway, and one that watches."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(at_gateway(keeper, number))) for number in (0, 1, 0)]


def restart_shards(cluster):
    """Kill all shards with SIGKILL, and start them again."""
    for shard in cluster.shard_names:
        cluster.kill(shard)
        cluster.start(shard)
    cluster.await_ready()


def test_a_private_key_is_shown_to_its_session_alone(keeper, clients):
    topic = "keys.private"
    owner, other, watcher = clients
    subscribe(watcher, topic)
    mine = publish(owner, topic, "secret", retain=True, weak="private")
    refusal = other.do(PUBLISH, {"acknowledge": True, "when_id": 0}, topic, answer=ERROR)
    assert (refusal[4], refusal[6:]) == (FAILED, [])
    restart_shards(keeper)
    assert publish(owner, topic, "public", retain=True, when_id=mine) > mine
    # No event came before: the watcher did not get the private ones.
    assert watcher.receive()[4] == ["public"]
    again = publish(owner, topic, "secret", retain=True, weak="private")
    assert key(owner, topic) == (again, ["secret"])
    assert key(other, topic) is None


def test_a_sequence_is_read_in_order_and_taken_by_name(keeper, clients):
    topic = "keys.queue"
    one, other, watcher = clients
    subscription = subscribe(watcher, topic + ".", match="prefix")
    ids = [publish(client, topic, n, sequence=True) for n, client in enumerate((one, other, one))]
    assert ids == sorted(ids)
    names = [f"{topic}.~{id_:016d}" for id_ in ids]
    events = [watcher.receive() for _ in ids]
    assert [event[1:3] for event in events] == [[subscription, id_] for id_ in ids]
    assert [event[3]["topic"] for event in events] == names
    restart_shards(keeper)
    for number, (id_, name) in enumerate(zip(ids, names, strict=True)):
        assert key(other, name) == (id_, [number])
    # If two sessions take the same element, one of them succeeds.
    assert publish(one, names[0], retain=True, when_id=ids[0]) > 0
    assert publish(other, names[0], retain=True, when_id=ids[0]) == 0


def test_patches_of_several_clients_are_merged(keeper, clients):
    topic = "keys.patched"
    one, other, watcher = clients
    subscribe(watcher, topic)
    publish(one, topic, {"a": 1, "b": {"c": 2}}, retain=True)
    publish(other, topic, {"b": {"c": None, "d": 3}}, retain=True, patch=True)
    last = publish(one, topic, {"a": None}, retain=True, patch=True)
    documents = [watcher.receive()[4] for _ in range(3)]
    assert documents[1:] == [[{"a": 1, "b": {"d": 3}}], [{"b": {"d": 3}}]]
    patch = {"acknowledge": True, "retain": True, "patch": True}
    refusal = one.do(PUBLISH, patch, topic, [1], answer=ERROR)
    assert refusal[4] == "fox.error.invalid_payload"
    assert key(other, topic) == (last, [{"b": {"d": 3}}])
