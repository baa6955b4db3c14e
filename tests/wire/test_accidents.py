"""Processes that die or hang while clients are at work (architecture.md: When a process dies)."""

import os
import signal
from contextlib import ExitStack, closing, contextmanager

import pytest
from cluster import Cluster, await_true
from mqtt_peers import MqttPeers
from raw_wamp import (
    CALL,
    ERROR,
    EVENT,
    GOODBYE,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    YIELD,
    RawWamp,
    at_gateway,
)
from threads import Thread

PEER_TIMEOUT = 4.0
"""Seconds. On a busy machine, a gateway that gets no turn for so long ends its sessions."""


@pytest.fixture(scope="module")
def fragile():
    """A broker that every test leaves running and linked."""
    timing = {"FOX_BACKPLANE_PEER_TIMEOUT": str(PEER_TIMEOUT), "FOX_BACKPLANE_HEARTBEAT": "0.1"}
    with Cluster(**timing) as cluster:
        yield cluster


@pytest.fixture
def clients(fragile):
    """Make sessions, `clients(gateway)`, all of which are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda number: stack.enter_context(closing(at_gateway(fragile, number)))


@pytest.fixture
def devices(fragile):
    peers = MqttPeers(fragile)
    yield peers
    peers.close()


def call(caller, procedure, *args):
    caller.request += 1
    caller.send(CALL, caller.request, {}, procedure, list(args))


@contextmanager
def hanging(cluster, name):
    """Stop the process (SIGSTOP) during a `with` block."""
    pid = cluster.processes[name].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def links(cluster, name):
    return cluster.health(name).get("links", {})


def test_a_killed_gateway_ends_only_its_own_sessions(fragile, clients, devices):
    watcher, caller = clients(0), clients(0)
    watcher.do(SUBSCRIBE, {}, "accident.will", answer=SUBSCRIBED)
    watcher.do(SUBSCRIBE, {}, "wamp.session.on_leave", answer=SUBSCRIBED)
    callee = clients(1)
    callee.do(REGISTER, {}, "accident.procedure", answer=REGISTERED)
    mortal = devices.connect(
        "mortal", gateway=1, will={"topic": "accident/will", "payload": "1", "qos": 1}
    )
    call(caller, "accident.procedure")
    assert callee.receive()[0] == INVOCATION
    fragile.kill("gateway-1")
    assert mortal.lost.wait(20)
    # The call in flight fails, the will is published, and on_leave names the sessions.
    reply = caller.receive()
    assert (reply[0], reply[4]) == (ERROR, "wamp.error.canceled")
    left, will = set(), None
    while callee.session not in left or will is None:
        event = watcher.receive()
        assert event[0] == EVENT
        if len(event[4]) == 3:
            left.add(event[4][0])
        else:
            will = event[4]
    assert will == [1]
    call(caller, "accident.procedure")
    assert caller.receive()[4] == "wamp.error.no_such_procedure"
    fragile.start("gateway-1")
    fragile.await_ready()
    again = clients(1)
    again.do(REGISTER, {}, "accident.procedure", answer=REGISTERED)


def test_a_gateway_that_hung_too_long_ends_its_sessions_and_serves_new_ones(
    fragile, clients, devices
):
    watcher = clients(0)
    watcher.do(SUBSCRIBE, {}, "accident.hung", answer=SUBSCRIBED)
    hung = devices.connect("hung", gateway=1, will={"topic": "accident/hung", "payload": "1"})
    with hanging(fragile, "gateway-1"):
        assert watcher.receive()[4] == [1]
    assert hung.lost.wait(20)
    fragile.await_ready()
    clients(1).do(PUBLISH, {"acknowledge": True}, "accident.hung", [2], answer=PUBLISHED)
    assert watcher.receive()[4] == [2]


@pytest.mark.parametrize("accident", ["killed", "hanging"])
def test_no_acknowledged_event_is_lost_with_a_shard(fragile, clients, accident):
    """Events arrive at least once, and each publisher's events in order."""
    topic, count = fragile.on_shard(1, "accident.topic"), 3000
    publisher, subscriber = clients(0), clients(1)
    subscriber.do(SUBSCRIBE, {}, topic, answer=SUBSCRIBED)
    acknowledged = []

    def publish():
        for number in range(count):
            publisher.do(PUBLISH, {"acknowledge": True}, topic, [number], answer=PUBLISHED)
            acknowledged.append(number)

    thread = Thread(publish)
    await_true("some are acknowledged", lambda: len(acknowledged) > 100)
    if accident == "killed":
        fragile.restart("shard-1")
    else:
        with hanging(fragile, "shard-1"):
            await_true("it is missed", lambda: links(fragile, "gateway-0").get("shard-1") is False)
    thread.done()
    fragile.await_ready()
    assert acknowledged == list(range(count))
    got = []
    while not got or got[-1] != count - 1:
        got.append(subscriber.receive()[4][0])
    assert sorted(set(got)) == list(range(count))
    # The one event that was not known to have arrived may come again.
    assert len(got) - count <= 1


