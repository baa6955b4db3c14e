"""What the shards send at once is handled over several turns, in order, and acknowledged then."""

import pytest
from gateway_harness import FakeEncoder, GatewayHarness, event, fence

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    QOS1,
    FencePassed,
    Published,
    Subscribe,
    Subscribed,
    decode,
)
from fox_shard.gateway.arrivals import ANSWERS, FIRST_PIECE
from fox_shard.gateway.sessions.budget import ASSURED, FRAME, PARTS

SHARD = "shard-0"


def subscribed(harness, text="=t", *, granted_qos=0, name="w"):
    session = harness.session(FakeEncoder(name))
    harness.subscribe(session, text, granted_qos=granted_qos)
    for number in range(len(harness.gateway.links)):
        for asked in harness.got(f"shard-{number}", Subscribe):
            harness.say(f"shard-{number}", Subscribed(asked.token))
    session.take()
    return session


def arrive(harness, name, *frames):
    """Let a batch arrive, without any turn."""
    peer = harness[name]
    for frame in frames:
        peer.link.send(frame)
    peer.link.prompt = True
    for data in peer.link.flush(harness.now):
        harness.gateway.receive(decode(data), len(data), harness.now, 1_800_000_000.0)


def confirmed(harness, name):
    """Take one turn; return up to which frame the gateway has given credit back to that peer."""
    for peer, data in harness.gateway.flush(harness.now):
        harness[peer].take(data, harness.now)
    return harness[name].link.handled


def left(harness):
    """Return whether the gateway has something left for the next turns."""
    return bool(harness.gateway.arrivals.queue or harness.gateway.ordering.unfinished)


def ids(written):
    return [int(one.partition(":")[2]) for one in written]


def test_events_are_delivered_over_several_turns_in_order():
    harness = GatewayHarness(shards=1)
    session = subscribed(harness)
    harness.gateway.budget.units = 1000
    harness.gateway.budget.begin_turn()
    arrive(harness, SHARD, *(event(number, "t", order=number) for number in range(1, 3001)))
    steps = [ids(session.written)]
    while left(harness):
        confirmed(harness, SHARD)
        assert harness.gateway.busy is left(harness)
        steps.append(ids(session.written))
    assert [one for step in steps for one in step] == [*range(1, 3001)]
    # A turn may have a piece more than its budget pays for.
    assert max(map(len, steps)) <= 1000 // FRAME + 1024
    assert len(steps) > 3


def test_a_batch_gives_its_credit_back_when_all_of_it_is_handled():
    harness = GatewayHarness(shards=1)
    subscribed(harness)
    before = harness.gateway.links[0].received
    harness.gateway.budget.units = 500
    harness.gateway.budget.begin_turn()
    arrive(harness, SHARD, *(event(number, "t", order=number) for number in range(1, 1001)))
    given = []
    while left(harness):
        given.append(confirmed(harness, SHARD))
    assert len(given) > 1
    assert set(given[:-1]) == {before}
    assert given[-1] == before + 1000


def test_links_share_the_turns():
    harness = GatewayHarness(shards=2)
    many, one = harness.topic(0), harness.topic(1)
    first, second = subscribed(harness, f"={many}"), subscribed(harness, f"={one}")
    arrive(harness, SHARD, *(event(number, many, order=number) for number in range(1, 60_001)))
    arrive(harness, "shard-1", event(1, one, session=98))
    assert first.written != []
    assert second.written == []
    confirmed(harness, SHARD)
    confirmed(harness, SHARD)
    assert ids(second.written) == [1]
    assert left(harness)


def test_what_a_link_says_later_waits_behind_what_came_before():
    harness = GatewayHarness(shards=1)
    session = subscribed(harness)
    harness.gateway.budget.units = 100
    harness.gateway.budget.begin_turn()
    for start in range(0, 1000, 100):
        arrive(harness, SHARD, *(event(n, "t", order=n) for n in range(start, start + 100)))
    while left(harness):
        confirmed(harness, SHARD)
    assert ids(session.written) == [*range(1000)]


