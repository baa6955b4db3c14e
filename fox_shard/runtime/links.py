"""What all cores get of the configuration.

Owns: the settings of links, incarnations. Never: what one kind of core gets.
"""

import secrets

from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Config


def new_incarnation() -> int:
    """A random number that names this run of a process."""
    return secrets.randbits(52) + 1


def link_settings(config: Config, generation: int, *, hands_over: bool = False) -> LinkSettings:
    """Return the settings of all links. generation: of the layout. hands_over: see there."""
    return LinkSettings(
        shards=config.shards,
        generation=generation,
        credit=config.backplane.credit,
        work_credit=config.backplane.work_credit,
        outbox_limit=config.backplane.outbox_limit,
        heartbeat=config.backplane.heartbeat,
        peer_timeout=config.backplane.peer_timeout,
        attached_gateways=config.backplane.attached_gateways,
        attached_timeout=config.backplane.attached_patience,
        attached_buffer=config.backplane.attached_buffer,
        hands_over=hands_over,
    )
