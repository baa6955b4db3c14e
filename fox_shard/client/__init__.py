"""WAMP clients: a blocking one, without threads and without an event loop; and one for asyncio."""

from fox_shard.client.event import Event
from fox_shard.client.failures import (
    CannotConnect,
    ConnectionLost,
    Failure,
    NoAnswer,
    Refused,
    Unreachable,
)
from fox_shard.client.session import Invocation, Session, Subscription

__all__ = [
    "CannotConnect",
    "ConnectionLost",
    "Event",
    "Failure",
    "Invocation",
    "NoAnswer",
    "Refused",
    "Session",
    "Subscription",
    "Unreachable",
]
