"""Aggregates: always what their rows make them."""

from itertools import count

import pytest
from table_shards import TableShards

from fox_shard.backplane.frames import Contribution, RetainOptions
from fox_shard.config import RealmLimits
from fox_shard.shard import rows
from fox_shard.shard.keys.quota import KeyQuota
from fox_shard.testing.ledger import REALM

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


def place(shards, template, shard):
    """Return the first name whose topic the shard owns. template: the topic, with a gap."""
    names = (f"x{number}" for number in count())
    return next(
        one for one in names if shards.placement.shard_of("realm1", template.format(one)) == shard
    )


def test_the_key_of_a_group_that_could_not_be_committed_is_written_again(shards):
    id_, shop = place(shards, "sale.{}", 0), place(shards, "total.{}", 1)
    shards.disks[1].held = True
    sale(shards, id_, shop, 1)
    shards.turns(4)
    assert total(shards, shop) == (1, 1)
    shards.disks[1].trouble = "no room"
    shards.commit(1)
    assert total(shards, shop) is None
    shards.disks[1].trouble = ""
    shards.check_aggregates()
    assert total(shards, shop) == (1, 1)


def test_a_row_that_expires_at_once_after_its_commit(shards):
    """What it takes back does not overtake what it contributed, within one shard."""
    id_, shop = place(shards, "sale.{}", 0), place(shards, "total.{}", 0)
    row = {"id": id_, "shop": shop, "n": 1}
    shards.disks[0].held = True
    assert shards.put("sale", row, retain=RetainOptions(seconds=1.0)) == ""
    shards.turns(1)
    shards.commit(0)
    shards.now += 1.5
    shards.nodes[0].tick(shards.now)
    assert shards.key(f"sale.{id_}") is None
    shards.check_aggregates()
    assert total(shards, shop) is None


def test_a_contribution_that_comes_again_counts_once(shards):
    """As after a restart of a shard that has forgotten how far it had got."""
    sale(shards, "s", "north", 1)
    shards.turns()
    sale(shards, "s", "north", 5)
    shards.turns()
    sale(shards, "t", "north", 2)
    shards.delete("sale", "t")
    shards.settle()
    frames = [
        (source, frame)
        for source, _, batch in shards.arrived
        for frame in batch.frames
        if isinstance(frame, Contribution)
    ]
    for source, frame in frames:
        shards.owner("total.north").inbox.handle(frame, source)
    shards.check_aggregates()
    assert total(shards, "north") == (5, 1)


def test_an_older_contribution_changes_nothing(shards):
    sale(shards, "s", "north", 1)
    shards.settle()
    owner = shards.owner("total.north")
    build = owner.tables.builds.of("realm1", "total")
    for numbers in (("9", "1"), None):
        old = Contribution("realm1", "total.north", build.name, 0, "sale.s", 5, numbers)
        owner.inbox.handle(old, 0)
    shards.check_aggregates()
    assert total(shards, "north") == (1, 1)


def test_a_contribution_to_an_unknown_build_is_ignored(shards):
    owner = shards.owner("total.north")
    unknown = Contribution("realm1", "total.north", "0.1", 0, "sale.s", 5, ("9", "1"))
    owner.inbox.handle(unknown, 0)
    shards.check_aggregates()
    assert total(shards, "north") is None
    assert not [key for disk in shards.disks for key in disk.rows if key[:1] == rows.CONTRIBUTION]


def test_an_aggregate_whose_shard_is_away_for_minutes(shards):
    id_, shop = place(shards, "sale.{}", 0), place(shards, "total.{}", 1)
    shards.kill(1)
    for n in range(30):
        sale(shards, id_, shop, n)
        shards.now += 10
        shards.turns(1)
    shards.start(1)
    shards.check_aggregates()
    assert total(shards, shop) == (29, 1)


