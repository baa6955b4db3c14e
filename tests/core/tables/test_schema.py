"""The form of schemas: what loads, and where each refusal says the mistake is."""

import json
import time
from itertools import pairwise

import pytest
from invoices import SEED, pair, tables

from fox_shard.documents.payloads import JSON, decode
from fox_shard.errors import InvalidUri
from fox_shard.tables.groups import Group
from fox_shard.tables.mistakes import InvalidRow, SchemaError
from fox_shard.tables.schema import LARGEST, TableSet
from fox_shard.topics.pattern import Pattern


def test_the_seeds_example_loads_as_it_is_printed():
    schema = TableSet.parse(SEED)
    invoice, detail = schema.tables["invoice"], schema.tables["detail"]
    assert invoice.primary_key == ("date", "customer")
    assert detail.aggregate is not None
    # `sum` names the source field, which `fields` maps to `total`.
    assert [(f.name, f.target) for f in detail.aggregate.functions] == [("sum", "total")]
    row = {"date": "2019-04-11", "customer": "acme", "amount": "0.10"}
    assert invoice.row_topic(row) == "invoice.2019-04-11.acme"
    (contribution,) = invoice.check(row)
    assert contribution == ("detail.acme", ("0.10",))
    group = Group(detail.aggregate)
    group.add(contribution.numbers)
    group.add(("0.20",))
    assert group.results() == {"total": "0.30"}
    assert detail.key_of("detail.acme") == {"customer": "acme"}


def test_text_and_object_and_braces_mean_the_same():
    text = TableSet.parse("{" + SEED + "}")
    assert text.tables.keys() == TableSet.parse(SEED).tables.keys()
    (args,) = decode(JSON, b"[{" + SEED.encode() + b"}]", b"")[0]
    same = TableSet.parse(args)
    assert same.tables["detail"].aggregate == text.tables["detail"].aggregate
    assert TableSet.parse(same.text).tables.keys() == text.tables.keys()
    assert not TableSet.parse("{}")
    assert text


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "null", "{", '{"a": NaN}', '{"a": {}} x', "\ud800"]
)
def test_what_is_no_object_in_json_is_refused(text):
    with pytest.raises(SchemaError) as refused:
        TableSet.parse(text)
    assert refused.value.path == "$"
    assert refused.value.uri == "wamp.error.invalid_argument"


AGGREGATE = {"type": "aggregate", "properties": {"k": {"type": "string"}}, "primary_key": ["k"]}


