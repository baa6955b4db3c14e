"""The `fox` command: subcommands for processes, for the data folder, and for keys.

Owns: arguments, and which configuration file is used.
Never: what the processes do (`fox_shard.runtime`); what is done with a data folder
(`fox_shard.datadir`) or at a running server (`fox_shard.remote`). Each of these packages is
imported only when it is needed.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NoReturn

from fox_shard.config import Config, ConfigError, Origins, load_with_origins
from fox_shard.config.counts import counts_of, fox_conf_of
from fox_shard.remote import arguments, contexts
from fox_shard.runtime.sentences import tell
from fox_shard.version import __version__

__all__ = ["main"]

Member = Literal["gateway", "shard"]

UPKEEP = ("reshard", "dump", "load")
"""Subcommands that work on the data folder."""

CLUSTER = ("run", "gateway", "shard", "coordinator", "worker")
"""Subcommands that are processes of a server of several processes, or start them."""

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
  table       tables: list, show, verify, watch
  schema      the schema of the tables: set, show
  reducers    list reducers
  webhooks    list webhooks, and how their deliveries are going

Operation
  init        make a folder in which a server can run
  run         run the whole server, as supervisord, in the foreground
  serve       run the whole server in one process, in the foreground
  health      exit 0 if the running server is well
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

CONFIG_MISTAKE = 2
"""Exit code for a refused configuration and for refused arguments (argparse uses it too)."""

OFF = 3
"""Exit code of a process that the configuration does without: supervisord lets it be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    argv: the arguments without the program's name; None: those of the process. Returns the exit
    code.
    """
    arguments_given = sys.argv[1:] if argv is None else list(argv)
    if arguments_given[:1] == ["tap"]:
        from fox_shard.tap.command import main as tap

        return tap(arguments_given[1:], "fox tap")
    options = arguments.parse(_parser(), argv)
    if options.command == "version":
        print(_version())
        return 0
    if options.command == "init":
        from fox_shard.runtime.new_folder import make_folder

        return make_folder(options.folder)
    if options.command == "completion":
        import shtab

        print(shtab.complete(_parser(), options.shell))
        return 0
    try:
        if options.command == "context":
            return contexts.run(options, os.environ)
        if options.command == "gateway" and _attaches(options):
            from fox_shard.runtime.gateway_process import run_attached_gateway

            return run_attached_gateway(options.attach, os.environ)
        return _serve(options) if options.command == "serve" else _run(options, os.environ)
    except (ConfigError, contexts.ContextError) as error:
        tell(f"fox: {error}")
        return CONFIG_MISTAKE


def _version() -> str:
    from fox_shard.compiled import chosen

    build = chosen(os.environ)
    return f"fox-shard {__version__}, {build.words}" + (f" ({build.stale})" if build.stale else "")


class _Version(argparse.Action):
    """`--version`, which looks at the sources only if it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(_version())
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """The parser of `fox`, whose help groups the commands by who needs them."""

    def format_help(self) -> str:
        return HELP if self.prog == "fox" else super().format_help()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fox", usage="fox COMMAND [options]")
    parser.add_argument("--version", action=_Version, nargs=0)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )
    common = argparse.ArgumentParser(add_help=False)
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
    commands.add_parser("health", parents=[common], help="exit 0 if the running server is well")
    _add_upkeep(commands, common)
    arguments.add(commands, common)
    _add_user(commands, common)
    config = commands.add_parser("config", parents=[common], help="print what is configured")
    config.add_argument("--quiet", action="store_true", help="only check the configuration")
    # Its own parser has its arguments: see `main`.
    commands.add_parser("tap", help="show the frames that the processes exchange (zmqtap)")
    commands.add_parser("version", help="print the version, and whether it is compiled")
    completion = commands.add_parser(
        "completion",
        help="print a script that completes these commands",
        description="Print a script that completes these commands: in bash, for example,"
        ' eval "$(fox completion bash)".',
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return parser


def _add_upkeep(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    parents = [common, arguments.quiet()]
    command = commands.add_parser(
        "reshard", parents=parents, help="move the stored data to another number of shards"
    )
    command.add_argument("--to", type=int, choices=range(1, 65), required=True, metavar="1..64")
    command.add_argument("--dry-run", action="store_true", help="only count what would be moved")
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
    command.add_argument("file", type=Path, metavar="FILE|-")


def _add_user(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    actions = commands.add_parser("user", help="add, list and remove users").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
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
        help="add a public key for cryptosign",
        description="Add a public key to a user, or, with --role, to a new one without a password.",
    )
    remove = actions.add_parser(
        "remove", parents=[common], help="remove a user, whose sessions end"
    )
    actions.add_parser("list", parents=[common], help="list the users")
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


def _serve(options: argparse.Namespace) -> int:
    from fox_shard import compiled

    build = compiled.chosen(os.environ)
    if build.stale:
        tell(f"fox: {build.stale}")
    if build.folder is not None:
        # This process has imported the other build already.
        compiled.use(build, os.environ)
        named = [] if options.config is None else ["--config", str(options.config)]
        os.execv(sys.executable, [sys.executable, "-m", "fox_shard", "serve", *named])
    from fox_shard.embedded.serving import run_serve

    return run_serve(options.config)


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    filled = contexts.fill(options, environ) if options.command in arguments.COMMANDS else ""
    config, origins = _configuration(options, environ)
    if options.command in arguments.COMMANDS:
        options.source = filled or _address_source(options, environ, origins)
        return _run_remote(options, config)
    if options.command in UPKEEP:
        return _run_upkeep(options, config)
    match options.command:
        case "config":
            return _show_config(config, origins, quiet=options.quiet)
        case "health":
            from fox_shard.runtime.health import check_health

            return check_health(config)
        case "worker":
            from fox_shard.runtime.worker import run_worker

            return run_worker(config, _folder(options, environ))
        case "user":
            from fox_shard.users.commands import run as run_user

            return run_user(options, config)
        case "run":
            from fox_shard.runtime.starting import run_server

            file = _config_file(options, environ)
            return run_server(config, file, fox_conf_of(file))
        case _:
            return _run_process(options, config, _folder(options, environ))


def _attaches(options: argparse.Namespace) -> bool:
    """Return whether a gateway is to be attached. Raises ConfigError if that is not clear."""
    if (options.number is None) is (options.attach is None):
        raise ConfigError("Say which gateway: its number N, or --attach RUN_DIR.")
    return options.attach is not None


def _show_config(config: Config, origins: Origins, *, quiet: bool) -> int:
    if not quiet:
        from fox_shard.config.rendering import render

        print(render(config, origins), end="")
    return 0


def _run_web(config: Config) -> int:
    if config.web.address is None:
        return OFF
    from fox_shard.runtime.web import run_web

    return run_web(config, config.web.address)


def _folder(options: argparse.Namespace, environ: Mapping[str, str]) -> Path:
    """Return the folder in which the modules of Python functions are looked for first."""
    return _config_file(options, environ).absolute().parent.parent


def _run_process(options: argparse.Namespace, config: Config, folder: Path) -> int:
    if options.command == "web":
        return _run_web(config)
    match options.command:
        case "gateway":
            from fox_shard.runtime.gateway_process import run_gateway

            return run_gateway(_number("gateway", options.number, config), config, folder)
        case "shard":
            from fox_shard.runtime.shard_process import run_shard

            return run_shard(_number("shard", options.number, config), config)
        case _:
            from fox_shard.runtime.coordinator_process import run_coordinator

            return run_coordinator(config, folder)


def _configuration(
    options: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[Config, Origins]:
    if options.command in arguments.COMMANDS and arguments.say_where(options):
        return Config(), {}
    path = _config_file(options, environ)
    # Without any file there may be a server, too (`fox serve`), but not these.
    named = options.config or environ.get("FOX_CONFIG") or options.command in CLUSTER
    variables = {**counts_of(fox_conf_of(path)), **environ}
    return load_with_origins(path, variables, required=bool(named))


def _config_file(options: argparse.Namespace, environ: Mapping[str, str]) -> Path:
    given = environ.get("FOX_CONFIG")
    path: Path = options.config or (Path(given) if given else options.default_config)
    return path


def _address_source(
    options: argparse.Namespace, environ: Mapping[str, str], origins: Origins
) -> str:
    """Say where the address comes from at which a server is sought."""
    origin = origins["gateway.websocket"]
    if origin == "default":
        return "the default of gateway.websocket"
    if origin != str(_config_file(options, environ)):
        return origin
    named = "--config" if options.config else "FOX_CONFIG" if environ.get("FOX_CONFIG") else ""
    return f"gateway.websocket in {origin}" + (f", which {named} names" if named else "")


def _run_upkeep(options: argparse.Namespace, config: Config) -> int:
    from fox_shard.datadir.commands import run_dump, run_load, run_reshard

    quiet = options.quiet
    match options.command:
        case "reshard":
            return run_reshard(config, options.to, dry_run=options.dry_run, quiet=quiet)
        case "dump":
            salvage = options.salvage
            return run_dump(config, options.file, options.format, salvage=salvage, quiet=quiet)
        case _:
            return run_load(config, options.file, replace=options.replace, quiet=quiet)


def _run_remote(options: argparse.Namespace, config: Config) -> int:
    from fox_shard.remote.commands import run

    return run(options, config)


def _number(member: Member, number: int, config: Config) -> int:
    count = config.gateways if member == "gateway" else config.shards
    if not 0 <= number < count:
        numbered = f"they are numbered 0 to {count - 1}"
        raise ConfigError(f"There is no {member} {number}: {member}s is {count}, {numbered}.")
    return number
