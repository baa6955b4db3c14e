"""Schemas on their way to the shards, while any process is killed at any step."""

from random import Random

import pytest

from fox_shard.backplane.frames import ActiveTables, DefineTables, TablesDefined
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.gateway.core import Gateway
from fox_shard.shard.core import Shard
from fox_shard.tables.schema import TableSet
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

KINDS = (DefineTables, TablesDefined, ActiveTables)
KEY = {"properties": {"id": {"type": "string"}}, "primary_key": ["id"]}
ONE, TWO = {"a": KEY}, {"a": KEY, "b": KEY}
REALM = "realm1"


def some_now(numbers, every):
    """Leave all but every so-and-so-many of the tests to `make test-all`."""
    more = pytest.mark.more
    return [n if n % every == 0 else pytest.param(n, marks=more) for n in numbers]


def nodes(world, kind):
    return [node for node in world.nodes.values() if isinstance(node, kind)]


def steps_taken(world):
    """Return how many frames about schemas have arrived anywhere."""
    return sum(
        isinstance(frame, KINDS)
        for _, _, batch in world.trace.entries
        if batch and not isinstance(batch, str)
        for frame in batch.frames
    )


def check_order(world):
    """Check that nobody is ahead of those that have to know first."""
    shards = [shard.definitions for shard in nodes(world, Shard)]
    active = [definitions.version_of(REALM) for definitions in shards]
    stored = [definitions.stored_version_of(REALM) for definitions in shards]
    assert max(active, default=0) <= min(stored, default=0)
    if len(shards) == 2:
        for gateway in nodes(world, Gateway):
            assert gateway.realms[REALM].tables_version <= min(active)


def known(world):
    """Return the tables that each process knows."""
    gateways = [[*node.realms[REALM].tables.tables] for node in nodes(world, Gateway)]
    return known_to_shards(world) + gateways


def known_to_shards(world):
    return [[*node.definitions.of(REALM).tables] for node in nodes(world, Shard)]


def run_checked(world, holds, limit=60.0):
    def holds_in_order():
        check_order(world)
        return holds()

    world.run_until(holds_in_order, limit)


def everybody_knows(world, schema):
    return (
        len(world.nodes) == len(world.names)
        and world.linked
        and all(tables == [*schema] for tables in known(world))
    )


@pytest.mark.parametrize("victim", ["coordinator", "shard-0", "shard-1", "gateway-0"])
@pytest.mark.parametrize("step", some_now(range(14), 3))
def test_a_schema_gets_everywhere_whoever_dies_at_any_step(victim, step):
    seed = 100 * step + len(victim)
    rng = Random(seed)
    world = World(seed, schemas={REALM: TableSet.parse(ONE).text})
    run_checked(world, lambda: everybody_knows(world, ONE))
    client = WampClient(world, 1)
    world.run_until(lambda: client.session)
    world.trace.entries.clear()
    request = client.request(48, {}, "fox.schema.set", [TWO])
    try:
        run_checked(world, lambda: steps_taken(world) >= step, limit=5.0)
    except AssertionError:
        # Fewer frames were needed, as some of them shared a link.
        assert everybody_knows(world, TWO)
    world.kill(victim)
    run_checked(world, lambda: rng.random() < 0.02)
    world.start(victim)
    run_checked(world, lambda: client.answer(50, request) or client.answer(8, request))
    if answer := client.answer(50, request):
        assert all(tables == [*TWO] for tables in known_to_shards(world))
        assert answer[3] == [2]
    else:
        assert client.answer(8, request)[4] == "wamp.error.unavailable"
    # If the coordinator died before its store had the schema, it is set again.
    world.run(1)
    if not any(TWO.keys() == set(tables) for tables in known(world)):
        request = client.request(48, {}, "fox.schema.set", [TWO])
    run_checked(world, lambda: everybody_knows(world, TWO))


@pytest.mark.parametrize("seed", some_now(range(20), 4))
def test_schemas_get_everywhere_while_everything_dies(seed):
    rng = Random(seed)
    world = World(seed, shards=3, schemas={REALM: TableSet.parse(ONE).text})
    for round_ in range(6):
        world.schemas[REALM] = TableSet.parse({f"t{round_}": KEY}).text
        victims = rng.sample(world.names, rng.randint(1, 3))
        for name in {*victims, "coordinator"}:
            if name in world.nodes:
                world.kill(name)
        world.run(rng.random() * 3)
        for name in world.names:
            if name not in world.nodes:
                world.start(name)
        world.run(rng.random() * 0.2)
    world.run_until(lambda: everybody_knows(world, {"t5": KEY}), 90.0)
    (coordinator,) = nodes(world, CoordinatorNode)
    assert coordinator.core.schemas.replay() == [
        DefineTables(REALM, versions_of(world).pop(), world.schemas[REALM], active=True)
    ]


