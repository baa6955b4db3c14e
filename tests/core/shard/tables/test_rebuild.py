"""Changed definitions: aggregates are built anew while rows change."""

from itertools import pairwise
from random import Random

import pytest
from limited_turns import limit, settle
from shard_harness import REALM, ShardHarness
from table_shards import TableShards

from fox_shard.backplane.frames import Contribution, DefineTables
from fox_shard.shard import rows
from fox_shard.shard.tables import rebuild
from fox_shard.shard.tables.builds import BUILDING, SHOWN
from fox_shard.tables.schema import TableSet
from fox_shard.tables.table import Edge
from fox_shard.topics.pattern import Pattern

TEXT, NUMBER = {"type": "string"}, {"type": "number"}
TABLE = {
    "type": "object",
    "properties": {"id": TEXT, "shop": TEXT, "n": NUMBER},
    "primary_key": ["id"],
}
EDGE = {"key": ["shop"], "fields": {"r": "n"}}
TOTAL = {
    "type": "aggregate",
    "properties": {"shop": TEXT, "r": NUMBER},
    "primary_key": ["shop"],
}


def schema(function="sum", **edge):
    """Return a schema of sales with one number for each shop."""
    table = {**TABLE, "propagate": {"total": [{**EDGE, **edge}]}}
    return {"sale": table, "total": {**TOTAL, function: ["r"]}}


@pytest.fixture(autouse=True, params=[1, 200])
def _slices(request, monkeypatch):
    monkeypatch.setattr(rebuild, "SLICE", request.param)


@pytest.fixture
def shards():
    shards = TableShards(schema())
    for number in range(12):
        sale(shards, f"s{number}", f"g{number % 3}", number)
    shards.settle()
    return shards


def sale(shards, id_, shop, n):
    return shards.put("sale", {"id": id_, "shop": shop, "n": n})


def totals(shards):
    return {topic: row["r"] for topic, row in shards.rows("total").items()}


def test_another_function(shards):
    assert totals(shards) == {"total.g0": 18, "total.g1": 22, "total.g2": 26}
    shards.define(schema("max"))
    shards.check_aggregates()
    assert totals(shards) == {"total.g0": 9, "total.g1": 10, "total.g2": 11}


def test_groups_that_the_new_definition_has_not_are_erased(shards):
    shards.define(schema(filter={"shop": "g1"}))
    shards.check_aggregates()
    assert totals(shards) == {"total.g1": 22}


def test_the_old_values_are_shown_until_all_rows_have_contributed(shards):
    before = totals(shards)
    shards.kill(1)
    shards.define_at([0], schema("max"))
    shards.turns(30)
    assert totals_of(shards, 0) == {
        topic: n for topic, n in before.items() if shards.placement.shard_of("realm1", topic) == 0
    }
    shards.start(1)
    shards.define_at([1], schema("max"), same=True)
    shards.check_aggregates()


def totals_of(shards, number):
    keys = shards.nodes[number].retained_keys.realms["realm1"].keys
    found = keys.topics(shards.schema.tables["total"].rows)
    return {topic: shards.key(topic)["r"] for topic in found}


def test_rows_that_were_there_before_their_table():
    shards = TableShards({})
    for number in range(6):
        row = {"id": f"s{number}", "shop": "g", "n": number}
        assert shards.publish(f"sale.s{number}", row) == ""
    assert shards.publish("sale.other", {"id": "something else", "n": 7}) == ""
    assert shards.publish("sale.a.b", "no row") == ""
    shards.settle()
    shards.define(schema())
    shards.check_aggregates()
    assert totals(shards) == {"total.g": 15}


def test_keys_of_clients_where_the_aggregate_is_now():
    shards = TableShards({})
    assert shards.publish("total.g", {"shop": "g", "r": 99}) == ""
    assert shards.publish("total.h", {"shop": "h", "r": 99}) == ""
    shards.define(schema())
    sale(shards, "s", "g", 1)
    shards.check_aggregates()
    assert totals(shards) == {"total.g": 1}


def test_an_aggregate_that_is_no_more_is_erased(shards):
    shards.define({"sale": TABLE})
    shards.settle()
    assert [topic for n in (0, 1) for topic in all_topics(shards, n) if "total" in topic] == []
    kinds = {key[:1] for disk in shards.disks for key in disk.rows}
    assert not kinds & {rows.BUILD, rows.CONTRIBUTION, rows.UNWRITTEN}


@pytest.mark.parametrize("turns", range(6))
def test_a_store_fails_while_an_aggregate_is_erased(turns, shards):
    shards.define_at([0, 1], {"sale": TABLE})
    shards.turns(turns)
    for number in (0, 1):
        shards.disks[number].held = True
    shards.turns(2)
    for number in (0, 1):
        fail(shards, number)
        shards.disks[number].held = False
    shards.settle()
    assert [topic for n in (0, 1) for topic in all_topics(shards, n) if "total" in topic] == []


def all_topics(shards, number):
    return [event.publish.topic for event in everything(shards.nodes[number])]


def everything(node):
    return node.retained_keys.realms["realm1"].keys.durable(Pattern.wamp("#"))


def test_contributions_to_obsolete_builds_leave_the_store(shards):
    shards.define(schema("max"))
    shards.settle()
    fingerprint = shards.schema.tables["total"].aggregate.fingerprint
    stored = [k for d in shards.disks for k in d.rows if k[:1] == rows.CONTRIBUTION]
    assert len(stored) == 12
    assert all(rows.group_of(key)[1].startswith(fingerprint) for key in stored)


