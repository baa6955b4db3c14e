"""Refusals tell a role nothing of tables and keys that the role may not know."""

import json

import pytest
from test_doors import NOT_AUTHORIZED, ask, inject, opened, rule

from fox_shard.config import Role
from fox_shard.testing.world import World

FUNCTION = "rules:may"
FAILED = "wamp.error.authorization_failed"
INVALID = "fox.error.invalid_payload"
ADD = "wamp.session.add_testament"
HARMLESS = (
    rule("wamp.session.add_testament", "call", match="exact"),
    rule("fox.table.", "call"),
)
TABLE = {
    "type": "object",
    "properties": {"k": {"type": "string"}, "n": {"type": "integer"}},
    "primary_key": ["k"],
    "propagate": {"sums": [{"key": ["k"], "fields": {"n": "n"}}]},
}
SUMS = {
    "type": "aggregate",
    "properties": {"k": {"type": "string"}, "n": {"type": "integer"}},
    "primary_key": ["k"],
    "sum": ["n"],
}
LIMIT = {"dependentSchemas": {"m": {"properties": {"n": {"enum": ["good"]}}}}}
SCHEMA = json.dumps({"rows": TABLE, "sums": SUMS, "limited": LIMIT})

PUBLISHES = [
    (topic, value, options)
    for topic in ("{}", "{}.x", "{}.x.y")
    for value in ({"k": "w"}, {"k": 1}, {"wrong": 1}, 1)
    for options in (
        {},
        {"retain": True},
        {"retain": True, "sequence": True},
        {"weak": True},
        {"patch": True},
        {"will": 1},
        {"retain": True, "patch": True},
        {"when": None},
    )
]


def world(*rules, authorizer=None):
    role = Role(
        name="anonymous", rule=(*rules, *HARMLESS), authorizer=FUNCTION if authorizer else ""
    )
    made = World(1, shards=2, gateways=2, roles=(role,), schemas={"realm1": SCHEMA})
    made.functions[FUNCTION] = authorizer
    made.run_until(lambda: made.linked)
    made.run_until(lambda: made.gateway(0).realms["realm1"].tables.tables)
    return made


def error(made, client, request):
    """Return URI and arguments of the error that answers a request."""
    made.run_until(lambda: client.answer(8, request))
    return client.answer(8, request)[4:]


def refusals(made, client, name):
    """Return what is told of all kinds of requests about a topic, with another name for it."""

    def told(request):
        return json.loads(json.dumps(error(made, client, request)).replace(name, "NAME"))

    found = {
        repr((topic, value, options)): told(
            client.publish(topic.format(name), value, acknowledge=True, **options)
        )
        for topic, value, options in PUBLISHES
    }
    for value in ({"wrong": 1}, {"k": "w"}):
        for options in ({}, {"patch": True}, {"retain": True, "sequence": True}):
            more = {"publish_options": options}
            request = client.request(48, {}, ADD, [name, [value], {}], more)
            found[f"testament {value} {options}"] = told(request)
    found["subscribe"] = told(client.subscribe(name))
    return found


@pytest.mark.parametrize("authorizer", [None, lambda session, action, uri: False])
@pytest.mark.parametrize("table", ["rows", "sums"])
def test_all_is_the_same_whether_or_not_there_is_a_table(authorizer, table):
    made = world(rule("open.", "publish"), authorizer=authorizer)
    client = opened(made)
    found = refusals(made, client, table)
    told = {answer[0] for what, answer in found.items() if "patch" not in what}
    assert told == {NOT_AUTHORIZED}
    assert found == refusals(made, client, "nothing")


@pytest.mark.parametrize("value", [{"k": 1}, {"wrong": 1}, 1])
def test_whoever_may_publish_is_told_what_is_wrong_with_a_row(value):
    made = world(rule("rows.", "publish"))
    client = opened(made)
    assert ask(made, client, client.publish("rows", value, acknowledge=True)) == INVALID


@pytest.mark.parametrize("value", [{"k": 1}, {"wrong": 1}, 1])
def test_an_authorizer_is_asked_about_the_table_if_there_is_no_row(value):
    questions = []

    def may(session, action, uri):
        questions.append((action, uri))
        return True

    made = world(authorizer=may)
    client = opened(made)
    assert ask(made, client, client.publish("rows", value, acknowledge=True)) == INVALID
    assert questions == [("publish", "rows")]
    assert ask(made, client, client.publish("rows", {"k": "a"}, acknowledge=True))[0] == 17
    assert questions[1:] == [("publish", "rows.a")]


def test_a_row_that_the_authorizer_forbids_does_not_tell_its_topic():
    made = world(authorizer=lambda session, action, uri: uri != "rows.secret")
    client = opened(made)
    request = client.publish("rows", {"k": "secret"}, acknowledge=True)
    uri, [sentence] = error(made, client, request)
    assert uri == NOT_AUTHORIZED
    assert "secret" not in sentence


def patched(made, client, topic, value):
    request = client.publish(topic, value, acknowledge=True, retain=True, patch=True)
    return error(made, client, request)


@pytest.mark.parametrize("may_see", [True, False])
def test_a_patch_that_is_not_valid_tells_of_the_key_only_who_may_see_it(may_see):
    allow = ("publish", "subscribe") if may_see else ("publish",)
    made = world(rule("limited", *allow, match="exact"))
    client = opened(made)
    inject(made, "limited", {"n": "top secret"}, retain=True)
    uri, [sentence] = patched(made, client, "limited", {"m": 1})
    assert uri == INVALID
    assert ("top secret" in sentence) is may_see
    assert ("$.n" in sentence) is may_see


@pytest.mark.parametrize("may_see", [True, False])
def test_a_patch_that_makes_a_key_too_large_tells_its_size_only_who_may_see_it(may_see):
    allow = ("publish", "subscribe") if may_see else ("publish",)
    made = world(rule("key", *allow, match="exact"))
    client = opened(made)
    size = made.gateway(0).settings.max_message_size
    inject(made, "key", {"a": "x" * (size - 1000)}, retain=True)
    uri, [sentence] = patched(made, client, "key", {"b": "y" * 2000})
    assert uri == "fox.error.limit_exceeded"
    assert (str(size) in sentence) is may_see
    assert "unchanged" in sentence
