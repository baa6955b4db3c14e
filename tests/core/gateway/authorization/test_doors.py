"""Every way to reach a topic or a procedure obeys the rules, in the whole simulated cluster."""

import json

import pytest
from user_samples import PASSWORD, users

from fox_shard.config import History, Role, Rule
from fox_shard.gateway.mqtt.packets import Will
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

ALL = ("publish", "subscribe", "call", "register")
NOT_AUTHORIZED = "wamp.error.not_authorized"


def rule(uri, *allow, match="prefix", **more):
    return Rule(uri=uri, match=match, allow=allow, **more)


OPEN_BUT_SECRET = (rule("", *ALL), rule("a.secret", match="exact"), rule("wamp.", "call"))
"""Everything but one topic, and the procedures of the server."""


def world(*rules, others=(), **more):
    roles = (Role(name="anonymous", rule=rules), *others)
    made = World(1, shards=2, roles=roles, **more)
    made.run_until(lambda: made.linked)
    return made


def opened(made, gateway=0):
    client = WampClient(made, gateway)
    made.run_until(lambda: client.session)
    return client


def ask(made, client, request):
    """Return the answer to a request: (code, …), or the URI of its error."""
    made.run_until(lambda: any(request in one[1:3] for one in client.inbox if one[0] != 36))
    [answer] = [one for one in client.inbox if request in one[1:3] and one[0] != 36]
    return answer[4] if answer[0] == 8 else answer


def inject(made, topic, value, gateway=1, **options):
    """Publish something with the permissions of the server itself."""
    node = made.gateway(gateway)
    client = WampClient(made, gateway)
    made.run_until(lambda: client.session)
    node.sessions[client.session].permissions = None
    request = client.publish(topic, value, acknowledge=True, **options)
    made.run_until(lambda: client.answer(17, request))
    client.leave()
    made.run(0.5)


# Publishing


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"retain": True},
        {"retain": True, "weak": True},
        {"retain": True, "when": None},
        {"retain": True, "when": None, "weak": True, "watch": True},
        {"retain": True, "patch": True},
        {"retain": True, "will": {"a": 1}, "weak": True},
        {"retain": True, "sequence": True},
        {"trace": True},
    ],
)
def test_a_publish_with_any_option_is_refused(options):
    made = world(*OPEN_BUT_SECRET)
    client = opened(made)
    value = {"a": 1}
    assert ask(made, client, client.publish("a.secret", value, acknowledge=True, **options)) == (
        NOT_AUTHORIZED
    )
    assert ask(made, client, client.publish("a.open", value, acknowledge=True, **options))[0] == 17


def test_a_publish_that_nobody_waits_for_is_dropped_and_counted():
    made = world(*OPEN_BUT_SECRET)
    client = opened(made)
    node = made.gateway(0)
    client.publish("a.secret", 1)
    request = client.publish("a.open", 2, acknowledge=True)
    made.run_until(lambda: client.answer(17, request))
    assert not client.of(8)
    assert node.limit_counts.totals() == {"not_authorized": 1}
    assert node.requests.take_dropped() == 1


def test_a_condition_needs_the_permission_to_subscribe():
    made = world(rule("a.", "publish"))
    client = opened(made)
    plain = client.publish("a.key", 1, acknowledge=True, retain=True)
    assert ask(made, client, plain)[0] == 17
    for condition in ({"when": None}, {"when_id": 0}):
        request = client.publish("a.key", 1, acknowledge=True, retain=True, **condition)
        assert ask(made, client, request) == NOT_AUTHORIZED


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_publishes_are_dropped_acknowledged_and_counted(qos):
    made = world(*OPEN_BUT_SECRET)
    inject(made, "a.open", "old", retain=True)
    reader, client = opened(made, 1), MqttClient(made, 0, "c")
    reader_request = reader.subscribe("a.", match="prefix")
    made.run_until(lambda: client.connected and reader.answer(33, reader_request))
    made.gateway(1).sessions[reader.session].permissions = None
    for number in range(3):
        client.publish("a/secret", b"%d" % number, qos)
    client.publish("a/open", b"9", qos)
    made.run_until(lambda: reader.of(36) and len(client.acknowledged) == (4 if qos else 0))
    assert len(reader.of(36)) == 1
    assert not client.closed
    node = made.gateway(0)
    assert node.limit_counts.totals() == {"not_authorized": 3}
    assert node.requests.take_dropped() == 3


