"""The arguments of the commands that are clients of a running server.

Owns: options, help texts, and which arguments are mistakes. Never: what the commands do
(`commands`); so parsing does not import the client.
"""

import argparse
import re
from collections.abc import Sequence
from math import inf
from typing import Final

from fox_shard.remote import message_arguments
from fox_shard.remote.argument_types import (
    NOTATION,
    WILDCARDS,
    Commands,
    document,
    holder,
    positive,
    publication,
    seconds_of,
    topic,
)

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
    "reducers",
    "webhooks",
    "table",
    "schema",
    "sessions",
)
"""The commands that are clients of a running server."""

_OBJECTS: Final = "print an object per line, with topic, publication, and value or removed"

_NEGATIVE: Final = re.compile(r"-\d+(\.\d*)?")


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands to the parser. common: the options that all commands have."""
    remote = argparse.ArgumentParser(add_help=False, parents=[common])
    remote.add_argument(
        "--url",
        help="WAMP address: ws://…, wss://…, or unix:/path (default: ws://<gateway.websocket>/ws)",
    )
    remote.add_argument(
        "--ca",
        metavar="FILE",
        help="authorities that sign the certificate at wss://…, in PEM form (default: those of the "
        "system)",
    )
    remote.add_argument(
        "--cert",
        metavar="FILE",
        help="the certificate to show at wss://…, in PEM form; its user is logged in, or --user",
    )
    remote.add_argument(
        "--key", metavar="FILE", help="its private key, if that is not in the same file"
    )
    remote.add_argument("--realm", help="the realm to join (default: mqtt.realm)")
    remote.add_argument(
        "--user", help="log in as this user; the password is $FOX_PASSWORD, or else asked for"
    )
    remote.add_argument("--context", metavar="NAME", help="see `fox context`")
    message_arguments.add(commands, remote)
    _add_get(commands, remote)
    _add_put(commands, remote)
    _add_keys(commands, remote)
    _add_watch(commands, remote)
    _add_lock(commands, remote)
    _add_reducers(commands, remote)
    _add_webhooks(commands, remote)
    _add_table(commands, remote)
    _add_schema(commands, remote)


def _add_get(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "get",
        parents=[remote],
        help="print the value of a key",
        description="Print the value of a key: text as it is, everything else as JSON.",
        epilog=f"Exit code 1: there is no such key. {NOTATION}",
    )
    command.add_argument("topic", type=topic, metavar="TOPIC")
    command.add_argument("--json", action="store_true", help="print text as JSON too, in quotes")


def _add_put(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "put",
        parents=[remote],
        help="set or delete a key",
        description="Publish VALUE as the key TOPIC, and print the publication's id; if TOPIC is a"
        " table, also the topic of the row, after a tab. With a condition, VALUE is published only"
        " if the condition holds.",
        epilog=f"Exit code 1: the condition does not hold. {NOTATION}",
    )
    command.add_argument("topic", type=topic, metavar="TOPIC")
    command.add_argument(
        "value", nargs="?", metavar="VALUE", help="JSON, or else text; -: read it from stdin"
    )
    command.add_argument("--delete", action="store_true", help="in place of VALUE: erase the key")
    command.add_argument(
        "--for",
        dest="seconds",
        type=positive,
        metavar="SECONDS",
        help="erase the key after this time (default: keep it)",
    )
    condition = command.add_mutually_exclusive_group()
    condition.add_argument("--new", action="store_true", help="only if there is no such key")
    condition.add_argument(
        "--when", type=document, metavar="JSON", help="only if the key contains this object"
    )
    condition.add_argument(
        "--when-id",
        type=publication,
        metavar="N",
        help="only if the key's value is the publication N (0: if there is no key)",
    )
    command.add_argument(
        "--json", action="store_true", help="print an object with the publication and the topic"
    )
    command.add_argument(
        "--wait",
        action="store_true",
        help="wait until the condition holds; those who wait are let through one at a time",
    )
    command.set_defaults(mistake=command.error)


def _add_keys(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "keys",
        parents=[remote],
        help="list keys",
        description="List the topics of the keys that match, sorted, one per line.",
        epilog=WILDCARDS,
    )
    _add_pattern(command)
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--long",
        action="store_true",
        help="print topic, publication id and value as JSON, separated by tabs",
    )
    form.add_argument("--json", action="store_true", help=_OBJECTS)


def _add_watch(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "watch",
        parents=[remote],
        help="print keys and their changes",
        description="Print the keys that match, and then each of their changes, until Ctrl-C:"
        " a line has the topic, a tab, and the value as JSON; or, if the key is gone, -, a tab,"
        " and why: deleted, expired, or weak (its session has ended).",
        epilog=WILDCARDS,
    )
    _add_pattern(command)
    command.add_argument("--json", action="store_true", help=_OBJECTS)


def _add_pattern(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "pattern", nargs="?", default="#", metavar="PATTERN", help="(default: all)"
    )
    command.add_argument(
        "--match",
        choices=("exact", "prefix", "wildcard"),
        default="exact",
        help="how PATTERN matches; prefix: topics that begin with it; wildcard: an empty component"
        " is any one component, too",
    )


def _add_lock(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "lock",
        parents=[remote],
        help="run a command while holding a lock",
        usage="fox lock NAME [options] -- COMMAND [ARGUMENT ...]",
        description="Wait for the lock NAME, which is the key of that topic, run COMMAND, and"
        " release the lock. $FOX_LOCK is the lock's name, and $FOX_FENCE a number that grows from"
        " holder to holder: storage that refuses smaller numbers is safe from former holders that"
        " have not noticed their loss yet. If the lock is lost (because the connection is lost, or"
        " somebody changes the key), COMMAND gets SIGTERM and, after --grace seconds, SIGKILL.",
        epilog="Exit code: that of COMMAND; 75: the lock was not free in time, or was lost;"
        " 69: no server. SIGTERM, SIGINT and SIGHUP are passed on to COMMAND.",
    )
    command.add_argument("name", type=topic, metavar="NAME")
    command.add_argument("command_line", nargs="+", metavar="COMMAND")
    command.add_argument(
        "--value",
        type=holder,
        metavar="JSON",
        help='the key\'s value, which tells others of the holder (default: {"host": …, "pid": …})',
    )
    patience = command.add_mutually_exclusive_group()
    patience.add_argument(
        "--timeout",
        type=positive,
        default=inf,
        metavar="SECONDS",
        help="how long to wait for the lock (default: without limit)",
    )
    patience.add_argument("--no-wait", action="store_true", help="do not wait if it is held")
    command.add_argument(
        "--grace",
        type=seconds_of,
        default=5.0,
        metavar="SECONDS",
        help="between SIGTERM and SIGKILL (default: 5)",
    )


def _add_reducers(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "reducers",
        parents=[remote],
        help="list reducers",
        description="List the realm's reducers: pattern, who folds (a built-in function, or the"
        " number of instances), the destination and the name of a durable one, how many events"
        " wait and for how many seconds the oldest has waited, how many were folded in the last"
        " second, and how many have failed.",
        epilog=NOTATION,
    )
    command.add_argument(
        "--json", action="store_true", help="print one object per line, at once, without a rate"
    )
    command.add_argument(
        "--remove",
        metavar="NAME",
        help="forget the durable reducer NAME of --pattern, and the events that wait for it",
    )
    command.add_argument("--pattern", help="the pattern of the reducer to be removed")
    command.add_argument("--match", choices=("exact", "prefix", "wildcard"), default="exact")
    command.add_argument("--mission", default="", help="its mission, if it has one")
    command.set_defaults(mistake=command.error)


def _add_webhooks(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "webhooks",
        parents=[remote],
        help="list webhooks, and how their deliveries are going",
        description="List the realm's webhooks: how many events wait and for how many seconds the"
        " oldest has waited; how many were delivered, given up, and dropped because the queue was"
        " full; how often a delivery was put off; when the next one of these is tried; and why"
        " the last one has failed. Numbers are since the shards' start.",
        epilog=NOTATION,
    )
    command.add_argument("--json", action="store_true", help="print one object per line")


def _add_table(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "table",
        help="tables: list, show, verify, watch",
        description="The tables of the realm, their rows, and whether its aggregates are right.",
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "ls",
        parents=[remote],
        help="list tables",
        description="List the tables: how many rows each has, and how far an aggregate is whose"
        " definition has changed.",
    )
    listing.add_argument("--json", action="store_true", help="print one object per line")
    show = actions.add_parser(
        "show",
        parents=[remote],
        help="print rows",
        description="Print all rows of TABLE as JSON, one per line in the order of their topics;"
        " or only the row with that key.",
        epilog="Exit code 1: there is no such row.",
    )
    show.add_argument("table", metavar="TABLE")
    show.add_argument(
        "key", nargs="*", metavar="KEY", help="the values of the primary key; JSON, or else text"
    )
    verify = actions.add_parser(
        "verify",
        parents=[remote, quiet()],
        help="compare aggregates with their rows",
        description="Read all rows, recompute the aggregates, and compare. What differs is looked"
        " at again for a while, since it may just be changing. What is wrong is printed: topic,"
        " what the aggregate has, and what it should have.",
        epilog="Exit code 1: a row is wrong.",
    )
    verify.add_argument("table", nargs="?", metavar="TABLE", help="(default: all aggregates)")
    watch = actions.add_parser(
        "watch",
        parents=[remote],
        help="print rows and their changes",
        description="Print the rows of TABLE, and then each of their changes, until Ctrl-C, like"
        " `fox watch`.",
    )
    watch.add_argument("table", type=topic, metavar="TABLE")


def quiet() -> argparse.ArgumentParser:
    """Return the parent of the parsers of commands that take long."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--quiet", action="store_true", help="do not show how far it is (done at terminals only)"
    )
    return parser


