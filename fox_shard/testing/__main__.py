"""`python -m fox_shard.testing --seeds N [--first SEED] [--scenario NAME]`: run many seeds.

Owns: the command line of the simulator. Never: what happens in a run, or what must be true.
"""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from fox_shard.testing.scenarios import SCENARIOS

CHUNK = 20
"""Number of runs that a worker process gets at a time."""


class SeededRun(NamedTuple):
    """One scenario under one seed. failure: the report of a failed run, "" if all was well."""

    scenario: str
    seed: int
    failure: str = ""


def perform(run: SeededRun) -> SeededRun:
    """Perform the run, and return it with its result."""
    try:
        SCENARIOS[run.scenario](run.seed)
    except AssertionError as error:
        return run._replace(failure=str(error))
    return run


def again(scenario: str, seed: int) -> str:
    """Return the command that repeats a run."""
    return f"python -m fox_shard.testing --scenario {scenario} --first {seed} --seeds 1"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fox_shard.testing", description="The cluster in one thread, many times."
    )
    parser.add_argument("--seeds", type=int, default=100, help="seeds for each scenario (100)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first one (0)")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="this one only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (one a core)")
    return parser.parse_args()


def main() -> int:
    """Perform all runs, print each failure with its seed and trace, and return the exit code.

    The code is 1 if a run has failed.
    """
    arguments = _arguments()
    names = [arguments.scenario] if arguments.scenario else list(SCENARIOS)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    runs = [SeededRun(name, seed) for seed in seeds for name in names]
    failed: Counter[str] = Counter()
    began = time.monotonic()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for run in pool.map(perform, runs, chunksize=CHUNK):
            if run.failure:
                failed[run.scenario] += 1
                command = again(run.scenario, run.seed)
                sys.stdout.write(f"{run.failure}\nagain: {command}\n\n")
                sys.stdout.flush()
    seconds = time.monotonic() - began
    sys.stdout.write(f"{len(runs)} runs of {len(names)} scenarios in {seconds:.0f} s: ")
    sys.stdout.write(f"failed {dict(failed)}\n" if failed else "all well\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