def test_a_run_of_mqtt_publishes_that_are_allowed_goes_through():
    made = world(*OPEN_BUT_SECRET)
    reader, client = MqttClient(made, 1, "r"), MqttClient(made, 0, "c")
    request = reader.subscribe("a/open")
    made.run_until(lambda: client.connected and request in reader.subscribed)
    for number in range(50):
        client.publish("a/open", b"%d" % number, 1)
    made.run_until(lambda: len(reader.messages) == 50)


# Wills and testaments


def test_a_forbidden_will_is_not_set():
    made = world(*OPEN_BUT_SECRET)
    reader = opened(made, 1)
    made.gateway(1).sessions[reader.session].permissions = None
    request = reader.subscribe("a.", match="prefix")
    made.run_until(lambda: reader.answer(33, request))
    clients = [
        MqttClient(made, 0, name, will=Will(topic, name.encode(), 1, retain=True))
        for name, topic in (("bad", "a/secret"), ("good", "a/open"))
    ]
    made.run_until(lambda: all(one.connected for one in clients))
    for client in clients:
        client.drop()
    made.run_until(lambda: reader.of(36))
    made.run(1)
    assert [one[3]["topic"] for one in reader.of(36)] == ["a.open"]


def test_a_testament_needs_both_permissions():
    made = world(rule("a.", "publish"), rule("wamp.session.add_testament", "call", match="exact"))
    client = opened(made)
    add = "wamp.session.add_testament"
    assert ask(made, client, client.call(add, "a.b", [1], {}))[0] == 50
    assert ask(made, client, client.call(add, "b", [1], {})) == NOT_AUTHORIZED
    condition = [
        48,
        99,
        {},
        add,
        ["a.b", [1], {}],
        {"publish_options": {"when": None, "retain": True}},
    ]
    client.send(condition)
    assert ask(made, client, 99) == NOT_AUTHORIZED
    other = opened(world(rule("a.", *ALL)))
    assert ask(other._world, other, other.call(add, "a.b", [1], {})) == NOT_AUTHORIZED


# Subscribing


def test_a_subscription_to_what_is_forbidden_is_refused():
    made = world(rule("a.", "subscribe"), rule("a.secret", match="exact"))
    client, device = opened(made), MqttClient(made, 0, "c")
    made.run_until(lambda: device.connected)
    for options in (
        {},
        {"after": 0},
        {"snapshot": True, "retained": True},
        {"state": True, "retained": True},
    ):
        assert ask(made, client, client.subscribe("a.secret", **options)) == NOT_AUTHORIZED
        assert (
            ask(made, client, client.subscribe("b.", match="prefix", **options)) == NOT_AUTHORIZED
        )
    assert ask(made, client, client.subscribe("wamp.session.on_join")) == NOT_AUTHORIZED
    one = device.subscribe("a/secret", "a/b", "$SYS/#", "#")
    made.run_until(lambda: one in device.subscribed)
    assert device.subscribed[one] == (0x80, 0, 0x80, 0)


def subscribed(made, client, topic, **options):
    answer = ask(made, client, client.subscribe(topic, **options))
    assert answer[0] == 33, answer
    return answer[2]


def topics(client):
    """The topics of the events of a subscription to a pattern."""
    return [one[3]["topic"] for one in client.of(36)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"get_retained": True},
        {"state": True, "get_retained": True},
        {"filter": {"v": 1}},
        {"after": 0},
    ],
)
def test_a_pattern_is_narrowed_as_events_come_and_for_all_that_was_before(options):
    history = (History(topic="a.#"),)
    made = world(*OPEN_BUT_SECRET, history=history)
    for topic in ("a.secret", "a.open"):
        inject(made, topic, {"v": 1}, retain=True)
    narrowed, free = opened(made, 0), opened(made, 0)
    made.gateway(0).sessions[free.session].permissions = None
    for client in (free, narrowed):
        subscribed(made, client, "a.", match="prefix", **options)
    for topic in ("a.secret", "a.open"):
        inject(made, topic, {"v": 1}, retain=True)
    made.run(1)
    assert set(topics(narrowed)) == {"a.open"}
    assert set(topics(free)) == {"a.open", "a.secret"}
    assert 2 * len(topics(narrowed)) == len(topics(free)) > 0


def test_a_snapshot_is_narrowed():
    made = world(*OPEN_BUT_SECRET)
    for topic in ("a.secret", "a.open"):
        inject(made, topic, {"v": 1}, retain=True)
    client = opened(made)
    subscribed(made, client, "a.#", snapshot=True)
    made.run_until(lambda: client.of(35))
    assert topics(client) == ["a.open"]


