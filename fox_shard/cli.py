"""The `fox` command: subcommands for processes, for the data folder, and for keys.

Owns: which configuration file is used, and what each command needs. Never: arguments (see
`cli_arguments`); what the processes do (`fox_shard.runtime`); what is done with a data folder
(`fox_shard.datadir`) or at a running server (`fox_shard.remote`). Each of these packages is
imported only when it is needed.
"""

import argparse
import json
import os
import signal
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from fox_shard.cli_arguments import check_command, parser_of
from fox_shard.config import Config, ConfigError, Origins, load_with_origins
from fox_shard.config.counts import counts_of, fox_conf_of
from fox_shard.remote import arguments, contexts
from fox_shard.runtime.sentences import tell
from fox_shard.version import __version__

__all__ = ["main"]

Member = Literal["gateway", "shard"]

UPKEEP = ("reshard", "dump", "load")
"""Subcommands that work on the data folder."""

VIEWS = ("health", "top")
"""Subcommands that show how the processes are."""

CLUSTER = ("run", "gateway", "shard", "coordinator", "worker")
"""Subcommands that are processes of a server of several processes, or start them."""

CONFIG_MISTAKE = 2
"""Exit code for a refused configuration and for refused arguments (argparse uses it too)."""

BY_SIGNAL = 128
"""Exit code, plus the signal's number, of what a signal has ended, as in shells."""

OFF = 3
"""Exit code of a process that the configuration does without: supervisord lets it be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    argv: the arguments without the program's name; None: those of the process. Returns the exit
    code.
    """
    try:
        code = _main(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of the output has closed it; Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BY_SIGNAL + signal.SIGPIPE
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # behind ^C, or behind what was asked
        return BY_SIGNAL + signal.SIGINT


def _main(given: list[str]) -> int:
    if given[:1] == ["tap"]:
        from fox_shard.tap.command import main as tap

        return tap(given[1:], "fox tap")
    parser = parser_of(_version)
    check_command(parser, given)
    options = arguments.parse(parser, given)
    if options.command == "version":
        _print_version(as_json=options.json)
        return 0
    if options.command == "init":
        from fox_shard.runtime.new_folder import make_folder

        return make_folder(options.folder)
    if options.command == "completion":
        import shtab

        print(shtab.complete(parser, options.shell))
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


def _print_version(*, as_json: bool) -> None:
    if not as_json:
        print(_version())
        return
    from fox_shard.compiled import chosen

    build = chosen(os.environ)
    print(_as_json({"version": __version__, "build": build.words, "stale": build.stale or None}))


def _version() -> str:
    from fox_shard.compiled import chosen

    build = chosen(os.environ)
    return f"fox-shard {__version__}, {build.words}" + (f" ({build.stale})" if build.stale else "")


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


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
    if options.command in VIEWS:
        return _run_view(options, config)
    match options.command:
        case "config":
            return _show_config(config, origins, quiet=options.quiet, as_json=options.json)
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


def _show_config(config: Config, origins: Origins, *, quiet: bool, as_json: bool) -> int:
    if not quiet:
        from fox_shard.config.rendering import render

        text = render(config, origins)
        print(_as_json(tomllib.loads(text)) + "\n" if as_json else text, end="")
    return 0


def _run_web(config: Config) -> int:
    if config.web.address is None:
        return OFF
    from fox_shard.runtime.web import run_web
    from fox_shard.tap.sampling import TapSampler

    return run_web(config, config.web.address, TapSampler(Path(config.run_dir)))


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
    setting = "gateway.mqtt" if getattr(options, "mqtt", False) else "gateway.websocket"
    origin = origins[setting]
    if origin == "default":
        return f"the default of {setting}"
    if origin != str(_config_file(options, environ)):
        return origin
    named = "--config" if options.config else "FOX_CONFIG" if environ.get("FOX_CONFIG") else ""
    return f"{setting} in {origin}" + (f", which {named} names" if named else "")


def _run_upkeep(options: argparse.Namespace, config: Config) -> int:
    from fox_shard.datadir.commands import run_dump, run_load, run_reshard

    quiet = options.quiet
    match options.command:
        case "reshard":
            return run_reshard(
                config, options.to, dry_run=options.dry_run, quiet=quiet, as_json=options.json
            )
        case "dump":
            salvage = options.salvage
            return run_dump(config, options.file, options.format, salvage=salvage, quiet=quiet)
        case _:
            replace = options.replace
            return run_load(
                config, options.file, replace=replace, quiet=quiet, as_json=options.json
            )


def _run_view(options: argparse.Namespace, config: Config) -> int:
    if options.command == "top":
        from fox_shard.top.command import run_top

        return run_top(options, config)
    from fox_shard.runtime.health import check_health

    return check_health(config, as_json=options.json)


def _run_remote(options: argparse.Namespace, config: Config) -> int:
    if options.command == "bench":
        from fox_shard.bench.command import run_bench

        return run_bench(options, config)
    from fox_shard.remote.commands import run

    return run(options, config)


def _number(member: Member, number: int, config: Config) -> int:
    count = config.gateways if member == "gateway" else config.shards
    if not 0 <= number < count:
        numbered = f"they are numbered 0 to {count - 1}"
        raise ConfigError(f"There is no {member} {number}: {member}s is {count}, {numbered}.")
    return number
