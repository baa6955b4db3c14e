"""Authorizers are asked where no rule decides, in order; without an answer, nothing is allowed."""

import json

import pytest
from test_doors import NOT_AUTHORIZED, ask, inject, opened

from fox_shard.config import Role, Rule
from fox_shard.gateway.clients.limited_lines import FIRST
from fox_shard.gateway.mqtt.codec import encode
from fox_shard.gateway.mqtt.packets import Disconnect, Publish, Will
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

FAILED = "wamp.error.authorization_failed"
FUNCTION = "rules:may"
INVOCATION, YIELD, REGISTERED, EVENT, PUBLISHED = 68, 70, 65, 36, 17


class Asked:
    """A function that notes what it is asked; it forbids what has `secret` in its URI."""

    def __init__(self, answer=None):
        self.questions = []
        self.answer = answer

    def __call__(self, session, action, uri):
        self.questions.append((session["authid"], action, uri))
        return "secret" not in uri if self.answer is None else self.answer


def world(function=None, rules=(), authorizer=FUNCTION, schemas=None, **more):
    role = Role(name="anonymous", rule=rules, authorizer=authorizer, **more)
    made = World(1, shards=2, gateways=2, roles=(role,), schemas=schemas)
    made.functions[FUNCTION] = function
    made.run_until(lambda: made.linked)
    return made


def spy(made, pattern=""):
    """Return a client at the other gateway that sees all events; nobody is asked about it."""
    reader = opened(made, 1)
    session = made.gateway(1).sessions[reader.session]
    session.permissions = session.answers = None
    request = reader.subscribe(pattern, match="prefix")
    made.run_until(lambda: reader.answer(33, request))
    return reader


def payloads(reader):
    return [event[4][0] for event in reader.of(EVENT)]


@pytest.mark.parametrize(
    ("request_", "right"),
    [
        (lambda client, uri: client.publish(uri, 1, acknowledge=True), PUBLISHED),
        (lambda client, uri: client.subscribe(uri), 33),
        (lambda client, uri: client.subscribe(uri, match="prefix"), 33),
        (lambda client, uri: client.register(uri), REGISTERED),
        (lambda client, uri: client.register(uri, match="prefix"), REGISTERED),
    ],
)
def test_each_request_is_asked_about_once(request_, right):
    asked = Asked()
    made = world(asked)
    client = opened(made)
    assert ask(made, client, request_(client, "a.open"))[0] == right
    assert ask(made, client, request_(client, "a.secret")) == NOT_AUTHORIZED
    assert [one[2] for one in asked.questions] == ["a.open", "a.secret"]


def test_calls_are_asked_about():
    made = world(Asked())
    client = opened(made)
    assert ask(made, client, client.call("a.secret")) == NOT_AUTHORIZED
    assert ask(made, client, client.call("a.open")) == "wamp.error.no_such_procedure"


def test_a_condition_is_asked_about_too():
    asked = Asked()
    made = world(asked)
    client = opened(made)
    request = client.publish("a.key", 1, acknowledge=True, retain=True, when=None)
    assert ask(made, client, request)[0] == PUBLISHED
    assert [one[1] for one in asked.questions] == ["publish", "subscribe"]


def test_rules_decide_first_and_reserved_names_need_one():
    asked = Asked(answer=True)
    made = world(
        asked, rules=(Rule(uri="a.", match="prefix", allow=("publish",)), Rule(uri="a.closed"))
    )
    client = opened(made)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED
    assert ask(made, client, client.publish("a.closed", 1, acknowledge=True)) == NOT_AUTHORIZED
    assert ask(made, client, client.call("wamp.session.count")) == NOT_AUTHORIZED
    assert ask(made, client, client.subscribe("wamp.session.", match="prefix")) == NOT_AUTHORIZED
    assert ask(made, client, client.subscribe("$SYS.#")) == NOT_AUTHORIZED
    assert not asked.questions