@pytest.mark.parametrize("options", [{}, {"state": True}, {"after": 0}])
def test_events_that_come_before_the_subscription_is_confirmed_are_narrowed_too(options):
    made = world(*OPEN_BUT_SECRET)
    writer = opened(made, 1)
    made.gateway(1).sessions[writer.session].permissions = None
    client = opened(made, 0)
    request = client.subscribe("a.", match="prefix", **options)
    for number in range(100):
        made.run(0.002)
        writer.publish("a.secret", number, retain=True)
        writer.publish("a.open", number, retain=True)
    made.run_until(lambda: client.answer(33, request) and client.of(36))
    made.run(1)
    assert set(topics(client)) == {"a.open"}


def test_mqtt_subscribers_of_everything_get_what_they_may_see():
    made = world(*OPEN_BUT_SECRET)
    inject(made, "a.secret", {"v": 0}, retain=True)
    for qos in (0, 1):
        client = MqttClient(made, 0, f"c{qos}")
        made.run_until(lambda client=client: client.connected)
        request = client.subscribe("#", "a/+", qos=qos)
        made.run_until(lambda client=client, request=request: request in client.subscribed)
        assert client.subscribed[request] == (qos, qos)
        for topic in ("a.secret", "a.open", "b"):
            inject(made, topic, {"v": 1}, retain=topic == "a.secret")
        made.run(1)
        assert {one.topic for one in client.messages} == {"a/open", "b"}


def test_a_session_that_sees_everything_shares_its_group_with_others():
    made = world(*OPEN_BUT_SECRET)
    client = opened(made)
    subscribed(made, client, "b.", match="prefix")
    subscribed(made, client, "a.", match="prefix")
    groups = {
        one.subscription.pattern.literal: len(one.members.groups())
        for one in made.gateway(0).subscriptions["realm1"].by_id.values()
    }
    assert groups == {"b.": 1, "a.": 2}


# History, tables


def test_the_history_of_a_pattern_is_narrowed():
    made = world(*OPEN_BUT_SECRET, history=(History(topic="a.#"),))
    for topic in ("a.secret", "a.open"):
        inject(made, topic, {"v": 1})
    client = opened(made)
    id_ = subscribed(made, client, "a.#")
    answer = ask(made, client, client.call("wamp.subscription.get_events", id_))
    assert [one["details"]["topic"] for one in answer[3][0]] == ["a.open"]
    narrow = {"topic": "a.secret"}
    client.send([48, 77, {}, "wamp.subscription.get_events", [id_], narrow])
    assert ask(made, client, 77)[3] == [[]]


SCHEMA = json.dumps(
    {
        name: {
            "type": "object",
            "properties": {"k": {"type": "string"}, "n": {"type": "integer"}},
            "primary_key": ["k"],
        }
        for name in ("open", "hidden")
    }
)


def test_tables_obey_the_rules_of_their_rows():
    rules = (
        rule("open.", "publish", "subscribe"),
        rule("open.x", match="exact"),
        rule("fox.table.", "call"),
    )
    made = world(*rules, schemas={"realm1": SCHEMA})
    made.run_until(lambda: made.gateway(0).realms["realm1"].tables.tables)
    client = opened(made)
    rows = [{"k": k, "n": 1} for k in "wxyz"]
    for row in rows:
        inject(made, "open", row)
        inject(made, "hidden", row)

    def call(procedure, *args):
        answer = ask(made, client, client.call(procedure, *args))
        return (
            answer if isinstance(answer, str) else (answer[3], answer[4] if len(answer) > 4 else {})
        )

    assert call("fox.table.get", "hidden", "w") == NOT_AUTHORIZED
    assert call("fox.table.get", "open", "x") == NOT_AUTHORIZED
    assert call("fox.table.get", "open", "w")[0] == [rows[0]]
    assert call("fox.table.rows", "hidden") == NOT_AUTHORIZED
    (found,), named = call("fox.table.rows", "open", {"limit": 1})
    assert found == [rows[0]]
    # A page does not end with a row that the caller may not know of.
    (found,), named = call("fox.table.rows", "open", {"limit": 2})
    assert found == [rows[0], rows[2]]
    assert named["after"] == ["y"]
    [tables], _ = call("fox.table.list")
    assert [one["table"] for one in tables] == ["open"]
    # Rows are published to their table, but it is their own topic that counts.
    for row, allowed in zip(rows, (True, False, True, True), strict=True):
        answer = ask(made, client, client.publish("open", row, acknowledge=True))
        assert (answer != NOT_AUTHORIZED) is allowed
    assert ask(made, client, client.publish("hidden", rows[0], acknowledge=True)) == NOT_AUTHORIZED
    assert ask(made, client, client.subscribe("hidden")) == NOT_AUTHORIZED
    subscribed(made, client, "open")
    for row in rows:
        inject(made, "open", {**row, "n": 2})
    made.run(1)
    assert topics(client) == ["open.w", "open.y", "open.z"]