def test_one_confirmation_of_very_many_publishes_is_divided():
    harness = GatewayHarness(shards=1)
    session = harness.session()
    for request in range(1, 20_001):
        harness.publish(session, "t", ACKNOWLEDGE, request)
    harness.got(SHARD)
    harness.gateway.budget.units = 2000
    harness.gateway.budget.begin_turn()
    arrive(harness, SHARD, Published(session.id, [*range(1, 20_001)], [*range(1, 20_001)]))
    told = [session.take()]
    while left(harness):
        confirmed(harness, SHARD)
        told.append(session.take())
    requests = [
        [request for kind, of_one, _ in step if kind == "published" for request in of_one]
        for step in told
    ]
    assert [one for step in requests for one in step] == [*range(1, 20_001)]
    assert max(map(len, requests)) <= 2000 // FRAME + FIRST_PIECE * ANSWERS
    assert len([step for step in requests if step]) > 1


@pytest.mark.parametrize(("qos", "cost"), [(0, 1 / PARTS), (1, 1 / PARTS + ASSURED / PARTS)])
def test_deliveries_count(qos, cost):
    harness = GatewayHarness(shards=1)
    for _ in range(80):
        subscribed(harness, granted_qos=qos)
    before = harness.gateway.budget.left
    flags = QOS1 if qos else 0
    arrive(harness, SHARD, *(event(n, "t", order=n, flags=flags) for n in range(1, 11)))
    assert before - harness.gateway.budget.left == 10 * FRAME + 800 * cost


def test_what_is_left_of_a_batch_is_handled_when_its_pair_ends():
    """The batch's acknowledgements are taken already, so its answers must not get lost."""
    harness = GatewayHarness(shards=1)
    session = subscribed(harness)
    harness.gateway.budget.units = 100
    harness.gateway.budget.begin_turn()
    arrive(harness, SHARD, *(event(number, "t", order=number) for number in range(1, 1001)))
    arrive(harness, SHARD, event(1001, "t", order=1001))
    harness.kill(SHARD)
    assert ids(session.written) == [*range(1, 1001)]
    # What came later is lost, as if it was still on its way.
    harness.join(SHARD, incarnation=2)
    harness.pass_time(1)
    assert not left(harness)
    harness.say(SHARD, event(1002, "t", order=1002))
    assert ids(session.written) == [1002]


def test_a_link_that_has_to_wait_is_not_taken_for_silent():
    harness = GatewayHarness(shards=1)
    subscribed(harness)
    arrive(harness, SHARD, *(event(number, "t", order=number) for number in range(1, 60_001)))
    harness.now += harness.terms.peer_timeout - 0.1
    arrive(harness, SHARD, event(1, "t", order=60_001))
    harness.now += 0.2
    harness.gateway.tick(harness.now)
    assert harness.gateway.links[0].open


def test_frames_that_were_held_back_are_released_within_the_same_budget():
    harness = GatewayHarness(shards=2)
    session = subscribed(harness, "*#")
    blocked = event(1, "t", order=1, fence=fence((1, 7, 5)))
    arrive(harness, SHARD, blocked, *(event(n, "t", order=n) for n in range(2, 1001)))
    assert session.written == []
    harness.gateway.budget.units = 200
    confirmed(harness, SHARD)
    arrive(harness, "shard-1", FencePassed("gateway-1", 7, 5))
    steps = [ids(session.written)]
    # What comes meanwhile must not overtake, nor use up all turns.
    arrive(harness, SHARD, event(1001, "t", order=1001))
    while left(harness):
        confirmed(harness, SHARD)
        steps.append(ids(session.written))
    assert [one for step in steps for one in step] == [*range(1, 1002)]
    assert max(map(len, steps)) <= 200 // FRAME + 1
