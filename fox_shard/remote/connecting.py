"""One session at a running server, and how its failures become exit codes.

Owns: where the server is, exit codes, sentences on standard error. Never: what the session does.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from fox_shard.client import CannotConnect, Failure, Refused, Session, Unreachable
from fox_shard.client.address import url_of
from fox_shard.client.connection import uri_of
from fox_shard.client.login import TICKET, Certificate, Login, Token
from fox_shard.client.password import SCRAM, WAMP_CRA, WAMP_SCRAM, Password, login_at
from fox_shard.client.tls import SYSTEM, Tls
from fox_shard.config import Config, ConfigError
from fox_shard.remote.argument_types import AUTH

METHODS: Final = {"scram": (WAMP_SCRAM, SCRAM), "wampcra": (WAMP_CRA,), "ticket": (TICKET,)}
"""WAMP's methods, for each of `AUTH`."""

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


class Given(NamedTuple):
    """Who logs in; None: nobody says. auth: how the password is proved. token_file: a path."""

    user: str | None = None
    auth: str | None = None
    token_file: str | None = None


NOBODY: Final = Given()


def target_of(
    config: Config,
    url: str | None,
    realm: str | None,
    source: str = "",
    given: Given = NOBODY,
    tls: Tls = SYSTEM,
) -> Target:
    """Return the target; the configuration stands in for what is None. Raises ConfigError.

    source: who says `url`. given: whose password is asked for, unless FOX_PASSWORD has it; nobody:
    whoever has shown the certificate, if there is one.
    """
    address = url or _configured(config)
    try:
        uri_of(address)
    except Unreachable as error:
        raise ConfigError(f"{error}{comes_from(source)}") from error
    return Target(
        address,
        realm or config.mqtt.realm,
        source=source,
        login=_login(address, given, tls),
        tls=tls,
    )


def target_for(options: argparse.Namespace, config: Config) -> Target:
    """Return the target that the options of a command say. Raises ConfigError."""
    given = Given(options.user, options.auth, options.token_file)
    return target_of(config, options.url, options.realm, options.source, given, tls_of(options))


def tls_of(options: argparse.Namespace) -> Tls:
    """Return the files that the options of a command name."""
    return Tls(options.ca or "", options.cert or "", options.key or "")


def comes_from(source: str) -> str:
    """Return a sentence, behind others, that says who has told the address, if anybody has."""
    return f" The address comes from {source}." if source else ""


def _login(url: str, given: Given, tls: Tls) -> Login | None:
    if given.auth is not None and given.auth not in AUTH:
        raise ConfigError(f"{given.auth!r} is none of {', '.join(AUTH)} (--auth).")
    if given.token_file is not None:
        return Token(token_in(Path(given.token_file)), given.user)
    if given.user is None:
        return Certificate() if tls.certificate else None
    password = password_of(given.user)
    if given.auth is None:
        return login_at(url, given.user, password)
    return Password(given.user, password, METHODS[given.auth], trusting=True)


def token_in(path: Path) -> str:
    """Return the token in a file. Raises ConfigError."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} has no token: {error}.") from error


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
        tell(f"{error}{comes_from(target.source)} Does the server run?")
        return UNAVAILABLE
    except Failure as error:
        tell(error.sentence)
        return NO if isinstance(error, Refused) else UNAVAILABLE


def tell(sentence: str) -> None:
    """Print a sentence on standard error."""
    print(f"fox: {sentence}", file=sys.stderr, flush=True)
