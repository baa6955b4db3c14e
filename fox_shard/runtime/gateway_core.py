"""The core of a gateway, as the configuration wants it.

Owns: which setting is which argument. Never: what runs a core (see `shell`).
"""

import time
from random import SystemRandom

from fox_shard.backplane.links import IsWorking
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Config
from fox_shard.gateway.core import Gateway
from fox_shard.users.user import Users


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
