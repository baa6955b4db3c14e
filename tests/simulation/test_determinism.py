"""A seed decides everything random, so a failure can be repeated on any machine."""

import os
import subprocess
import sys

import pytest

from fox_shard.testing.run import Run
from fox_shard.testing.scenarios import SCENARIOS
from fox_shard.testing.world import World

TRACE_OF = """
import hashlib, sys
from fox_shard.testing import world
from fox_shard.testing.scenarios import SCENARIOS
worlds = []
start = world.World.__init__
def remember(self, *args, **kwargs):
    start(self, *args, **kwargs)
    worlds.append(self)
world.World.__init__ = remember
SCENARIOS[sys.argv[1]](int(sys.argv[2]))
print(hashlib.sha256(worlds[0].report("", lines=10**9).encode()).hexdigest())
"""


def digest(name: str, seed: int, hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", TRACE_OF, name, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    "name", ["walk", "walk_with_faults", "registry", "programs_publish_and_follow"]
)
def test_the_same_seed_makes_the_same_trace_under_any_hash_seed(name):
    assert digest(name, 7, "1") == digest(name, 7, "2")


def test_another_seed_makes_another_trace():
    assert digest("walk", 7, "1") != digest("walk", 8, "1")


def test_a_failure_names_the_seed_and_shows_what_came_before():
    world = World(42)
    run = Run(world)
    one = run.wamp(0)
    run.settle()
    one.publish("a.x", acknowledge=True)
    world.run(1)
    world.kill("shard-0")
    with pytest.raises(AssertionError) as raised:
        world.check(1 + 1 == 3, "numbers are as usual")
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("seed 42, at ")
    assert lines[0].endswith("numbers are as usual")
    assert lines[-1].endswith("shard-0 is killed")
    assert any("Publish(" in line and '["w0",1]' in line for line in lines)


def test_an_exception_in_a_process_is_a_failure():
    world = World(1)
    world.run_until(lambda: world.linked)

    def explode():
        raise KeyError("gone")

    world.at(world.now + 1, explode)
    with pytest.raises(AssertionError, match=r"seed 1, at [0-9.]+: KeyError: 'gone'"):
        world.run(2)


def test_a_condition_that_is_never_met_is_a_failure():
    world = World(3)
    with pytest.raises(AssertionError, match=r"seed 3, .*: it did not come about"):
        world.run_until(lambda: False, limit=2)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_says_what_it_shows(name):
    assert (SCENARIOS[name].__doc__ or "").strip().endswith(".")
