"""All scenarios, by name.

Owns: the list. Never: what happens in a scenario.
"""

from collections.abc import Callable
from typing import Final

from fox_shard.testing import (
    fault_scenarios,
    history_scenarios,
    key_scenarios,
    limit_scenarios,
    linear_scenarios,
    lock_scenarios,
    meta_scenarios,
    outbox_scenarios,
    pause_scenarios,
    pubsub_scenarios,
    reducer_scenarios,
    rpc_scenarios,
    session_scenarios,
    store_scenarios,
    table_scenarios,
    testament_scenarios,
    view_scenarios,
    walk,
)

Scenario = Callable[[int], None]
"""A function that takes a seed, and raises AssertionError with the seed and the trace."""

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
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
        session_scenarios.registry,
        session_scenarios.takeovers,
        session_scenarios.presence_of_taken_over_clients,
        session_scenarios.coordinator_remembers,
        meta_scenarios.known,
        meta_scenarios.known_after_faults,
        fault_scenarios.shard_dies,
        fault_scenarios.keys_wait_for_a_shard,
        fault_scenarios.gateway_dies,
        fault_scenarios.coordinator_dies,
        fault_scenarios.links_break,
        fault_scenarios.wills_of_a_gateway,
        fault_scenarios.shard_returns_without_a_gateway,
        testament_scenarios.testaments,
        testament_scenarios.testaments_of_a_gateway,
        pause_scenarios.processes_pause,
        pause_scenarios.the_machine_pauses,
        pause_scenarios.a_gateway_pauses,
        pause_scenarios.locks_while_processes_pause,
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
        outbox_scenarios.frames_between_shards,
        table_scenarios.aggregates_of_rows,
        table_scenarios.aggregates_of_other_definitions,
        table_scenarios.aggregates_reach_subscribers,
        linear_scenarios.one_key,
        limit_scenarios.greedy_clients,
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
        reducer_scenarios.a_mission_on_a_failing_disk,
        reducer_scenarios.built_in_reducers,
        walk.walk,
        walk.walk_with_faults,
    )
}
