"""What a gateway keeps for a coordinator that is down is bounded, whoever comes and goes."""

from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import Join, Leave
from fox_shard.config import Gateway as Settings
from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

LIMIT = 10


def ended(harness, session):
    harness.gateway.requests.session_ended(session, "gone", graceful=True)


def test_sessions_that_come_and_go_while_the_coordinator_is_down_are_limited():
    harness = GatewayHarness(shards=1, session_backlog=LIMIT)
    before = harness.session()
    harness.turns()
    harness.kill("coordinator")
    for _ in range(100):
        ended(harness, harness.session())
    stays = harness.session()
    ended(harness, before)
    assert len(harness.gateway.coordinator.outbox) == LIMIT + 1
    assert harness.gateway.limit_counts.totals() == {"session_backlog": 100 - LIMIT // 2}
    harness.join("coordinator", incarnation=2)
    harness.pass_time(1)
    news = [one for one in harness.got("coordinator", Join) if one.session != before.id]
    # First those that are open, to remind it; then what has happened.
    assert [(one.session, one.replay) for one in news[:1]] == [(stays.id, True)]
    assert [one.replay for one in news[1:]] == [False] * (LIMIT // 2 + 1)
    assert news[-1].session == stays.id
    left = [one.session for one in harness.got("coordinator", Leave)]
    assert len(left) == LIMIT // 2 + 1
    assert before.id in left
    assert stays.id not in left
    ended(harness, stays)
    assert [one.session for one in harness.got("coordinator", Leave)] == [stays.id]
    assert harness.gateway.registry.idle


def test_nothing_is_left_out_while_the_coordinator_is_there():
    harness = GatewayHarness(shards=1, session_backlog=LIMIT)
    harness["coordinator"].silent = True
    for _ in range(LIMIT):
        ended(harness, harness.session())
    assert len(harness.got("coordinator", Join)) == LIMIT


def test_sessions_that_last_are_announced_when_the_coordinator_is_back():
    world = World(1, gateways=1, shards=1, settings=Settings(session_backlog=4))
    world.run_until(lambda: world.linked)
    watcher = WampClient(world, 0)
    world.run_until(lambda: watcher.session)
    for topic in ("wamp.session.on_join", "wamp.session.on_leave"):
        request = watcher.subscribe(topic)
        world.run_until(lambda request=request: watcher.answer(33, request))
    world.run(1)
    world.kill("coordinator")
    world.run(1)
    clients = []
    for _ in range(10):
        clients.append(WampClient(world, 0))
        world.run_until(lambda: clients[-1].session)
    for client in clients[:2] + clients[6:8]:
        client.leave()
    world.run(1)
    world.start("coordinator")
    world.run_until(lambda: world.linked)
    world.run(3)
    joined, left = [], []
    for message in watcher.of(36):
        if isinstance(message[4][0], dict):
            joined.append(message[4][0]["session"])
        else:
            left.append(message[4][0])
    gone = [client.session for client in clients[6:8]]
    assert sorted(joined) == sorted(
        client.session for client in clients if client.session not in gone
    )
    assert sorted(left) == sorted(client.session for client in clients[:2])
    count = watcher.call("wamp.session.count")
    world.run_until(lambda: watcher.answer(50, count))
    assert watcher.answer(50, count)[3] == [7]
