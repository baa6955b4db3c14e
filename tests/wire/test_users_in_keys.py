"""Users in retained keys, with real clients at two gateways."""

import asyncio
import json

import pytest
from autobahn.wamp.auth import AuthScram
from autobahn.wamp.types import PublishOptions
from cluster import Cluster, write_config
from mqtt_peers import MqttPeers, Refused
from user_file import PASSWORD, UserFile, ticket
from wamp_peers import WampPeers

CONFIG = """
[[realm]]
name = "realm1"
users = "com.example.users.*"

[[realm.role]]
name = "admin"
[[realm.role.rule]]
uri = "com.example.users."
match = "prefix"
allow = ["publish"]

[[realm.role]]
name = "device"
[[realm.role.rule]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe"]
"""
RETAIN = PublishOptions(acknowledge=True, retain=True)


async def test_a_key_makes_a_user_at_both_gateways_until_it_is_erased(tmp_path):
    file = UserFile(tmp_path)
    file.add("root", "admin")
    printed = file.fox(
        *["add", "ann", "--realm", "realm1", "--role", "device", "--print"], line=PASSWORD + "\n"
    )
    document = json.loads(printed)
    cluster = Cluster(config=write_config(tmp_path, CONFIG), FOX_USERS=str(file.path))
    mqtt = MqttPeers(cluster)
    try:
        async with WampPeers(cluster) as wamp:
            root = await wamp.join(authenticator=ticket(name="root"), gateway=0)
            with pytest.raises(ConnectionError, match="authentication_failed"):
                await wamp.join(authenticator=ticket(name="ann"), gateway=1)
            await root.publish("com.example.users.ann", document, options=RETAIN)
            ann = await wamp.join(
                authenticator=AuthScram(authid="ann", password=PASSWORD), gateway=1
            )
            assert (ann.details.authid, ann.details.authrole) == ("ann", "device")
            seen = await asyncio.to_thread(
                mqtt.connect, "device", user="ann", password=PASSWORD, gateway=0
            )
            # A wide rule does not show verifiers.
            assert await asyncio.to_thread(seen.subscribe, "com/example/users/ann") == [128]
            left = asyncio.get_running_loop().create_future()
            ann.on("leave", lambda _, details: left.set_result(details.reason))
            await root.publish("com.example.users.ann", options=RETAIN)
            assert await asyncio.wait_for(left, 20) == "fox.close.user_removed"
            with pytest.raises(Refused, match="Bad user name or password"):
                await asyncio.to_thread(
                    mqtt.connect, "again", user="ann", password=PASSWORD, gateway=1
                )
    finally:
        mqtt.close()
        cluster.end()
