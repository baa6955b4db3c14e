"""Schemas: two steps to all shards, each begun when it is durable; `fox.schema.set` and `get`."""

import json

import pytest
from msgspec import msgpack

from fox_shard.backplane.frames import (
    ActiveTables,
    Call,
    CallError,
    DefineTables,
    Result,
    TablesDefined,
)
from fox_shard.coordinator import rows
from fox_shard.coordinator.schemas import Schemas
from fox_shard.deadline import Deadline
from fox_shard.documents import payloads
from fox_shard.store.journal import Journal
from fox_shard.tables.schema import TableSet

ONE = {"a": {"properties": {"id": {"type": "string"}}, "primary_key": ["id"]}}
TWO = {"b": ONE["a"]}
SHARDS = ["shard-0", "shard-1"]


def text(schema):
    return TableSet.parse(schema).text


class Harness:
    """The schemas of a coordinator with two shards, whose transactions commit on demand."""

    def __init__(self, files=None, stored=(), realms=("realm1", "realm2")):
        self.stored = dict(stored)
        self.journal = Journal(
            Deadline(),
            lambda ticket, now: self.effects.extend(self.schemas.committed(ticket)),
            lambda ticket, why, now: None,
            lambda why: None,
        )
        self.effects = []
        self.schemas = Schemas(SHARDS, realms, files or {}, self.journal)
        for key, value in self.stored.items():
            self.schemas.load(rows.name_of(key), rows.decode_schema(value))
        self.schemas.begin()

    def call(
        self, procedure, *args, realm="realm1", request=1, gateway="gateway-0", timeout=0, **kwargs
    ):
        return self.schemas.call(
            gateway,
            Call(
                realm,
                procedure,
                5,
                request,
                1,
                0,
                timeout,
                payloads.MSGPACK,
                msgpack.encode([*args]),
                msgpack.encode(kwargs) if kwargs else b"",
            ),
            now=100.0,
        )

    def set(self, schema, **more):
        return self.call("fox.schema.set", schema, **more)

    def get(self, **more):
        ((_, result),) = self.call("fox.schema.get", **more)
        return msgpack.decode(result.args)[0], msgpack.decode(result.kwargs)["version"]

    def commit(self):
        """Commit, and return what the shards are sent then."""
        write = self.journal.take(0.0)
        if write is not None:
            self.stored.update(write.changes)
            self.journal.outcome(write.ticket, "", 0.0)
        effects, self.effects = self.effects, []
        return effects

    def fail(self):
        write = self.journal.take(0.0)
        self.journal.outcome(write.ticket, "no room", 0.0)

    def defined(self, version, *, active, shards=SHARDS, realm="realm1"):
        return [
            effect
            for shard in shards
            for effect in self.schemas.defined(shard, TablesDefined(realm, version, active))
        ]

    def restart(self, files=None):
        return Harness(files, self.stored)


def to_all(*frames):
    return [(shard, frame) for shard in SHARDS for frame in frames]


def stored(version, schema=ONE):
    return DefineTables("realm1", version, text(schema), active=False)


def active(version, schema=ONE):
    return DefineTables("realm1", version, text(schema), active=True)


def result_of(effects):
    ((gateway, result),) = effects
    assert isinstance(result, Result)
    return gateway, result.request, msgpack.decode(result.args)


def error_of(effects):
    ((_, error),) = effects
    assert isinstance(error, CallError)
    return error.uri, msgpack.decode(error.args)[0]


def test_a_schema_is_stored_by_all_before_it_is_active():
    harness = Harness()
    assert harness.set(ONE) == []
    assert harness.commit() == to_all(stored(1))
    assert harness.defined(1, active=False, shards=["shard-0"]) == []
    assert harness.commit() == []
    assert harness.defined(1, active=False, shards=["shard-1"]) == []
    assert harness.commit() == to_all(active(1))
    assert harness.defined(1, active=True, shards=["shard-1"]) == []
    answer = harness.defined(1, active=True, shards=["shard-0"])
    assert result_of(answer) == ("gateway-0", 1, [1])
    assert harness.get() == (ONE, 1)


