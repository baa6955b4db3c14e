"""Consultations in the whole simulated cluster, with callees, patterns and faults."""

import pytest

from fox_shard.gateway.consulting.outcomes import Advice, Function, Procedure
from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

REGISTER, YIELD, INVOCATION, REGISTERED = 64, 70, 68, 65


def callee(world, procedure, **options):
    """Return a client that answers all invocations with their first argument and the caller."""

    def received(message):
        if message[0] == INVOCATION:
            who = message[3].get("caller_authrole")
            client.send([YIELD, message[1], {}, [[message[4][0], who]]])

    client = WampClient(world, 1, "realm1", received)
    world.run_until(lambda: client.session)
    request = client.register(procedure, disclose_caller=True, **options)
    world.run_until(lambda: client.answer(REGISTERED, request))
    return client


def consult(world, adviser, *args, timeout=5.0):
    told = []
    gateway = world.gateway(0)
    gateway.now = world.now
    gateway.consultations.consult(adviser, [*args], {}, timeout, told.append)
    world.turn(gateway.name)
    return told


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("options", [{}, {"match": "prefix"}])
def test_a_procedure_answers_the_gateway(seed, options):
    world = World(seed, gateways=2, shards=4)
    world.run_until(lambda: world.linked)
    callee(world, "com.rules", **options)
    name = "com.rules.decide" if options else "com.rules"
    several = [consult(world, Procedure("realm1", name), number) for number in range(5)]
    world.run_until(lambda: all(several))
    assert several == [[Advice([number, "fox.gateway"])] for number in range(5)]


@pytest.mark.parametrize("seed", range(4))
def test_without_a_callee_and_with_a_dead_shard_there_is_no_advice(seed):
    world = World(seed, gateways=2, shards=2)
    world.run_until(lambda: world.linked)
    missing = consult(world, Procedure("realm1", "com.rules"))
    world.run_until(lambda: missing)
    assert missing[0].why == "no_callee"
    callee(world, "com.rules")
    shard = world.gateway(0).realms["realm1"].shard_of("com.rules")
    lost = consult(world, Procedure("realm1", "com.rules"), 1)
    world.kill(f"shard-{shard}")
    world.run_until(lambda: lost)
    assert isinstance(lost[0], Advice) or lost[0].why in ("down", "timeout")


def test_a_function_answers_the_gateway():
    world = World(1)
    world.run_until(lambda: world.linked)
    world.functions["rules:decide"] = lambda number: number + 1
    told = consult(world, Function("rules:decide"), 1)
    world.run_until(lambda: told)
    assert told == [Advice(2)]
