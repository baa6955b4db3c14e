"""Rows and numbers on which a naive sum would go wrong."""

import pytest
from table_shards import TableShards

from fox_shard.remote import tables
from fox_shard.tables.schema import TableSet

TEXT, NUMBER, COUNT = {"type": "string"}, {"type": ["number", "null"]}, {"type": "integer"}
INVALID = "fox.error.invalid_payload"

ALL = {
    "sale": {
        "type": "object",
        "properties": {"id": TEXT, "shop": {"type": ["string", "null"]}, "n": NUMBER},
        "primary_key": ["id"],
        "propagate": {
            "total": [
                {
                    "key": ["shop"],
                    "fields": {"sum": "n", "low": "n", "high": "n", "mean": "n", "has": "n"},
                }
            ]
        },
    },
    "total": {
        "type": "aggregate",
        "properties": {
            "shop": TEXT,
            **dict.fromkeys(("sum", "low", "high", "mean"), NUMBER),
            **dict.fromkeys(("rows", "has"), COUNT),
        },
        "primary_key": ["shop"],
        "sum": ["sum"],
        "min": ["low"],
        "max": ["high"],
        "avg": ["mean"],
        "count": ["rows", "has"],
    },
}


@pytest.fixture
def shards():
    return TableShards(ALL)


def sale(shards, id_, n, shop="north"):
    assert shards.put("sale", {"id": id_, "shop": shop, "n": n}) == ""


def north(shards):
    shards.check_aggregates()
    key = shards.key("total.north")
    return key and {name: value for name, value in key.items() if name != "shop"}


def test_the_minimum_after_the_minimum_was_retracted(shards):
    for id_, n in (("a", 3), ("b", 1), ("c", 1), ("d", 9)):
        sale(shards, id_, n)
    assert north(shards)["low"] == 1
    shards.delete("sale", "b")
    assert north(shards)["low"] == 1
    sale(shards, "c", 10)
    assert (north(shards)["low"], north(shards)["high"]) == (3, 10)
    shards.delete("sale", "c")
    assert (north(shards)["low"], north(shards)["high"]) == (3, 9)


def test_null_and_missing_numbers_count_as_rows_only(shards):
    sale(shards, "a", None)
    assert shards.put("sale", {"id": "b", "shop": "north"}) == ""
    nothing = {"sum": None, "low": None, "high": None, "mean": None, "rows": 2, "has": 0}
    assert north(shards) == nothing
    sale(shards, "b", 0)
    assert north(shards) == {"sum": 0, "low": 0, "high": 0, "mean": 0, "rows": 2, "has": 1}


def test_rows_without_a_group_contribute_nowhere(shards):
    sale(shards, "a", 1, shop=None)
    assert shards.put("sale", {"id": "b", "n": 1}) == ""
    shards.check_aggregates()
    assert shards.rows("total") == {}


@pytest.mark.parametrize("wrong", ["7", True, [7], {"n": 7}, 10**400])
def test_what_is_no_number_is_refused_and_the_table_unharmed(wrong, shards):
    sale(shards, "a", 1)
    for id_ in ("a", "b"):
        assert shards.put("sale", {"id": id_, "shop": "north", "n": wrong}) == INVALID
    assert shards.publish("sale.a", {"n": wrong, "id": "a"}) == INVALID
    assert north(shards)["sum"] == 1
    assert list(shards.rows("sale")) == ["sale.a"]


def test_large_integers_and_fractions_are_exact(shards):
    for id_, n in (("a", 2**53), ("b", 1), ("c", 0.1), ("d", 0.2)):
        sale(shards, id_, n)
    shards.delete("sale", "a")
    assert north(shards)["sum"] == 1.3
    sale(shards, "a", 10**30)
    shards.delete("sale", "c")
    shards.delete("sale", "d")
    assert north(shards)["sum"] == 10**30 + 1


def test_decimals_as_strings():
    table = {**ALL["sale"], "properties": {**ALL["sale"]["properties"], "n": TEXT}}
    table["propagate"] = {"total": [{"key": ["shop"], "fields": {"sum": "n", "low": "n"}}]}
    total = {
        "type": "aggregate",
        "properties": {"shop": TEXT, "sum": TEXT, "low": TEXT},
        "primary_key": ["shop"],
        "sum": ["sum"],
        "min": ["low"],
    }
    shards = TableShards({"sale": table, "total": total})
    sale(shards, "a", "0.10")
    sale(shards, "b", "0.20")
    assert north(shards) == {"sum": "0.30", "low": "0.10"}
    sale(shards, "c", "9")
    shards.delete("sale", "a")
    shards.delete("sale", "b")
    assert north(shards) == {"sum": "9", "low": "9"}


@pytest.mark.parametrize("name", ["a.b", "a/b", "*", "#", "+", "a b", "", "%", "ü", "~1"])
def test_keys_with_any_characters(name, shards):
    sale(shards, name, 2, shop=name)
    sale(shards, name, 3, shop=name)
    shards.check_aggregates()
    (row,) = shards.rows("total").values()
    assert (row["shop"], row["sum"], row["rows"]) == (name, 3, 1)


# Several tables


