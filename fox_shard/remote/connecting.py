"""One session at a running server, and how its failures become exit codes.

Owns: where the server is, exit codes, sentences on standard error. Never: what the session does.
"""

import getpass
import os
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from fox_shard.client import CannotConnect, Failure, Refused, Session
from fox_shard.client.address import url_of
from fox_shard.client.login import Certificate, Login, Password
from fox_shard.client.tls import SYSTEM, Tls
from fox_shard.config import Config, ConfigError

DONE: Final = 0
NO: Final = 1
"""Exit code: there is no such key, the condition does not hold, or the router refuses."""

UNAVAILABLE: Final = 69
"""Exit code: there is no router, or the connection was lost (EX_UNAVAILABLE of sysexits.h)."""

TEMPORARY: Final = 75
"""Exit code: the lock was not free, or was lost (EX_TEMPFAIL of sysexits.h)."""

BY_SIGNAL: Final = 128
"""Exit code, plus the signal's number, of a process that a signal has ended, as in shells."""


class Target(NamedTuple):
    """The server to connect to. patience: seconds of silence after which the router is gone.

    source: who says that the server is at this address; "": nobody that would help. login: None:
    as an anonymous client.
    """

    url: str
    realm: str
    patience: float = 20.0
    source: str = ""
    login: Login | None = None
    tls: Tls = SYSTEM


def target_of(
    config: Config,
    url: str | None,
    realm: str | None,
    source: str = "",
    user: str | None = None,
    tls: Tls = SYSTEM,
) -> Target:
    """Return the target; the configuration stands in for what is None. Raises ConfigError.

    user: whose password is asked for, unless FOX_PASSWORD has it; None: whoever has shown the
    certificate, if there is one.
    """
    address = url or _configured(config)
    login: Login | None = Certificate() if tls.certificate else None
    if user is not None:
        login = Password(user, password_of(user))
    return Target(address, realm or config.mqtt.realm, source=source, login=login, tls=tls)


def password_of(user: str) -> str:
    """Return the password in FOX_PASSWORD, or ask for it."""
    given = os.environ.get("FOX_PASSWORD")
    return given if given is not None else getpass.getpass(f"Password of {user}: ")


def _configured(config: Config) -> str:
    url = url_of(config)
    if url is None:
        raise ConfigError(
            "gateway.websocket is off: there is nothing to connect to; say where with --url."
        )
    return url


def visit(target: Target, command: Callable[[Session], int]) -> int:
    """Run a command in a session. Returns its exit code, or that of a failure, which is told."""
    try:
        with Session(
            target.url, target.realm, target.patience, target.login, target.tls
        ) as session:
            return command(session)
    except CannotConnect as error:
        says = f" The address comes from {target.source}." if target.source else ""
        tell(f"{error}{says} Does the server run?")
        return UNAVAILABLE
    except Failure as error:
        tell(error.sentence)
        return NO if isinstance(error, Refused) else UNAVAILABLE


def tell(sentence: str) -> None:
    """Print a sentence on standard error."""
    print(f"fox: {sentence}", file=sys.stderr, flush=True)
