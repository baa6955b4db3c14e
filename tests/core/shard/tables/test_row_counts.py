"""How many rows a table has: keys from before its definition may be no rows."""

import pytest
from table_shards import TableShards

from fox_shard.backplane.frames import Inquiry
from fox_shard.shard import inquiries
from fox_shard.tables.query import STATES, decode_state
from fox_shard.testing.ledger import REALM

TEXT = {"type": "string"}
TABLE = {"type": "object", "properties": {"id": TEXT, "s": TEXT}, "primary_key": ["id"]}
TOTAL = {"type": "aggregate", "properties": {"s": TEXT, "n": {"type": "integer"}}}
EDGE = {"propagate": {"total": [{"key": ["s"]}]}}
SCHEMA = {"sale": TABLE | EDGE, "total": TOTAL | {"primary_key": ["s"], "count": ["n"]}}


@pytest.fixture
def shards():
    shards = TableShards({})
    for number in range(20):
        assert shards.publish(f"sale.r{number}", {"id": f"r{number}", "s": "x"}) == ""
    assert shards.publish("sale.other", {"id": "something else"}) == ""
    assert shards.publish("sale.list", [1]) == ""
    assert shards.publish("sale.a.b", {"id": "a.b"}) == ""
    assert shards.publish("total.y", "a client's") == ""
    shards.settle()
    shards.define(SCHEMA)
    shards.settle()
    return shards


def counts(shards):
    """Return the rows of each table, and how many pages it took to hear of them."""
    found, pages = {}, 0
    for node in shards.nodes:
        start = b""
        while True:
            page = node.inquiries.page(Inquiry(1, REALM, STATES, b"", start, 1000))
            pages += 1
            for name, state in page.items:
                rows = decode_state(state).rows
                found[name.decode()] = found.get(name.decode(), 0) + rows
            if not (start := page.next):
                break
    return found, pages


def test_only_rows_count(shards):
    assert counts(shards)[0] == {"sale": 20, "total": 1}


def test_a_count_goes_on_over_many_pages_and_is_kept(shards, monkeypatch):
    monkeypatch.setattr(inquiries, "SLICE_UNITS", 22)
    found, pages = counts(shards)
    assert found == {"sale": 20, "total": 1}
    assert pages > 10
    assert counts(shards) == (found, 2)


def test_keys_that_are_no_rows_are_looked_at_again_in_slices(monkeypatch):
    shards = TableShards({})
    for number in range(500):
        assert shards.publish(f"sale.{number}", [number]) == ""
    shards.settle()
    shards.define({"sale": TABLE})
    assert shards.put("sale", {"id": "row"}) == ""
    shards.settle()
    assert counts(shards)[0] == {"sale": 1}
    monkeypatch.setattr(inquiries, "SLICE_UNITS", 25)
    found, pages = counts(shards)
    assert found == {"sale": 1}
    assert pages > 4
    for number in range(500):
        assert shards.publish(f"sale.{number}", None) == ""
    shards.settle()
    for _ in range(2):
        assert counts(shards)[0] == {"sale": 1}


def test_a_count_follows_the_keys(shards):
    counts(shards)
    for row, rows in (("r0", 19), ("other", 19), ("r0", 19)):
        shards.publish(f"sale.{row}", None)
        shards.settle()
        assert counts(shards)[0]["sale"] == rows
    for row, rows in (("list", 20), ("other", 21), ("list", 21)):
        assert shards.put("sale", {"id": row}) == ""
        shards.settle()
        assert counts(shards)[0]["sale"] == rows


def test_a_key_that_is_no_row_is_none_again_when_its_change_fails(shards):
    counts(shards)
    owner = shards.owner("sale.list")
    disk = shards.disks[shards.nodes.index(owner)]
    disk.held = True
    assert shards.put("sale", {"id": "list"}) == ""
    assert counts(shards)[0]["sale"] == 21
    owner.journal.outcome(owner.journal.take(shards.now).ticket, "disk full", shards.now)
    assert counts(shards)[0]["sale"] == 20


def test_another_definition_has_other_rows(shards):
    counts(shards)
    table = TABLE | {"properties": {"id": TEXT, "s": TEXT}, "primary_key": ["id", "s"]}
    shards.define({"sale": table})
    shards.settle()
    assert counts(shards)[0] == {"sale": 0}
