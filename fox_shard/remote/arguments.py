"""The arguments of the commands that are clients of a running server.

Owns: options, help texts, and which arguments are mistakes. Never: what the commands do
(`commands`); so parsing does not import the client.
"""

import argparse
import re
from collections.abc import Sequence
from typing import Final

from fox_shard.remote import (
    bench_arguments,
    context_arguments,
    key_arguments,
    message_arguments,
    view_arguments,
)
from fox_shard.remote.argument_types import AUTH, Commands

COMMANDS: Final = (
    "pub",
    "sub",
    "call",
    "register",
    "get",
    "put",
    "keys",
    "watch",
    "lock",
    "tables",
    "schema",
    "reducers",
    "webhooks",
    "sessions",
    "bench",
)
"""The commands that are clients of a running server."""

_LISTED: Final = (
    *("tables", "table", "reducers", "reducer", "webhooks", "webhook", "sessions", "session"),
    *("context", "contexts", "user", "users"),
)
"""The commands that list what there is if no action is named."""

_NEGATIVE: Final = re.compile(r"-\d+(\.\d*)?")


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands to the parser. common: the options that all commands have."""
    remote = argparse.ArgumentParser(add_help=False, parents=[common])
    server = remote.add_argument_group("the server")
    server.add_argument(
        "--url",
        help="WAMP address: ws://…, wss://…, or unix:/path (default: ws://<gateway.websocket>/ws)",
    )
    server.add_argument(
        "--ca",
        metavar="FILE",
        help="authorities that sign the certificate at wss://…, in PEM form (default: those of the "
        "system)",
    )
    server.add_argument(
        "--cert",
        metavar="FILE",
        help="the certificate to show at wss://…, in PEM form; its user is logged in, or --user",
    )
    server.add_argument(
        "--key", metavar="FILE", help="its private key, if that is not in the same file"
    )
    server.add_argument("--realm", help="the realm to join (default: mqtt.realm)")
    server.add_argument(
        "--user", help="log in as this user; the password is $FOX_PASSWORD, or else asked for"
    )
    server.add_argument(
        "--auth",
        choices=AUTH,
        help="how the password is proved (default: by scram or wampcra; as a ticket, which is the "
        "password itself, only with TLS or on this machine)",
    )
    server.add_argument(
        "--token-file", metavar="FILE", help="log in with the token (JWT) in this file"
    )
    server.add_argument("--context", metavar="NAME", help="see `fox context`")
    message_arguments.add(commands, remote)
    key_arguments.add(commands, remote)
    view_arguments.add(commands, remote)
    bench_arguments.add(commands, remote)
    context_arguments.add(commands)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of any command.

    argparse decides too early that an optional VALUE or KEY is not there if an option stands before
    it, and finds it left over.
    """
    options, rest = parser.parse_known_args(_with_action(argv))
    if rest and options.command in ("pub", "call"):
        while rest and _is_value(rest[0]):
            options.values.append(rest.pop(0))
    elif rest and options.command == "put" and options.value is None and _is_value(rest[0]):
        options.value = rest.pop(0)
    elif options.command == "tables" and options.action == "show":
        while rest and _is_value(rest[0]):
            options.key.append(rest.pop(0))
    if rest:
        parser.prog += f" {options.command}"  # its help says which there are
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _with_action(argv: Sequence[str]) -> list[str]:
    """Return the arguments with the action `list` where a noun stands without any."""
    head, rest = list(argv[:1]), list(argv[1:])
    unnamed = not rest or (rest[0].startswith("-") and rest[0] not in ("-h", "--help"))
    return [*head, "list", *rest] if head and head[0] in _LISTED and unnamed else [*head, *rest]


def _is_value(text: str) -> bool:
    return not text.startswith("-") or text == "-" or _NEGATIVE.fullmatch(text) is not None


def say_where(options: argparse.Namespace) -> bool:
    """Whether the options say all about the server, so that no configuration is needed."""
    return bool(options.url and options.realm and not options.config)
