"""WAMP clients: a blocking one, without threads and without an event loop; and one for asyncio.

What the latter needs is imported when it is first used, so that the command `fox` starts quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from fox_shard.client.event import Event
from fox_shard.client.failures import (
    CannotConnect,
    ConnectionLost,
    Failure,
    LockLost,
    NoAnswer,
    Refused,
    TooSlow,
    Unreachable,
)
from fox_shard.client.results import Result
from fox_shard.client.session import Invocation, Session, Subscription
from fox_shard.client.tls import Tls

if TYPE_CHECKING:
    from fox_shard.client.callee import CallDetails
    from fox_shard.client.connecting import connect
    from fox_shard.client.realm import Realm

__all__ = [
    "CallDetails",
    "CannotConnect",
    "ConnectionLost",
    "Event",
    "Failure",
    "Invocation",
    "LockLost",
    "NoAnswer",
    "Realm",
    "Refused",
    "Result",
    "Session",
    "Subscription",
    "Tls",
    "TooSlow",
    "Unreachable",
    "connect",
]

_WITH_ASYNCIO: Final = {"CallDetails": "callee", "Realm": "realm", "connect": "connecting"}
"""Names that are imported late, with the modules that have them."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of them
    if name not in _WITH_ASYNCIO:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WITH_ASYNCIO[name]}"), name)
