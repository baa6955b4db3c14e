"""The core of a shard, as the configuration wants it.

Owns: which setting is which argument. Never: what runs a core (see `shell`).
"""

import time
from random import SystemRandom

from fox_shard.backplane.attached import HasEnded, Running, nobody_knows, none_run
from fox_shard.backplane.links import IsWorking
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Config
from fox_shard.datadir.opening import loading
from fox_shard.shard.core import Shard
from fox_shard.store.store import Store


def make_shard(
    number: int,
    config: Config,
    terms: LinkSettings,
    incarnation: int,
    store: Store,
    now: float,
    is_working: IsWorking,
    running: Running = none_run,
    has_ended: HasEnded = nobody_knows,
) -> Shard:
    """Return shard `number` with all that is in the store, which takes seconds for many rows.

    now: monotonic seconds. is_working, running, has_ended: see `Shard`. Raises StoreError.
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
            has_ended=has_ended,
        )
