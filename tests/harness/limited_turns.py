"""Shards whose turns do little, so that work takes several of them."""

from shard_harness import ShardHarness, publish, subscribe

from fox_shard.backplane.frames import ACKNOWLEDGE, RETAIN, Event, Published

KEEP = ACKNOWLEDGE | RETAIN


def made(units, **more):
    """Return a harness whose shard does only so much in a turn; gateway-2 gets all events."""
    harness = ShardHarness(gateways=3, **more)
    harness.say("gateway-2", subscribe("*#"))
    limit(harness, units)
    return harness


def limit(harness, units):
    harness.shard.budget.units = units
    harness.shard.budget.begin_turn()


def keeps(*requests, session=1, topic="k.{}", flags=KEEP):
    return [
        publish(topic.format(request), session=session, request=request, flags=flags)
        for request in requests
    ]


def seen(harness, name="gateway-2"):
    return [event.publish.request for event in harness.got(name, Event)]


def published(harness, name="gateway-0"):
    found = []
    for answer in harness.got(name, Published):
        found += answer.requests
    return found


def settle(harness, limit_=300):
    """Let turns pass until the shard has nothing left to do; return how many that took."""
    turns = 0
    harness.turn()
    while harness.shard.scheduler.busy:
        harness.turn()
        turns += 1
        assert turns < limit_
    harness.turns()
    return turns


def backlog(harness, name="gateway-0"):
    return sum(len(arrival.frames) for arrival in harness.shard.peers[name].waiting)