def test_calls_in_flight_at_a_killed_shard_are_answered(fragile, clients):
    procedure = fragile.on_shard(1, "accident.answered")
    callee, caller = clients(0), clients(1)
    callee.do(REGISTER, {}, procedure, answer=REGISTERED)
    for _ in range(10):
        call(caller, procedure)
    invocations = [callee.receive() for _ in range(10)]
    fragile.kill("shard-1")
    for _ in range(10):
        reply = caller.receive()
        assert (reply[0], reply[4]) == (ERROR, "wamp.error.unavailable")
    fragile.start("shard-1")
    fragile.await_ready()
    for invocation in invocations:  # too late, because the calls have been answered
        callee.send(YIELD, invocation[1], {})
    call(caller, procedure, "again")
    invocation = callee.receive()
    assert (invocation[0], invocation[4]) == (INVOCATION, ["again"])
    callee.send(YIELD, invocation[1], {}, ["done"])
    assert caller.receive() == [RESULT, caller.request, {}, ["done"]]


def test_subscriptions_of_all_kinds_and_wills_outlive_a_killed_shard(fragile, clients, devices):
    topics = fragile.on_each_shard("accident.kinds")
    subscriber, publisher = clients(0), clients(1)
    for match, pattern in [("exact", topics[1]), ("prefix", "accident.kinds")]:
        subscriber.do(SUBSCRIBE, {"match": match}, pattern, answer=SUBSCRIBED)
    device = devices.connect("outliving", gateway=0)
    device.subscribe("accident/kinds/+", qos=1)
    mortal = devices.connect(
        "outlived",
        gateway=1,
        will={"topic": topics[1].replace(".", "/"), "payload": '"will"', "qos": 1},
    )
    fragile.restart("shard-1")
    fragile.await_ready()
    for topic in topics:
        publisher.do(PUBLISH, {"acknowledge": True}, topic, ["new"], answer=PUBLISHED)
    # One for each topic, and one more for the exact subscription.
    assert [subscriber.receive()[4] for _ in range(5)] == [["new"]] * 5
    assert [payload for _, payload, _, _ in device.take(4)] == [b'"new"'] * 4
    mortal.cut()
    assert device.take(1)[0][1] == b'"will"'


