"""The arguments of the `fox` command.

Owns: the help, and the options of the commands for processes, the data folder and users.
Never: what the commands do (`cli`); the options of the clients of a server (`remote.arguments`).
"""

import argparse
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from fox_shard.remote import arguments
from fox_shard.remote.argument_types import (
    Commands,
    add_json,
    add_listing,
    interval,
    quiet,
)

HELP = """\
usage: fox COMMAND [options]

WAMP and MQTT on one topic space.

Messages, at a running server
  pub         publish an event
  sub         print events
  call        call a procedure
  register    answer calls by running a command

State, at a running server
  get         print the value of a key
  put         set or delete a key
  keys        list keys
  watch       print keys and their changes
  lock        run a command while holding a lock
  tables      tables: list, show, verify, watch
  schema      the schema of the tables: set, show
  reducers    reducers: list, remove
  webhooks    list webhooks, and how their deliveries are going

Operation
  init        make a folder in which a server can run
  run         run the whole server, as supervisord, in the foreground
  serve       run the whole server in one process, in the foreground
  health      exit 0 if the running server is well
  top         show processes, rates and queues, live
  bench       put load on the server, and measure: pub, sub, call
  sessions    sessions: list, end
  tap         show the frames that the processes exchange (zmqtap)
  user        add, list and remove users
  config      print what is configured
  dump        write all keys that are not weak to a file
  load        load a dump (the server must be stopped)
  reshard     move the stored data to another number of shards (the server must be stopped)

This command
  context     remember servers by name
  completion  print a script that completes these commands in bash, zsh or tcsh
  version     print the version, and whether it is compiled

supervisord starts: gateway N, shard N, coordinator, worker, web.
`fox COMMAND --help` says more of each.
"""


