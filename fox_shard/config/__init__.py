"""The configuration: TOML text and FOX_ variables become frozen structs.

Owns: the public names of `settings` (what can be set), `reader` and `realms` (how it is read).
Never: sockets, clocks, logs.
"""

from fox_shard.config.address import Address, UnixPath
from fox_shard.config.jwt import Algorithm, Jwt
from fox_shard.config.listener import Listener
from fox_shard.config.metrics import Metrics
from fox_shard.config.mistakes import ConfigError
from fox_shard.config.reader import Origins, check_any_listener, load, load_with_origins, parse
from fox_shard.config.realm_limits import RealmLimits, share
from fox_shard.config.settings import (
    SETTINGS,
    Action,
    Auth,
    Backplane,
    Config,
    Gateway,
    History,
    Keys,
    Log,
    Mqtt,
    Realm,
    Reducer,
    Reducers,
    Role,
    Rpc,
    Rule,
    Setting,
    Statsd,
    asks_for_proof,
)
from fox_shard.config.tracing import Tracing
from fox_shard.config.web import Web
from fox_shard.config.webhook import Webhook

__all__ = [
    "SETTINGS",
    "Action",
    "Address",
    "Algorithm",
    "Auth",
    "Backplane",
    "Config",
    "ConfigError",
    "Gateway",
    "History",
    "Jwt",
    "Keys",
    "Listener",
    "Log",
    "Metrics",
    "Mqtt",
    "Origins",
    "Realm",
    "RealmLimits",
    "Reducer",
    "Reducers",
    "Role",
    "Rpc",
    "Rule",
    "Setting",
    "Statsd",
    "Tracing",
    "UnixPath",
    "Web",
    "Webhook",
    "asks_for_proof",
    "check_any_listener",
    "load",
    "load_with_origins",
    "parse",
    "share",
]
