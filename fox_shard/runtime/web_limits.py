"""The limits of HTTP requests, from the configuration.

Owns: which settings they are. Never: what is limited (see `web`).
"""

from fox_shard.config import Config
from fox_shard.web.bodies import SHARE
from fox_shard.web.context import Limits


def limits_of(config: Config, *, is_local: bool | None) -> Limits:
    """Return the limits of requests, as configured. is_local: see `Limits`."""
    web, gateway = config.web, config.gateway
    return Limits(
        realm=web.realm or config.mqtt.realm,
        body=gateway.max_message_size,
        bodies=max(web.body_bytes, SHARE * gateway.max_message_size),
        messages=max(web.message_bytes, SHARE * gateway.max_message_size),
        body_timeout=gateway.message_timeout,
        containers=gateway.max_containers,
        answer=gateway.answer_bytes,
        answer_timeout=web.answer_timeout,
        streams=web.max_streams,
        streams_per_address=web.max_streams_per_address,
        slow_timeout=web.slow_timeout,
        origins=gateway.allowed_origins,
        is_local=is_local,
    )
