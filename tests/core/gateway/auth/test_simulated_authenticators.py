"""Authenticators in the whole simulated cluster, which answer late, die, or hang."""

import pytest

from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

REGISTER, YIELD, INVOCATION, REGISTERED, ERROR = 64, 70, 68, 65, 8
PROCEDURE = "com.example.authenticate"
RIGHT = b"open sesame"
LONGEST = 12.0
"""Seconds after which each client knows: the handshake's time, and some for the way."""


class Guard:
    """A callee that answers late, as the world's chance decides."""

    def __init__(self, world, gateway):
        self.world = world
        self.asked = 0
        self.client = WampClient(world, gateway, "realm2", self._received)
        world.run_until(lambda: self.client.session)
        request = self.client.register(PROCEDURE)
        world.run_until(lambda: self.client.answer(REGISTERED, request))

    def _received(self, message):
        if message[0] == INVOCATION:
            self.asked += 1
            _, authid, details = message[4]
            answer = {"role": f"role of {authid}"} if details["ticket"] == RIGHT.decode() else None
            late = self.world.rng.choice([0.0, 0.5, 4.0, 6.0])
            self.world.at(self.world.now + late, lambda: self._answer(message[1], answer))

    def _answer(self, number, answer):
        if not self.client.closed:
            self.client.send([YIELD, number, {}, [answer]])


def login(world, number, password):
    return MqttClient(world, number % 2, f"c{number}", user_name=f"user{number}", password=password)


def settle(world, clients):
    world.run(LONGEST)
    assert all(one.connected or one.closed for one in clients)
    for gateway in (0, 1):
        if f"gateway-{gateway}" in world.nodes:
            assert len(world.gateway(gateway).consultations) == 0


def joins(world):
    """Return (authid, role) of all sessions that an authenticator has let in."""
    return {
        (join.authid, join.authrole)
        for gateway in (0, 1)
        for join in world.gateway(gateway).registry.joins()
        if join.authprovider == "dynamic"
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fault", ["", "callee", "gateway", "shard", "client"])
def test_whoever_is_let_in_had_the_right_ticket(seed, fault):
    world = World(seed, gateways=2, shards=2, authenticator=PROCEDURE)
    world.run_until(lambda: world.linked)
    guard = Guard(world, 1)
    right = [login(world, number, RIGHT) for number in range(6)]
    wrong = [login(world, number, b"wrong") for number in range(6, 12)]
    world.run_until(lambda: guard.asked >= 3)
    stay = right + wrong
    match fault:
        case "callee":
            guard.client.wire.close()
        case "gateway":
            world.kill("gateway-1")
        case "shard":
            shard = world.gateway(0).realms["realm2"].shard_of(PROCEDURE)
            world.kill(f"shard-{shard}")
        case "client":
            for one in right[:3] + wrong[:3]:
                one.wire.close()
            stay = right[3:] + wrong[3:]
    settle(world, stay)
    assert not any(one.connected for one in wrong)
    if fault == "gateway":
        return
    names = joins(world)
    assert names <= {(f"user{number}", f"role of user{number}") for number in range(6)}
    if fault == "":
        assert {name for name, _ in names} == {
            f"user{number}" for number, one in enumerate(right) if one.connected
        }


@pytest.mark.parametrize("seed", range(4))
def test_a_function_says_who_clients_are(seed):
    world = World(seed, gateways=2, shards=2, authenticator="logins:check")

    def check(realm, authid, details):
        return "guest" if details["ticket"] == RIGHT.decode() else None

    world.functions["logins:check"] = check
    world.run_until(lambda: world.linked)
    right = [login(world, number, RIGHT) for number in range(4)]
    wrong = [login(world, number, b"wrong") for number in range(4, 8)]
    settle(world, right + wrong)
    assert all(one.connected for one in right)
    assert not any(one.connected for one in wrong)
    assert joins(world) == {(f"user{number}", "guest") for number in range(4)}


def test_without_a_callee_all_are_refused_at_once():
    world = World(1, gateways=2, shards=2, authenticator=PROCEDURE)
    world.run_until(lambda: world.linked)
    clients = [login(world, number, RIGHT) for number in range(4)]
    world.run_until(lambda: all(one.closed for one in clients))
    assert not any(one.connected for one in clients)
