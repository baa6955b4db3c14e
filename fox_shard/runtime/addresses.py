"""Whether a server can listen where it is to, found out before anything else happens.

Owns: which addresses a server has. Never: sockets that last.
"""

from fox_shard.config import Address, Config
from fox_shard.gateway.sockets.listening import listening_sockets
from fox_shard.gateway.sockets.ports import Claims


def check_listeners(config: Config) -> None:
    """Whether gateways are able to listen, who otherwise would try for ever. Raises ListenError."""
    gateway = config.gateway
    more = [("", listener.address) for listener in config.listeners]
    places = {
        "gateway.websocket": gateway.websocket,
        "gateway.rawsocket": gateway.rawsocket,
        "gateway.mqtt": gateway.mqtt,
    }
    _check(config, [*places.items(), *more])


def check_addresses(config: Config) -> None:
    """Whether a whole server, with HTTP, is able to listen. Raises ListenError."""
    check_listeners(config)
    _check(config, [("web.address", config.web.address)])


def _check(config: Config, places: list[tuple[str, object]]) -> None:
    """places: addresses behind the settings that have them, if these have names."""
    claims = Claims(config.run_dir)
    try:
        for setting, address in places:
            if isinstance(address, Address):
                for bound in listening_sockets(address, claims, setting):
                    bound.close()
    finally:
        claims.drop()
