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
from fox_shard.remote.argument_types import Commands
from fox_shard.remote.server_options import add_server_options

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
    add_server_options(server)
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
