"""Definitions on a shard: stored, then active, confirmed when durable and known to all gateways."""

import pytest
from shard_harness import ShardHarness

from fox_shard.backplane.frames import ActiveTables, DefineTables, TablesDefined
from fox_shard.tables.schema import TableSet

ONE = TableSet.parse({"a": {"properties": {"id": {"type": "string"}}, "primary_key": ["id"]}}).text
TWO = ONE.replace('"a"', '"b"')


def define(version, text=ONE, *, active=False, realm="realm1"):
    return DefineTables(realm, version, text, active)


def defined(version, *, active=False, realm="realm1"):
    return TablesDefined(realm, version, active)


@pytest.fixture
def harness():
    harness = ShardHarness(gateways=2)
    harness.join("coordinator")
    harness.turns()
    return harness


def tables(harness):
    return [*harness.shard.definitions.of("realm1").tables]


def test_a_schema_is_stored_then_active(harness):
    harness.say("coordinator", define(1))
    assert harness.got("coordinator", TablesDefined) == [defined(1)]
    assert tables(harness) == []
    assert [*harness.shard.definitions.next_of("realm1").tables] == ["a"]
    assert harness.got("gateway-0", ActiveTables) == []
    harness.say("coordinator", define(1, active=True))
    assert harness.got("coordinator", TablesDefined) == [defined(1, active=True)]
    assert tables(harness) == ["a"]
    assert harness.shard.definitions.next_of("realm1") is None
    for gateway in ("gateway-0", "gateway-1"):
        assert harness.got(gateway, ActiveTables) == [ActiveTables("realm1", 1, ONE)]


def test_no_step_is_confirmed_before_it_is_durable(harness):
    harness.disk.held = True
    harness.say("coordinator", define(1), define(1, active=True))
    assert tables(harness) == ["a"]
    assert harness.got("coordinator", TablesDefined) == []
    assert harness.got("gateway-0", ActiveTables) == []
    harness.disk.held = False
    harness.turns()
    assert harness.got("coordinator", TablesDefined) == [defined(1), defined(1, active=True)]
    assert harness.got("gateway-0", ActiveTables) == [ActiveTables("realm1", 1, ONE)]


def test_a_step_waits_for_a_store_that_fails(harness):
    harness.disk.trouble = "no room"
    harness.say("coordinator", define(1), define(1, active=True))
    assert harness.got("coordinator", TablesDefined) == []
    harness.disk.trouble = ""
    harness.pass_time(3)
    assert harness.got("coordinator", TablesDefined) == [defined(1), defined(1, active=True)]
    harness.restart()
    assert tables(harness) == ["a"]


def test_the_coordinator_is_told_when_the_gateways_have_it(harness):
    harness["gateway-1"].silent = True
    harness.say("coordinator", define(1, active=True))
    assert harness.got("gateway-0", ActiveTables) == [ActiveTables("realm1", 1, ONE)]
    assert harness.got("coordinator", TablesDefined) == []
    harness["gateway-1"].silent = False
    harness.turns()
    assert harness.got("coordinator", TablesDefined) == [defined(1, active=True)]


def test_a_gateway_that_is_away_is_not_waited_for(harness):
    harness.kill("gateway-1")
    harness.say("coordinator", define(1, active=True))
    assert harness.got("coordinator", TablesDefined) == [defined(1, active=True)]
    # It learns of the schema when it comes.
    harness.join("gateway-1", incarnation=2)
    harness.turns()
    assert harness.got("gateway-1", ActiveTables) == [ActiveTables("realm1", 1, ONE)]


def test_what_comes_again_is_confirmed_again(harness):
    harness.say("coordinator", define(1))
    harness.say("coordinator", define(1))
    assert harness.got("coordinator", TablesDefined) == [defined(1), defined(1)]
    harness.say("coordinator", define(1, active=True))
    harness.say("coordinator", define(1, active=True), define(1, active=True))
    assert harness.got("coordinator", TablesDefined) == [defined(1, active=True)] * 3
    # Also while it is not durable yet.
    harness.disk.held = True
    harness.say("coordinator", define(2, TWO), define(2, TWO))
    assert harness.got("coordinator", TablesDefined) == []
    harness.disk.held = False
    harness.turns()
    assert harness.got("coordinator", TablesDefined) == [defined(2), defined(2)]


def test_what_is_older_changes_nothing(harness):
    harness.say("coordinator", define(2, TWO, active=True))
    harness.got("coordinator")
    harness.say("coordinator", define(1), define(1, active=True))
    assert harness.got("coordinator", TablesDefined) == []
    assert tables(harness) == ["b"]


def test_both_steps_survive_a_restart(harness):
    harness.say("coordinator", define(1, active=True), define(2, TWO))
    harness.restart()
    assert tables(harness) == ["a"]
    assert [*harness.shard.definitions.next_of("realm1").tables] == ["b"]
    harness.turns()
    harness["gateway-0"].got.clear()
    harness.say("coordinator", define(2, TWO, active=True))
    assert tables(harness) == ["b"]
    harness.restart(79)
    assert tables(harness) == ["b"]
    assert harness.shard.definitions.next_of("realm1") is None


def test_peers_learn_the_active_schema_when_their_links_open(harness):
    harness.say("coordinator", define(1, active=True))
    harness.restart()
    harness.turns()
    for peer in ("gateway-0", "gateway-1", "coordinator"):
        assert harness.got(peer, ActiveTables) == [ActiveTables("realm1", 1, ONE)]


def test_a_schema_in_a_replay_counts_before_the_sync_ends(harness):
    harness.restart()
    harness["gateway-1"].silent = True
    harness["coordinator"].replay = [define(1, active=True)]
    harness.turns()
    assert harness.shard.recovery.until is not None
    assert tables(harness) == ["a"]


def test_those_that_depend_on_definitions_are_told_of_the_change(harness):
    told = []
    harness.shard.definitions.on_active.append(
        lambda realm, old, new: told.append((realm, [*old.tables], [*new.tables]))
    )
    harness.say("coordinator", define(1), define(1, active=True), define(2, TWO, active=True))
    harness.say("coordinator", define(2, TWO, active=True))
    assert told == [("realm1", [], ["a"]), ("realm1", ["a"], ["b"])]


def test_what_comes_again_before_it_is_active_durably_waits(harness):
    harness.disk.held = True
    harness.say("coordinator", define(1, active=True), define(1, active=True))
    harness.join("gateway-1", incarnation=2)
    harness.turns()
    assert harness.got("coordinator", TablesDefined) == []
    # A shard that dies now forgets the schema, so no gateway may know of it.
    assert harness.got("gateway-1", ActiveTables) == []
    harness.disk.held = False
    harness.turns()
    assert harness.got("coordinator", TablesDefined) == [defined(1, active=True)] * 2
    assert ActiveTables("realm1", 1, ONE) in harness.got("gateway-1", ActiveTables)