def test_requests_behind_a_question_keep_their_order():
    made = world(Asked(), rules=(Rule(uri="a.known", allow=("publish",)),))
    reader, client = spy(made, "a."), opened(made)
    for number in range(30):
        client.publish(("a.known", "a.asked", "a.secret")[number % 3], number)
    last = client.publish("a.known", 99, acknowledge=True)
    made.run_until(lambda: client.answer(PUBLISHED, last) and 99 in payloads(reader))
    assert payloads(reader) == [*(n for n in range(30) if n % 3 < 2), 99]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_publishes_keep_their_order(qos):
    made = world(Asked(), rules=(Rule(uri="a.known", allow=("publish",)),))
    reader, client = spy(made, "a."), MqttClient(made, 0, "c")
    made.run_until(lambda: client.connected)
    topics = ("a/known", "a/asked", "a/asked", "a/secret", "a/asked")
    for number in range(40):
        client.publish(topics[number % 5], b"%d" % number, qos)
    right = [b"%d" % number for number in range(40) if number % 5 != 3]
    made.run_until(lambda: len(reader.of(EVENT)) >= len(right))
    if qos:
        made.run_until(lambda: len(client.acknowledged) == 40)
    assert [b"%d" % int(one) for one in payloads(reader)] == right


def test_a_subscribe_packet_gets_a_code_for_each_filter():
    made = world(Asked())
    client = MqttClient(made, 0, "c")
    made.run_until(lambda: client.connected)
    request = client.subscribe("a/open", "a/secret", "b/#")
    made.run_until(lambda: request in client.subscribed)
    assert tuple(client.subscribed[request]) == (0, 0x80, 0)


def test_a_pattern_that_is_allowed_is_narrowed_by_rules_alone():
    made = world(Asked(), rules=(Rule(uri="a.closed"),))
    client = opened(made)
    assert ask(made, client, client.subscribe("a.", match="prefix"))[0] == 33
    for topic in ("a.closed", "a.secret", "a.open"):
        inject(made, topic, topic)
    made.run_until(lambda: "a.open" in payloads(client))
    assert payloads(client) == ["a.secret", "a.open"]


def test_an_answer_is_kept_only_if_the_authorizer_says_so_and_for_its_time():
    asked = Asked({"allow": True, "cache": True, "disclose": True})
    made = world(asked, authorizer_cache=10.0)
    client = opened(made)
    for _ in range(3):
        assert ask(made, client, client.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED
    assert len(asked.questions) == 1
    other = opened(made)
    assert ask(made, other, other.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED
    assert len(asked.questions) == 2
    made.run(11)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED
    assert len(asked.questions) == 3
    asked.answer = {"allow": True}
    for _ in range(2):
        assert ask(made, client, client.publish("a.c", 1, acknowledge=True))[0] == PUBLISHED
    assert len(asked.questions) == 5


@pytest.mark.parametrize("answer", [None, "yes", 1, {}, {"allow": "yes"}, []])
def test_what_is_no_answer_allows_nothing(answer):
    made = world(lambda session, action, uri: answer)
    client = opened(made)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True)) == FAILED
    assert ask(made, client, client.call("a.b")) == FAILED
    assert made.gateway(0).limit_counts.totals() == {"authorization_failed": 2}


def authorizer(made, answers=lambda *args: True):
    """Return a client that is the procedure `com.authorize`, and the list of what it is asked."""
    questions = []

    def received(message):
        if message[0] == INVOCATION:
            questions.append(message[4])
            answer = answers(*message[4])
            if answer is not None:
                client.send([YIELD, message[1], {}, [answer]])

    client = WampClient(made, 1, "realm1", received)
    made.run_until(lambda: client.session)
    request = client.register("com.authorize")
    made.run_until(lambda: client.answer(REGISTERED, request))
    return client, questions


def failures(made):
    return [fields for _, event, fields in made.logged if event == "authorizer_failed"]


REGISTERS = (Rule(uri="com.authorize", allow=("register",)),)


