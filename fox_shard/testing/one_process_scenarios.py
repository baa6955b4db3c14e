"""The scenarios of a cluster, with the whole server in one process, as `fox serve` has it.

Owns: which of them hold there. Never: what happens in them. Each takes a seed, which chooses one of
them, and raises AssertionError with the trace.

Where a scenario kills one process, all of the server dies and starts again; links do not break,
because there are none, but to attached gateways, which are processes of their own. Left out are
scenarios whose witnesses have to outlive a killed process.
"""

from collections.abc import Callable, Sequence
from typing import Final

from fox_shard.testing import (
    attached_scenarios,
    authorization_scenarios,
    authorizer_scenarios,
    client_lock_scenarios,
    client_scenarios,
    fault_scenarios,
    history_scenarios,
    key_scenarios,
    lock_scenarios,
    meta_event_scenarios,
    meta_scenarios,
    pause_scenarios,
    progressive_scenarios,
    pubsub_scenarios,
    rate_scenarios,
    reducer_scenarios,
    rpc_scenarios,
    schema_scenarios,
    session_scenarios,
    slow_scenarios,
    store_scenarios,
    table_scenarios,
    user_scenarios,
    view_scenarios,
    walk,
)
from fox_shard.testing.one_process import in_one_process

Scenarios = Sequence[Callable[[int], None]]

TRAFFIC: Final[Scenarios] = (
    pubsub_scenarios.order,
    pubsub_scenarios.comings_and_goings,
    pubsub_scenarios.retained,
    pubsub_scenarios.wills,
    rpc_scenarios.calls_in_order,
    rpc_scenarios.policies,
    rpc_scenarios.queues,
    rpc_scenarios.full_queue,
    rpc_scenarios.cancels,
    rpc_scenarios.departures,
    progressive_scenarios.uploads,
    progressive_scenarios.uploads_with_faults,
    progressive_scenarios.rerouted_calls,
    session_scenarios.registry,
    session_scenarios.takeovers,
    authorization_scenarios.narrowed,
    authorizer_scenarios.authorizers,
    authorizer_scenarios.authorizers_under_faults,
    user_scenarios.users_in_keys,
    meta_scenarios.known,
    meta_event_scenarios.told,
    meta_event_scenarios.told_at_once,
    fault_scenarios.shard_dies,
    pause_scenarios.processes_pause,
    pause_scenarios.the_machine_pauses,
    rate_scenarios.publishers_are_too_fast,
    slow_scenarios.slow_consumers,
    walk.walk,
    walk.walk_with_faults,
)

DATA: Final[Scenarios] = (
    store_scenarios.keys_survive,
    store_scenarios.everything_dies,
    store_scenarios.everything_returns,
    store_scenarios.a_disk_fails,
    store_scenarios.a_disk_fails_and_its_shard_dies,
    store_scenarios.a_machine_without_power,
    key_scenarios.compare_and_set,
    key_scenarios.keys_expire,
    key_scenarios.weak_keys,
    history_scenarios.history_survives,
    history_scenarios.history_on_a_failing_disk,
    history_scenarios.history_is_followed,
    schema_scenarios.two_set_schemas_in_a_loop,
    schema_scenarios.several_set_schemas_while_processes_die,
    table_scenarios.aggregates_of_rows,
    table_scenarios.aggregates_of_other_definitions,
    lock_scenarios.locks,
    lock_scenarios.locks_in_memory,
    lock_scenarios.locks_on_a_failing_disk,
    view_scenarios.views,
    view_scenarios.views_of_presence,
    reducer_scenarios.reducers_fold,
    reducer_scenarios.reducers_without_a_name,
    reducer_scenarios.reducers_that_hang,
    reducer_scenarios.reducers_on_a_failing_disk,
    reducer_scenarios.reducers_with_full_queues,
    reducer_scenarios.reducers_with_a_mission,
    reducer_scenarios.built_in_reducers,
)

PROGRAMS: Final[Scenarios] = (
    client_scenarios.programs_publish_and_follow,
    client_scenarios.programs_call,
    client_lock_scenarios.programs_hold_locks,
    client_lock_scenarios.programs_hold_locks_while_all_pauses,
)


ATTACHED: Final[Scenarios] = (
    attached_scenarios.attached_gateways_under_load,
    attached_scenarios.a_slow_attached_gateway,
)


def _run_one(scenarios: Scenarios, seed: int) -> None:
    with in_one_process():
        scenarios[seed % len(scenarios)](seed)


def traffic_in_one_process(seed: int) -> None:
    """Events, calls and sessions are as in a cluster."""
    _run_one(TRAFFIC, seed)


def data_in_one_process(seed: int) -> None:
    """Keys, history, tables, locks and reducers are as in a cluster, whenever the process dies."""
    _run_one(DATA, seed)


def programs_of_one_process(seed: int) -> None:
    """Programs over the network find what they find in a cluster."""
    _run_one(PROGRAMS, seed)


def gateways_beside_one_process(seed: int) -> None:
    """Attached gateways come and go beside the process, and stay while it starts again."""
    _run_one(ATTACHED, seed)
