"""The cores, as the configuration wants them.

Owns: which setting is which argument of a core. Never: what runs a core (see `shell`).
"""

import secrets
import time
from collections.abc import Mapping
from random import SystemRandom

from fox_shard.backplane.attached import Running, none_run
from fox_shard.backplane.links import IsWorking
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Config
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.datadir.opening import loading
from fox_shard.gateway.core import Gateway
from fox_shard.shard.core import Shard
from fox_shard.store.store import Store
from fox_shard.users.user import Users


def new_incarnation() -> int:
    """A random number that names this run of a process."""
    return secrets.randbits(52) + 1


def link_settings(config: Config, generation: int, *, hands_over: bool = False) -> LinkSettings:
    """Return the settings of all links. generation: of the layout. hands_over: see there."""
    return LinkSettings(
        shards=config.shards,
        generation=generation,
        credit=config.backplane.credit,
        reliable_credit=config.backplane.reliable_credit,
        outbox_limit=config.backplane.outbox_limit,
        heartbeat=config.backplane.heartbeat,
        peer_timeout=config.backplane.peer_timeout,
        attached_gateways=config.backplane.attached_gateways,
        attached_timeout=config.backplane.attached_patience,
        attached_buffer=config.backplane.attached_buffer,
        hands_over=hands_over,
    )


def make_gateway(
    number: int | str,
    config: Config,
    terms: LinkSettings,
    incarnation: int,
    users: Users | None,
    now: float,
    is_working: IsWorking,
) -> Gateway:
    """Return gateway `number`, or an attached one. users, is_working: see `Gateway`.

    number: see `Gateway`. terms: of the server's links. now: monotonic seconds.
    """
    return Gateway(
        number,
        realms=config.realms,
        settings=config.gateway,
        mqtt=config.mqtt,
        reducer=config.reducer,
        terms=terms.for_attached() if isinstance(number, str) else terms,
        incarnation=incarnation,
        rng=SystemRandom(),
        now=now,
        wall=time.time(),
        gateways=config.gateways,
        realm_limits=config.limits,
        is_working=is_working,
        auth=config.auth,
        users=users,
    )


def make_shard(
    number: int,
    config: Config,
    terms: LinkSettings,
    incarnation: int,
    store: Store,
    now: float,
    is_working: IsWorking,
    running: Running = none_run,
) -> Shard:
    """Return shard `number` with all that is in the store, which takes seconds for many rows.

    now, is_working: see `make_gateway`. running: see `Shard`. Raises StoreError.
    """
    with loading(f"shard-{number}"):
        return Shard(
            number,
            gateways=config.gateways,
            terms=terms,
            rpc=config.rpc,
            limits=config.keys,
            reducer=config.reducer,
            max_message_size=config.gateway.max_message_size,
            incarnation=incarnation,
            rng=SystemRandom(),
            now=now,
            wall=time.time(),
            identity=store.identity,
            rows=store.scan(),
            realms=config.realms,
            realm_limits=config.limits,
            is_working=is_working,
            running=running,
        )


def make_coordinator(
    config: Config,
    terms: LinkSettings,
    incarnation: int,
    store: Store,
    schemas: Mapping[str, str],
    now: float,
    is_working: IsWorking,
    running: Running = none_run,
) -> CoordinatorNode:
    """Return the coordinator with all that is in its store.

    schemas: see `read_schemas`. now, is_working, running: see `make_shard`. Raises StoreError.
    """
    with loading("the coordinator"):
        return CoordinatorNode(
            terms=terms,
            incarnation=incarnation,
            rng=SystemRandom(),
            now=now,
            realms=[realm.name for realm in config.realms],
            sys_interval=config.mqtt.sys_interval,
            schemas=schemas,
            identity=store.identity,
            stored=store.scan(),
            is_working=is_working,
            running=running,
        )
