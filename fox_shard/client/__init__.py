"""A synchronous WAMP client, without threads and without an event loop."""

from fox_shard.client.connection import CannotConnect, ConnectionLost, Failure, Unreachable
from fox_shard.client.session import Event, Invocation, NoAnswer, Refused, Session, Subscription

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