def test_rows_are_refused_when_too_much_waits_for_the_shard_of_their_group():
    shards = TableShards(schema(), outbox_limit=2000)
    id_, shop = place(shards, "sale.{}", 0), place(shards, "total.{}", 1)
    other = place(shards, "total.{}", 0)
    shards.kill(1)
    uris = [shards.put("sale", {"id": id_, "shop": shop, "n": n}) for n in range(60)]
    assert uris[0] == ""
    assert uris[-1] == "fox.error.queue_full"
    assert shards.put("sale", {"id": id_, "shop": other, "n": 7}) == "fox.error.queue_full"
    assert shards.publish(f"sale.{id_}", None) == "fox.error.queue_full"
    refused = uris.count("fox.error.queue_full") + 2
    assert shards.nodes[0].health()["refused"] == {"outbox_limit": refused}
    shards.start(1)
    shards.check_aggregates()
    assert total(shards, shop) == (uris.index("fox.error.queue_full") - 1, 1)


def test_groups_that_cannot_be_written_are_noted_once_however_long_the_store_fails():
    shards = TableShards(schema())
    node = shards.nodes[0]
    for number in range(50):
        shards.put("sale", {"id": f"s{number}", "shop": f"g{number}", "n": 1})
    shards.settle()
    (build, *_) = node.tables.builds
    for topic in list(build.groups):
        node.tables.aggregates.touch(build, topic)

    class Counted(set):
        looks = 0

        def __contains__(self, topic):
            Counted.looks += 1
            return super().__contains__(topic)

    build.unwritten = Counted()
    for _ in range(20):
        node.tables.aggregates.put_off()
    assert build.unwritten == set(build.groups)
    assert Counted.looks == len(build.groups)
    shards.check_aggregates()
    assert not build.unwritten


def test_rows_need_room_in_the_realm_and_aggregates_follow_from_them(shards):
    """The aggregates count as keys, so they take room, but they are written whatever there is."""
    quotas = []
    for node in shards.nodes:
        quota = node.retained_keys.realms[REALM].keys.quota = KeyQuota(RealmLimits(max_keys=4))
        quotas.append(quota)
    refused = [
        shards.put("sale", {"id": f"s{number}", "shop": f"g{number}", "n": 1})
        for number in range(20)
    ]
    assert set(refused) == {"", "fox.error.limit_exceeded"}
    shards.check_aggregates()
    rows, groups = len(shards.rows("sale")), len(shards.rows("total"))
    assert (rows, groups) == (8, 8)
    assert sum(quota.count for quota in quotas) == 16
    # Rows can still change their groups and end.
    sale(shards, "s0", "other", 2)
    shards.check_aggregates()
    assert (total(shards, "other"), total(shards, "g0")) == ((2, 1), None)
    for number in range(20):
        shards.delete("sale", f"s{number}")
    shards.check_aggregates()
    assert [quota.count for quota in quotas] == [0, 0]
    sale(shards, "s4", "g0", 1)


def test_contributions_of_many_functions_are_work_of_several_turns():
    """A thousand functions take milliseconds for each contribution, and each group."""

    def cost_of_a_row(functions):
        fields = {f"f{number}": NUMBER for number in range(functions)}
        edge = {"key": ["id"], "fields": {name: name for name in fields}}
        table = {"properties": {"id": TEXT, **fields}, "primary_key": ["id"]}
        total = {**table, "type": "aggregate", "sum": [*fields]}
        shards = TableShards({"sale": {**table, "propagate": {"total": [edge]}}, "total": total})
        node = shards.owner("total.1")
        build = node.tables.builds.of(REALM, "total")
        before = node.budget.left
        numbers = ("1",) * functions
        frame = Contribution(REALM, "total.1", build.name, 0, "sale.1", 64, numbers)
        node.inbox.handlers[Contribution](frame, 1)
        return before - node.budget.left

    assert cost_of_a_row(4) < 10
    assert cost_of_a_row(400) > 150