def test_publishing_and_calling_go_on_without_the_coordinator(fragile, clients):
    callee, caller = clients(0), clients(1)
    callee.do(REGISTER, {}, "accident.without", answer=REGISTERED)
    callee.do(SUBSCRIBE, {}, "accident.meanwhile", answer=SUBSCRIBED)
    callee.do(SUBSCRIBE, {}, "wamp.session.on_join", answer=SUBSCRIBED)
    fragile.kill("coordinator")
    caller.do(PUBLISH, {"acknowledge": True}, "accident.meanwhile", ["x"], answer=PUBLISHED)
    while callee.receive()[4] != ["x"]:
        pass  # on_join of earlier sessions
    call(caller, "accident.without")
    invocation = callee.receive()
    callee.send(YIELD, invocation[1], {})
    assert caller.receive()[0] == RESULT
    call(caller, "wamp.session.count")
    assert caller.receive()[4] == "wamp.error.unavailable"
    newcomer = clients(0)  # joins all the same, and is announced afterwards
    fragile.start("coordinator")
    fragile.await_ready()
    joined = set()
    while newcomer.session not in joined:
        event = callee.receive()
        joined.add(event[4][0]["session"])

    def known():
        call(caller, "wamp.session.list")
        reply = caller.receive()
        return reply[0] == RESULT and {callee.session, newcomer.session} <= set(reply[3][0])

    await_true("the new coordinator knows all sessions", known)


def test_no_event_is_lost_when_the_shards_restart_one_by_one_under_load(fragile, clients):
    """All shards die, one after the other, while events pass through all of them."""
    topics = fragile.on_each_shard("accident.rolling")
    publisher, subscriber = clients(0), clients(1)
    subscriber.do(SUBSCRIBE, {"match": "prefix"}, "accident.rolling", answer=SUBSCRIBED)
    count, acknowledged = 2000, []

    def publish():
        for number in range(count):
            options = {"acknowledge": True}
            topic = topics[number % len(topics)]
            publisher.do(PUBLISH, options, topic, [number], answer=PUBLISHED)
            acknowledged.append(number)

    thread = Thread(publish)
    for shard in fragile.shard_names:
        before = len(acknowledged)
        await_true("it goes on", lambda before=before: len(acknowledged) > before + 50)
        fragile.restart(shard)
    thread.done()
    fragile.await_ready()
    got = []
    while not got or got[-1] != count - 1:
        got.append(subscriber.receive()[4][0])
    assert sorted(set(got)) == list(range(count))


def test_a_gateway_accepts_no_session_until_all_shards_are_linked(fragile):
    """So no client sees a half-empty key space."""
    fragile.kill("shard-1")
    for gateway in fragile.gateway_names:
        await_true(
            f"{gateway} misses it",
            lambda gateway=gateway: links(fragile, gateway).get("shard-1") is False,
        )
    joined = []

    def join():
        with closing(RawWamp(fragile.rawsocket)) as client:
            joined.append(client.session)

    thread = Thread(join)
    assert not joined
    fragile.start("shard-1")
    thread.done()
    assert joined
    fragile.await_ready()


def test_publishes_that_a_gateway_had_not_sent_when_it_hung_too_long_have_no_effect(
    fragile, clients
):
    """Its sessions have ended, and other sessions may have published newer values since."""
    elsewhere, topic, *_ = fragile.on_each_shard("accident.stale")
    retain = {"acknowledge": True, "retain": True}
    stale, neighbour, writer = clients(1), clients(1), clients(0)
    fragile.kill("shard-1")
    await_true("it is missed", lambda: links(fragile, "gateway-1").get("shard-1") is False)
    stale.send(PUBLISH, 1, retain, topic, ["stale"])
    # When this publish is answered, the gateway has read the one before.
    neighbour.do(PUBLISH, {"acknowledge": True}, elsewhere, answer=PUBLISHED)
    with hanging(fragile, "gateway-1"):
        fragile.start("shard-1")
        writer.do(PUBLISH, retain, topic, ["new"], answer=PUBLISHED)
    assert [message[0] for message in stale.closed()] == [GOODBYE]
    fragile.await_ready()
    again = clients(1)
    again.do(PUBLISH, {"acknowledge": True}, topic, ["behind it"], answer=PUBLISHED)
    again.do(SUBSCRIBE, {"get_retained": True}, topic, answer=SUBSCRIBED)
    assert again.receive()[4] == ["new"]