def test_a_procedure_is_asked():
    made = world(authorizer="com.authorize", rules=REGISTERS)
    client = opened(made)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True)) == FAILED
    _, questions = authorizer(made, lambda _, uri, *rest: "secret" not in uri)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED
    assert ask(made, client, client.subscribe("a.secret", match="wildcard")) == NOT_AUTHORIZED
    details, uri, action, options = questions[1]
    assert (uri, action, options) == ("a.secret", "subscribe", {"match": "wildcard"})
    assert (details["realm"], details["session"]) == ("realm1", client.session)


@pytest.mark.parametrize(
    ("pattern", "match"),
    [("com.authorize", "exact"), ("com.", "prefix"), (".authorize", "wildcard")],
)
def test_nobody_is_asked_about_the_session_that_serves_the_authorizer(pattern, match):
    made = world(
        authorizer="com.authorize", rules=[Rule(uri=pattern, match=match, allow=("register",))]
    )
    answers = [True]

    def invoked(message):
        # A request while it handles an invocation, and one when it does not.
        if message[0] == INVOCATION:
            answers.append(callee.publish("a.b", 1, acknowledge=True))
            callee.send([YIELD, message[1], {}, [True]])

    callee = WampClient(made, 1, "realm1", invoked)
    made.run_until(lambda: callee.session)
    # The registration need not be confirmed.
    with callee.wire.together():
        registered = callee.register(pattern, match=match)
        early = callee.publish("a.b", 1, acknowledge=True)
    assert ask(made, callee, early) == NOT_AUTHORIZED
    made.run_until(lambda: callee.answer(REGISTERED, registered))
    client = opened(made)
    began = made.now
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED
    assert ask(made, callee, answers[1]) == NOT_AUTHORIZED
    assert ask(made, callee, callee.call("a.b")) == NOT_AUTHORIZED
    assert made.now < began + 1
    # A second registration is refused, and changes nothing.
    again = callee.register(pattern, match=match)
    assert ask(made, callee, again) == "wamp.error.procedure_already_exists"
    assert ask(made, callee, callee.publish("a.b", 1, acknowledge=True)) == NOT_AUTHORIZED
    # Without the registration, it is a session like any other.
    unregister = callee.request(66, callee.answer(REGISTERED, registered)[2])
    assert ask(made, callee, unregister)[0] == 67
    assert ask(made, callee, callee.publish("a.b", 1, acknowledge=True)) == FAILED


def test_a_registration_that_is_refused_serves_nothing():
    made = world(authorizer="com.authorize", rules=REGISTERS)
    authorizer(made)
    client = opened(made)
    refused = client.register("com.authorize")
    assert ask(made, client, refused) == "wamp.error.procedure_already_exists"
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED


def test_no_answer_in_time_is_a_refusal_and_others_go_on_meanwhile():
    made = world(
        authorizer="com.authorize",
        rules=(*REGISTERS, Rule(uri="a.known", allow=("publish",))),
        authorizer_timeout=5.0,
    )
    authorizer(made, lambda *args: None)
    client, other = opened(made), opened(made)
    first = client.publish("a.b", 1, acknowledge=True)
    second = client.publish("a.known", 2, acknowledge=True)
    made.run(1)
    assert ask(made, other, other.publish("a.known", 3, acknowledge=True))[0] == PUBLISHED
    assert not client.answer(PUBLISHED, second)
    assert ask(made, client, first) == FAILED
    assert ask(made, client, second)[0] == PUBLISHED


@pytest.mark.parametrize("protocol", ["wamp", "mqtt"])
def test_a_session_that_ends_while_it_waits_does_nothing_more(protocol):
    made = world(authorizer="com.authorize", rules=REGISTERS)
    callee, questions = authorizer(made, lambda *args: None)
    reader = spy(made, "a.")
    client = opened(made) if protocol == "wamp" else MqttClient(made, 0, "c")
    made.run_until(lambda: protocol == "wamp" or client.connected)
    client.publish("a.b", 1) if protocol == "wamp" else client.publish("a/b", b"1", 1)
    made.run_until(lambda: questions)
    [session] = made.gateway(0).sessions.values()
    session.end("wamp.close.killed", "")
    assert len(made.gateway(0).consultations) == 0
    for message in callee.of(INVOCATION):
        callee.send([YIELD, message[1], {}, [True]])
    made.run(10)
    assert not reader.of(EVENT)
    assert made.gateway(0).turns.idle


