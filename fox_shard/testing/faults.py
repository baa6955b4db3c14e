"""Faults of the simulated world, and recovery from them.

Owns: kills, broken connections, lost batches, failing disks. Never: clients.
"""

from random import Random

from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Run
from fox_shard.testing.world import World

RECOVERY = 4.0
"""Seconds after `peer_timeout` within which all processes must be linked again."""

DOWN = (0.01, 0.3, 1.5)
"""Possible seconds until a killed process is started again, as by supervisord."""


def kill(world: World, name: str, rng: Random) -> None:
    """Kill a process, if it runs, and start it again after one of the delays in `DOWN`."""
    if name in world.nodes:
        world.kill(name)
        world.at(world.now + rng.choice(DOWN), lambda: world.start(name))


def kill_a_shard(world: World, rng: Random) -> None:
    """Kill a random shard."""
    kill(world, rng.choice([name for name in world.names if name.startswith("shard")]), rng)


def fail_disk(world: World, name: str, seconds: float) -> None:
    """Have all commits of that process fail for so many seconds."""
    world.note(f"the disk of {name} fails")
    disk = world.disks[name]
    disk.failure = "disk full"

    def heal() -> None:
        world.note(f"the disk of {name} is well")
        disk.failure = ""

    world.at(world.now + seconds, heal)


def sever(world: World, rng: Random) -> None:
    """Break a random connection between processes, with or without notice to them."""
    if not world.pairs():
        return  # It is one process.
    one, other = rng.choice(world.pairs())
    world.sever(one, other, notify=rng.random() < 0.5)


def lose(world: World, rng: Random) -> None:
    """Have a random connection lose batches in one direction."""
    if not world.pairs():
        return  # It is one process.
    one, other = rng.choice(world.pairs())
    if rng.random() < 0.5:
        one, other = other, one
    world.lose(one, other, rng.choice((1, 2, 5)))


def random_fault(run: Run) -> None:
    """Kill a random process, or break or disturb a random connection."""
    rng, world = run.rng, run.world
    what = rng.choice(("kill", "sever", "lose")) if world.pairs() else "kill"
    if what == "kill":
        kill(world, rng.choice(world.names), rng)
    elif what == "sever":
        sever(world, rng)
    else:
        lose(world, rng)


def relink(world: World) -> None:
    """Wait until all processes run and are linked. Raises AssertionError if that takes too long."""
    world.run(max(DOWN) + 0.5)
    world.run_until(lambda: all(name in world.nodes for name in world.names), 1)
    world.run_until(lambda: world.linked, world.terms.peer_timeout + RECOVERY)


def recover(world: World) -> None:
    """Wait until all processes are linked, and check that nothing hangs. Raises AssertionError."""
    relink(world)
    become_quiet(world)