def test_nothing_is_sent_before_it_is_durable():
    harness = Harness()
    harness.set(ONE)
    assert harness.schemas.replay() == []
    harness.fail()
    assert harness.schemas.replay() == []
    harness.journal.tick(10.0)
    assert harness.commit() == to_all(stored(1))
    assert harness.schemas.replay() == [stored(1)]


def test_a_confirmation_of_an_earlier_step_does_not_count():
    harness = Harness()
    harness.set(ONE)
    harness.commit()
    harness.defined(1, active=True)
    harness.defined(7, active=False)
    assert harness.commit() == []
    harness.defined(1, active=False)
    harness.commit()
    assert harness.defined(1, active=False) == []
    harness.defined(1, active=True)
    harness.set(TWO)
    harness.commit()
    harness.defined(1, active=True)
    assert harness.commit() == []


def test_the_same_shard_counts_once():
    harness = Harness()
    harness.set(ONE)
    harness.commit()
    harness.defined(1, active=False, shards=["shard-0", "shard-0"])
    assert harness.commit() == []
    harness.defined(1, active=False, shards=["shard-9", "gateway-0"])
    assert harness.commit() == []


def test_a_new_coordinator_goes_on_with_the_step():
    harness = Harness()
    harness.set(ONE)
    assert harness.restart().schemas.replay() == []
    harness.commit()
    harness = harness.restart()
    assert harness.schemas.replay() == [stored(1)]
    harness.defined(1, active=False)
    # Not durable: the step is taken again.
    assert harness.restart().schemas.replay() == [stored(1)]
    harness.commit()
    harness = harness.restart()
    assert harness.schemas.replay() == [active(1)]
    assert harness.defined(1, active=True) == []
    assert harness.get() == (ONE, 1)


def take_turn(harness, version):
    """Let all shards take both steps of a schema whose row is durable; return the answers."""
    harness.commit()
    assert harness.defined(version, active=False) == []
    harness.commit()
    return harness.defined(version, active=True)


def test_a_schema_that_is_set_meanwhile_waits_for_its_turn():
    harness = Harness()
    harness.set(ONE, request=1)
    assert harness.set(TWO, request=2) == []
    assert harness.commit() == to_all(stored(1))
    assert harness.schemas.replay() == [stored(1)]
    assert result_of(take_turn(harness, 1)) == ("gateway-0", 1, [1])
    assert harness.get() == (ONE, 1)
    assert harness.commit() == to_all(active(1), stored(2, TWO))
    assert result_of(take_turn(harness, 2)) == ("gateway-0", 2, [2])
    assert harness.get() == (TWO, 2)


def test_a_schema_that_is_set_meanwhile_takes_the_place_of_one_that_waits():
    harness = Harness()
    harness.set(ONE, request=1)
    harness.set(TWO, request=2)
    harness.commit()
    assert harness.set({}, request=3) == []
    # Until that is durable, a coordinator that restarts would go on with the second one.
    uri, sentence = error_of(harness.commit())
    assert uri == "wamp.error.unavailable"
    assert "Another schema has been set before this one's turn" in sentence
    assert result_of(take_turn(harness, 1)) == ("gateway-0", 1, [1])
    assert result_of(take_turn(harness, 2)) == ("gateway-0", 3, [2])
    assert harness.get() == ({}, 2)


def test_a_schema_that_is_set_meanwhile_does_not_hold_up_the_one_under_way():
    """However often others are set: before the row is durable, and between the steps."""
    harness = Harness()
    harness.set(ONE, request=1)
    harness.set(TWO, request=2)
    assert harness.commit() == to_all(stored(1))
    harness.set(TWO, request=3)
    assert error_of(harness.commit())[0] == "wamp.error.unavailable"
    harness.defined(1, active=False, shards=["shard-0"])
    harness.set(TWO, request=4)
    harness.defined(1, active=False, shards=["shard-1"])
    harness.set(TWO, request=5)
    effects = harness.commit()
    assert effects[:2] == to_all(active(1))
    assert [frame.request for _, frame in effects[2:]] == [3, 4]
    harness.defined(1, active=True, shards=["shard-0"])
    harness.set(TWO, request=6)
    answer = harness.defined(1, active=True, shards=["shard-1"])
    assert result_of(answer) == ("gateway-0", 1, [1])