def test_a_will_is_asked_about_before_it_is_set():
    made = world(Asked())
    reader = spy(made, "a.")
    clients = [
        MqttClient(made, 0, name, will=Will(topic, name.encode(), 1, retain=False))
        for name, topic in (("bad", "a/secret"), ("good", "a/open"))
    ]
    made.run_until(lambda: all(one.connected for one in clients))
    made.run(1)
    for client in clients:
        client.drop()
    made.run_until(lambda: reader.of(EVENT))
    made.run(1)
    assert len(reader.of(EVENT)) == 1


def test_a_testament_is_asked_about():
    asked = Asked()
    made = world(asked, rules=(Rule(uri="wamp.session.add_testament", allow=("call",)),))
    client = opened(made)
    good = client.call("wamp.session.add_testament", "a.open", [1], {})
    assert ask(made, client, good)[0] == 50
    bad = client.call("wamp.session.add_testament", "a.secret", [1], {})
    assert ask(made, client, bad) == NOT_AUTHORIZED
    assert [one[1:] for one in asked.questions] == [("publish", "a.open"), ("publish", "a.secret")]


def test_too_many_questions_are_refused_in_order():
    made = world(Asked())
    made.gateway(0).consultations._limit = 0
    client = opened(made)
    requests = [client.publish("a.b", number, acknowledge=True) for number in range(50)]
    made.run_until(lambda: len(client.of(8)) == 50)
    assert [(one[2], one[4]) for one in client.of(8)] == [(one, FAILED) for one in requests]


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (
            [8, INVOCATION, 0, {}, "app.error.broken", ["no\nidea"]],
            {"why": "error", "error": "app.error.broken"},
        ),
        ([YIELD, 0, {}, ["yes"]], {"why": "unreadable"}),
        ([YIELD, 0, {}], {"why": "unreadable"}),
        (None, {"why": "timeout"}),
        ("nobody", {"why": "no_callee", "error": "wamp.error.no_such_procedure"}),
    ],
)
def test_an_authorizer_that_fails_is_logged(answer, more):
    made = world(authorizer="com.authorize", rules=REGISTERS)

    def invoked(message):
        if message[0] == INVOCATION and answer is not None:
            at = 2 if answer[0] == 8 else 1
            callee.send([*answer[:at], message[1], *answer[at + 1 :]])

    if answer != "nobody":
        callee = WampClient(made, 1, "realm1", invoked)
        made.run_until(lambda: callee.session)
        request = callee.register("com.authorize")
        made.run_until(lambda: callee.answer(REGISTERED, request))
    client = opened(made)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True)) == FAILED
    made.run(0.1)
    [fields] = failures(made)
    assert {"realm": "realm1", "authorizer": "com.authorize", **more}.items() <= fields.items()
    assert fields["reason"].isprintable()


def test_an_authorizer_that_answers_is_not_logged():
    made = world(Asked())
    client = opened(made)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True))[0] == PUBLISHED
    assert ask(made, client, client.publish("a.secret", 1, acknowledge=True)) == NOT_AUTHORIZED
    made.run(0.1)
    assert not failures(made)


def test_a_flood_of_failures_leaves_few_lines():
    made = world(lambda *args: None)
    client = opened(made)
    for number in range(FIRST + 100):
        client.publish("a.b", number)
    assert ask(made, client, client.publish("a.b", 1, acknowledge=True)) == FAILED
    made.run(2)
    lines = failures(made)
    assert len(lines) <= FIRST + 3
    assert sum(1 + one.get("suppressed", 0) for one in lines) == FIRST + 101


TABLE = {"type": "object", "properties": {"n": {"type": "string"}}, "primary_key": ["n"]}


