"""The core of the coordinator, as the configuration wants it.

Owns: which setting is which argument. Never: what runs a core (see `shell`).
"""

from collections.abc import Mapping
from random import SystemRandom

from fox_shard.backplane.attached import HasEnded, Running, nobody_knows, none_run
from fox_shard.backplane.links import IsWorking
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Config
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.datadir.opening import loading
from fox_shard.store.store import Store


def make_coordinator(
    config: Config,
    terms: LinkSettings,
    incarnation: int,
    store: Store,
    schemas: Mapping[str, str],
    now: float,
    is_working: IsWorking,
    running: Running = none_run,
    has_ended: HasEnded = nobody_knows,
) -> CoordinatorNode:
    """Return the coordinator with all that is in its store.

    schemas: see `read_schemas`. now: monotonic seconds. is_working, running, has_ended: see
    `CoordinatorNode`. Raises StoreError.
    """
    with loading("the coordinator"):
        return CoordinatorNode(
            terms=terms,
            gateways=config.gateways,
            incarnation=incarnation,
            rng=SystemRandom(),
            now=now,
            realms=[realm.name for realm in config.realms],
            sys_interval=config.mqtt.sys_interval,
            metrics_realms=config.metrics.realms,
            schemas=schemas,
            identity=store.identity,
            stored=store.scan(),
            is_working=is_working,
            running=running,
            has_ended=has_ended,
        )
