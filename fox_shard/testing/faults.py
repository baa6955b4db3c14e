"""What breaks, and how it gets well again.

Owns: kills, broken connections, lost batches, failing disks. Never: clients.
"""

from random import Random

from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Run
from fox_shard.testing.world import World

RECOVERY = 4.0
"""Seconds beyond `peer_timeout` after which all is linked again."""

DOWN = (0.01, 0.3, 1.5)
"""Seconds until supervisord has started a process again."""


def kill(world: World, name: str, rng: Random) -> None:
    """As SIGKILL; supervisord starts it anew after a while."""
    if name in world.nodes:
        world.kill(name)
        world.at(world.now + rng.choice(DOWN), lambda: world.start(name))


def kill_a_shard(world: World, rng: Random) -> None:
    """Any of them."""
    kill(world, rng.choice([name for name in world.names if name.startswith("shard")]), rng)


def fail_disk(world: World, name: str, seconds: float) -> None:
    """The store of that process takes nothing for so long."""
    world.note(f"the disk of {name} fails")
    disk = world.disks[name]
    disk.trouble = "disk full"

    def heal() -> None:
        world.note(f"the disk of {name} is well")
        disk.trouble = ""

    world.at(world.now + seconds, heal)


def sever(world: World, rng: Random) -> None:
    """Some connection breaks."""
    one, other = rng.choice(world.pairs())
    world.sever(one, other, told=rng.random() < 0.5)


def lose(world: World, rng: Random) -> None:
    """Some connection loses batches."""
    one, other = rng.choice(world.pairs())
    if rng.random() < 0.5:
        one, other = other, one
    world.lose(one, other, rng.choice((1, 2, 5)))


def a_fault(run: Run) -> None:
    """Anything."""
    rng, world = run.rng, run.world
    what = rng.choice(("kill", "sever", "lose"))
    if what == "kill":
        kill(world, rng.choice(world.names), rng)
    elif what == "sever":
        sever(world, rng)
    else:
        lose(world, rng)


def relink(world: World) -> None:
    """All is linked again in time. Raises AssertionError with the trace."""
    world.run(max(DOWN) + 0.5)
    world.run_until(lambda: len(world.nodes) == len(world.names), 1)
    world.run_until(lambda: world.linked, world.terms.peer_timeout + RECOVERY)


def recover(world: World) -> None:
    """All is linked again in time, and nothing hangs. Raises AssertionError with the trace."""
    relink(world)
    become_quiet(world)
