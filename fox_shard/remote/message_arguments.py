"""The arguments of the commands for messages, sessions and contexts.

Owns: options and help texts. Never: what the commands do.
"""

import argparse
from typing import Any

from fox_shard.remote.argument_types import (
    NOTATION,
    WILDCARDS,
    Commands,
    count,
    document,
    positive,
    topic,
)


def add(commands: Commands, remote: argparse.ArgumentParser) -> None:
    """Add the commands to the parser. remote: the options of all clients of a server."""
    _add_pub(commands, remote)
    _add_sub(commands, remote)
    _add_call(commands, remote)
    _add_register(commands, remote)
    _add_sessions(commands, remote)
    _add_context(commands)


def _add_pub(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "pub",
        parents=[remote],
        help="publish an event",
        description="Publish an event to TOPIC with the arguments VALUE …, and print the"
        " publication's id once it is acknowledged. To set a key, see `fox put`.",
        epilog=NOTATION,
    )
    command.add_argument("topic", type=topic, metavar="TOPIC")
    command.add_argument("values", nargs="*", metavar="VALUE", help="JSON, or else text")
    _add_kwargs(command)
    command.add_argument(
        "--lines",
        action="store_true",
        help="in place of VALUE: publish each line of standard input as an event of its own",
    )
    _add_options(command, "PUBLISH, e.g. '{\"exclude_me\": false}'")
    command.set_defaults(mistake=command.error)


def _add_sub(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "sub",
        parents=[remote],
        help="print events",
        description="Print the events of the topics that match, until Ctrl-C: a line has the topic,"
        " a tab, and the value as JSON. To see keys and their changes, see `fox watch`.",
        epilog=WILDCARDS,
    )
    command.add_argument("pattern", metavar="PATTERN")
    command.add_argument("--match", choices=("exact", "prefix", "wildcard"), default="exact")
    command.add_argument("--count", type=count, metavar="N", help="end after N events")
    command.add_argument(
        "--json",
        action="store_true",
        help="print an object per event, with topic, publication, args, kwargs and details",
    )
    _add_options(command, "SUBSCRIBE, e.g. '{\"get_retained\": true}'")


def _add_call(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "call",
        parents=[remote],
        help="call a procedure",
        description="Call PROCEDURE with the arguments VALUE …, and print the result: text and"
        " bytes as they are, everything else as JSON. Progressive results are printed as they"
        " come.",
        epilog="Exit code 1: the call has failed; the reason is on standard error.",
    )
    command.add_argument("procedure", metavar="PROCEDURE")
    command.add_argument("values", nargs="*", metavar="VALUE", help="JSON, or else text")
    _add_kwargs(command)
    command.add_argument(
        "--timeout",
        type=positive,
        metavar="SECONDS",
        help="after which the call fails (default: the realm's)",
    )
    command.add_argument(
        "--json", action="store_true", help="print an object per result, with args and kwargs"
    )
    _add_options(command, "CALL")


def _add_register(commands: Commands, remote: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "register",
        parents=[remote],
        help="answer calls by running a command",
        usage="fox register PROCEDURE [options] -- COMMAND [ARGUMENT ...]",
        description="Register PROCEDURE, and run COMMAND once for each call, one after the other,"
        " until Ctrl-C. The call's value is the standard input of COMMAND (text as it is, other"
        " values as JSON), and its output, JSON or else text, is the result. $FOX_PROCEDURE is the"
        " procedure that was called, and $FOX_CALLER the session of a caller that is disclosed. If"
        " the exit code is not 0, the caller gets the error fox.error.command_failed with the code"
        " and the end of what COMMAND wrote to standard error.",
        epilog="To run several at a time, start `fox register` several times: --invoke roundrobin.",
    )
    command.add_argument("procedure", metavar="PROCEDURE")
    command.add_argument("command_line", nargs="+", metavar="COMMAND")
    command.add_argument("--match", choices=("exact", "prefix", "wildcard"), default="exact")
    command.add_argument(
        "--invoke",
        choices=("single", "first", "last", "roundrobin", "random"),
        default="single",
        help="who gets a call if several register the procedure (default: only one may)",
    )
    _add_options(command, "REGISTER")


def _add_sessions(commands: Commands, remote: argparse.ArgumentParser) -> None:
    actions = commands.add_parser("sessions", help="sessions: list, end").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    listing = actions.add_parser(
        "ls",
        parents=[remote],
        help="list sessions",
        description="List the realm's sessions, those of MQTT clients too, without this command's"
        " own.",
    )
    listing.add_argument("--json", action="store_true", help="print one object per line")
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


def _add_context(commands: Commands) -> None:
    actions = commands.add_parser(
        "context",
        help="remember servers by name",
        description="Contexts stand in for --url, --realm, --user, --ca, --cert and --key: the one"
        " that is in use, or that --context or $FOX_CONTEXT names. Options come first, and then"
        " $FOX_URL, $FOX_REALM, $FOX_USER, $FOX_CA, $FOX_CERT and $FOX_KEY.",
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("ls", help="list contexts; * marks the one in use")
    setting = actions.add_parser("set", help="add or change a context")
    setting.add_argument("name", metavar="NAME")
    for name, text in (
        ("url", "ws://…, wss://… or unix:/path"),
        ("realm", "the realm to join"),
        ("user", "the user to log in as"),
        ("ca", "a file with authorities, in PEM form"),
        ("cert", "a file with the certificate to show"),
        ("key", "a file with its key"),
    ):
        setting.add_argument(f"--{name}", help=text)
    use = actions.add_parser("use", help="use a context from now on; -: none")
    use.add_argument("name", metavar="NAME|-")
    remove = actions.add_parser("rm", help="forget a context")
    remove.add_argument("name", metavar="NAME")


def _add_kwargs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--kwargs", type=document, default={}, metavar="JSON", help="an object: keyword arguments"
    )


def _add_options(command: argparse.ArgumentParser, of: str) -> None:
    command.add_argument(
        "--options",
        type=document,
        default={},
        metavar="JSON",
        help=f"an object: options of {of}",
    )


def wamp_options(options: argparse.Namespace, **named: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """Return the WAMP options: those of `named`, and those of --options, which come first."""
    return {**named, **options.options}
