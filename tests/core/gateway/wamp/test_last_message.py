"""The last message of a session, in the middle of its work (WAMP #session-closing, #abort)."""

from functools import partial

import pytest

from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

ABORT, GOODBYE, EVENT, REGISTERED, INVOCATION = 3, 6, 36, 65, 68
OUT = "wamp.close.goodbye_and_out"


class Site:
    """A session with events, answers and invocations on their way to it at every moment."""

    def __init__(self, seed):
        self.world = world = World(seed=seed, gateways=2, shards=2)
        world.run_until(lambda: world.linked)
        self.client, self.other = WampClient(world, 0), WampClient(world, 1)
        world.run_until(lambda: self.client.session and self.other.session)
        self.client.subscribe("busy", match="prefix")
        self.client.register("busy.procedure")
        world.run_until(lambda: self.client.of(REGISTERED))
        for step in range(150):
            world.at(world.now + step * 0.01, partial(self.work, step))
        world.run_until(lambda: self.client.of(EVENT) and self.client.of(INVOCATION))

    def work(self, step):
        self.other.publish(f"busy.{step % 7}", step)
        self.other.call("busy.procedure", step)
        if not self.client.closed:
            self.client.publish("busy.own", step, acknowledge=True, exclude_me=False)
            self.client.call("wamp.session.count")

    def end(self):
        self.world.run(3.0)
        assert self.client.closed
        return self.client.inbox

    def of_the_end(self, inbox):
        return [message for message in inbox if message[0] in (ABORT, GOODBYE)]


@pytest.fixture(params=range(2))
def site(request):
    return Site(request.param)


def test_nothing_follows_the_routers_goodbye(site):
    site.other.call("wamp.session.kill", site.client.session)
    *earlier, last = site.end()
    assert (last[0], last[2]) == (GOODBYE, "wamp.close.killed")
    assert site.of_the_end(earlier) == []


def test_the_clients_goodbye_is_answered_and_nothing_follows_the_answer(site):
    site.client.leave()
    *earlier, last = site.end()
    assert last == [GOODBYE, {}, OUT]
    assert site.of_the_end(earlier) == []


@pytest.mark.cites("basic.building_blocks.20")
def test_nothing_follows_the_routers_abort(site):
    site.client.send([36, 1, 2, {}])
    site.client.send([6, {}, OUT])
    *earlier, last = site.end()
    assert (last[0], last[2]) == (ABORT, "wamp.error.protocol_violation")
    assert site.of_the_end(earlier) == []


def test_the_clients_abort_is_not_answered(site):
    site.client.send([3, {}, "com.example.enough"])
    assert site.of_the_end(site.end()) == []


def test_a_message_behind_the_clients_goodbye_is_not_carried_out(site):
    seen = len(site.other.of(EVENT))
    site.other.subscribe("afterwards")
    site.client.leave()
    site.client.publish("afterwards", "too late")
    *_, last = site.end()
    assert last == [GOODBYE, {}, OUT]
    assert len(site.other.of(EVENT)) == seen
