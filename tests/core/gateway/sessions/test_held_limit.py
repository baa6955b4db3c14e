"""What a gateway holds back for the sake of order is bounded, and nothing of it is lost."""

from gateway_harness import GatewayHarness, event, fence

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    Event,
    FencePassed,
    Publish,
    Subscribe,
    Subscribed,
)

LIMIT = 1 << 16


def holding(harness):
    """Return a subscriber for which events are held back until shard-1 answers."""
    session = harness.session()
    harness.subscribe(session, "*#")
    for name in ("shard-0", "shard-1"):
        for asked in harness.got(name, Subscribe):
            harness.say(name, Subscribed(asked.token))
    harness.say("shard-0", event(1, "t", order=1, fence=fence((1, 7, 5))))
    return session


def credit(harness, name):
    """Return whether that shard has got all its credit back."""
    harness.pass_time(0.5)
    return harness[name].link.handled == harness[name].link.sent


def test_shards_get_no_credit_while_too_much_is_held_back():
    harness = GatewayHarness(shards=2, held_limit=LIMIT)
    session = holding(harness)
    assert credit(harness, "shard-0")
    many = LIMIT // 1000 + 3
    harness.say("shard-0", *(event(n, "t", order=n) for n in range(2, many)))
    assert not credit(harness, "shard-0")
    assert session.written == []
    harness.say("shard-1", FencePassed("gateway-1", 7, 5))
    assert len(session.written) == many - 1
    assert credit(harness, "shard-0")
    assert credit(harness, "shard-1")
    assert harness.gateway.ordering.held_bytes == 0


def test_a_client_goes_on_when_the_shard_that_its_fence_names_is_back():
    harness = GatewayHarness(shards=2)
    session = harness.session()
    first, second = harness.topic(0), harness.topic(1)
    harness["shard-0"].confirms = False
    harness.publish(session, first, ACKNOWLEDGE, 1)
    harness.turns()
    harness.kill("shard-0")
    assert not session.connection.paused
    harness.publish(session, second, ACKNOWLEDGE, 2)
    assert session.connection.paused
    # What was read already is not lost.
    harness.publish(session, second, ACKNOWLEDGE, 3)
    assert [frame.request for frame in harness.got("shard-1", Publish)] == [2, 3]
    harness.join("shard-0", incarnation=2)
    harness.pass_time(1)
    assert not session.connection.paused


def test_events_of_other_senders_are_not_held_up_below_the_limit():
    harness = GatewayHarness(shards=2, held_limit=LIMIT)
    session = holding(harness)
    harness.say("shard-0", event(2, "t", session=98))
    assert session.written == ["w:2"]
    assert isinstance(harness.gateway.ordering.held_frames[99][0][3], Event)
