"""Keys as clients see them: conditions and expiry, over gateways and restarts."""

from contextlib import closing

import pytest
from cluster import Cluster, await_true
from raw_wamp import ERROR, EVENT, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, at_gateway

FAILED = "fox.error.condition_failed"


@pytest.fixture(scope="module")
def keeper():
    """A broker that every test leaves whole."""
    cluster = Cluster()
    yield cluster
    cluster.check(())
    assert set(cluster.stop().values()) == {0}


def publish(client, topic, *args, **options):
    """The publication's id; negative, and the key's, if the condition failed."""
    client.request += 1
    client.send(PUBLISH, client.request, {"acknowledge": True, **options}, topic, list(args))
    reply = client.receive()
    if reply[0] == PUBLISHED:
        return reply[2]
    assert (reply[0], reply[4]) == (ERROR, FAILED)
    assert "the condition does not hold" in reply[5][0]
    return -reply[6]["publication"]


def key(client, topic):
    """(publication id, arguments) of the key, None if there is none."""
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
    client.do(34, reply[2], answer=35)
    return found


def test_two_at_different_gateways_compare_and_set(keeper):
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


def test_keys_expire_and_conditions_stand_over_a_killed_shard(keeper):
    with closing(at_gateway(keeper, 0)) as client:
        stays = publish(client, "keys.stays", "x", retain=3600)
        publish(client, "keys.goes", "y", retain=0.2)
        for shard in ("shard-0", "shard-1"):
            keeper.kill(shard)
            keeper.start(shard)
        keeper.await_ready()
        assert key(client, "keys.stays") == (stays, ["x"])
        await_true("the key has expired", lambda: key(client, "keys.goes") is None)
        assert publish(client, "keys.stays", retain=True, when_id=0) == -stays
        assert publish(client, "keys.stays", retain=True, when_id=stays) > stays
        assert key(client, "keys.stays") is None


def test_presence_is_a_weak_key_each(keeper):
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