class _Version(argparse.Action):
    """`--version`, which looks at the sources only if it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(self.const())
        parser.exit()


class Parser(argparse.ArgumentParser):
    """The parser of `fox` or of one command: a mistake is told in a sentence.

    The help of `fox` groups the commands by who needs them. names: of all commands.
    """

    names: Collection[str] = ()

    def format_help(self) -> str:
        return HELP if self.prog == "fox" else super().format_help()

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n`{self.prog} --help` says more.\n")


def check_command(parser: Parser, given: Sequence[str]) -> None:
    """End with a sentence if there is no command of that name, or none is named."""
    if not given:
        parser.exit(2, HELP)
    if given[0] in (*parser.names, "-h", "--help", "--version"):
        return
    if given[0].startswith("-"):
        parser.error(f"Options stand behind the command: fox COMMAND {given[0]} …")
    near = get_close_matches(given[0], parser.names, 1)
    hint = f" Did you mean `fox {near[0]}`?" if near else ""
    parser.error(f"There is no command {given[0]!r}.{hint}")


def parser_of(version: Callable[[], str]) -> Parser:
    """Return the parser of all commands. version: returns what `--version` prints."""
    parser = Parser(prog="fox", usage="fox COMMAND [options]")
    parser.add_argument("--version", action=_Version, nargs=0, const=version)
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="COMMAND",
        prog="fox",
    )
    common = Parser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help="configuration file (default: $FOX_CONFIG, else conf/fox.toml)",
    )
    # fox.conf uses this option to name the fox.toml beside itself.
    common.add_argument(
        "--default-config", type=Path, default=Path("conf/fox.toml"), help=argparse.SUPPRESS
    )
    _add_processes(commands, common)
    _add_upkeep(commands, common)
    arguments.add(commands, common)
    _add_user(commands, common)
    config = commands.add_parser("config", parents=[common], help="print what is configured")
    form = config.add_mutually_exclusive_group()
    form.add_argument("--quiet", action="store_true", help="only check the configuration")
    form.add_argument("--json", action="store_true", help="print an object, without the origins")
    # Its own parser has its arguments: see `main`.
    commands.add_parser("tap", help="show the frames that the processes exchange (zmqtap)")
    command = commands.add_parser("version", help="print the version, and whether it is compiled")
    add_json(command, "print an object")
    completion = commands.add_parser(
        "completion",
        help="print a script that completes these commands",
        description="Print a script that completes these commands: in bash, for example,"
        ' eval "$(fox completion bash)".',
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.names = tuple(commands.choices)
    return parser


def _add_processes(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "init",
        help="make a folder in which a server can run",
        description="Make conf/, run/ and data/ in FOLDER. Nothing is overwritten.",
    )
    command.add_argument(
        "folder", type=Path, nargs="?", default=Path(), metavar="FOLDER", help="(default: this one)"
    )
    commands.add_parser(
        "run", parents=[common], help="run the whole server, as supervisord, in the foreground"
    )
    commands.add_parser(
        "serve", parents=[common], help="run the whole server in one process, with one shard"
    )
    for member in ("gateway", "shard"):
        command = commands.add_parser(member, parents=[common], help=f"run {member} N (from 0)")
        attaches = member == "gateway"
        command.add_argument("number", type=int, metavar="N", nargs="?" if attaches else None)
        if attaches:
            command.add_argument(
                "--attach",
                type=Path,
                metavar="RUN_DIR",
                help="run one more gateway beside the server with that run directory, with its "
                "configuration; FOX_GATEWAY_… variables say where it listens",
            )
    commands.add_parser("coordinator", parents=[common], help="run the coordinator")
    commands.add_parser("worker", parents=[common], help="run reducers in Python, and webhooks")
    commands.add_parser("web", parents=[common], help="run the HTTP server")
    health = commands.add_parser(
        "health", parents=[common], help="exit 0 if the running server is well"
    )
    add_json(health, "print an object per process")
    _add_top(commands, common)


def _add_top(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "top",
        parents=[common],
        help="show processes, rates and queues, live",
        description="Show how the processes of this machine's server are, and what happens in a"
        " second in each realm: a live view, until q or Ctrl-C. The keys c, m and n sort by the"
        " share of a core, memory and name. Colours are off if $NO_COLOR is set.",
    )
    command.add_argument(
        "--once", action="store_true", help="print one picture as text, after one interval"
    )
    add_json(command, "print an object per interval; with --once, one")
    command.add_argument(
        "--interval",
        type=interval,
        default=1.0,
        metavar="SECONDS",
        help="between two pictures, 0.5 or more (default: 1)",
    )
    command.add_argument(
        "--sort",
        choices=("cpu", "memory", "name"),
        default="cpu",
        help="what processes are sorted by (default: cpu)",
    )


def _add_upkeep(commands: Commands, common: argparse.ArgumentParser) -> None:
    parents = [common, quiet()]
    command = commands.add_parser(
        "reshard", parents=parents, help="move the stored data to another number of shards"
    )
    command.add_argument("--to", type=int, choices=range(1, 65), required=True, metavar="1..64")
    command.add_argument("--dry-run", action="store_true", help="only count what would be moved")
    add_json(command, "print the numbers as an object")
    command = commands.add_parser(
        "dump", parents=parents, help="write all keys that are not weak to FILE"
    )
    command.add_argument("--format", choices=("jsonl", "msgpack"), default="jsonl")
    command.add_argument(
        "--salvage", action="store_true", help="leave out what is damaged or missing, and list it"
    )
    command.add_argument("file", type=Path, nargs="?", default=Path("-"), metavar="FILE|-")
    command = commands.add_parser(
        "load", parents=parents, help="load a dump; the server must not run"
    )
    command.add_argument(
        "--replace", action="store_true", help="overwrite existing keys that have other values"
    )
    add_json(command, "print the numbers as an object")
    command.add_argument("file", type=Path, metavar="FILE|-")


def _add_user(commands: Commands, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("user", aliases=["users"], help="add, list and remove users")
    command.set_defaults(command="user")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser(
        "add",
        parents=[common],
        help="add a user with a password",
        description="Add a user. The password is asked for twice, or read as one line of standard "
        "input; only verifiers of it are stored.",
    )
    password = actions.add_parser(
        "password",
        parents=[common],
        help="change a user's password",
        description="Change a user's password, which is asked for as by `fox user add`. Role and "
        "public keys stay, and so do the user's sessions.",
    )
    key = actions.add_parser(
        "key",
        parents=[common],
        help="add a public key for cryptosign, or take it away",
        description="Add a public key to a user, or, with --role, to a new one without a password. "
        "Sessions go on when their key is taken away.",
    )
    remove = actions.add_parser(
        "remove", aliases=["rm"], parents=[common], help="remove a user, whose sessions end"
    )
    remove.set_defaults(action="remove")
    add_json(add_listing(actions, parents=[common], help="list the users"))
    for action in (add, password, key, remove):
        action.add_argument("name", metavar="NAME")
        action.add_argument("--realm", metavar="R", required=action is add)
    add.add_argument("--role", required=True, metavar="ROLE")
    add.add_argument(
        "--print",
        action="store_true",
        help="print the document of a user in a key (see `users` of a realm) instead of adding it",
    )
    add.add_argument(
        "--wampcra",
        action="store_true",
        help="store the key that WAMP-CRA needs, too. It is as good as the password: whoever reads "
        "the file can log in with it",
    )
    add.add_argument(
        "--scram",
        choices=("argon2id13", "pbkdf2"),
        default="argon2id13",
        help="how SCRAM derives keys (default: argon2id13; autobahn knows no other)",
    )
    key.add_argument("--role", metavar="ROLE")
    key.add_argument(
        "--pubkey", required=True, metavar="HEX", help="an Ed25519 public key, 64 digits"
    )
    key.add_argument("--remove", action="store_true", help="take the key away from the user")