def test_a_call_that_is_superseded_is_refused_when_the_store_works_again():
    harness = Harness()
    harness.set(ONE, request=1)
    harness.set(TWO, request=2)
    harness.set({}, request=3)
    harness.fail()
    assert harness.schemas.waiting == 3
    harness.journal.tick(10.0)
    assert error_of(harness.commit()[2:])[0] == "wamp.error.unavailable"
    assert harness.schemas.waiting == 2


def test_two_clients_that_set_schemas_in_a_loop_succeed_each_time():
    harness = Harness()
    harness.set(ONE, request=0)
    for turn in range(1, 20):
        assert harness.set([TWO, ONE][turn % 2], request=turn) == []
        assert result_of(take_turn(harness, turn)) == ("gateway-0", turn - 1, [turn])


def test_a_schema_that_waits_outlives_the_coordinator():
    harness = Harness()
    harness.set(ONE)
    harness.set(TWO)
    harness.commit()
    harness = harness.restart()
    assert harness.schemas.replay() == [stored(1)]
    take_turn(harness, 1)
    assert harness.commit() == to_all(active(1), stored(2, TWO))
    harness = harness.restart()
    assert harness.schemas.replay() == [active(1), stored(2, TWO)]
    take_turn(harness, 2)
    assert harness.get() == (TWO, 2)


def test_a_call_whose_schema_waits_can_be_canceled_and_the_schema_goes_on():
    harness = Harness()
    harness.set(ONE, request=1)
    harness.set(TWO, request=2)
    uri, _ = error_of(harness.schemas.cancel("gateway-0", 5, 2))
    assert uri == "wamp.error.canceled"
    take_turn(harness, 1)
    assert take_turn(harness, 2) == []
    assert harness.get() == (TWO, 2)


def test_calls_get_the_versions_that_their_schemas_have_in_the_end():
    """The coordinator has forgotten, and learns of a later schema while one is under way."""
    harness = Harness()
    harness.set(ONE, request=1)
    harness.set(TWO, request=2)
    harness.schemas.found(ActiveTables("realm1", 3, text(ONE)))
    harness.commit()
    harness.defined(3, active=True)
    assert result_of(take_turn(harness, 4)) == ("gateway-0", 1, [4])
    assert result_of(take_turn(harness, 5)) == ("gateway-0", 2, [5])


def test_realms_have_schemas_of_their_own():
    harness = Harness()
    harness.set(ONE, request=1)
    harness.set(TWO, realm="realm2", request=2)
    harness.commit()
    harness.defined(1, active=False, realm="realm2")
    harness.commit()
    answer = harness.defined(1, active=True, realm="realm2")
    assert result_of(answer) == ("gateway-0", 2, [1])
    assert harness.get(realm="realm2") == (TWO, 1)
    assert harness.get() == ({}, 0)


def test_a_gateway_that_has_lost_its_calls_gets_no_answers():
    harness = Harness()
    harness.set(ONE)
    harness.schemas.gateway_gone("gateway-0")
    harness.commit()
    harness.defined(1, active=False)
    harness.commit()
    assert harness.defined(1, active=True) == []
    assert harness.get() == (ONE, 1)


def test_a_call_that_waits_can_be_canceled():
    harness = Harness()
    harness.set(ONE, request=3)
    assert harness.schemas.cancel("gateway-0", 5, 4) == []
    assert harness.schemas.cancel("gateway-1", 5, 3) == []
    uri, _ = error_of(harness.schemas.cancel("gateway-0", 5, 3))
    assert uri == "wamp.error.canceled"
    assert harness.schemas.cancel("gateway-0", 5, 3) == []
    # The schema goes on.
    assert harness.commit() == to_all(stored(1))