def _add_schema(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "schema",
        help="the schema of the tables: set, show",
        description="The definitions of the realm's tables and rules.",
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    setting = actions.add_parser(
        "set",
        parents=[remote, quiet()],
        help="set the schema",
        description="Have the realm work by the schema in FILE, and print its version when all"
        " shards do.",
        epilog="Exit code 1: the router refuses, for example because another schema has been set"
        " meanwhile; 2: FILE cannot be read, or there is a mistake in the schema.",
    )
    setting.add_argument("file", metavar="FILE|-", help="JSON; -: read it from stdin")
    setting.add_argument(
        "--wait", action="store_true", help="wait until all aggregates are computed anew, too"
    )
    actions.add_parser(
        "show",
        parents=[remote],
        help="print the schema",
        description="Print the schema by which the realm works, as JSON.",
    )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of any command.

    argparse decides too early that an optional VALUE or KEY is not there if an option stands before
    it, and finds it left over.
    """
    options, rest = parser.parse_known_args(argv)
    if rest and options.command in ("pub", "call"):
        while rest and _is_value(rest[0]):
            options.values.append(rest.pop(0))
    elif rest and options.command == "put" and options.value is None and _is_value(rest[0]):
        options.value = rest.pop(0)
    elif options.command == "table" and options.action == "show":
        while rest and _is_value(rest[0]):
            options.key.append(rest.pop(0))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _is_value(text: str) -> bool:
    return not text.startswith("-") or text == "-" or _NEGATIVE.fullmatch(text) is not None


def say_where(options: argparse.Namespace) -> bool:
    """Whether the options say all about the server, so that no configuration is needed."""
    return bool(options.url and options.realm and not options.config)
