"""All scenarios, by name.

Owns: the names. Never: what happens in a scenario.
"""

from typing import Final

from fox_shard.testing import application_scenarios, one_process_scenarios
from fox_shard.testing.cluster_scenarios import (
    ATTACHED,
    DATA,
    PROGRAMS,
    SEVERAL_PROCESSES,
    TRAFFIC,
    Scenario,
)

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
        *TRAFFIC,
        *DATA,
        *PROGRAMS,
        *ATTACHED,
        *SEVERAL_PROCESSES,
        application_scenarios.an_application_publishes_and_follows,
        application_scenarios.an_application_calls_and_is_called,
        application_scenarios.an_application_holds_locks,
        one_process_scenarios.traffic_in_one_process,
        one_process_scenarios.data_in_one_process,
        one_process_scenarios.programs_of_one_process,
        one_process_scenarios.gateways_beside_one_process,
    )
}
