"""What a schema may cost: short ones that would take all stack, memory or time are refused."""

import json

import pytest

from fox_shard.tables.keywords import Expansion
from fox_shard.tables.mistakes import SchemaError, suggestion
from fox_shard.tables.schema import TableSet

HEAVY = {
    "a value within values": {"const": [[[]] * 90_000]},
    "a long text": {"const": "x" * 900_000},
    "names of fields": {"dependentRequired": {"a": [f"field{n}" for n in range(50_000)]}},
}
"""Schemas of some hundred kilobytes, each of which a validator copies for each reference to it."""


def referred_to(schema, times):
    references = [{"$ref": "#/$defs/one"}] * times
    return {"a": {"$defs": {"one": schema}, "anyOf": references}}


def weight_of(schema):
    (rule,) = TableSet.parse({"a": schema}).rules_of("a")
    return rule.weight


def test_a_long_chain_of_references_is_refused():
    defs = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(1000)}
    schema = {"a": {"$defs": {**defs, "d1000": {}}, "$ref": "#/$defs/d0"}}
    with pytest.raises(SchemaError, match="more than 32 levels of schemas"):
        TableSet.parse(schema)


@pytest.mark.parametrize("schema", HEAVY.values(), ids=HEAVY)
def test_what_references_multiply_counts_each_time(schema):
    assert TableSet.parse(referred_to(schema, 1))
    with pytest.raises(SchemaError, match="more than 10,000 parts"):
        TableSet.parse(referred_to(schema, 100))


@pytest.mark.parametrize("keyword", ["title", "description", "$comment", "default", "x-a"])
def test_a_remark_costs_nothing_however_often_it_is_referred_to(keyword):
    (schema,) = referred_to({keyword: ["x" * 900_000]}, 100).values()
    expanded = Expansion(schema, "$").expand(schema, "$")
    assert expanded.weight == 1 + 100 * 2
    assert len(json.dumps(expanded.schema)) < 10_000


def test_a_pattern_that_is_large_when_compiled_costs_more():
    assert weight_of({"pattern": r"^[a-z0-9.-]+@example\.com$"}) == weight_of({"pattern": "a"})
    assert weight_of({"pattern": r"\w{2000}"}) > 10 * weight_of({"pattern": "a"})
    large = {"anyOf": [{"pattern": rf"\w{{2000}}{n}"} for n in range(100)]}
    with pytest.raises(SchemaError, match="more than 10,000 parts"):
        TableSet.parse({"a": large})


def test_a_multiple_costs_more_and_of_a_tiny_number_is_refused():
    assert weight_of({"multipleOf": 0.01}) > 10 * weight_of({"maximum": 0.01})
    with pytest.raises(SchemaError, match="multipleOf") as refused:
        TableSet.parse({"a": {"multipleOf": 1e-300}})
    assert refused.value.path == "$.a.multipleOf"


def test_a_mistake_in_a_file_is_one_sentence():
    with pytest.raises(SchemaError) as refused:
        TableSet.parse({"a": {"type": "strin"}})
    expected = 's.json: $.a.type: there is no type "strin"; did you mean string?'
    assert refused.value.in_file("s.json") == expected
    assert SchemaError("$", "it is wrong").in_file("s.json") == "s.json: $: it is wrong."


def test_a_long_word_is_compared_with_nothing():
    assert suggestion("invoise", ["invoice"]) == "; did you mean invoice?"
    assert suggestion("invoice" * 1000, ["invoice" * 1000]) == ""
    assert len(suggestion("x", ["y" * 100_000])) < 100
