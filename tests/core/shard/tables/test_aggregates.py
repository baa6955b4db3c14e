"""Aggregates: always what their rows make them."""

from itertools import count

import pytest
from table_shards import TableShards

from fox_shard.backplane.frames import RetainOptions

NUMBER = {"type": "number"}
TEXT = {"type": "string"}


def schema(**more):
    """Return a schema of sales with totals by shop."""
    return {
        "sale": {
            "type": "object",
            "properties": {"id": TEXT, "shop": {"type": ["string", "null"]}, "n": NUMBER, "ok": {}},
            "primary_key": ["id"],
            "propagate": {"total": [{"key": ["shop"], "fields": {"sum": "n"}, **more}]},
        },
        "total": {
            "type": "aggregate",
            "properties": {"shop": TEXT, "sum": NUMBER, "rows": {"type": "integer"}},
            "primary_key": ["shop"],
            "sum": ["sum"],
            "count": ["rows"],
        },
    }


@pytest.fixture
def shards():
    return TableShards(schema())


def sale(shards, id_, shop, n, **more):
    row = {"id": id_, "shop": shop, "n": n, **more}
    assert shards.put("sale", row) == ""


def total(shards, shop):
    """Return sum and count of a shop."""
    key = shards.key(f"total.{shop}")
    return None if key is None else (key["sum"], key["rows"])


def test_rows_add_up_on_whatever_shard(shards):
    for number in range(10):
        sale(shards, f"s{number}", "north" if number % 2 else "south", number)
    shards.check_aggregates()
    assert (total(shards, "north"), total(shards, "south")) == ((25, 5), (20, 5))


def test_an_update_replaces_what_the_row_contributed(shards):
    for n in (1, 5, 3):
        sale(shards, "s", "north", n)
        shards.turns()
    shards.check_aggregates()
    assert total(shards, "north") == (3, 1)


def test_several_updates_in_one_turn(shards):
    for n in (1, 5, 3):
        sale(shards, "s", "north", n)
    shards.check_aggregates()
    assert total(shards, "north") == (3, 1)


def test_a_deleted_row_takes_back_what_it_contributed(shards):
    sale(shards, "s", "north", 1)
    sale(shards, "t", "north", 2)
    shards.delete("sale", "s")
    shards.check_aggregates()
    assert total(shards, "north") == (2, 1)


def test_a_group_ends_with_its_last_row(shards):
    sale(shards, "s", "north", 1)
    shards.settle()
    shards.delete("sale", "s")
    shards.check_aggregates()
    assert total(shards, "north") is None


def test_a_row_that_was_never_there_can_be_deleted(shards):
    sale(shards, "s", "north", 1)
    shards.delete("sale", "t")
    shards.check_aggregates()
    assert total(shards, "north") == (1, 1)


def test_a_row_changes_its_group(shards):
    names = [f"g{n}" for n in range(8)]
    for name in names:  # from shard to shard, and within a shard
        sale(shards, "s", name, 1)
        shards.turns(1)
    shards.check_aggregates()
    assert [name for name in names if total(shards, name)] == ["g7"]


def test_a_row_without_a_group(shards):
    sale(shards, "s", "north", 1)
    shards.turns()
    sale(shards, "s", None, 1)
    shards.check_aggregates()
    assert total(shards, "north") is None


def test_a_row_leaves_its_filter_and_comes_back():
    shards = TableShards(schema(filter={"ok": True}))
    for ok, expected in ((True, (1, 1)), (False, None), (True, (1, 1))):
        sale(shards, "s", "north", 1, ok=ok)
        shards.check_aggregates()
        assert total(shards, "north") == expected


def test_a_group_that_is_touched_often_in_a_turn_changes_once(shards):
    sale(shards, "first", "north", 1)
    shards.settle()
    before = shards.owner("total.north").retained_keys.key(("realm1", "total.north")).publication
    seen = set()
    for number in range(50):
        sale(shards, f"s{number}", "north", 1)
    for _ in range(8):
        shards.turns(1)
        seen.add(
            shards.owner("total.north").retained_keys.key(("realm1", "total.north")).publication
        )
    assert total(shards, "north") == (51, 51)
    assert len(seen - {before}) <= 2  # one for each shard that has rows, at most


def test_a_row_expires(shards):
    row = {"id": "s", "shop": "north", "n": 1}
    assert shards.put("sale", row, retain=RetainOptions(seconds=2.0)) == ""
    shards.settle()
    assert total(shards, "north") == (1, 1)
    shards.turns(50)
    shards.check_aggregates()
    assert total(shards, "north") is None


def test_a_row_expires_while_its_shard_is_down(shards):
    row = {"id": "s", "shop": "north", "n": 1}
    assert shards.put("sale", row, retain=RetainOptions(seconds=2.0)) == ""
    shards.settle()
    number = shards.owner("sale.s").number
    shards.kill(number)
    shards.now += 5
    shards.start(number)
    shards.settle()
    shards.turns(10)
    shards.check_aggregates()
    assert total(shards, "north") is None


@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_shard_dies_at_any_moment(killed, turns, shards):
    for number in range(6):
        sale(shards, f"s{number}", f"g{number % 3}", number)
    shards.settle()
    for number in range(6):
        sale(shards, f"s{number}", f"g{number % 2}", 10 + number)
    shards.turns(turns)
    shards.restart(killed)
    shards.check_aggregates()


@pytest.mark.parametrize("failing", [0, 1])
def test_a_store_fails(failing, shards):
    for number in range(6):
        sale(shards, f"s{number}", f"g{number % 3}", number)
    shards.settle()
    for step in count():
        shards.disks[failing].trouble = "no room"
        for number in range(6):
            row = {"id": f"s{number}", "shop": f"g{(number + step) % 4}", "n": step}
            shards.put("sale", row)
            if number == 3:
                shards.turns(1)
        shards.turns(3)
        shards.check_aggregates()
        if step == 3:
            break


def test_a_store_fails_and_its_shard_dies_before_the_keys_are_written(shards):
    sale(shards, "s", "north", 1)
    shards.settle()
    owner = shards.owner("total.north").number
    shards.disks[owner].trouble = "no room"
    for number in range(4):
        shards.put("sale", {"id": f"s{number}", "shop": "north", "n": 1})
    shards.turns(10)
    shards.disks[owner].trouble = ""
    shards.now += 1.5
    shards.nodes[owner].tick(shards.now)
    shards.disks[owner].held = True
    shards.turn()
    shards.disks[owner].commit()  # the shard dies before it hears of this
    shards.restart(owner)
    shards.check_aggregates()
    assert total(shards, "north")[1] >= 1
