"""Attached gateways that are killed, where those that stand still are waited for very long.

So whatever ends earlier here does so because the lock of the killed process is free.
"""

import signal
import time
from contextlib import closing

import pytest
from cluster import Cluster, await_true
from raw_wamp import EVENT, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, at_gateway
from served import Served
from test_attached import attached, event, known, listen, publish

STANDSTILL = 4.0
"""Seconds, of several heartbeats."""

LONG = {"FOX_BACKPLANE_ATTACHED_TIMEOUT": "600"}


@pytest.fixture(scope="module", params=[Cluster, Served])
def server(request):
    with request.param(**LONG) as made:
        yield made


def publish_on_each_shard(server, stem):
    """Publish with acknowledgements, which wait for all gateways that have subscribers."""
    with closing(at_gateway(server, 0)) as publisher:
        for topic in server.on_each_shard(stem):
            publisher.do(PUBLISH, {"acknowledge": True}, topic, [topic], answer=PUBLISHED)


def test_nobody_waits_for_one_that_was_killed(server):
    with attached(server, 2) as gateways, closing(at_gateway(server, 0)) as watcher:
        watcher.do(SUBSCRIBE, {}, "wamp.session.on_leave", answer=SUBSCRIBED)
        clients = [one.client() for one in gateways]
        for client in clients:
            client.do(SUBSCRIBE, {"match": "prefix"}, "killed.", answer=SUBSCRIBED)
        for one in gateways:
            one.end(signal.SIGKILL)
        publish_on_each_shard(server, "killed")
        await_true("both are forgotten", lambda: not known(server))
        # The coordinator knows, too.
        ended = set()
        while not {client.session for client in clients} <= ended:
            message = watcher.receive()
            assert message[0] == EVENT
            ended.add(message[4][0])
        for client in clients:
            client.close()


def test_nobody_waits_for_one_that_was_killed_while_it_stood_still(server):
    with attached(server, 1) as (one,), closing(one.client()) as client:
        listen(client, server.on_shard(0, "stopped"))
        one.process.send_signal(signal.SIGSTOP)
        one.end(signal.SIGKILL)
        publish_on_each_shard(server, "stopped")
        await_true("it is forgotten", lambda: not known(server))


def test_one_that_stands_still_keeps_its_sessions(server):
    topic = server.on_shard(0, "still")
    with (
        attached(server, 1) as (one,),
        closing(one.client()) as client,
        closing(at_gateway(server, 0)) as publisher,
    ):
        listen(client, topic)
        one.process.send_signal(signal.SIGSTOP)
        try:
            publisher.send(PUBLISH, 1, {}, topic, ["meanwhile"])
            time.sleep(STANDSTILL)  # this is the accident: nothing is waited for
        finally:
            one.process.send_signal(signal.SIGCONT)
        assert event(client) == ["meanwhile"]
        publisher.request = 1
        publish(publisher, topic, "again")
        assert event(client) == ["again"]