def without(schema, table, key):
    return {**schema, table: {k: v for k, v in schema[table].items() if k != key}}


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        # A definition by itself.
        ({"a": 5}, "$.a", "object, not 5"),
        ({"a": {"primarykey": ["id"]}}, "$.a", "did you mean primary_key"),
        ({"a": {"properties": {"b": {"maxlength": 3}}}}, "$.a.properties.b", "mean maxLength"),
        ({"a": {"properties": {"b c": {"minLength": "x"}}}}, '$.a.properties["b c"].minLength', ""),
        ({"a": {"type": "nonsense"}}, "$.a.type", '"nonsense"'),
        ({"a": {"properties": []}}, "$.a.properties", "object of schemas"),
        ({"a": {"allOf": {}}}, "$.a.allOf", "list of schemas"),
        ({"a": {"anyOf": [True, 7]}}, "$.a.anyOf[1]", "true or false, not 7"),
        ({"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "$.a.$schema", "2020-12"),
        ({"a": {"$id": "x"}}, "$.a", "no keyword"),
        ({"a": {"format": "dates"}}, "$.a.format", "no format"),
        ({"a": {"format": "regex"}}, "$.a.format", "not checked"),
        ({"a": {"maximum": 10**100}}, "$.a.maximum", "1e100"),
        ({"a": {"enum": [[10**100]]}}, "$.a.enum", "1e100"),
        # Patterns: only what takes linear time.
        ({"a": {"type": "strin"}}, "$.a.type", "did you mean string?"),
        ({"a": {"type": ["null", "float"]}}, "$.a.type", "there are string, integer, number"),
        ({"a": {"pattern": "(?=x)y"}}, "$.a.pattern", "linear time"),
        ({"a": {"pattern": r"(a)\1"}}, "$.a.pattern", "linear time"),
        ({"a": {"pattern": "("}}, "$.a.pattern", "linear time"),
        ({"a": {"pattern": r"\w{1000}{1000}"}}, "$.a.pattern", "linear time"),
        ({"a": {"patternProperties": {"(?!x)": {}}}}, '$.a.patternProperties["(?!x)"]', "linear"),
        # References.
        ({"a": {"$ref": "file:///etc/passwd"}}, "$.a.$ref", "in the same table"),
        ({"a": {"$ref": "http://example.com/schema"}}, "$.a.$ref", "in the same table"),
        ({"a": {"$ref": "#/$defs/b"}}, "$.a.$ref", "nothing at"),
        ({"a": {"$ref": "#"}}, "$.a.$ref", "back to itself: #"),
        ({"a": {"$ref": "#/$defs/b", "$defs": {"b": {"typo": 1}}}}, "$.a.$defs.b", "keyword"),
        # Keys.
        ({"a": {"type": "array", "primary_key": ["b"]}}, "$.a.type", '"object" or "aggregate"'),
        ({"a": {"primary_key": []}}, "$.a.primary_key", "1 to 16 fields"),
        ({"a": {"primary_key": "b"}}, "$.a.primary_key", "list of names"),
        ({"a": {"primary_key": ["b"]}}, "$.a.primary_key[0]", "no field"),
        (pair(source={"primary_key": ["id", "id"]}), "$.a.primary_key[1]", "twice"),
        (pair(source={"primary_key": ["n"]}), "$.a.primary_key[0]", "not number"),
        (pair(source={"primary_key": ["idd"]}), "$.a.primary_key[0]", "did you mean id?"),
        ({"a": {"type": "aggregate"}}, "$.a", "needs a primary_key"),
        ({"a": {"sum": ["x"]}}, "$.a", "sum needs a primary_key"),
        ({"a": {**AGGREGATE, "match": "prefix"}}, "$.a.match", "no table"),
        (pair(source={"sum": ["n"]}), "$.a.sum", "aggregate"),
        # Names.
        ({"a b": AGGREGATE}, '$["a b"]', "white space"),
        ({"fox.a": AGGREGATE}, '$["fox.a"]', "reserved"),
        ({"$a": AGGREGATE}, "$.$a", "reserved"),
        ({"a.#": AGGREGATE}, '$["a.#"]', "topic"),
        ({"a.*": AGGREGATE}, '$["a.*"]', "'*'"),
        ({"": AGGREGATE}, '$[""]', "topic"),
        (pair() | {"a.c": {}}, '$["a.c"]', "rows of the table a"),
        ({"x..y": {}}, '$["x..y"]', "URI"),
        ({"wamp.x": {}}, '$["wamp.x"]', "reserved"),
        ({"x": {"match": "nonsense"}}, "$.x", "match"),
        # Edges.
        (pair(source={"propagate": []}), "$.a.propagate", "object of tables"),
        (pair(source={"propagate": {"c": []}}), "$.a.propagate.c", "no table"),
        (pair(source={"propagate": {"a": []}}), "$.a.propagate.a", "aggregate"),
        (pair(source={"propagate": {"b": {}}}), "$.a.propagate.b", "list of edges"),
        (pair(source={"propagate": {"b": [5]}}), "$.a.propagate.b[0]", "object, not 5"),
        (pair(source={"propagate": {"b": [{}]}}), "$.a.propagate.b[0]", "needs a key"),
        (pair(source={"propagate": {}}), "$.b", "no table propagates"),
        (pair(edge={"where": {}}), "$.a.propagate.b[0]", "filter"),
        (pair(edge={"key": []}), "$.a.propagate.b[0].key", "(group)"),
        (pair(edge={"key": ["x"]}), "$.a.propagate.b[0].key[0]", "no field"),
        (pair(edge={"key": [5]}), "$.a.propagate.b[0].key[0]", "text, not 5"),
        (pair(edge={"fields": []}), "$.a.propagate.b[0].fields", "target and source"),
        (pair(edge={"fields": {"r": "m"}}), "$.a.propagate.b[0].fields.r", "no field"),
        (pair(edge={"fields": {"q": "n"}}), "$.a.propagate.b[0].fields.q", "no field"),
        (
            pair(edge={"fields": {"count": "n"}}, max=[]),
            "$.a.propagate.b[0].fields.count",
            "none of",
        ),
        (pair(edge={"fields": {"group": "id"}}, max=[]), "$.a.propagate.b[0].fields.group", "part"),
        (pair(edge={"filter": 5}), "$.a.propagate.b[0].filter", "not 5"),
        (pair(edge={"filter": {"m": 5}}), "$.a.propagate.b[0].filter.m", "no field"),
        (pair(edge={"filter": {"n": {"$gr": 5}}}), "$.a.propagate.b[0].filter", "no operator"),
        (pair(edge={"filter": {"$gt": 5}}), "$.a.propagate.b[0].filter", "operators stand"),
        # Functions.
        (pair(sum=["x"]), "$.b.sum[0]", "no edge into b"),
        (pair(sum=["group"]), "$.b.sum[0]", "no edge"),
        (pair(count=["group"]), "$.b.count[0]", "part of the key"),
        (pair(sum="r"), "$.b.sum", "list of names"),
        (pair(sum=["r", "n"]), "$.b.sum[1]", "sum already"),
        (pair(sum=["r"], max=["r"]), "$.b.max[0]", "sum already"),
        (pair(sum=["r"], count=["lines"]), "$.b.count[0]", "no field"),
        # Types.
        (pair(amount="boolean"), "$.a.propagate.b[0].fields.r", "not boolean"),
        (pair(amount="integer", avg=["r"]), "$.b.avg[0]", "result is of type number"),
        (
            pair(amount="string", target={"properties": pair()["b"]["properties"]}),
            "$.b.sum[0]",
            "result is of type string",
        ),
        (pair(edge={"key": ["n"]}, amount="integer"), "$.a.propagate.b[0].key[0]", "in b of type"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_with_its_path(schema, path, words):
    with pytest.raises(SchemaError) as refused:
        TableSet.parse(schema)
    assert refused.value.path == path
    assert words in refused.value.sentence
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 500
    # As text, the same.
    with pytest.raises(SchemaError) as again:
        TableSet.parse(json.dumps(schema))
    assert again.value.path == path


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(SchemaError, match='"a" stands twice'):
        TableSet.parse('{"a": {}, "b": {}, "a": {}}')


def chain(*names):
    """Return tables of which each feeds the next; the first one is no aggregate."""
    key = {"properties": {"k": {"type": "string"}}, "primary_key": ["k"]}
    schema = {name: {"type": "aggregate", **key, "propagate": {}} for name in names}
    schema[names[0]]["type"] = "object"
    for one, following in pairwise(names):
        schema[one]["propagate"][following] = [{"key": ["k"]}]
    return schema


def test_a_cycle_over_three_tables_is_refused_with_its_way():
    schema = chain("start", "x", "y", "z")
    assert TableSet.parse(schema)
    schema["z"]["propagate"]["x"] = [{"key": ["k"]}]
    with pytest.raises(SchemaError, match="x → y → z → x") as refused:
        TableSet.parse(schema)
    assert refused.value.path == "$.x.propagate"


def test_a_table_that_feeds_itself_is_refused():
    schema = chain("start", "x")
    schema["x"]["propagate"] = {"x": [{"key": ["k"]}]}
    with pytest.raises(SchemaError, match="x → x"):
        TableSet.parse(schema)


def test_two_ways_to_one_table_are_no_cycle():
    schema = chain("start", "x", "y")
    schema["start"]["propagate"]["y"] = [{"key": ["k"]}]
    assert len(TableSet.parse(schema).edges_into("y")) == 2


def test_a_source_field_of_two_targets_must_be_named_by_its_target():
    target = {"properties": pair()["b"]["properties"] | {"top": {"type": "number"}}}
    fields = {"fields": {"r": "n", "top": "n"}}
    with pytest.raises(SchemaError, match="the source of r and top"):
        tables(edge=fields, target=target, sum=["n"], max=["top"])
    functions = tables(edge=fields, target=target, sum=["r"], max=["top"]).tables["b"].aggregate
    assert [(f.name, f.target) for f in functions.functions] == [("sum", "r"), ("max", "top")]


def test_two_sources_must_agree_on_the_kind_of_number():
    schema = pair()
    other = pair(amount="string")["a"]
    with pytest.raises(SchemaError, match="strings elsewhere") as refused:
        TableSet.parse({"a": schema["a"], "c": other, "b": schema["b"]})
    assert refused.value.path == "$.c.propagate.b[0].fields.r"


def test_types_are_found_behind_references_and_beside_null():
    properties = {
        "id": {"$ref": "#/$defs/name"},
        "group": {"type": ["string", "null"]},
        "n": {"$ref": "#/$defs/money"},
    }
    defs = {"money": {"type": ["integer", "null"], "minimum": 0}, "name": {"type": "string"}}
    schema = tables(source={"properties": properties, "$defs": defs})
    assert schema.tables["a"].check({"id": "1", "group": "g", "n": 5}) == (("b.g", ("5",)),)
    with pytest.raises(InvalidRow, match="minimum 0"):
        schema.tables["a"].check({"id": "1", "n": -1})


# Tables and rules of topics


def test_topics_are_given_to_tables_and_rules():
    schema = TableSet.parse(
        {
            **pair(),
            "shop.orders": AGGREGATE_SOURCE,
            "sensors.*.state": {"enum": ["on", "off"]},
            "sensors.#": {"type": ["string", "object"]},
            "alarm": {"type": "boolean"},
            "emerg": {"match": "prefix", "type": "number"},
            "#": {"not": {"type": "null"}},
        }
    )
    assert schema.table_of("a").name == "a"
    assert schema.table_of("a.x.y").name == "a"
    assert schema.table_of("ab") is None
    assert schema.table_of("shop") is None
    assert schema.table_of("shop.orders.1").name == "shop.orders"

    def names(topic):
        return sorted(rule.name for rule in schema.rules_of(topic))

    assert names("sensors.kitchen.state") == ["#", "sensors.#", "sensors.*.state"]
    assert names("alarm") == ["#", "alarm"]
    assert names("emergency.fire") == ["#", "emerg"]
    assert names("a.1") == []
    assert names("fox.x") == []


AGGREGATE_SOURCE = {"properties": {"id": {"type": "integer"}}, "primary_key": ["id"]}


def test_a_rule_says_what_is_wrong():
    schema = TableSet.parse({"t": {"properties": {"c": {"type": "number"}}, "required": ["c"]}})
    (rule,) = schema.rules_of("t")
    rule.check({"c": 5})
    with pytest.raises(InvalidRow) as refused:
        rule.check({"c": "5"})
    assert (refused.value.path, refused.value.rule) == ("$.c", "type")
    assert refused.value.uri == "fox.error.invalid_payload"
    with pytest.raises(InvalidRow, match='"c" is missing') as refused:
        rule.check({})
    assert (refused.value.path, refused.value.rule) == ("$", "required")


def test_the_rows_of_a_table_are_a_pattern():
    schema = tables()
    assert schema.tables["a"].rows == Pattern.wamp("a.#")
    with pytest.raises(InvalidUri, match="no row of the table a"):
        schema.tables["a"].key_of("a.x.y")
    with pytest.raises(InvalidUri):
        schema.tables["a"].key_of("a")


# Fingerprints


def fingerprint(*args, **kwargs):
    return tables(*args, **kwargs).tables["b"].aggregate.fingerprint


def test_a_fingerprint_changes_with_whatever_changes_the_groups():
    same = fingerprint()
    assert same == fingerprint(source={"description": "other words", "x-note": 1})
    assert same == fingerprint(sum=["n"])
    others = [
        fingerprint(max=["r"]),
        fingerprint(sum=["r"], count=["count"]),
        fingerprint(edge={"key": ["id"]}),
        fingerprint(edge={"filter": {"n": {"$gt": 5}}}),
        fingerprint(edge={"filter": {"n": {"$gt": 6}}}),
        fingerprint(amount="string"),
    ]
    assert len({same, *others}) == 7


def test_an_edge_that_is_written_twice_counts_twice():
    edge = {"key": ["group"], "fields": {"r": "n"}}
    schema = tables(source={"propagate": {"b": [edge, edge]}})
    one, two = schema.edges_into("b")
    assert one.id != two.id
    assert schema.tables["b"].aggregate.fingerprint != fingerprint()


# What is huge, or made to take long, is refused soon


def laughs():
    defs = {"d0": {"type": "string"}}
    for level in range(1, 15):
        below = {"$ref": f"#/$defs/d{level - 1}"}
        defs[f"d{level}"] = {"allOf": [below, below]}
    return {"a": {"$defs": defs, "$ref": "#/$defs/d14"}}


def nested(levels):
    schema = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return {"a": schema}


def unevaluated(levels):
    schema = {"properties": {"a": {}}}
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return {"a": schema}


RECURSIVE = {"$ref": "#/$defs/tree"}


def permutations(fields, levels):
    """Return a short schema in which one row leads to a group for each order of its fields."""
    key = [f"k{number}" for number in range(fields)]
    swaps = [{"key": [*key[:n], key[n + 1], key[n], *key[n + 2 :]]} for n in range(len(key) - 1)]
    table = {"properties": {name: {"type": "string"} for name in key}, "primary_key": key}
    names = [f"level{number}" for number in range(levels)]
    schema = {name: {**table, "type": "aggregate"} for name in names}
    schema["level0"]["type"] = "object"
    for one, following in pairwise(names):
        schema[one]["propagate"] = {following: swaps}
    return schema


def test_a_chain_of_aggregates_may_have_ten_levels():
    assert TableSet.parse(chain("start", *"abcdefghij"))
    with pytest.raises(SchemaError, match="more than 10,000 groups"):
        TableSet.parse(chain("start", *"abcdefghijklmn"))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (permutations(16, 20), "more than 10,000 groups"),
        (laughs(), "more than 10,000 parts"),
        (nested(40), "more than 32 levels"),
        (nested(70), "deeper than 120 levels"),
        (unevaluated(20), "parts"),
        ({"a": {"anyOf": [{}] * 20_000}}, "parts"),
        ({f"a{n}": {} for n in range(1001)}, "more than 1,000 definitions"),
        ({f"a{n}": {"anyOf": [{}] * 20} for n in range(900)}, "parts"),
        ({"a": {"$defs": {"tree": {"properties": {"a": RECURSIVE}}}, **RECURSIVE}}, "itself"),
        ("{" * 100_000, "not JSON"),
        ('{"a":' * 500 + "1" + "}" * 500, "levels"),
        ("[" * 500_000 + "]" * 500_000, "not JSON"),
        ('{"a": {"maximum": 1' + "0" * 5000 + "}}", "not JSON"),
        ('{"a": {"maximum": 1e999}}', "1e100"),
        ('{"a": {"title": "' + "x" * LARGEST + '"}}', "longer than 1,048,576 bytes"),
        (pair(source={"primary_key": [f"k{n}" for n in range(100_000)]}), "parts"),
        (pair(sum=[f"k{n}" for n in range(100_000)]), "parts"),
        ({"a": {"propertys": {f"k{n}": {} for n in range(50_000)}}}, "did you mean properties"),
    ],
)
def test_a_schema_that_is_huge_or_nests_deep_is_refused_soon(schema, words):
    started = time.process_time()
    with pytest.raises(SchemaError) as refused:
        TableSet.parse(schema)
    assert words in refused.value.sentence
    assert len(refused.value.message) < 500
    # Far more than it takes, far less than the hours that these schemas are made for.
    assert time.process_time() - started < 10


def test_references_cannot_hide_depth():
    """Schemas that are nested by references only, each found expanded already."""
    defs = {"d0": {"type": "string"}}
    for level in range(1, 50):
        defs[f"d{level}"] = {"properties": {"a": {"$ref": f"#/$defs/d{level - 1}"}}}
    properties = {f"p{n}": {"$ref": f"#/$defs/d{n}"} for n in range(50)}
    with pytest.raises(SchemaError, match="levels"):
        TableSet.parse({"a": {"$defs": defs, "properties": properties}})