def test_refusals_do_not_tell_which_tables_there_are_nor_their_keys():
    rules = (
        rule("open.", "publish", "subscribe"),
        rule("fox.table.", "call"),
        rule("wamp.session.add_testament", "call", match="exact"),
    )
    made = world(*rules, schemas={"realm1": SCHEMA})
    made.run_until(lambda: made.gateway(0).realms["realm1"].tables.tables)
    client = opened(made)

    def error(request):
        made.run_until(lambda: any(one[2] == request for one in client.of(8)))
        [found] = [one for one in client.of(8) if one[2] == request]
        return found

    for name in ("hidden", "hiden", "nothing"):
        for procedure in ("fox.table.get", "fox.table.rows"):
            for arguments in ([], ["w"], ["w", "w"], [["w"]]):
                request = client.call(procedure, name, *arguments)
                assert error(request)[4] == NOT_AUTHORIZED, (procedure, name, arguments)
        for topic in (name, f"{name}.x", f"{name}.x.y"):
            for value in ({"k": "w"}, {"wrong": 1}, 1):
                for options in ({}, {"retain": True}, {"retain": True, "sequence": True}):
                    request = client.publish(topic, value, acknowledge=True, **options)
                    assert error(request)[4] == NOT_AUTHORIZED, (topic, value, options)
            request = client.call("wamp.session.add_testament", topic, [{"wrong": 1}], {})
            assert error(request)[4] == NOT_AUTHORIZED, topic
    request = client.call("fox.table.get", "open.hiden")
    assert "hidden" not in str(error(request))


# Procedures


def test_calls_and_registrations_are_refused():
    made = world(rule("open.", "call", "register"), rule("open.closed", "register", match="exact"))
    callee, caller = opened(made, 0), opened(made, 1)
    refused = [
        ("closed", {}),
        ("", {"match": "prefix"}),
        ("open", {"match": "prefix"}),
        (".b", {"match": "wildcard"}),
    ]
    for procedure, options in refused:
        assert ask(made, callee, callee.register(procedure, **options)) == NOT_AUTHORIZED
    assert ask(made, callee, callee.register("open.", match="prefix"))[0] == 65
    for procedure in ("open.closed", "closed"):
        assert ask(made, caller, caller.call(procedure)) == NOT_AUTHORIZED
    request = caller.call("open.b")
    made.run_until(lambda: callee.of(68))
    callee.send([70, callee.of(68)[0][1], {}, [1]])
    assert ask(made, caller, request)[0] == 50
    assert len(callee.of(68)) == 1


def test_a_reducer_needs_what_it_gets_and_what_it_sets():
    made = world(
        rule("", "register"),
        rule("in.", "subscribe", "register"),
        rule("seen.", "subscribe"),
        rule("both.", "subscribe", "publish", "register"),
        rule("both.secret", "register", match="exact"),
        rule("out", "subscribe", "publish", match="exact"),
        rule("blind", "publish", match="exact"),
    )
    client = opened(made)
    refused = [
        ("else.", {}),
        ("else.", {"mission": "out"}),
        ("seen.", {"mission": "out"}),
        ("in.", {}),
        ("in.", {"mission": "else"}),
        ("in.", {"mission": "blind"}),
        ("both.", {}),
    ]
    for pattern, options in refused:
        request = client.register(pattern, match="prefix", reducer=True, **options)
        assert ask(made, client, request) == NOT_AUTHORIZED, (pattern, options)
    request = client.register("in.", match="prefix", reducer=True, mission="out")
    assert ask(made, client, request)[0] == 65
    assert ask(made, client, client.register("both.a.", match="prefix", reducer=True))[0] == 65


def test_only_who_may_do_everything_posts_the_events_of_a_webhook():
    made = world(rule("", "subscribe", "publish", "register", "call"))
    client = opened(made)
    request = client.register("both.", match="prefix", reducer=True, webhook="w")
    assert ask(made, client, request) == NOT_AUTHORIZED


