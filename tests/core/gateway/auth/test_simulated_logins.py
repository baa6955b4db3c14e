"""Logins in the whole simulated cluster, where passwords are checked in virtual time."""

import pytest
from user_samples import PASSWORD, users

from fox_shard.config import Auth
from fox_shard.testing.clients import MqttClient
from fox_shard.testing.world import World

LOGIN = {"user_name": "peter", "password": PASSWORD.encode()}


@pytest.mark.parametrize("seed", range(4))
def test_users_of_both_gateways_are_let_in_and_others_are_not(seed):
    world = World(seed, gateways=2, shards=4, users=users())
    world.run_until(lambda: world.linked)
    insiders = [MqttClient(world, gateway, f"c{gateway}", **LOGIN) for gateway in (0, 1)]
    wrong = {**LOGIN, "password": b"wrong"}
    outsiders = [MqttClient(world, gateway, f"o{gateway}", **wrong) for gateway in (0, 1)]
    insiders[0].publish("early", b"1", qos=1)
    world.run_until(lambda: all(one.connected for one in insiders))
    world.run_until(lambda: all(one.closed for one in outsiders) and insiders[0].acknowledged)
    assert not any(one.connected for one in outsiders)
    known = [
        (join.authid, join.authrole, join.authmethod)
        for gateway in (0, 1)
        for join in world.gateway(gateway).registry.joins()
    ]
    assert known == [("peter", "dev", "ticket")] * 2


def fails(world, gateway):
    client = MqttClient(world, gateway, **{**LOGIN, "password": b"wrong"})
    world.run_until(lambda: client.closed)
    world.run(0.5)


def lets_in(world, gateway):
    client = MqttClient(world, gateway, **LOGIN)
    world.run_until(lambda: client.closed or client.connected)
    return client.connected


@pytest.fixture
def guarded():
    world = World(5, gateways=3, users=users(), auth=Auth(max_failures=4))
    world.run_until(lambda: world.linked)
    return world


def test_failures_at_one_gateway_count_at_all(guarded):
    for gateway in (0, 1, 2):
        fails(guarded, gateway)
    assert lets_in(guarded, 2)
    fails(guarded, 0)
    assert [lets_in(guarded, gateway) for gateway in (0, 1, 2)] == [False] * 3
    # Those of other gateways are no failures of this one's clients in its metric.
    assert [guarded.gateway(number).authentication.failures for number in (0, 1, 2)] == [2, 1, 1]
    guarded.run(20)
    assert lets_in(guarded, 1)


def test_without_the_coordinator_each_gateway_counts_alone(guarded):
    guarded.kill("coordinator")
    guarded.run(0.1)
    for _ in range(4):
        fails(guarded, 0)
    assert not lets_in(guarded, 0)
    assert lets_in(guarded, 1)


def test_a_gateway_that_dies_while_a_password_is_checked_is_no_trouble():
    world = World(5, users=users())
    world.run_until(lambda: world.linked)
    client = MqttClient(world, 0, "c", **LOGIN)
    hashing = world.gateway(0).authentication.hashing
    world.run_until(lambda: hashing._running == 1)
    world.kill("gateway-0")
    world.run(1.0)
    assert client.closed
