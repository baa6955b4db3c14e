"""The arguments of the commands for messages: pub, sub, call, register.

Owns: options and help texts. Never: what the commands do.
"""

import argparse
from typing import Any

from fox_shard.remote.argument_types import (
    NOTATION,
    WILDCARDS,
    Commands,
    add_json,
    add_kwargs,
    add_match,
    add_options,
    count,
    pattern,
    positive,
    topic,
)


def add(commands: Commands, remote: argparse.ArgumentParser) -> None:
    """Add the commands to the parser. remote: the options of all clients of a server."""
    _add_pub(commands, remote)
    _add_sub(commands, remote)
    _add_call(commands, remote)
    _add_register(commands, remote)


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
    add_kwargs(command)
    command.add_argument(
        "--lines",
        action="store_true",
        help="in place of VALUE: publish each line of standard input as an event of its own",
    )
    add_json(command, "print an object per event, with publication and topic")
    add_options(command, "PUBLISH, e.g. '{\"exclude_me\": false}'")
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
    command.add_argument("pattern", type=pattern, metavar="PATTERN")
    add_match(command, "PATTERN matches")
    command.add_argument("--count", type=count, metavar="N", help="end after N events")
    add_json(command, "print objects with topic, publication, args, kwargs, details")
    add_options(command, "SUBSCRIBE, e.g. '{\"get_retained\": true}'")


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
    add_kwargs(command)
    command.add_argument(
        "--timeout",
        type=positive,
        metavar="SECONDS",
        help="after which the call fails (default: the realm's)",
    )
    add_json(command, "print an object per result, with args and kwargs")
    add_options(command, "CALL")


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
    add_match(command, "PROCEDURE matches")
    command.add_argument(
        "--invoke",
        choices=("single", "first", "last", "roundrobin", "random"),
        default="single",
        help="who gets a call if several register the procedure (default: only one may)",
    )
    add_options(command, "REGISTER")


def wamp_options(options: argparse.Namespace, **named: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """Return the WAMP options: those of `named`, and those of --options, which come first."""
    return {**named, **options.options}
