"""Scenarios of tables and their aggregates, while processes die and disks fail.

Owns: what happens in each, and what must be true of the aggregates. Each takes a seed, and raises
AssertionError with the trace.
"""

import json
from functools import partial
from random import Random
from typing import Any, Final, final

from fox_shard.documents.payloads import document
from fox_shard.shard.core import Shard
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Document
from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import fail_disk, kill, kill_a_shard, random_fault, recover
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.recomputation import differences
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern

REALM: Final = "realm1"
TEXT: Final[dict[str, Any]] = {"type": "string"}
NUMBER: Final[dict[str, Any]] = {"type": ["number", "null"]}
DECIMAL: Final[dict[str, Any]] = {"type": ["string", "null"]}
MAYBE: Final[dict[str, Any]] = {"type": ["string", "null"]}
COUNT: Final[dict[str, Any]] = {"type": "integer"}

SHOPS: Final = ("n", "s.w", "a/b", "", "*", None)
REGIONS: Final = ("x", "y", None)


def _schema(rng: Random) -> TableSet:
    """Return a schema: two tables into one aggregate, and this one into another."""
    functions: dict[str, dict[str, Any]] = {
        "sum": {"sum": ["sum"]},
        "all": {
            "sum": ["sum", "paid"],
            "count": ["rows", "counted"],
            "min": ["low"],
            "max": ["high"],
            "avg": ["mean"],
        },
    }
    chosen = rng.choice(("sum", "all", "all"))
    fields: dict[str, str] = {"sum": "n"}
    if chosen == "all":
        fields = {"low": "n", "high": "n", "mean": "n", "counted": "n", "paid": "d", "sum": "n"}
    edge: dict[str, Any] = {"key": ["shop", "region"], "fields": fields}
    if rng.random() < 0.4:
        edge["filter"] = {"ok": True}
    edges = [edge] if rng.random() < 0.8 else [edge, {**edge, "filter": {"n": {"$gt": 5}}}]
    columns = {"id": TEXT, "shop": MAYBE, "region": MAYBE, "n": NUMBER, "d": DECIMAL, "ok": {}}
    source = {"type": "object", "properties": columns, "primary_key": ["id"]}
    results = {
        **dict.fromkeys(("sum", "low", "high", "mean"), NUMBER),
        **dict.fromkeys(("rows", "counted"), COUNT),
        "paid": DECIMAL,
    }
    into_hot = {"hot": [{"key": ["ok"], "fields": {"n": "n"}}]}
    tables: dict[str, Any] = {
        "sale": {**source, "propagate": {"total": edges, **_some(rng, into_hot)}},
        "refund": {**source, "propagate": {"total": edges[:1]}},
        "total": {
            "type": "aggregate",
            "properties": {"shop": TEXT, "region": TEXT, **results},
            "primary_key": ["shop", "region"],
            **functions[chosen],
            "propagate": {"part": [{"key": ["region"], "fields": {"sum": "sum"}}]},
        },
        "part": {
            "type": "aggregate",
            "properties": {"region": TEXT, "sum": NUMBER, "groups": COUNT},
            "primary_key": ["region"],
            "sum": ["sum"],
            "count": ["groups"],
        },
    }
    if "hot" in tables["sale"]["propagate"]:
        columns["ok"] = {"type": ["boolean", "null"]}
        tables["hot"] = {
            "type": "aggregate",
            "properties": {"ok": {"type": "boolean"}, "n": NUMBER},
            "primary_key": ["ok"],
            "max": ["n"],
        }
    if rng.random() < 0.15:
        del tables["sale"]["propagate"]["total"]
    return TableSet.parse(json.dumps(tables))


def _some(rng: Random, edges: dict[str, Any]) -> dict[str, Any]:
    return edges if rng.random() < 0.5 else {}