def test_several_levels_and_several_sources():
    text = dict.fromkeys(("id", "shop", "city"), TEXT)
    source = {"type": "object", "properties": {**text, "n": NUMBER}, "primary_key": ["id"]}
    edge = [{"key": ["shop", "city"], "fields": {"n": "n"}}]
    up = [{"key": ["city"], "fields": {"n": "n"}}]
    result = {"type": "aggregate", "sum": ["n"]}
    schema = {
        "sale": {**source, "propagate": {"shop": edge}},
        "gift": {**source, "propagate": {"shop": [{**edge[0], "filter": {"n": {"$gt": 0}}}]}},
        "shop": {
            **result,
            "properties": {"shop": TEXT, "city": TEXT, "n": NUMBER},
            "primary_key": ["shop", "city"],
            "propagate": {"city": up},
        },
        "city": {
            **result,
            "properties": {"city": TEXT, "n": NUMBER, "shops": COUNT},
            "primary_key": ["city"],
            "count": ["shops"],
        },
    }
    shards = TableShards(schema, count=3)
    for number in range(12):
        row = {"id": f"r{number}", "shop": f"s{number % 4}", "city": f"c{number % 2}", "n": number}
        assert shards.put("sale", row) == ""
        assert shards.put("gift", row) == ""
    shards.check_aggregates()
    assert shards.key("city.c0") == {"city": "c0", "n": 60, "shops": 2}
    for number in range(0, 12, 2):
        shards.delete("sale", f"r{number}")
        shards.delete("gift", f"r{number}")
    shards.check_aggregates()
    assert shards.key("city.c0") is None
    assert shards.key("city.c1") == {"city": "c1", "n": 72, "shops": 2}


def test_two_edges_from_one_table_into_one_group():
    table = {**ALL["sale"]}
    edge = {"key": ["shop"], "fields": {"sum": "n"}}
    table["propagate"] = {"total": [edge, {**edge, "filter": {"n": {"$gt": 5}}}, edge]}
    total = {
        "type": "aggregate",
        "properties": {"shop": TEXT, "sum": NUMBER},
        "primary_key": ["shop"],
        "sum": ["sum"],
    }
    shards = TableShards({"sale": table, "total": total})
    sale(shards, "a", 7)
    assert north(shards) == {"sum": 21}
    sale(shards, "a", 5)
    assert north(shards) == {"sum": 10}


def nested(key="shop", n=TEXT):
    """Return a schema with sums by shop, and with sums of these by `key`."""
    fields = {"shop": TEXT, "n": n}
    return {
        "sale": {
            "type": "object",
            "properties": {"id": TEXT, **fields},
            "primary_key": ["id"],
            "propagate": {"total": [{"key": ["shop"], "fields": {"n": "n"}}]},
        },
        "total": {
            "type": "aggregate",
            "properties": fields,
            "primary_key": ["shop"],
            "sum": ["n"],
            "propagate": {
                "all": [{"key": ["shop"], "fields": {"n": "n"}}],
                "part": [{"key": [key], "fields": {"n": "n"}}],
            },
        },
        "all": {"type": "aggregate", "properties": fields, "primary_key": ["shop"], "sum": ["n"]},
        "part": {
            "type": "aggregate",
            "properties": {"key": fields[key], "n": n},
            "primary_key": ["key"],
            "sum": ["n"],
        },
    }


@pytest.mark.parametrize(
    ("n", "number", "sum_"),
    [
        (TEXT, "9" * 100, "1" + "9" * 99 + "8"),
        (TEXT, "9" + "." + "9" * 99, "19." + "9" * 98 + "8"),
        ({"type": "integer"}, 10**100 - 1, 2 * 10**100 - 2),
        ({"type": "number"}, 9e199, 1.8e200),
    ],
)
def test_a_sum_that_is_longer_than_a_published_number_contributes_further(n, number, sum_):
    shards = TableShards(nested(n=n))
    for id_ in "ab":
        sale(shards, id_, number)
    shards.check_aggregates()
    for table in ("total", "all", "part"):
        assert shards.key(f"{table}.north")["n"] == sum_
    assert counted(shards) == 0


def counted(shards):
    return sum(node.tables.take_counts()["results_left_out"] for node in shards.nodes)


def test_a_result_that_cannot_be_a_key_is_counted_and_contributes_to_other_aggregates():
    shards = TableShards(nested(key="n", n={"type": "integer"}))
    sale(shards, "a", 10**100 - 1)
    shards.check_aggregates()
    assert len(shards.rows("part")) == 1
    assert counted(shards) == 0
    sale(shards, "b", 1)
    shards.check_aggregates()
    assert shards.rows("part") == {}
    assert shards.key("all.north")["n"] == 10**100
    assert counted(shards) == 1
    shards.delete("sale", "b")
    shards.check_aggregates()
    assert len(shards.rows("part")) == 1


def test_verify_names_the_rows_that_cannot_contribute(monkeypatch, capsys):
    schema = TableSet.parse(nested(key="n", n={"type": "integer"}))
    rows = {
        "sale": [
            {"id": id_, "shop": "north", "n": n} for id_, n in (("a", 10**99), ("b", 9 * 10**99))
        ],
        "total": [{"shop": "north", "n": 10**100}],
        "all": [{"shop": "north", "n": 10**100}],
        "part": [],
    }
    monkeypatch.setattr(tables, "_schema", lambda _: schema)
    monkeypatch.setattr(tables, "_rows", lambda _, name, wanted=None: iter(rows[name]))
    assert tables.verify(None, "all", json=False, quiet=True) == 0
    assert tables.verify(None, "total", json=False, quiet=True) == 1
    out = capsys.readouterr().out
    assert "total.north\tthe row contributes nothing to part: the key field n is" in out
    assert "0 are wrong" in out