def test_a_definition_that_comes_back(shards):
    for function in ("max", "sum", "min", "sum"):
        shards.define(schema(function))
        sale(shards, "s0", f"g{shards.version}", shards.version)
    shards.check_aggregates()


def test_what_does_not_concern_an_aggregate_does_not_rebuild_it(shards):
    shards.arrived.clear()
    other = {**TABLE, "propagate": {}}
    shards.define({**schema(), "other": other})
    shards.check_aggregates()
    frames = [frame for _, _, batch in shards.arrived for frame in batch.frames]
    assert not [frame for frame in frames if isinstance(frame, Contribution)]
    assert all(build.stage == SHOWN for node in shards.nodes for build in node.tables.builds)


@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("turns", range(8))
def test_a_shard_dies_during_the_rebuilding(killed, turns, shards):
    shards.define(schema("max"))
    rng = Random(turns)
    for _ in range(turns):
        sale(shards, f"s{rng.randrange(15)}", f"g{rng.randrange(4)}", rng.randrange(20))
        shards.turns(1)
    shards.restart(killed)
    shards.check_aggregates()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("failing", [0, 1])
def test_a_store_fails_during_the_rebuilding(failing, turns, shards):
    rng = Random(turns)
    shards.disks[failing].held = True
    some(shards, rng)
    shards.define(schema("max"))
    for _ in range(turns):
        some(shards, rng)
        shards.turns(1)
    shards.disks[failing].trouble = "no room"
    shards.disks[failing].held = False
    shards.turns(2)
    shards.check_aggregates()


def some(shards, rng):
    for _ in range(3):
        sale(shards, f"s{rng.randrange(15)}", f"g{rng.randrange(4)}", rng.randrange(20))


def fail(shards, number):
    """Let what the shard has written and not committed fail."""
    shards.disks[number].trouble = "no room"
    shards.commit(number)
    shards.disks[number].trouble = ""


def test_a_change_that_fails_while_its_row_is_passed_by(shards):
    """The row contributes its durable value then."""
    shards.define_at([0, 1], schema("min"))
    number = shards.owner("sale.s1").number
    disk, node = shards.disks[number], shards.nodes[number]
    build = node.tables.builds.of("realm1", "total")
    disk.held = True
    shards.turns(1)
    shards.commit(number)  # from now on rows are looked at
    sale(shards, "s1", "g1", 1000)
    for _ in range(30):  # the commits of what is sent meanwhile would commit the change, too
        shards.turns(1)
    assert build.scanned is None
    fail(shards, number)
    shards.check_aggregates()
    assert totals(shards)["total.g1"] == 1


def test_a_change_that_changes_nothing_while_its_row_is_passed_by():
    """The row contributes all the same, since nothing else tells the new build of it."""
    shards = TableShards({"sale": TABLE})
    for number in range(4):
        sale(shards, f"s{number}", "g", 1)
    shards.settle()
    shards.define_at([0, 1], schema())
    for _ in range(30):
        for number in range(4):
            sale(shards, f"s{number}", "g", 1)
        shards.turns(1)
    shards.check_aggregates()
    assert totals(shards) == {"total.g": 4}


def test_contributions_that_arrive_together_are_work_of_several_turns():
    """They are work even while their build is not shown, so that no key is written."""
    harness = ShardHarness(gateways=1, shards=2)
    harness.join("coordinator")
    harness.turns()
    text = TableSet.parse(schema()).text
    steps = [DefineTables(REALM, 1, text, active) for active in (False, True)]
    harness.say("coordinator", *steps)
    (build,) = harness.shard.tables.builds
    assert build.stage == BUILDING  # shard-1 has not contributed its rows
    limit(harness, 100)
    frames = [
        Contribution(REALM, f"total.g{n}", build.name, 0, f"sale.s{n}", 64, ("1",))
        for n in range(200)
    ]
    harness.send("shard-1", *frames, reliable=True)
    harness.turn()
    assert 0 < build.contributions < 50
    settle(harness)
    assert build.contributions == 200


def test_the_keys_of_an_aggregate_that_goes_are_erased_in_several_turns():
    shards = TableShards(schema())
    for number in range(200):
        sale(shards, f"s{number}", f"g{number}", number)
    shards.settle()
    for node in shards.nodes:
        node.budget.units = 100
        node.budget.begin_turn()
    shards.define({}, steps=("store",))
    for number in (0, 1):
        shards.step(number, active=True)
    counts = [keys_left(shards)]
    while counts[-1]:
        shards.turns(1)
        counts.append(keys_left(shards))
        assert len(counts) < 200
    assert max(one - other for one, other in pairwise(counts)) <= 2 * 25


def keys_left(shards):
    """Return the number of keys of the aggregate."""
    realms = [node.retained_keys.realms[REALM] for node in shards.nodes]
    return sum(realm.keys.count_below("total") for realm in realms)


def test_a_row_is_compared_once_with_each_of_a_tables_many_aggregates(monkeypatch):
    """The work of a rebuild grows with the number of edges, not with its square."""
    shards = TableShards({"sale": TABLE})
    for number in range(6):
        sale(shards, f"s{number}", "g", 1)
    shards.settle()
    looks = []
    contribution = Edge.contribution

    def counted(self, document):
        looks.append(self.target)
        return contribution(self, document)

    monkeypatch.setattr(Edge, "contribution", counted)
    names = [f"total{number}" for number in range(30)]
    table = {**TABLE, "propagate": {name: [EDGE] for name in names}}
    shards.define({"sale": table, **dict.fromkeys(names, TOTAL | {"sum": ["r"]})})
    shards.settle()
    assert len(looks) == 6 * len(names)
    assert [shards.key(f"{name}.g")["r"] for name in names] == [6] * len(names)
