"""fox-shard: WAMP and MQTT clients on one topic space, over gateways, shards and a coordinator.

`FoxRouter` is the whole server in an application's own process (see docs/embedding.md). It is
imported when it is first used, because most commands of `fox` do without.
"""

from typing import TYPE_CHECKING

from fox_shard.version import __version__

if TYPE_CHECKING:
    from fox_shard.config import ConfigError as ConfigError
    from fox_shard.embedded.router import FoxRouter as FoxRouter
    from fox_shard.embedded.router import RouterError as RouterError

__all__ = ["ConfigError", "FoxRouter", "RouterError", "__version__"]


def __getattr__(name: str) -> object:
    if name in ("FoxRouter", "RouterError"):
        from fox_shard.embedded import router

        return getattr(router, name)
    if name == "ConfigError":
        from fox_shard.config import ConfigError

        return ConfigError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
