"""A visit: one session at a running server, and how its failures become exit codes.

Owns: where the server is, exit codes, sentences on standard error. Never: what is done there.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from fox_shard.client import Failure, Refused, Session
from fox_shard.config import Address, Config, ConfigError

DONE: Final = 0
NO: Final = 1
"""There is no such key, the condition does not hold, the router refuses."""

UNAVAILABLE: Final = 69
"""No router, or none any more (EX_UNAVAILABLE of sysexits.h)."""

TEMPORARY: Final = 75
"""Another time perhaps: somebody else has the lock, or has it now (EX_TEMPFAIL)."""

BY_SIGNAL: Final = 128
"""Plus the signal's number: what a shell says of who ended by it."""

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where to find who listens at all addresses."""


class Target(NamedTuple):
    """Where to go. patience: seconds without a sign of life that mean that the router is gone."""

    url: str
    realm: str
    patience: float = 20.0


def target_of(config: Config, url: str | None, realm: str | None) -> Target:
    """What is not said is what the configuration says. Raises ConfigError."""
    return Target(url or _configured(config.gateway.websocket), realm or config.mqtt.realm)


def _configured(address: Address | None) -> str:
    if address is None:
        raise ConfigError(
            "gateway.websocket is off: there is nothing to connect to; say where with --url."
        )
    return f"ws://{Address(_ANY.get(address.host, address.host), address.port)}/ws"


def visit(target: Target, errand: Callable[[Session], int]) -> int:
    """Do it in a session. Returns its exit code, or that of what went wrong, having said what."""
    try:
        with Session(target.url, target.realm, target.patience) as session:
            return errand(session)
    except Failure as error:
        tell(str(error))
        return NO if isinstance(error, Refused) else UNAVAILABLE
    except KeyboardInterrupt:
        return BY_SIGNAL + signal.SIGINT
    except BrokenPipeError:
        # Whoever read has had enough. Python must not flush into the pipe at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BY_SIGNAL + signal.SIGPIPE


def tell(sentence: str) -> None:
    """Say it on standard error."""
    print(f"fox: {sentence}", file=sys.stderr, flush=True)
