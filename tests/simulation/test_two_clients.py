"""Single promises of semantics.md, between two clients of a simulated server."""

import pytest

from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World


@pytest.fixture
def world():
    world = World(seed=7, gateways=2, shards=2)
    world.run_until(lambda: world.linked)
    return world


@pytest.fixture
def two(world):
    """Two WAMP clients, at different gateways."""
    clients = [WampClient(world, number) for number in (0, 1)]
    world.run_until(lambda: all(client.session for client in clients))
    return clients


def asked(world, client, code, *rest):
    """Send a request, and return its answer, which has the next code or is an ERROR."""
    request = client.request(code, *rest)
    return world_answer(world, client, code + 1, request) or client.answer(8, request)


def world_answer(world, client, code, request):
    world.run_until(lambda: client.answer(code, request) or client.answer(8, request))
    return client.answer(code, request)


def test_exact_and_wildcard_are_two_subscriptions(world, two):
    """WAMP #pattern-based-subscriptions: each gets its event, with its own id."""
    subscriber, publisher = two
    exact = asked(world, subscriber, 32, {}, "com.a.b")[2]
    wildcard = asked(world, subscriber, 32, {"match": "wildcard"}, "com.a.b")[2]
    assert exact != wildcard
    assert asked(world, publisher, 16, {"acknowledge": True}, "com.a.b", ["x"])[0] == 17
    world.run_until(lambda: len(subscriber.of(36)) == 2)
    events = {event[1]: event[3] for event in subscriber.of(36)}
    assert events == {exact: {}, wildcard: {"topic": "com.a.b"}}
    assert asked(world, subscriber, 34, wildcard)[0] == 35
    assert asked(world, publisher, 16, {"acknowledge": True}, "com.a.b", ["y"])[0] == 17
    world.run(1)
    assert [event[1] for event in subscriber.of(36)[2:]] == [exact]


def test_exact_and_wildcard_are_two_registrations(world, two):
    callee, caller = two
    exact = asked(world, callee, 64, {}, "com.a.b")
    wildcard = asked(world, callee, 64, {"match": "wildcard"}, "com.a.b")
    assert (exact[0], wildcard[0]) == (65, 65)
    assert exact[2] != wildcard[2]
    world.run(1)
    for registration in (exact[2], wildcard[2]):
        before = len(callee.of(68))
        request = caller.call("com.a.b")
        world.run_until(lambda before=before: len(callee.of(68)) > before)
        invocation = callee.of(68)[-1]
        assert invocation[2] == registration
        callee.send([70, invocation[1], {}, [1]])
        assert world_answer(world, caller, 50, request)
        assert asked(world, callee, 66, registration)[0] == 67
    assert asked(world, caller, 48, {}, "com.a.b")[4] == "wamp.error.no_such_procedure"


@pytest.mark.parametrize("options", [{}, {"disclose_caller": True}])
def test_a_callee_that_asks_for_it_is_told_who_calls(world, two, options):
    callee, caller = two
    assert asked(world, callee, 64, options, "com.who")[0] == 65
    caller.call("com.who")
    world.run_until(lambda: callee.of(68))
    details = {
        "caller": caller.session,
        "caller_authid": "anonymous",
        "caller_authrole": "anonymous",
    }
    assert callee.of(68)[0][3] == (details if options else {})


@pytest.mark.parametrize(
    ("kwargs", "goodbye"),
    [
        ({}, [6, {}, "wamp.close.killed"]),
        ({"message": "Good night"}, [6, {"message": "Good night"}, "wamp.close.killed"]),
        ({"reason": "com.app.bye"}, [6, {}, "com.app.bye"]),
    ],
)
def test_a_killed_session_is_told_the_reason_and_no_empty_message(world, two, kwargs, goodbye):
    killer, killed = two
    world.run(1)
    killer.request(48, {}, "wamp.session.kill", [killed.session], kwargs)
    world.run_until(lambda: killed.of(6))
    assert killed.of(6) == [goodbye]


def test_what_most_devices_say_is_text(world, two):
    subscriber, _ = two
    assert asked(world, subscriber, 32, {}, "home.lamp")[0] == 33
    device = MqttClient(world, 1)
    world.run_until(lambda: device.connected)
    for payload in (b"ON", b"online", b"21.5", b"\xff"):
        device.publish("home/lamp", payload, qos=1)
    world.run_until(lambda: len(subscriber.events) == 4)
    assert subscriber.events == ["ON", "online", 21.5, "\0/w=="]