META = (
    "wamp.session.kill",
    "wamp.session.kill_all",
    "wamp.session.kill_by_authid",
    "wamp.session.count",
    "wamp.session.add_testament",
    "wamp.subscription.list",
    "wamp.subscription.get_events",
    "wamp.registration.list",
    "fox.schema.set",
    "fox.schema.get",
    "fox.table.list",
    "fox.table.rows",
    "fox.reducer.list",
    "fox.reducer.remove",
)


@pytest.mark.parametrize("procedure", META)
def test_procedures_of_the_server_need_a_rule_that_names_them(procedure):
    made = world(rule("", *ALL))
    client = opened(made)
    assert ask(made, client, client.call(procedure)) == NOT_AUTHORIZED
    made = world(rule(procedure, "call", match="exact"))
    client = opened(made)
    assert ask(made, client, client.call(procedure)) != NOT_AUTHORIZED


# Disclosure, roles


def test_a_rule_discloses_publishers_and_callers():
    made = world(rule("", *ALL, disclose=True))
    reader, writer, device = opened(made, 0), opened(made, 1), MqttClient(made, 1, "sensor")
    subscribed(made, reader, "a")
    assert ask(made, reader, reader.register("p"))[0] == 65
    writer.publish("a", 1)
    made.run_until(lambda: reader.of(36))
    device.publish("a", b"2", 1)
    device.publish("a", b"3", 0)
    made.run_until(lambda: len(reader.of(36)) == 3)
    assert [one[3]["publisher_authid"] for one in reader.of(36)] == ["anonymous"] + 2 * ["sensor"]
    assert reader.of(36)[0][3]["publisher"] == writer.session
    writer.call("p")
    made.run_until(lambda: reader.of(68))
    assert reader.of(68)[0][3]["caller"] == writer.session


def test_a_role_without_rules_may_do_nothing_and_a_realm_without_roles_everything():
    made = world(others=(), users=users())
    client = MqttClient(made, 0, "c", user_name="peter", password=PASSWORD.encode())
    made.run_until(lambda: client.connected)
    request = client.subscribe("#", "a")
    made.run_until(lambda: request in client.subscribed)
    assert client.subscribed[request] == (0x80, 0x80)
    free = World(1)
    free.run_until(lambda: free.linked)
    one = opened(free)
    assert free.gateway(0).sessions[one.session].permissions is None
    assert ask(free, one, one.call("wamp.session.kill_all"))[0] == 50


# Trust levels


def test_events_tell_the_trust_level_of_their_publisher():
    made = world(
        rule("a.", *ALL), rule("a.trusted", *ALL, trustlevel=7), rule("a.zero", *ALL, trustlevel=0)
    )
    reader, client = opened(made, 1), opened(made)
    request = reader.subscribe("a.", match="prefix")
    made.run_until(lambda: reader.answer(33, request))
    for topic in ("a.trusted", "a.zero", "a.plain"):
        ask(made, client, client.publish(topic, 1, acknowledge=True, _mine=5, trustlevel=9))
    made.run_until(lambda: len(reader.of(36)) == 3)
    told = {one[3]["topic"]: one[3] for one in reader.of(36)}
    assert {topic: one.get("trustlevel") for topic, one in told.items()} == {
        "a.trusted": 7,
        "a.zero": 0,
        "a.plain": None,
    }
    assert all(one["_mine"] == 5 for one in told.values())


@pytest.mark.parametrize("qos", [0, 1])
def test_events_of_mqtt_publishers_tell_it_as_well(qos):
    made = world(rule("a.", *ALL, trustlevel=3))
    reader, client = opened(made, 1), MqttClient(made, 0, "c")
    request = reader.subscribe("a.", match="prefix")
    made.run_until(lambda: client.connected and reader.answer(33, request))
    for number in range(3):
        client.publish("a/b", b"%d" % number, qos)
    made.run_until(lambda: len(reader.of(36)) == 3)
    assert [one[3]["trustlevel"] for one in reader.of(36)] == [3, 3, 3]


def test_invocations_tell_the_trust_level_of_their_caller():
    made = world(rule("p.", *ALL), rule("p.trusted", *ALL, trustlevel=2))
    callee, caller = opened(made, 1), opened(made)
    for procedure in ("p.trusted", "p.plain"):
        request = callee.register(procedure)
        made.run_until(lambda request=request: callee.answer(65, request))
        caller.call(procedure, 1)
    made.run_until(lambda: len(callee.of(68)) == 2)
    assert [one[3].get("trustlevel") for one in callee.of(68)] == [2, None]
