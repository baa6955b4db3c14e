"""The UNIX socket of each gateway at which the HTTP server logs its users in.

Owns: where it is, and who may open it. Never: sessions.

The HTTP server tells for which address it speaks, as a proxy does, so that failed logins, and
whatever else is limited, count for that address. Only the server's own user can open the socket.
"""

from pathlib import Path

from fox_shard.config import Config, Listener, UnixPath
from fox_shard.config.address import GATEWAY

NAME = f"web-{GATEWAY}.sock"


def listener_for_web(config: Config, number: int | str) -> tuple[Listener, ...]:
    """Return the listener of gateway `number`; none if there is no HTTP server."""
    if config.web.address is None:
        return ()
    address = UnixPath(str(Path(config.run_dir) / NAME)).of_gateway(number)
    return (
        Listener(protocol="websocket", address=address, mode="0600", forwarded="x-forwarded-for"),
    )


def web_sockets(run_dir: Path) -> list[Path]:
    """Return the sockets that there are. The gateway of one may be gone."""
    return sorted(run_dir.glob(NAME.replace(GATEWAY, "*")))
