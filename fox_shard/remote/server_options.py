"""The options that say which server a command is a client of, and who logs in there.

Owns: their names, and what they mean. Each is an option of all clients, a variable (`FOX_URL`) and
an entry of a context. Never: which of these counts (`contexts`); what is done with them
(`connecting`).
"""

import argparse
from typing import Final, NamedTuple

from fox_shard.remote.argument_types import AUTH


class ServerOption(NamedTuple):
    """One option. default: what counts if nobody says anything, for the help."""

    name: str
    help: str
    default: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] | None = None

    @property
    def field(self) -> str:
        """The name in Python, and in the file with the contexts."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The variable that stands in for the option."""
        return f"FOX_{self.field.upper()}"


SERVER_OPTIONS: Final = (
    ServerOption(
        "url", "WAMP address: ws://…, wss://…, or unix:/path", "ws://<gateway.websocket>/ws"
    ),
    ServerOption("realm", "the realm to join", "mqtt.realm"),
    ServerOption("user", "log in as this user; the password is $FOX_PASSWORD, or else asked for"),
    ServerOption(
        "auth",
        "how the password is proved",
        "by scram or wampcra; as a ticket, which is the password itself, only with TLS or on this "
        "machine",
        choices=AUTH,
    ),
    ServerOption("token-file", "log in with the token (JWT) in this file", metavar="FILE"),
    ServerOption(
        "ca",
        "authorities that sign the certificate at wss://…, in PEM form",
        "those of the system",
        metavar="FILE",
    ),
    ServerOption(
        "cert",
        "the certificate to show at wss://…, in PEM form; its user is logged in, or --user",
        metavar="FILE",
    ),
    ServerOption("key", "its private key, if that is not in the same file", metavar="FILE"),
)


def add_server_options(group: argparse._ArgumentGroup) -> None:
    """Add the options to a group of a parser."""
    for one in SERVER_OPTIONS:
        default = f" (default: {one.default})" if one.default else ""
        group.add_argument(
            f"--{one.name}", help=one.help + default, metavar=one.metavar, choices=one.choices
        )
