"""The arguments of `fox bench`.

Owns: options and help texts. Never: what the commands do (see `fox_shard.bench`).
"""

import argparse
from typing import Final

from fox_shard.remote.argument_types import (
    NOTATION,
    WILDCARDS,
    Commands,
    add_json,
    natural,
    pattern,
    positive,
    rate,
    several,
    size,
    topic,
)

_MESSAGE: Final = "A message says who has sent it, its number, and when."


def add(commands: Commands, remote: argparse.ArgumentParser) -> None:
    """Add the command to the parser. remote: the options of all clients of a server."""
    command = commands.add_parser(
        "bench",
        help="put load on the server, and measure: pub, sub, call",
        description="Put a load of clients on the server, and print rates, latencies, and what was"
        " lost. They are MQTT clients with a URL mqtt://HOST:PORT or mqtts://HOST:PORT, or with"
        " --mqtt.",
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="LOAD")
    _add_pub(actions, remote)
    _add_sub(actions, remote)
    _add_call(actions, remote)


def _add_pub(actions: Commands, remote: argparse.ArgumentParser) -> None:
    command = actions.add_parser(
        "pub",
        parents=[remote],
        help="publish at a steady rate",
        description="Publish at a steady rate, and print how long acknowledgements took. With"
        f" --subscribers, print how long events took, and whether any were lost. {_MESSAGE}",
        epilog=f"Exit code 1: messages were refused, not acknowledged, or lost. {NOTATION}",
    )
    _add_pace(command, window=100)
    command.add_argument(
        "--topic",
        type=topic,
        default="bench.%i",
        help="to publish to; %%i is the number of the client (default: bench.%%i)",
    )
    _add_qos(command)
    _add_size(command)
    command.add_argument(
        "--subscribers",
        type=natural,
        default=0,
        metavar="N",
        help="clients that subscribe to everything that is published (default: 0)",
    )
    _add_ending(command)


def _add_sub(actions: Commands, remote: argparse.ArgumentParser) -> None:
    command = actions.add_parser(
        "sub",
        parents=[remote],
        help="count the messages of `fox bench pub`",
        description="Subscribe, and print how many messages of `fox bench pub` have come, how long"
        " they took by the clocks of both machines, and how many are missing between others.",
        epilog=f"Exit code 1: messages were lost. {WILDCARDS}",
    )
    command.add_argument(
        "--clients", type=several, default=1, metavar="N", help="that subscribe (default: 1)"
    )
    command.add_argument(
        "--topic", type=pattern, default="bench.#", metavar="PATTERN", help="(default: bench.#)"
    )
    _add_qos(command)
    command.add_argument("--seconds", type=positive, metavar="N", help="(default: until Ctrl-C)")
    _add_ending(command)


def _add_call(actions: Commands, remote: argparse.ArgumentParser) -> None:
    command = actions.add_parser(
        "call",
        parents=[remote],
        help="call a procedure at a steady rate",
        description="Call a procedure at a steady rate, and print how long results took. Without"
        " --procedure, the load answers its calls itself.",
        epilog="Exit code 1: calls have failed, or were not answered. MQTT clients cannot call.",
    )
    _add_pace(command, window=10)
    command.add_argument("--procedure", default="", help="to call (default: one of this load)")
    command.add_argument(
        "--callees",
        type=natural,
        metavar="N",
        help="clients that answer (default: 1; with --procedure, 0)",
    )
    _add_size(command)
    _add_ending(command)


def _add_pace(command: argparse.ArgumentParser, *, window: int) -> None:
    command.add_argument("--clients", type=several, default=10, metavar="N", help="(default: 10)")
    command.add_argument(
        "--rate",
        type=rate,
        default=1000.0,
        metavar="N",
        help="messages a second, by all clients together; 0: as many as possible (default: 1000)",
    )
    command.add_argument(
        "--seconds", type=positive, default=10.0, metavar="N", help="(default: 10)"
    )
    command.add_argument(
        "--window",
        type=several,
        default=window,
        metavar="N",
        help=f"messages of a client that are under way at most (default: {window})",
    )


def _add_qos(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--qos",
        type=int,
        choices=(0, 1, 2),
        default=1,
        help="0: without acknowledgement (default: 1); WAMP clients know 0 and 1 only",
    )


def _add_size(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--size", type=size, default=64, metavar="BYTES", help="of a message (default: 64)"
    )


def _add_ending(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mqtt",
        action="store_true",
        help="without a URL: MQTT clients, at gateway.mqtt",
    )
    add_json(command, "print the numbers as an object")
