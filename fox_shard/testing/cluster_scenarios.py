"""The scenarios of a cluster, in lists.

Owns: which scenario is in which list. Never: what happens in a scenario.
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
    flood_scenarios,
    history_scenarios,
    key_scenarios,
    limit_scenarios,
    linear_scenarios,
    lock_scenarios,
    meta_event_scenarios,
    meta_scenarios,
    outbox_scenarios,
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
    testament_scenarios,
    user_scenarios,
    view_scenarios,
    walk,
    webhook_scenarios,
)

Scenario = Callable[[int], None]
"""A function that takes a seed, and raises AssertionError with the seed and the trace."""

Scenarios = Sequence[Scenario]

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
    flood_scenarios.floods,
    slow_scenarios.slow_consumers,
    walk.walk,
    walk.walk_with_faults,
)
"""Events, calls and sessions."""

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
    reducer_scenarios.a_mission_on_a_failing_disk,
    webhook_scenarios.webhooks_post,
    webhook_scenarios.webhooks_on_a_failing_disk,
    webhook_scenarios.webhooks_with_full_queues,
)
"""Keys, history, tables, locks, reducers and webhooks."""

PROGRAMS: Final[Scenarios] = (
    client_scenarios.programs_publish_and_follow,
    client_scenarios.programs_call,
    client_lock_scenarios.programs_hold_locks,
    client_lock_scenarios.programs_hold_locks_while_all_pauses,
)
"""Programs that use the package's client."""

ATTACHED: Final[Scenarios] = (
    attached_scenarios.attached_gateways_under_load,
    attached_scenarios.a_slow_attached_gateway,
    attached_scenarios.killed_attached_gateways,
)
"""Attached gateways."""

SEVERAL_PROCESSES: Final[Scenarios] = (
    session_scenarios.presence_of_taken_over_clients,
    session_scenarios.coordinator_remembers,
    meta_scenarios.known_after_faults,
    meta_event_scenarios.told_after_faults,
    fault_scenarios.keys_wait_for_a_shard,
    fault_scenarios.gateway_dies,
    fault_scenarios.coordinator_dies,
    fault_scenarios.links_break,
    fault_scenarios.wills_of_a_gateway,
    fault_scenarios.shard_returns_without_a_gateway,
    testament_scenarios.testaments,
    testament_scenarios.testaments_of_a_gateway,
    pause_scenarios.a_gateway_pauses,
    pause_scenarios.locks_while_processes_pause,
    attached_scenarios.presence_at_attached_gateways,
    outbox_scenarios.frames_between_shards,
    table_scenarios.aggregates_reach_subscribers,
    linear_scenarios.one_key,
    limit_scenarios.greedy_clients,
    limit_scenarios.full_realms,
)
"""What needs a cluster: its witnesses have to outlive a killed process, or a link has to break."""
