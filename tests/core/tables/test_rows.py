"""Rows: what is valid, and what a row contributes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoices import pair, tables

from fox_shard.tables.mistakes import InvalidRow
from fox_shard.tables.schema import TableSet


def contributions(document, *args, **kwargs):
    return tables(*args, **kwargs).tables["a"].check(document)


def test_a_row_contributes_to_its_group():
    assert contributions({"id": "1", "group": "g.h", "n": 5}) == (("b.g%2Eh", ("5",)),)


@pytest.mark.parametrize("row", [{"id": "1", "n": 5}, {"id": "1", "group": None, "n": 5}])
def test_a_row_without_a_group_contributes_nothing(row):
    properties = pair()["a"]["properties"] | {"group": {"type": ["string", "null"]}}
    assert contributions(row, source={"properties": properties}) == (None,)


@pytest.mark.parametrize("row", [{"id": "1", "group": "g"}, {"id": "1", "group": "g", "n": None}])
def test_a_missing_or_null_number_counts_as_a_row_only(row):
    properties = pair()["a"]["properties"] | {"n": {"type": ["number", "null"]}}
    found = contributions(row, source={"properties": properties}, sum=["r"], count=["count"])
    assert found == (("b.g", ("1", None)),)


def test_a_count_of_a_field_counts_the_rows_that_have_it():
    edge = {"fields": {"count": "n"}}
    assert contributions({"id": "1", "group": "g"}, edge=edge, count=["n"]) == (("b.g", (None,)),)
    row = {"id": "1", "group": "g", "n": 7}
    assert contributions(row, edge=edge, count=["n"]) == (("b.g", ("1",)),)


@pytest.mark.parametrize(("n", "there"), [(4, False), (5, False), (5.5, True), (None, False)])
def test_a_filter_has_the_operators_of_subscriptions(n, there):
    row = {"id": "1", "group": "g"} | ({} if n is None else {"n": n})
    (found,) = contributions(row, edge={"filter": {"n": {"$gt": 5}}})
    assert (found is not None) is there


@pytest.mark.parametrize("value", ["5", True, [], {}, 10**100, 10**400, float("nan"), float("inf")])
def test_what_is_no_number_is_refused_even_where_a_filter_would_leave_it_out(value):
    with pytest.raises(InvalidRow) as refused:
        contributions({"id": "1", "group": "g", "n": value}, edge={"filter": {"id": "none"}})
    assert refused.value.path == "$.n"
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("value", ["", "x", "1e5", "1" * 101, "9" * 10**6, 5, 0.5, True])
def test_what_is_no_decimal_is_refused(value):
    with pytest.raises(InvalidRow) as refused:
        contributions({"id": "1", "group": "g", "n": value}, amount="string")
    assert refused.value.path == "$.n"
    assert len(refused.value.message) < 300


def test_columns_of_numbers_are_bounded_without_an_aggregate_too():
    table = TableSet.parse(
        {
            "t": {
                "properties": {"k": {"type": "string"}, "q": {"type": "integer"}},
                "primary_key": ["k"],
            }
        }
    ).tables["t"]
    assert table.check({"k": "x", "q": 10**99}) == ()
    with pytest.raises(InvalidRow, match="longer than a number may be"):
        table.check({"k": "x", "q": 10**400})


@pytest.mark.parametrize("document", [None, [], "x", 5, b"x", {"id": b"x"}, {5: 6}, {"id": ("x",)}])
def test_what_is_no_json_object_is_refused(document):
    with pytest.raises(InvalidRow):
        tables().tables["a"].check(document)


def check(schema, value):
    """Return path and rule of what is refused by a rule."""
    (rule,) = TableSet.parse({"t": schema}).rules_of("t")
    try:
        rule.check(value)
    except InvalidRow as refused:
        error = refused
    else:
        return None
    assert len(error.message.encode()) < 300
    return error.path, error.rule


LINES = {"properties": {"lines": {"items": {"properties": {"price": {"minimum": 0}}}}}}
MONEY = {"$defs": {"money": {"minimum": 0}}}


@pytest.mark.parametrize(
    ("schema", "value", "broken"),
    [
        ({"type": "object"}, [], ("$", "type")),
        (LINES, {"lines": [{"price": 1}, {"price": -1}]}, ("$.lines[1].price", "minimum")),
        ({**MONEY, "items": {"$ref": "#/$defs/money"}}, [1, -1], ("$[1]", "minimum")),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["x", 5], ("$[1]", "items")),
        ({"prefixItems": [{"type": "string"}]}, [5], ("$[0]", "type")),
        ({"additionalProperties": False}, {"a b": 1}, ('$["a b"]', "additionalProperties")),
        (
            {"properties": {"a": {}}, "additionalProperties": {"type": "null"}},
            {"a": 1, "b": 1},
            ("$.b", "type"),
        ),
        (
            {"patternProperties": {"^x": {}}, "additionalProperties": False},
            {"y": 1},
            ("$", "additionalProperties"),
        ),
        ({"patternProperties": {"^x": {"type": "null"}}}, {"x": 1}, ("$", "patternProperties")),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 5, ("$", "anyOf")),
        ({"oneOf": [{}, {}]}, 5, ("$", "oneOf")),
        ({"not": {}}, 5, ("$", "not")),
        ({"if": {"type": "number"}, "then": {"minimum": 7}}, 5, ("$", "if")),
        ({"allOf": [{}, {"properties": {"a": {"const": 1}}}]}, {"a": 2}, ("$.a", "const")),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1}, ("$", "required")),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, ("$", "dependentRequired")),
        ({"propertyNames": {"maxLength": 2}}, {"abc": 1}, ("$", "propertyNames")),
        ({"contains": {"type": "null"}, "minContains": 2}, [None], ("$", "contains")),
        ({"uniqueItems": True}, [1, 1.0], ("$", "uniqueItems")),
        (
            {"properties": {"a": {}}, "unevaluatedProperties": False},
            {"b": 1},
            ("$", "unevaluatedProperties"),
        ),
        ({"properties": {"a": False}}, {"a": 1}, ("$.a", "properties")),
        ({"format": "date"}, "2019-13-01", ("$", "format")),
        ({"format": "date"}, "2019-12-01", None),
        ({"enum": ["on", "off"]}, "broken", ("$", "enum")),
        ({"multipleOf": 0.01}, 0.07, None),
        ({"type": "integer"}, 5.0, None),
        ({"type": "integer"}, True, ("$", "type")),
        ({"pattern": "^[A-Z]{3}$"}, "abc", ("$", "pattern")),
    ],
)
def test_the_broken_rule_is_named_with_its_path(schema, value, broken):
    assert check(schema, value) == broken


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=8,
)
SCHEMAS = st.recursive(
    st.booleans()
    | st.sampled_from(
        [
            {"type": "string"},
            {"minimum": 1},
            {"required": ["a"]},
            {"maxItems": 1},
            {"enum": [1, "a"]},
        ]
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner),
            "patternProperties": st.dictionaries(st.sampled_from("ab"), inner),
            "additionalProperties": inner,
            "dependentSchemas": st.dictionaries(st.sampled_from("ab"), inner),
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "items": inner,
            "contains": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
        },
    ),
    max_leaves=6,
)


FOREIGN = st.recursive(
    VALUES
    | st.sampled_from([b"x", 10**400, -(10**400), float("nan"), float("inf"), "\ud800", ("x",)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "b", 5, b"a", True, None, "\ud800"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
"""What MessagePack and CBOR can hold, and JSON cannot."""


@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), FOREIGN)
def test_nothing_that_a_client_can_send_is_a_failure_of_the_server(schema, value):
    """Wherever it is: the validator may have found another mistake before it."""
    check(schema, value)


@pytest.mark.parametrize(
    "value",
    [{"a": b"x"}, {"a": {5: 6}}, {"a": [b"x"]}, {"a": "\ud800"}, {"\ud800": b"x", "a": b"x"}],
)
def test_what_json_has_not_is_refused_also_if_something_else_is_wrong(value):
    schema = {"properties": {"a": {"items": {"type": "string"}, "minLength": 1}}, "required": ["b"]}
    assert check(schema, value)


def test_a_long_name_is_cut_in_a_path():
    path, _ = check({"additionalProperties": {"type": "string"}}, {"x" * 1_000_000: 5})
    assert path == f'$["{"x" * 57}..."]'


@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), VALUES)
def test_a_rule_is_found_whatever_is_wrong(schema, value):
    """The search never gives up: what the validator refuses, a named rule is broken by."""
    broken = check(schema, value)
    assert broken is None or broken[1] != "schema"


# What is made to take long


def test_a_pattern_that_backtracks_elsewhere_takes_linear_time():
    schema = {"pattern": "^(a+)+$"}
    started = time.process_time()
    assert check(schema, "a" * 60_000 + "b") == ("$", "pattern")
    assert time.process_time() - started < 5


def test_alternatives_of_a_long_list_take_little_memory_and_time():
    """The validator's own description of this error would take gigabytes."""
    schema = {"anyOf": [{"items": {"pattern": "^a+b$"}} for _ in range(700)]}
    started = time.process_time()
    assert check(schema, ["aaaa"] * 10_000) == ("$", "anyOf")
    assert time.process_time() - started < 5


def test_the_last_of_many_items_is_found_soon():
    started = time.process_time()
    schema = {"items": {"properties": {f"p{n}": {"type": "string"} for n in range(2000)}}}
    assert check(schema, [{}] * 10_000 + [{"p1999": 5}]) == ("$[10000].p1999", "type")
    assert time.process_time() - started < 5
