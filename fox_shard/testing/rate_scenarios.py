"""Scenarios of sessions that publish faster than the gateways' `publish_rate`.

Owns: what happens in each. Never: what must be true of the messages (see `checks`). Each takes a
seed, and raises AssertionError with the trace.

The promise: no session publishes more in any time than its rate and its burst allow; nothing is
lost, and everything stays in order.
"""

from functools import partial
from random import Random

from fox_shard.config import Gateway
from fox_shard.testing.pubsub_scenarios import publishing, subscribe_somewhere
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

TIMES = 60
"""How many messages each client publishes."""


def publishers_are_too_fast(seed: int) -> None:
    """Clients publish in bursts; some leave before all that they sent has been published."""
    rng = Random(f"world {seed}")
    rate, burst = rng.choice((20, 200, 1000)), rng.choice((1, 5, 30))
    world = World(
        seed,
        gateways=rng.choice((1, 2)),
        shards=rng.choice((1, 2, 3)),
        max_delay=rng.choice((0.005, 0.02)),
        settings=Gateway(publish_rate=rate, publish_burst=burst),
    )
    run = Run(world)
    clients = [run.wamp(), run.mqtt(), *(rng.choice((run.wamp, run.mqtt))() for _ in range(2))]
    run.settle()
    for one in clients:
        subscribe_somewhere(run, one)
    run.settle()
    began = world.now
    parts = [publishing(run, one, TIMES) for one in clients]
    leaving = rng.choice(clients)
    if rng.random() < 0.5:
        leave: Action = partial(leaving.leave, graceful=rng.random() < 0.5)
        parts[clients.index(leaving)].append(leave)
    run.interleave(parts, rng.choice((0.0, 0.0, 0.002)))
    world.run(TIMES / rate)
    run.end()
    paused = sum(
        world.gateway(number).limit_counts.totals().get("publish_rate", 0)
        for number in range(world.gateways)
    )
    enough = world.now - began < (TIMES - burst) / rate
    world.check(not (enough and not paused), "nobody was too fast, and nobody was paused")
    run.leave()
