"""Roles with rules, kept by two gateways of real processes, with real clients."""

import asyncio
import subprocess
import sys

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions, RegisterOptions, SubscribeOptions
from cluster import ROOT, Cluster, write_config
from user_file import UserFile, ticket

from bench.ports import free_port

NOT_AUTHORIZED = "wamp.error.not_authorized"
ACKNOWLEDGED = PublishOptions(acknowledge=True)

CONFIG = """
[[realm]]
name = "realm1"
anonymous = true

[[realm.history]]
topic = "plant.#"

[[realm.role]]
name = "operator"
[[realm.role.rule]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
disclose = true
[[realm.role.rule]]
uri = "wamp."
match = "prefix"
allow = ["call", "subscribe"]

[[realm.role]]
name = "anonymous"
[[realm.role.rule]]
uri = "plant/#"
match = "mqtt"
allow = ["subscribe"]
[[realm.role.rule]]
uri = "plant/+/command"
match = "mqtt"
allow = []
[[realm.role.rule]]
uri = "reports."
match = "prefix"
allow = ["publish", "call", "register"]
[[realm.role.rule]]
uri = "plant.secret"
allow = []
[[realm.role.rule]]
uri = "wamp.subscription.get_events"
allow = ["call"]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    users = UserFile(folder)
    users.add("olga", "operator")
    with Cluster(config=write_config(folder, CONFIG), FOX_USERS=str(users.path)) as cluster:
        yield cluster


def olga():
    return ticket(name="olga")


async def test_wamp_clients_of_both_gateways_obey_their_roles(wamp):
    operator = await wamp.join(gateway=0, authenticator=olga())
    guest = await wamp.join(gateway=1)
    everything = await guest.events("", SubscribeOptions(match="prefix"))
    plant = await guest.events("plant.", SubscribeOptions(match="prefix"))
    for topic in ("plant.secret", "plant.1.command", "elsewhere", "plant.1.state"):
        await operator.publish(topic, 1, options=ACKNOWLEDGED)
    for events in (everything, plant):
        _, _, details = await events.get()
        assert details.topic == "plant.1.state"
        # The rule of the operators discloses who they are.
        assert details.publisher_authid == "olga"
        assert events.empty()

    for topic in ("plant.secret", "plant.1.command", "elsewhere", "wamp.session.on_join"):
        with pytest.raises(ApplicationError) as caught:
            await guest.events(topic)
        assert caught.value.error == NOT_AUTHORIZED
    for attempt in (
        lambda: guest.publish("plant.1.state", 1, options=ACKNOWLEDGED),
        lambda: guest.call("wamp.session.kill_all"),
        lambda: guest.call("fox.schema.set", "{}"),
        lambda: guest.call("plant.stop"),
        lambda: guest.register(lambda: 1, "plant.stop"),
        lambda: guest.register(lambda: 1, "reports", options=RegisterOptions(match="prefix")),
    ):
        with pytest.raises(ApplicationError) as caught:
            await attempt()
        assert caught.value.error == NOT_AUTHORIZED

    history = await guest.call("wamp.subscription.get_events", plant.subscription.id)
    assert {one["details"]["topic"] for one in history.results[0]} == {"plant.1.state"}

    await operator.register(lambda: 7, "plant.stop")
    with pytest.raises(ApplicationError, match=r"may not call 'plant\.stop'"):
        await guest.call("plant.stop")
    await guest.register(lambda: 8, "reports.last")
    assert await operator.call("reports.last") == 8
    assert await operator.call("wamp.session.count") >= 2


async def test_mqtt_clients_of_both_gateways_obey_their_roles(wamp, mqtt, cluster):
    operator = await wamp.join(gateway=0, authenticator=olga())
    reports = await operator.events("reports.mqtt")
    kept = PublishOptions(acknowledge=True, retain=True)
    for topic in ("plant.secret", "plant.2.state"):
        await operator.publish(topic, 1, options=kept)

    def device():
        for gateway in (0, 1):
            peer = mqtt.connect(f"device-{gateway}", gateway=gateway)
            filters = ("plant/secret", "elsewhere/#", "$SYS/#", "#", "plant/+/command")
            assert peer.subscribe(*filters) == [0x80, 0x80, 0x80, 0, 0x80]
            assert [one[0] for one in peer.take(1)] == ["plant/2/state"]
            for qos in (0, 1, 2):
                peer.publish("plant/2/state", b"0", qos)
                peer.publish("reports/mqtt", b"%d" % qos, qos)
            assert peer.messages.empty()

    await asyncio.to_thread(device)
    got = [(await reports.get())[0] for _ in range(6)]
    assert len(got) == 6
    for name in ("gateway-0", "gateway-1"):
        counted = cluster.health(name)["refused"]["not_authorized"]
        # Four filters and three publishes; the other test counts as well.
        assert counted >= 7


@pytest.mark.parametrize("command", [["run"], ["gateway", "0"]])
def test_a_server_that_anybody_may_use_does_not_listen_on_the_network(tmp_path, command):
    open_ = {"FOX_GATEWAY_MQTT": f"0.0.0.0:{free_port()}", "FOX_GATEWAY_RAWSOCKET": "off"}
    open_ |= {"FOX_GATEWAY_WEBSOCKET": "off", "FOX_USERS": str(tmp_path / "none.toml")}
    open_["FOX_WEB_ADDRESS"] = "off"
    places = {"FOX_RUN_DIR": str(tmp_path / "run"), "FOX_DATA_DIR": str(tmp_path / "data")}
    run = subprocess.run(
        [sys.executable, "-m", "fox_shard", *command],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **open_, **places},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert "fox: Cannot listen at 0.0.0.0:" in run.stderr
    assert "[auth] open = true" in run.stderr
