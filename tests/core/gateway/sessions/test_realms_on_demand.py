"""Realms that are made when clients want to join them."""

import pytest
from user_samples import PASSWORD, users

from fox_shard.config import Auth
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World


def world(limit, **more):
    made = World(1, auth=Auth(realms_on_demand=limit), **more)
    made.run_until(lambda: made.linked)
    return made


def joins(made, name, gateway=0):
    client = WampClient(made, gateway, name)
    made.run_until(lambda: client.inbox)
    return client if client.session else client.inbox[0][2]


def test_an_unknown_realm_is_refused_if_none_is_to_be_made():
    made = world(0)
    assert joins(made, "new") == "wamp.error.no_such_realm"
    client = MqttClient(made, 0, "c", user_name="me@new")
    made.run_until(lambda: client.closed)
    assert not client.connected


def test_a_realm_is_made_at_each_gateway_where_a_client_joins():
    made = world(2)
    one, other = joins(made, "com.new", 0), joins(made, "com.new", 1)
    device = MqttClient(made, 1, "c", user_name="me@com.new")
    elsewhere = joins(made, "realm1", 1)
    made.run_until(lambda: device.connected)
    requests = [client.subscribe("a") for client in (other, elsewhere)]
    request = device.subscribe("a")
    made.run_until(lambda: other.answer(33, requests[0]) and request in device.subscribed)
    one.publish("a", 1, retain=True)
    made.run_until(lambda: other.of(36) and device.messages)
    assert not elsewhere.of(36)
    # What is kept there is found again, whichever gateway has died.
    made.kill("gateway-0")
    made.start("gateway-0")
    made.run_until(lambda: made.linked)
    late = joins(made, "com.new", 0)
    late.subscribe("a", get_retained=True)
    made.run_until(lambda: late.of(36))


def test_there_are_so_many_at_most_and_refusals_are_counted():
    made = world(2)
    assert [joins(made, name) for name in ("a", "b")]
    assert joins(made, "c") == "wamp.error.no_such_realm"
    assert joins(made, "a").session
    assert made.gateway(0).limit_counts.totals() == {"realms_on_demand": 1}


@pytest.mark.parametrize("name", ["wamp.x", "fox", "$SYS", "a b", "a..b", "me@home", "x" * 129])
def test_a_realm_needs_a_name_that_is_legal(name):
    made = world(2)
    assert "wamp.error." in joins(made, name)
    assert set(made.gateway(0).realms) == {"realm1", "realm2"}


def test_with_users_only_their_realms_are_made():
    made = world(2, users=users())
    assert joins(made, "nobodys") == "wamp.error.no_such_realm"
    # A user of mary's realm, which is in no file.
    client = MqttClient(
        made, 0, "c", user_name="mary@example.com@other", password=PASSWORD.encode()
    )
    made.run_until(lambda: client.connected)
    assert set(made.gateway(0).realms) == {"realm1", "realm2", "other"}
