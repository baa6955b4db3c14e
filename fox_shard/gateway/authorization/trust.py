"""Trust levels of publications and calls (WAMP #pubsub-pub-trust, #rpc-call-trust).

Owns: how a trust level goes with a message to its receivers. Never: who has which (see `rules`).

The router tells receivers how much it trusts the sender with this topic or procedure. What the
number means is up to them. It travels among the attributes that the router passes on, in the
details of EVENT or INVOCATION. Clients cannot set it: their custom attributes have other names.
"""

from functools import lru_cache
from typing import Final

from msgspec import msgpack

from fox_shard.gateway.authorization.rules import TRUST_SHIFT

TRUST_LEVEL: Final = "trustlevel"


@lru_cache(1000)
def _alone(level: int) -> bytes:
    return msgpack.encode({TRUST_LEVEL: level})


def with_trust_level(attributes: bytes | None, decision: int) -> bytes:
    """Return a message's attributes with the trust level of a decision, which has one."""
    level = (decision >> TRUST_SHIFT) - 1
    if attributes is None:
        return _alone(level)
    return msgpack.encode({**msgpack.decode(attributes), TRUST_LEVEL: level})
