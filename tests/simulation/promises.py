"""The two tests of every scenario, with their seeds and their time.

Owns: the windows of seeds, the time, the note on a failure. Never: the scenarios' promises.

Each module of scenarios in `fox_shard/testing` has a file of its own here, so that
`--dist loadfile` spreads them over the workers.
"""

import os
import time

import pytest

from fox_shard.testing.__main__ import again
from fox_shard.testing.scenarios import SCENARIOS

PART = float(os.environ["SIMULATION_SECONDS"]) / len(SCENARIOS)
"""Seconds for one test of one scenario.

These are seconds of a processor, not of a clock, so that a busy machine tests as much as an idle
one.
"""

FIRST = int(os.environ["SIMULATION_FIRST"])
OF_THE_DAY = range(FIRST, FIRST + 100)
THE_FIRST = range(300)
"""Seeds, of which as many are run, from the first one on, as there is time for.

`conftest.py` in the root folder chooses among seven windows, one for each day of the week: 1000 to
1099, …, 7000 to 7099. All seeds here that three times the seconds in the Makefile reach passed
when they were chosen. Seeds outside the windows are known to find mistakes that are not corrected
yet; inside a window, such a seed would block every change on its day. A change of the messages
changes what a seed does, so the seeds must then be tried again. To widen a window, run the new
seeds first: `make simulate FIRST=1100 SEEDS=100`.
"""

LEAST_OF_THE_DAY = 5
LEAST = 25
MORE = {"order": 60, "calls_in_order": 60, "links_break": 60, "walk": 60, "walk_with_faults": 60}
"""Numbers of seeds to run even without time. `MORE` is for the scenarios that find most."""


def run(scenario, seeds, least):
    """Run a scenario under the seeds, at least `least` of them; return how many were run."""
    began = time.process_time()
    count = 0
    for count, seed in enumerate(seeds, 1):
        try:
            SCENARIOS[scenario](seed)
        except Exception as error:
            error.add_note(f"again: {again(scenario, seed)}")
            raise
        if count >= least and time.process_time() - began > PART:
            break
    return count


class Promises:
    """The promises of every scenario of `family`, a module of `fox_shard.testing`."""

    def test_promises_hold_under_the_seeds_of_the_day(self, scenario, record_property):
        record_property("seeds", run(scenario, OF_THE_DAY, LEAST_OF_THE_DAY))

    @pytest.mark.more
    def test_promises_hold_under_the_first_seeds(self, scenario, record_property):
        record_property("seeds", run(scenario, THE_FIRST, MORE.get(scenario, LEAST)))
