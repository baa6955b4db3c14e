"""`fox.key.list` and `fox.key.level`: which keys there are, a page at a time, over all shards."""

import pytest

from fox_shard.config import Role, Rule
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

TOPICS = [
    *(f"house.room{n}.lamp" for n in range(30)),
    "house",
    "house.room1",
    "house-2",
    "other",
    "other.",  # MQTT's `other/`
]


def joined(world, gateway=0):
    client = WampClient(world, gateway)
    world.run_until(lambda: client.session)
    return client


@pytest.fixture
def world():
    world = World(seed=3, gateways=2, shards=4)
    world.run_until(lambda: world.linked)
    device = MqttClient(world, 0)
    world.run_until(lambda: device.connected)
    for topic in TOPICS:
        device.publish(topic.replace(".", "/"), b"21", qos=1, retain=True)
    world.run_until(lambda: len(device.acknowledged) == len(TOPICS))
    return world


def call(world, client, procedure, *args):
    request = client.call(procedure, *args)
    world.run_until(lambda: client.answer(50, request) or client.answer(8, request))
    answer = client.answer(50, request)
    assert answer, client.answer(8, request)
    return answer[3][0], answer[4]


def pages(world, client, procedure, topic, **options):
    """All pages of an answer, each as the list of what it has."""
    found, more = [], {"after": ""}
    while more["after"] is not None:
        page, more = call(world, client, procedure, topic, {**options, "after": more["after"]})
        assert more["more"] is (more["after"] is not None)
        found.append(page)
    return found


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_all_keys_are_listed_once_in_order_whatever_the_pages(world, limit):
    client = joined(world)
    found = pages(world, client, "fox.key.list", "", limit=limit)
    assert [key["topic"] for page in found for key in page] == sorted(TOPICS)
    assert all(len(page) <= limit for page in found)
    assert found[0][0]["bytes"] == 2
    assert found[0][0]["publication"]


def test_a_list_has_what_matches_and_contains(world):
    client = joined(world)
    keys, _ = call(world, client, "fox.key.list", "house.*.lamp", {"contains": "room1"})
    assert [key["topic"] for key in keys] == sorted(
        topic for topic in TOPICS if "room1" in topic and topic.endswith(".lamp")
    )
    keys, _ = call(world, client, "fox.key.list", "house", {"match": "prefix", "contains": "-"})
    assert [key["topic"] for key in keys] == ["house-2"]


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_level_has_keys_and_branches_with_the_sums_of_all_shards(world, limit):
    client = joined(world)
    found = pages(world, client, "fox.key.level", "", limit=limit)
    shown = [(one["topic"], one.get("keys")) for page in found for one in page]
    assert [one for one in shown if not one[0].startswith("$")] == [
        ("house", None),
        ("house-2", None),
        ("house", 31),
        ("other", None),
        ("other", 1),
    ]
    below = pages(world, client, "fox.key.level", "house", limit=limit)
    assert sum(one.get("keys", 1) for page in below for one in page) == 31
    empty = pages(world, client, "fox.key.level", "other", limit=limit)
    assert [(one["topic"], one.get("keys")) for page in empty for one in page] == [("other.", None)]


def test_a_lock_has_its_holder_and_those_who_wait_for_it_in_their_order(world):
    holder, second, third = joined(world), joined(world, 1), joined(world)
    lock = {"acknowledge": True, "retain": True, "when": None, "weak": True, "watch": True}
    for client in (holder, second, third):
        client.publish("com.lock", client.session, **lock)
        world.run(1)
    keys, _ = call(world, third, "fox.key.list", "", {"owned": True})
    (key,) = keys
    assert (key["topic"], key["session"], key["weak"]) == ("com.lock", holder.session, True)
    assert (key["waiters"], key["waiting"]) == (2, [second.session, third.session])


def test_a_private_key_is_listed_for_its_own_session_only(world):
    owner, other = joined(world), joined(world)
    request = owner.publish("com.mine", 1, acknowledge=True, retain=True, weak="private")
    world.run_until(lambda: owner.answer(17, request))
    for client, count in ((owner, 1), (other, 0)):
        keys, _ = call(world, client, "fox.key.list", "com.mine", {})
        assert len(keys) == count


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the first argument is a topic"),
        ([1], "the first argument is a topic"),
        (["a", 1], "an object with options"),
        (["a", {"limit": 0}], "the option limit"),
        (["a", {"limit": 1001}], "the option limit"),
        (["a", {"color": 1}], "color"),
    ],
)
def test_wrong_arguments_are_refused_in_words(world, arguments, said):
    client = joined(world)
    request = client.call("fox.key.list", *arguments)
    world.run_until(lambda: client.answer(8, request))
    error = client.answer(8, request)
    assert error[4] == "wamp.error.invalid_argument"
    assert said in error[5][0]


def test_a_role_is_told_only_of_what_it_may_subscribe_to():
    rules = (
        Rule(uri="house.", match="prefix", allow=("publish", "subscribe")),
        Rule(uri="house.secret", match="prefix", allow=("publish",)),
        Rule(uri="hidden.", match="prefix", allow=("publish",)),
        Rule(uri="fox.key.", match="prefix", allow=("call",)),
    )
    roles = (Role(name="anonymous", rule=rules),)
    world = World(1, shards=2, roles=roles)
    world.run_until(lambda: world.linked)
    client = joined(world)
    for topic in ("house.a", "house.secret.x", "hidden.b", "house.secret-2"):
        request = client.publish(topic, 1, acknowledge=True, retain=True)
        world.run_until(lambda request=request: client.answer(17, request))
    keys, _ = call(world, client, "fox.key.list", "")
    assert [key["topic"] for key in keys] == ["house.a"]
    level, _ = call(world, client, "fox.key.level", "")
    assert [one["topic"] for one in level] == ["house"]
    level, _ = call(world, client, "fox.key.level", "house")
    assert [one["topic"] for one in level] == ["house.a"]