@pytest.mark.parametrize("topic", ["invoices", "invoices.{}"])
def test_a_row_is_asked_about_by_its_own_topic(topic):
    asked = Asked()
    made = world(asked, schemas={"realm1": json.dumps({"invoices": TABLE})})
    made.run_until(lambda: made.gateway(0).realms["realm1"].tables.tables)
    client = opened(made)
    for key, right in (("open", PUBLISHED), ("secret", NOT_AUTHORIZED)):
        request = client.publish(topic.format(key), {"n": key}, acknowledge=True)
        answer = ask(made, client, request)
        assert right in (answer, answer[0])
    assert [one[2] for one in asked.questions] == ["invoices.open", "invoices.secret"]


def test_a_goodbye_waits_behind_a_publish_that_is_asked_about():
    made = world(Asked())
    reader, client = spy(made, "a."), opened(made)
    client.publish("a.b", 1)
    client.leave()
    made.run_until(lambda: reader.of(EVENT))


@pytest.mark.parametrize("last", ["a/b", "a/c"])
def test_a_disconnect_waits_behind_publishes_that_came_with_it(last):
    made = world(Asked())
    reader, client = spy(made, "a."), MqttClient(made, 0, "c")
    made.run_until(lambda: client.connected)
    packets = [Publish("a/b", b"1", 0, 0, False), Publish(last, b"2", 0, 0, False), Disconnect()]
    client.wire.send(b"".join(encode(packet) for packet in packets))
    made.run_until(lambda: len(reader.of(EVENT)) == 2)
    assert [int(one) for one in payloads(reader)] == [1, 2]


@pytest.mark.parametrize("protocol", ["wamp", "mqtt"])
def test_a_client_whose_request_waits_is_not_read(protocol):
    made = world(authorizer="com.authorize", rules=REGISTERS)
    _, questions = authorizer(made, lambda *args: None)
    client = opened(made) if protocol == "wamp" else MqttClient(made, 0, "c")
    made.run_until(lambda: protocol == "wamp" or client.connected)
    if protocol == "wamp":
        for number in range(100):
            client.publish(f"a.{number}", 1)
    else:
        # All of them come at once.
        packets = [Publish(f"a/{number}", b"", 0, 0, False) for number in range(100)]
        client.wire.send(b"".join(encode(packet) for packet in packets))
    made.run_until(lambda: questions)
    made.run(1)
    [session] = made.gateway(0).sessions.values()
    assert session.connection.paused
    assert len(session.answers.waiting) == 0
    assert len(questions) == 1


def test_publishes_that_came_at_once_are_asked_about_one_after_the_other():
    under_way, order = [], []

    def may(session, action, uri):
        under_way.append(len(made.gateway(0).consultations))
        order.append(uri)
        return True

    made = world(may, schemas={"realm1": json.dumps({"invoices": TABLE})})
    made.run_until(lambda: made.gateway(0).realms["realm1"].tables.tables)
    client = MqttClient(made, 0, "c")
    made.run_until(lambda: client.connected)
    packets = [Publish("invoices", b'{"n": "%d"}' % n, 0, 0, False) for n in range(9)]
    client.wire.send(b"".join(encode(packet) for packet in packets))
    made.run_until(lambda: len(order) == 9)
    assert order == [f"invoices.{n}" for n in range(9)]
    assert set(under_way) == {1}


def test_a_run_of_publishes_is_asked_about_once():
    asked = Asked()
    made = world(asked)
    reader, client = spy(made, "a."), MqttClient(made, 0, "c")
    made.run_until(lambda: client.connected)
    packets = [Publish("a/b", b"%d" % number, 1, number, False) for number in range(1, 51)]
    client.wire.send(b"".join(encode(packet) for packet in packets))
    made.run_until(lambda: len(client.acknowledged) == 50 and len(reader.of(EVENT)) == 50)
    # The simulator cuts what is sent into a few pieces.
    assert len(asked.questions) < 10