@final
class Publishers:
    """Clients that publish rows, and connect anew when their gateways die."""

    def __init__(self, run: Run, rows: int) -> None:
        """rows: how many there are of each table."""
        self._run = run
        self._rows = rows
        self._clients = [WampClient(run.world, n % run.world.gateways) for n in range(3)]

    def _client(self) -> WampClient | None:
        number = self._run.rng.randrange(len(self._clients))
        client = self._clients[number]
        if client.closed:
            gateway = self._run.rng.randrange(self._run.world.gateways)
            if f"gateway-{gateway}" not in self._run.world.nodes:
                return None
            client = self._clients[number] = WampClient(self._run.world, gateway)
        return client if client.session else None

    def publish(self) -> None:
        """Let a client do something to a random row."""
        client, rng = self._client(), self._run.rng
        if client is None:
            return
        table = rng.choice(("sale", "sale", "refund"))
        row: dict[str, Any] = {"id": f"r{rng.randrange(self._rows)}"}
        options: dict[str, Any] = {"acknowledge": True, "retain": True}
        what = rng.random()
        if what < 0.15:
            client.publish(f"{table}.{row['id']}", **options)
            return
        row |= self._values()
        if what < 0.3:
            for name in rng.sample(["shop", "region", "n", "d", "ok"], 3):
                del row[name]
            options["patch"] = True
        elif what < 0.35:
            row["n"] = "no number"
        elif what < 0.65:
            options |= self._options(row)
        client.publish(rng.choice((table, f"{table}.{row['id']}")), row, **options)

    def _options(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return options by which the row may not come to be, or not stay."""
        return self._run.rng.choice(
            (
                {"retain": 1},
                {"retain": 2},
                {"weak": True},
                {"will": None},
                {"will": {**row, "n": 99}},
                {"when": None},
                {"when": {"ok": True}},
            )
        )

    def _values(self) -> dict[str, Any]:
        rng = self._run.rng
        return {
            "shop": rng.choice(SHOPS),
            "region": rng.choice(REGIONS),
            "n": rng.choice((0, 1, 7, -3, 0.1, 0.2, 2.5, 10**30, None)),
            "d": rng.choice(("0.10", "0.2", "-5", "1000000000000000000.01", None)),
            "ok": rng.choice((True, False)),
        }

    def define(self, schema: TableSet) -> None:
        """Let a client set another schema."""
        client = self._client()
        if client is not None:
            client.call("fox.schema.set", json.loads(schema.text))

    def end_some(self) -> None:
        """End a session, with what is its own."""
        client = self._client()
        if client is not None:
            client.drop()


def _begin(seed: int) -> tuple[Run, Publishers, Random]:
    rng = Random(f"world {seed}")
    world = World(
        seed,
        gateways=rng.choice((1, 2)),
        shards=rng.choice((1, 2, 3, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        credit=rng.choice((2000, 8 << 20, 8 << 20)),
        schemas={REALM: _schema(rng).text},
    )
    run = Run(world)
    run.smooth = False
    publishers = Publishers(run, rng.choice((3, 30)))
    world.run_until(lambda: _all_have_tables(world))
    return run, publishers, rng


def _all_have_tables(world: World) -> bool:
    return all(gateway.realms[REALM].tables for gateway in world.gateway_cores) and all(
        shard.definitions.of(REALM) for shard in world.shard_cores
    )


def aggregates_of_rows(seed: int) -> None:
    """When all is quiet, every aggregate equals the recomputation, whatever has died or failed."""
    run, publishers, rng = _begin(seed)
    run.interleave([_publishing(publishers, rng), _faults(run, rng)], _pause(rng))
    _check(run)


def aggregates_of_other_definitions(seed: int) -> None:
    """The same if definitions change meanwhile."""
    run, publishers, rng = _begin(seed)
    changes: list[Action] = [
        partial(publishers.define, _schema(rng)) for _ in range(rng.choice((1, 2, 4)))
    ]
    run.interleave([_publishing(publishers, rng), _faults(run, rng), changes], _pause(rng))
    _check(run)


def aggregates_reach_subscribers(seed: int) -> None:
    """Whoever subscribes to an aggregate gets its last value, though shards die."""
    run, publishers, rng = _begin(seed)
    world = run.world
    clients = [WampClient(world, number) for number in range(world.gateways)]
    world.run_until(lambda: all(client.session for client in clients))
    for client in clients:
        client.subscribe("total.#")
    run.settle()
    world.run(0.5)
    faults: list[Action] = [partial(kill_a_shard, world, rng) for _ in range(rng.choice((1, 2, 4)))]
    run.interleave([_publishing(publishers, rng), faults], _pause(rng))
    _check(run)
    keys = _keys([node for node in world.nodes.values() if isinstance(node, Shard)])
    for client in clients:
        last = {
            event[3]["topic"]: event[4][0] if len(event) > 4 else None for event in client.of(36)
        }
        for topic in sorted(last.keys() | {topic for topic in keys if topic.startswith("total.")}):
            found, key = last.get(topic), keys.get(topic)
            world.check(found == key, f"{topic} is {key}, and the last event was {found}")


def _publishing(publishers: Publishers, rng: Random) -> list[Action]:
    actions: list[Action] = [publishers.publish for _ in range(rng.choice((50, 150)))]
    for _ in range(rng.choice((0, 2))):
        actions.insert(rng.randrange(len(actions)), publishers.end_some)
    return actions


def _pause(rng: Random) -> float:
    return rng.choice((0.0002, 0.002, 0.01))


def _faults(run: Run, rng: Random) -> list[Action]:
    world = run.world
    shards = [name for name in world.names if name.startswith("shard")]
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((0, 1, 3)))]
    faults += [partial(kill_a_shard, world, rng) for _ in range(rng.choice((0, 1, 3)))]
    if rng.random() < 0.4:
        failing = rng.choice(shards)
        faults.append(partial(fail_disk, world, failing, rng.choice((0.01, 0.1, 3.0))))
        faults += [partial(kill, world, failing, rng) for _ in range(rng.choice((0, 1)))]
    if rng.random() < 0.2:
        faults += [partial(kill, world, name, rng) for name in rng.sample(shards, len(shards))]
    return faults


def _check(run: Run) -> None:
    world = run.world
    world.run(3.0)
    recover(world)
    become_quiet(world)
    shards = [node for node in world.nodes.values() if isinstance(node, Shard)]
    texts = {shard.definitions.of(REALM).text for shard in shards}
    world.check(len(texts) == 1, "the shards work by different schemas")
    schema = shards[0].definitions.of(REALM)
    keys = _keys(shards)
    left = [topic for topic in keys if schema.table_of(topic) is None]
    world.check(not left, f"rows of former aggregates are left: {left}")
    wrong = differences(schema, keys)
    world.check(not wrong, "; ".join(wrong[:5]))
    for shard in shards:
        world.check(shard.tables.idle, f"{shard.name} has not done all that tables need")


def _keys(shards: list[Shard]) -> dict[str, Document | None]:
    found: dict[str, Document | None] = {}
    for shard in shards:
        for event in shard.retained_keys.realms[REALM].keys.durable(Pattern.wamp("#")):
            publish = event.publish
            if not publish.topic.startswith("$"):
                found[publish.topic] = document(publish.encoding, publish.args, publish.kwargs)
    return found