def test_a_call_that_waits_times_out():
    harness = Harness()
    assert harness.schemas.next_expiry == float("inf")
    harness.set(ONE, timeout=2500)
    assert harness.schemas.next_expiry == 102.5
    assert harness.schemas.expire(102.4) == []
    uri, sentence = error_of(harness.schemas.expire(102.5))
    assert uri == "wamp.error.timeout"
    assert "it goes on" in sentence
    assert harness.commit() == to_all(stored(1))


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ([], {}, "only argument"),
        ([ONE, ONE], {}, "only argument"),
        ([5], {}, "only argument"),
        ([ONE], {"version": 1}, "only argument"),
        ([{"a": {"primary_key": ["id"]}}], {}, "$.a.primary_key[0]"),
        (["{"], {}, "not JSON"),
        ([{"a": {"pattern": "(?=x)"}}], {}, "linear time"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_and_the_old_one_stays(args, kwargs, words):
    harness = Harness(files={"realm1": json.dumps(ONE)})
    uri, sentence = error_of(harness.call("fox.schema.set", *args, **kwargs))
    assert uri == "wamp.error.invalid_argument"
    assert words in sentence
    assert harness.commit() == to_all(stored(1))


def test_other_procedures_and_realms_do_not_exist():
    harness = Harness()
    assert error_of(harness.call("fox.schema.drop"))[0] == "wamp.error.no_such_procedure"
    assert error_of(harness.set(ONE, realm="realm9"))[0] == "wamp.error.no_such_procedure"


def test_text_is_taken_as_well():
    harness = Harness()
    harness.set(json.dumps(ONE))
    assert harness.commit() == to_all(stored(1))


# The configured file


def test_the_configured_schema_is_set_at_the_start():
    harness = Harness(files={"realm1": json.dumps(ONE)})
    assert harness.commit() == to_all(stored(1))


def test_a_file_that_has_not_changed_does_not_undo_what_was_set_since():
    files = {"realm1": json.dumps(ONE)}
    harness = Harness(files)
    harness.set(TWO)
    harness.commit()
    harness = harness.restart(files)
    assert harness.schemas.replay() == [stored(1)]
    take_turn(harness, 1)
    take_turn(harness, 2)
    assert harness.get() == (TWO, 2)


def test_a_file_that_has_changed_is_set_at_the_next_start():
    harness = Harness({"realm1": json.dumps(ONE)})
    harness.commit()
    harness.defined(1, active=False)
    harness.commit()
    harness = harness.restart({"realm1": json.dumps(TWO)})
    assert harness.commit() == []
    assert harness.schemas.replay() == [active(1)]
    harness.defined(1, active=True)
    assert harness.commit() == to_all(active(1), stored(2, TWO))


def test_a_realm_that_is_not_configured_any_more_keeps_its_row():
    harness = Harness(files={"realm1": json.dumps(ONE)})
    harness.commit()
    without = Harness(stored=harness.stored, realms=("realm2",))
    assert without.schemas.replay() == []
    assert without.defined(1, active=False) == []
    assert Harness(stored=without.stored).schemas.replay() == [stored(1)]


# A coordinator in memory forgets


def test_a_coordinator_that_has_forgotten_learns_from_the_shards():
    harness = Harness()
    harness.schemas.found(ActiveTables("realm1", 3, text(ONE)))
    harness.schemas.found(ActiveTables("realm9", 3, text(ONE)))
    assert harness.commit() == to_all(active(3))
    assert harness.get() == (ONE, 3)
    harness.schemas.found(ActiveTables("realm1", 2, text(TWO)))
    harness.schemas.found(ActiveTables("realm1", 3, text(ONE)))
    assert harness.commit() == []


def test_its_file_comes_after_what_it_learns():
    harness = Harness(files={"realm1": json.dumps(TWO)})
    harness.commit()
    harness.schemas.found(ActiveTables("realm1", 3, text(ONE)))
    assert harness.commit() == to_all(active(3), stored(4, TWO))


def test_its_file_comes_after_a_schema_that_has_the_same_version():
    """As when a dump has been loaded into an empty data directory."""
    harness = Harness(files={"realm1": json.dumps(TWO)})
    harness.commit()
    harness.schemas.found(ActiveTables("realm1", 1, text(ONE)))
    assert harness.commit() == to_all(active(1), stored(2, TWO))
