"""fox-shard: WAMP and MQTT clients on one topic space, over gateways, shards and a coordinator.

`FoxRouter` is the whole server in an application's own process (see docs/embedding.md). It is
imported when it is first used, because most commands of `fox` do without.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from fox_shard.version import __version__

if TYPE_CHECKING:
    from fox_shard.client.event import Event as Event
    from fox_shard.client.failures import Refused as Refused
    from fox_shard.client.results import Result as Result
    from fox_shard.config import ConfigError as ConfigError
    from fox_shard.embedded.errors import RouterError as RouterError
    from fox_shard.embedded.router import FoxRouter as FoxRouter
    from fox_shard.gateway.clients.web_user import WebUser as WebUser

__all__ = [
    "ConfigError",
    "Event",
    "FoxRouter",
    "Refused",
    "Result",
    "RouterError",
    "WebUser",
    "__version__",
]

_MODULES = {
    "ConfigError": "config",
    "Event": "client.event",
    "FoxRouter": "embedded.router",
    "Refused": "client.failures",
    "Result": "client.results",
    "RouterError": "embedded.errors",
    "WebUser": "gateway.clients.web_user",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
