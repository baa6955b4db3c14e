"""The arguments of the commands for keys: get, put, keys, watch, lock.

Owns: options and help texts. Never: what the commands do.
"""

import argparse
from math import inf
from typing import Final

from fox_shard.remote.argument_types import (
    NOTATION,
    WILDCARDS,
    Commands,
    add_json,
    add_match,
    document,
    holder,
    pattern,
    positive,
    publication,
    seconds_of,
    topic,
)

_OBJECTS: Final = "print an object per line, with topic, publication, and value or removed"


def add(commands: Commands, remote: argparse.ArgumentParser) -> None:
    """Add the commands to the parser. remote: the options of all clients of a server."""
    _add_get(commands, remote)
    _add_put(commands, remote)
    _add_keys(commands, remote)
    _add_watch(commands, remote)
    _add_lock(commands, remote)


def _add_get(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "get",
        parents=[remote],
        help="print the value of a key",
        description="Print the value of a key: text as it is, everything else as JSON.",
        epilog=f"Exit code 1: there is no such key. {NOTATION}",
    )
    command.add_argument("topic", type=topic, metavar="TOPIC")
    add_json(command, "print text as JSON too, in quotes")


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
    add_json(command, "print an object with the publication and the topic")
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
    add_json(command, _OBJECTS)


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


def _add_pattern(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "pattern", nargs="?", type=pattern, default="#", metavar="PATTERN", help="(default: all)"
    )
    add_match(command, "PATTERN matches")
