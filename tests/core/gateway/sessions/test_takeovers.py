"""MQTT client ids: a session begins when what its predecessor's end causes has had its effects."""

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import FencePassed, FenceQuery, Join, Joined, Leave, Publish
from fox_shard.documents.payloads import RAW
from fox_shard.gateway.sessions.registry import SHUTTING_DOWN
from fox_shard.topics.ids import MAX_ID


@pytest.fixture
def harness():
    harness = GatewayHarness(shards=2)
    for shard in ("shard-0", "shard-1"):
        harness[shard].confirms = False
    return harness


def end(harness, session, reason="connection lost", *, graceful=False):
    harness.gateway.requests.session_ended(session, reason, graceful=graceful)


def leaves(harness):
    return [one.session for one in harness.got("coordinator", Leave)]


# The new session


def test_a_session_with_a_client_id_waits_until_it_is_the_only_one(harness):
    session = harness.session(client="c")
    (join,) = harness.got("coordinator", Join)
    assert session.told == []
    harness.say("coordinator", Joined(join.session + 1))
    assert session.told == []
    harness.say("coordinator", Joined(join.session), Joined(join.session))
    assert session.take() == [("admitted",)]
    assert harness.gateway.registry.idle


def test_a_session_that_ends_while_it_waits_is_forgotten(harness):
    session = harness.session(client="c")
    end(harness, session)
    harness.say("coordinator", Joined(session.id))
    assert session.told == []
    assert harness.gateway.registry.idle


def test_nobody_waits_for_a_coordinator_that_is_down(harness):
    waiting = harness.session(client="c")
    harness.kill("coordinator")
    assert waiting.take() == [("admitted",)]
    late = harness.gateway.requests.session_opened(
        harness.session(),
        protocol="mqtt.3.1.1",
        transport="tcp",
        authmethod="anonymous",
        authprovider="static",
        client="d",
    )
    assert late


# The old session


def test_the_coordinator_hears_of_an_end_when_everything_has_had_its_effects(harness):
    session = harness.session(client="c")
    harness.publish(session, harness.topic(0))
    route = harness.realm.route(harness.topic(1))
    harness.gateway.requests.set_will(session, route, 0, RAW, b"offline")
    end(harness, session)
    assert leaves(harness) == []
    for shard in ("shard-0", "shard-1"):
        assert len(harness.got(shard, Publish)) == 1
        (ask,) = harness.got(shard, FenceQuery)
        harness.say(shard, FencePassed("gateway-1", ask.epoch, MAX_ID))
        harness.say(shard, FencePassed("gateway-0", ask.epoch, ask.seq - 1))
        (again,) = harness.got(shard, FenceQuery)
        assert leaves(harness) == []
        harness.say(shard, FencePassed("gateway-0", again.epoch, again.seq))
    assert leaves(harness) == [session.id]
    assert harness.gateway.registry.idle


def test_there_is_one_question_at_a_time(harness):
    route = harness.realm.route(harness.topic(0))
    sessions = [harness.session(client=f"c{number}") for number in range(5)]
    for session in sessions:
        harness.gateway.requests.set_will(session, route, 0, RAW, b"offline")
        end(harness, session)
        harness.turns()
    (ask,) = harness.got("shard-0", FenceQuery)
    harness.say("shard-0", FencePassed("gateway-0", ask.epoch, ask.seq))
    assert leaves(harness) == [sessions[0].id]
    (ask,) = harness.got("shard-0", FenceQuery)
    harness.say("shard-0", FencePassed("gateway-0", ask.epoch, ask.seq))
    assert leaves(harness) == [session.id for session in sessions[1:]]


def test_a_shard_that_comes_back_is_asked_again(harness):
    session = harness.session(client="c")
    harness.publish(session, harness.topic(0))
    harness.turns()
    harness.kill("shard-0")
    end(harness, session)
    harness.turns()
    assert leaves(harness) == []
    harness.join("shard-0", incarnation=2)
    harness.pass_time(0.5)
    (ask,) = harness.got("shard-0", FenceQuery)
    assert ask.epoch == harness.gateway.links[0].epoch
    harness.say("shard-0", FencePassed("gateway-0", ask.epoch, ask.seq))
    assert leaves(harness) == [session.id]


@pytest.mark.parametrize(
    ("client", "reason"), [("", "connection lost"), ("c", SHUTTING_DOWN), ("quiet", "DISCONNECT")]
)
def test_an_end_is_told_at_once_if_nobody_can_take_over_or_nothing_is_under_way(
    client, reason, harness
):
    session = harness.session(client=client)
    if client != "quiet":
        harness.publish(session, harness.topic(0))
    end(harness, session, reason)
    assert leaves(harness) == [session.id]


def test_a_returning_coordinator_is_reminded_of_a_session_whose_end_it_has_not_heard(harness):
    session = harness.session(client="c")
    harness.publish(session, harness.topic(0))
    harness.turns()
    end(harness, session)
    harness.got("coordinator")
    harness.kill("coordinator")
    harness.join("coordinator", incarnation=2)
    harness.pass_time(0.5)
    reminded = [one.session for one in harness.got("coordinator", Join) if one.replay]
    assert reminded == [session.id]
