"""Scenarios of frames from shard to shard, while processes die and disks fail.

Owns: what happens in each, and what must be true of the frames. Each takes a seed, and raises
AssertionError with the trace.
"""

from functools import partial
from random import Random
from typing import final

from fox_shard.backplane.node import Node
from fox_shard.backplane.placement import Placement
from fox_shard.shard.core import Shard
from fox_shard.testing.faults import fail_disk, kill, kill_a_shard, random_fault, recover
from fox_shard.testing.ledger import REALM, Ledger, missing
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

TOPICS = 12
"""Topics to which frames are sent, over all shards."""


@final
class Frames:
    """The frames of one run: which were sent, and the ledgers of the shards that run now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = Random(f"frames {world.seed}")
        self._ledgers: dict[str, Ledger] = {}
        self._targets: dict[int, str] = {}
        self._placement = Placement(world.terms.shards)
        for node in world.nodes.values():
            self._attach(node)
        world.on_start = self._attach

    def _attach(self, node: Node) -> None:
        if isinstance(node, Shard):
            self._ledgers[node.name] = Ledger(node, self._world.disks[node.name].rows)

    def send(self) -> None:
        """Let a random shard, if it runs, send some frames, as if it handled something."""
        rng, world = self._rng, self._world
        name = rng.choice([name for name in world.names if name.startswith("shard")])
        node = world.nodes.get(name)
        if not isinstance(node, Shard):
            return
        for _ in range(rng.choice((1, 2, 20))):
            place = rng.randrange(TOPICS)
            # Frames to one topic are all of one kind, so their order is that of sending.
            revocable = place % 2 == 1
            if revocable and node.journal.failing:
                continue
            number = len(self._targets) + 1
            self._targets[number] = f"t{place}"
            self._ledgers[name].send(f"t{place}", number, revocable=revocable)
        world.turn(name)

    def check(self) -> None:
        """Check that each frame whose sending is durable had its effect once, and no other had."""
        world = self._world
        shards = [name for name in world.names if name.startswith("shard")]
        wrong = missing([world.disks[name].rows for name in shards], self._targets)
        world.check(not wrong, wrong)
        owners = {
            topic: self._placement.shard_of(REALM, topic) for topic in set(self._targets.values())
        }
        for topic, owner in owners.items():
            for name, ledger in self._ledgers.items():
                world.check(
                    name == f"shard-{owner}" or topic not in ledger.handled,
                    f"{name} handled frames to {topic}",
                )


def frames_between_shards(seed: int) -> None:
    """Each frame has its effect once, in the order of sending, whatever dies, breaks or fails."""
    rng = Random(f"world {seed}")
    world = World(
        seed,
        gateways=1,
        shards=rng.choice((2, 3, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        credit=rng.choice((2000, 8 << 20)),
    )
    run = Run(world)
    run.smooth = False
    frames = Frames(world)
    rng = run.rng
    shards = [name for name in world.names if name.startswith("shard")]
    sending: list[Action] = [frames.send for _ in range(60)]
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((1, 3)))]
    faults += [partial(kill_a_shard, world, rng) for _ in range(rng.choice((0, 1, 3)))]
    if rng.random() < 0.5:
        failing = rng.choice(shards)
        faults.append(partial(fail_disk, world, failing, rng.choice((0.01, 0.1, 3.0))))
        faults += [partial(kill, world, failing, rng) for _ in range(rng.choice((0, 1)))]
    if rng.random() < 0.2:
        faults += [partial(kill, world, name, rng) for name in rng.sample(shards, len(shards))]
    run.interleave([sending, faults], rng.choice((0.002, 0.01, 0.05)))
    world.run(3.0)
    recover(world)
    frames.check()