def versions_of(world):
    found = {node.definitions.version_of(REALM) for node in nodes(world, Shard)}
    assert len(found) == 1
    return found


@pytest.fixture
def world():
    world = World(seed=7, schemas={REALM: TableSet.parse(ONE).text})
    world.run_until(lambda: everybody_knows(world, ONE))
    return world


def answered(world, client, code, request):
    world.run_until(lambda: client.answer(code, request) or client.answer(8, request))
    return client.answer(code, request) or client.answer(8, request)


def test_a_row_is_a_key_below_the_table_whoever_publishes(world):
    watcher, publisher, device = WampClient(world, 0), WampClient(world, 1), MqttClient(world, 1)
    world.run_until(lambda: watcher.session and publisher.session and device.connected)
    request = watcher.request(32, {}, "a")
    assert answered(world, watcher, 33, request)[0] == 33
    request = publisher.request(16, {"acknowledge": True}, "a", [], {"id": "x.y"})
    assert answered(world, publisher, 17, request)[0] == 17
    device.publish("a", b'{"id": "ON"}', qos=1)
    world.run_until(lambda: device.acknowledged)
    world.run(1)
    topics = sorted(event[3].get("topic") for event in watcher.of(36))
    assert topics == ["a.ON", "a.x%2Ey"]
    late = WampClient(world, 1)
    world.run_until(lambda: late.session)
    request = late.request(32, {"get_retained": True}, "a")
    answered(world, late, 33, request)
    world.run_until(lambda: len(late.of(36)) == 2)


def test_a_row_without_its_key_is_refused(world):
    publisher = WampClient(world, 1)
    world.run_until(lambda: publisher.session)
    request = publisher.request(16, {"acknowledge": True}, "a", [{"ID": "x"}])
    answer = answered(world, publisher, 17, request)
    assert answer[4:] == [
        "fox.error.invalid_payload",
        ["the key field id is missing; it must be a text (at $.id, rule primary_key)"],
    ]


def test_the_schema_can_be_read(world):
    client = WampClient(world, 0)
    world.run_until(lambda: client.session)
    request = client.request(48, {}, "fox.schema.get")
    assert answered(world, client, 50, request)[3:] == [[ONE], {"version": 1}]
    request = client.request(48, {}, "fox.schema.set", [{"a": {"primary_key": ["x"]}}])
    answer = answered(world, client, 50, request)
    assert answer[4] == "wamp.error.invalid_argument"
    assert "$.a.primary_key[0]" in answer[5][0]


def test_a_caller_need_not_wait_for_a_shard_that_is_away(world):
    client = WampClient(world, 0)
    world.run_until(lambda: client.session)
    world.kill("shard-1")
    request = client.request(48, {"timeout": 500}, "fox.schema.set", [TWO])
    assert answered(world, client, 50, request)[4] == "wamp.error.timeout"
    canceled = client.request(48, {}, "fox.schema.set", [TWO])
    world.run(1)
    client.send([49, canceled, {"mode": "kill"}])
    assert answered(world, client, 50, canceled)[4] == "wamp.error.canceled"
    # The schema goes on all the same.
    world.start("shard-1")
    world.run_until(lambda: everybody_knows(world, TWO))


def test_rows_are_read_over_all_shards(world):
    client = WampClient(world, 0)
    world.run_until(lambda: client.session)
    for number in range(20):
        request = client.request(16, {"acknowledge": True}, "a", [{"id": f"{number:02}"}])
        assert answered(world, client, 17, request)[0] == 17
    found, after = [], None
    for _ in range(4):
        options = {"limit": 6} if after is None else {"limit": 6, "after": after}
        request = client.request(48, {}, "fox.table.rows", ["a", options])
        _, _, _, (page,), rest = answered(world, client, 50, request)
        found += page
        after = rest["after"]
    assert (found, rest["more"]) == ([{"id": f"{number:02}"} for number in range(20)], False)
    request = client.request(48, {}, "fox.table.get", ["a", "07"])
    assert answered(world, client, 50, request)[3] == [{"id": "07"}]


@pytest.mark.parametrize("full", ["coordinator", "shard-0"])
def test_a_schema_waits_for_a_store_that_fails(world, full):
    """Nobody hears of a step that is not durable, however often its commit fails."""
    client = WampClient(world, 0)
    world.run_until(lambda: client.session)
    world.disks[full].failure = "no room"
    request = client.request(48, {}, "fox.schema.set", [TWO])
    started = world.now
    run_checked(world, lambda: world.now > started + 5)
    assert not client.answer(50, request)
    assert all(tables == [*ONE] for tables in known(world))
    stored = max(node.definitions.stored_version_of(REALM) for node in nodes(world, Shard))
    # The next transaction would make other rows durable, and must not be taken for the schema's.
    assert stored == (1 if full == "coordinator" else 2)
    world.disks[full].failure = ""
    run_checked(world, lambda: client.answer(50, request))
    assert everybody_knows(world, TWO)
