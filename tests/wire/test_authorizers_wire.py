"""Authorizers, a function and a procedure, asked by two gateways of real processes."""

import asyncio

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions
from cluster import Cluster
from mqtt_peers import MqttPeers
from wamp_peers import WampPeers

NOT_AUTHORIZED = "wamp.error.not_authorized"
ACKNOWLEDGED = PublishOptions(acknowledge=True)

CONFIG = """
[[realm]]
name = "realm1"
anonymous = true

[[realm.role]]
name = "anonymous"
authorizer = "{authorizer}"
[[realm.role.rule]]
uri = "com.authorize"
allow = ["register"]
"""
FUNCTION = """
async def may(session, action, uri):
    assert session["realm"] == "realm1"
    return "secret" not in uri
"""


@pytest.fixture
def cluster_with(tmp_path):
    clusters = []

    def start(authorizer):
        (tmp_path / "conf").mkdir()
        config = tmp_path / "conf" / "fox.toml"
        config.write_text(CONFIG.format(authorizer=authorizer))
        (tmp_path / "rules.py").write_text(FUNCTION)
        clusters.append(Cluster(gateways=2, shards=2, FOX_CONFIG=str(config)))
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.end()


@pytest.mark.parametrize("authorizer", ["rules:may", "com.authorize"])
async def test_autobahn_clients_are_allowed_what_the_authorizer_allows(cluster_with, authorizer):
    async with WampPeers(cluster_with(authorizer)) as wamp:
        first, second = await wamp.join(gateway=0), await wamp.join(gateway=1)
        if authorizer == "com.authorize":

            def authorize(details, uri, action, options):
                return {"allow": "secret" not in uri, "disclose": True, "cache": True}

            # A session of its own: while a session waits for an answer, it is not read.
            callee = await wamp.join(gateway=1)
            await callee.register(authorize, "com.authorize")
        events = await second.events("a.open")
        for number in range(20):
            first.publish("a.secret", number)
            first.publish("a.open", number)
        await first.publish("a.open", 20, options=ACKNOWLEDGED)
        assert [(await events.get())[0][0] for _ in range(21)] == [*range(21)]
        for attempt in (
            lambda: second.events("a.secret"),
            lambda: second.call("a.secret"),
            lambda: second.publish("a.secret", 1, options=ACKNOWLEDGED),
            lambda: second.register(lambda: 1, "a.secret"),
        ):
            with pytest.raises(ApplicationError) as caught:
                await attempt()
            assert caught.value.error == NOT_AUTHORIZED


@pytest.mark.parametrize("authorizer", ["rules:may", "com.authorize"])
async def test_paho_clients_are_allowed_what_the_authorizer_allows(cluster_with, authorizer):
    cluster = cluster_with(authorizer)
    mqtt = MqttPeers(cluster)

    def device():
        for gateway in (0, 1):
            peer = mqtt.connect(f"device-{gateway}", gateway=gateway)
            assert peer.subscribe("a/secret", f"a/{gateway}/#", "$SYS/#") == [0x80, 0, 0x80]
            for qos in (0, 1, 2):
                peer.publish(f"a/{gateway}/secret", b"0", qos)
                peer.publish(f"a/{gateway}/open", b"%d" % qos, qos)
            assert [one[0] for one in peer.take(3)] == [f"a/{gateway}/open"] * 3
            assert peer.messages.empty()

    async with WampPeers(cluster) as wamp:
        if authorizer == "com.authorize":
            callee = await wamp.join(gateway=1)
            await callee.register(lambda _, uri, action, options: "secret" not in uri, authorizer)
        try:
            await asyncio.to_thread(device)
        finally:
            mqtt.close()
