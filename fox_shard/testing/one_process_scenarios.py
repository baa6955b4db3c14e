"""The scenarios of a cluster, with the whole server in one process, as `fox serve` has it.

Owns: which lists of them hold there. Never: what happens in them. Each takes a seed, which chooses
one of them, and raises AssertionError with the trace.

Where a scenario kills one process, all of the server dies and starts again; links do not break,
because there are none, but to attached gateways, which are processes of their own.
"""

from fox_shard.testing.cluster_scenarios import ATTACHED, DATA, PROGRAMS, TRAFFIC, Scenarios
from fox_shard.testing.one_process import in_one_process


def _run_one(scenarios: Scenarios, seed: int) -> None:
    with in_one_process():
        scenarios[seed % len(scenarios)](seed)


def traffic_in_one_process(seed: int) -> None:
    """Events, calls and sessions are as in a cluster."""
    _run_one(TRAFFIC, seed)


def data_in_one_process(seed: int) -> None:
    """What is stored, and what comes of it, is as in a cluster, whenever the process dies."""
    _run_one(DATA, seed)


def programs_of_one_process(seed: int) -> None:
    """Programs over the network find what they find in a cluster."""
    _run_one(PROGRAMS, seed)


def gateways_beside_one_process(seed: int) -> None:
    """Attached gateways come and go beside the process, and stay while it starts again."""
    _run_one(ATTACHED, seed)
