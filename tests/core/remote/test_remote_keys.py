"""`fox get`, `keys` and `watch`: what they print of the keys that they are shown."""

import json

import pytest

from fox_shard.client import Event, Refused
from fox_shard.remote import keys, schemas
from fox_shard.remote.connecting import DONE, NO

READABLE = Event("a.b", 5, [1], {}, "")
UNREADABLE = Event("a.c", 6, [], {}, "unreadable")


class FakeSession:
    """A session whose subscriptions get these events, and are over then."""

    def __init__(self, *events):
        self._events = list(events)

    def subscribe(self, pattern, options):
        return self

    def replay(self):
        return iter(self._events)

    def next(self):
        return self._events.pop(0) if self._events else None


@pytest.mark.parametrize(
    ("events", "code", "out", "err"),
    [
        ([READABLE], DONE, "1\n", ""),
        ([], NO, "", "There is no key a.b"),
        ([UNREADABLE], NO, "", "The key a.b has a value that cannot be shown here"),
    ],
)
def test_get_prints_the_value_or_says_why_there_is_none(events, code, out, err, capfd):
    assert keys.get(FakeSession(*events), "a.b", json=False) == code
    printed = capfd.readouterr()
    assert printed.out == out
    assert err in printed.err


def test_lists_name_keys_whose_values_cannot_be_shown(capfd):
    keys.list_keys(FakeSession(UNREADABLE, READABLE), "a", "prefix", long=True)
    assert capfd.readouterr().out == "a.b\t5\t1\na.c\t6\t-\tunreadable\n"
    keys.watch(FakeSession(READABLE, UNREADABLE), "a", "prefix")
    assert capfd.readouterr().out == "a.b\t1\na.c\t-\tunreadable\n"


class FakeRouter:
    """A router that takes each publish, and has a schema; None: it refuses to tell."""

    def __init__(self, schema):
        self._schema = schema

    def publish(self, topic, args, options, *, until):
        return 7

    def call(self, procedure, *args):
        if self._schema is None:
            raise Refused("wamp.error.not_authorized", "not for you", {})
        if procedure == "fox.schema.set":
            self._schema = json.loads(args[0])
            return [3]
        return [self._schema]


TABLE = {"properties": {"id": {"type": "string"}}, "primary_key": ["id"]}


@pytest.mark.parametrize(
    ("schema", "topic", "args", "plain", "printed"),
    [
        ({"sale": TABLE}, "sale", [{"id": "a.b"}], "7\tsale.a%2Eb", "sale.a%2Eb"),
        ({"sale": TABLE}, "sale.x", [{"id": "x"}], "7", "sale.x"),
        ({"sale": TABLE}, "sale", [], "7", "sale"),
        ({"sale": TABLE}, "other", [{"id": "x"}], "7", "other"),
        ({}, "sale", [{"id": "x"}], "7", "sale"),
        (None, "sale", [{"id": "x"}], "7", "sale"),
    ],
)
def test_put_prints_the_topic_of_a_row(schema, topic, args, plain, printed, capfd):
    assert keys.put(FakeRouter(schema), topic, args, {}) == DONE
    assert capfd.readouterr().out == plain + "\n"
    assert keys.put(FakeRouter(schema), topic, args, {}, json=True) == DONE
    assert json.loads(capfd.readouterr().out) == {"publication": 7, "topic": printed}


def test_a_schema_that_is_shown_can_be_set(tmp_path, capfd):
    assert schemas.show(FakeRouter({"sale": TABLE}), json=False) == DONE
    (tmp_path / "schema.json").write_text(capfd.readouterr().out)
    router = FakeRouter({})
    text = schemas.read(str(tmp_path / "schema.json"))
    assert schemas.set_schema(router, text, wait=False, quiet=False, json=False) == DONE
    assert capfd.readouterr().out == "3\n"
    assert router.call("fox.schema.get") == [{"sale": TABLE}]
