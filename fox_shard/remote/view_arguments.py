"""The arguments of the commands for what a server has: tables, schema, reducers, sessions.

Owns: options and help texts. Never: what the commands do.
"""

import argparse

from fox_shard.remote.argument_types import (
    NOTATION,
    Commands,
    add_json,
    add_listing,
    add_match,
    count,
    pattern,
    quiet,
    topic,
)


def add(commands: Commands, remote: argparse.ArgumentParser) -> None:
    """Add the commands to the parser. remote: the options of all clients of a server."""
    _add_tables(commands, remote)
    _add_schema(commands, remote)
    _add_reducers(commands, remote)
    _add_webhooks(commands, remote)
    _add_sessions(commands, remote)


def _add_reducers(commands: Commands, remote: argparse.ArgumentParser) -> None:
    actions = _add_noun(commands, "reducers", "reducers: list, remove", "The realm's reducers.")
    listing = add_listing(
        actions,
        parents=[remote],
        help="list reducers",
        description="List the realm's reducers: pattern, who folds (a built-in function, or the"
        " number of instances), the destination and the name of a durable one, how many events"
        " wait and for how many seconds the oldest has waited, how many were folded in the last"
        " second, and how many have failed.",
    )
    add_json(listing, "print an object per line, at once, without a rate")
    removal = actions.add_parser(
        "remove",
        aliases=["rm"],
        parents=[remote],
        help="remove a durable reducer",
        description="Forget the durable reducer NAME, and the events that wait for it.",
        epilog=f"Exit code 1: there is no such reducer. {NOTATION}",
    )
    removal.set_defaults(action="remove")
    removal.add_argument("name", metavar="NAME")
    removal.add_argument("--pattern", type=pattern, required=True, help="the reducer's pattern")
    add_match(removal, "the pattern matches")
    removal.add_argument("--mission", default="", help="its mission, if it has one")


def _add_webhooks(commands: Commands, remote: argparse.ArgumentParser) -> None:
    actions = _add_noun(commands, "webhooks", "webhooks: list", "The realm's webhooks.")
    listing = add_listing(
        actions,
        parents=[remote],
        help="list webhooks, and how their deliveries are going",
        description="List the realm's webhooks: how many events wait and for how many seconds the"
        " oldest has waited; how many were delivered, given up, and dropped because the queue was"
        " full; how often a delivery was put off; when the next one of these is tried; and why"
        " the last one has failed. Numbers are since the shards' start.",
    )
    add_json(listing)


def _add_tables(commands: Commands, remote: argparse.ArgumentParser) -> None:
    actions = _add_noun(
        commands,
        "tables",
        "tables: list, show, verify, watch",
        "The tables of the realm, their rows, and whether its aggregates are right.",
    )
    listing = add_listing(
        actions,
        parents=[remote],
        help="list tables",
        description="List the tables: how many rows each has, and how far an aggregate is whose"
        " definition has changed.",
    )
    add_json(listing)
    show = actions.add_parser(
        "show",
        parents=[remote],
        help="print rows",
        description="Print all rows of TABLE as JSON, one per line in the order of their topics;"
        " or only the row with that key.",
        epilog="Exit code 1: there is no such row.",
    )
    show.add_argument("table", type=topic, metavar="TABLE")
    show.add_argument(
        "key", nargs="*", metavar="KEY", help="the values of the primary key; JSON, or else text"
    )
    add_json(show, "as without it: rows are JSON")
    verify = actions.add_parser(
        "verify",
        parents=[remote, quiet()],
        help="compare aggregates with their rows",
        description="Read all rows, recompute the aggregates, and compare. What differs is looked"
        " at again for a while, since it may just be changing. What is wrong is printed: topic,"
        " what the aggregate has, and what it should have.",
        epilog="Exit code 1: a row is wrong.",
    )
    verify.add_argument(
        "table", type=topic, nargs="?", metavar="TABLE", help="(default: all aggregates)"
    )
    add_json(verify, "print an object per wrong row, and one per aggregate")
    watch = actions.add_parser(
        "watch",
        parents=[remote],
        help="print rows and their changes",
        description="Print the rows of TABLE, and then each of their changes, until Ctrl-C, like"
        " `fox watch`.",
    )
    watch.add_argument("table", type=topic, metavar="TABLE")
    add_json(watch, "print an object per line, with topic, publication, and value or removed")


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
    add_json(setting, "print an object with the version")
    show = actions.add_parser(
        "show",
        parents=[remote],
        help="print the schema",
        description="Print the schema by which the realm works, as JSON.",
    )
    add_json(show, "print it on one line")


def _add_sessions(commands: Commands, remote: argparse.ArgumentParser) -> None:
    actions = _add_noun(commands, "sessions", "sessions: list, end", "The realm's sessions.")
    listing = add_listing(
        actions,
        parents=[remote],
        help="list sessions",
        description="List the realm's sessions, those of MQTT clients too, without this command's"
        " own.",
    )
    add_json(listing)
    ending = actions.add_parser(
        "end",
        parents=[remote],
        help="end sessions",
        description="End sessions: a WAMP client gets GOODBYE, an MQTT client's connection is"
        " closed.",
        epilog="Exit code 1: there is no such session.",
    )
    ending.add_argument("sessions", nargs="+", type=count, metavar="SESSION")
    ending.add_argument("--reason", metavar="URI", help="of GOODBYE (default: wamp.close.killed)")


def _add_noun(commands: Commands, name: str, help: str, description: str) -> Commands:
    """Add a command that is a noun in the plural, or the singular; return its actions."""
    command = commands.add_parser(
        name, aliases=[name.removesuffix("s")], help=help, description=description
    )
    command.set_defaults(command=name)
    return command.add_subparsers(dest="action", required=True, metavar="ACTION")
