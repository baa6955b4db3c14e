"""The `fox` command: one subcommand per process, those for the data folder, those for keys.

Owns: arguments, and which configuration file is meant.
Never: what the processes do (`fox_shard.runtime`), what is done with a data folder
(`fox_shard.datadir`) or at a running server (`fox_shard.remote`); each is imported only when it is
needed.
"""

import argparse
import configparser
import json
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

import msgspec
from supervisor.datatypes import dict_of_key_value_pairs

from fox_shard import __version__
from fox_shard.config import (
    SETTINGS,
    Address,
    Config,
    ConfigError,
    Origins,
    Setting,
    load_with_origins,
)
from fox_shard.remote import arguments

__all__ = ["main", "render"]

Member = Literal["gateway", "shard"]

UPKEEP = ("reshard", "dump", "load")
"""Subcommands that work on the data folder."""

CONFIG_MISTAKE = 2
"""Exit code of a refused configuration and of refused arguments (argparse uses it too)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    argv: without the program's name; None: those of the process. Returns the exit code.
    """
    options = _parser().parse_args(argv)
    if options.command == "version":
        print(f"fox-shard {__version__}")
        return 0
    try:
        return _run(options, os.environ)
    except ConfigError as error:
        print(f"fox: {error}", file=sys.stderr)
        return CONFIG_MISTAKE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fox", description="WAMP and MQTT on one topic space.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help="configuration file (default: $FOX_CONFIG, else conf/fox.toml)",
    )
    for member in ("gateway", "shard"):
        command = commands.add_parser(member, parents=[common], help=f"run {member} N (from 0)")
        command.add_argument("number", type=int, metavar="N")
    commands.add_parser("coordinator", parents=[common], help="run the coordinator")
    commands.add_parser("health", parents=[common], help="exit 0 if the running server is well")
    _add_upkeep(commands, common)
    arguments.add(commands, common)
    config = commands.add_parser("config", parents=[common], help="print what is configured")
    config.add_argument("--quiet", action="store_true", help="only check it")
    commands.add_parser("version", help="print the version")
    return parser


def _add_upkeep(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    command = commands.add_parser(
        "reshard", parents=[common], help="move the stored data to another number of shards"
    )
    command.add_argument("--to", type=int, choices=range(1, 65), required=True, metavar="1..64")
    command.add_argument("--dry-run", action="store_true", help="only count what would be moved")
    command = commands.add_parser("dump", parents=[common], help="write all retained keys to FILE")
    command.add_argument("--format", choices=("jsonl", "msgpack"), default="jsonl")
    command.add_argument(
        "--salvage", action="store_true", help="leave out what is damaged or missing, and tell"
    )
    command.add_argument("file", type=Path, nargs="?", default=Path("-"), metavar="FILE|-")
    command = commands.add_parser("load", parents=[common], help="read a dump; nothing may run")
    command.add_argument("--replace", action="store_true", help="also keys that are there already")
    command.add_argument("file", type=Path, metavar="FILE|-")


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    config, origins = _configuration(options, environ)
    if options.command == "config":
        if not options.quiet:
            print(render(config, origins), end="")
        return 0
    if options.command in UPKEEP:
        return _look_after(options, config)
    if options.command in arguments.COMMANDS:
        return _visit(options, config)
    from fox_shard.runtime.health import check_health
    from fox_shard.runtime.processes import run_coordinator, run_gateway, run_shard

    match options.command:
        case "gateway":
            return run_gateway(_number("gateway", options.number, config), config)
        case "shard":
            return run_shard(_number("shard", options.number, config), config)
        case "coordinator":
            return run_coordinator(config)
        case _:
            return check_health(config)


def _configuration(
    options: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[Config, Origins]:
    if options.command in arguments.COMMANDS and arguments.say_where(options):
        return Config(), {}
    path: Path = options.config or Path(environ.get("FOX_CONFIG") or "conf/fox.toml")
    counts = _supervisord_environment(path)
    return load_with_origins(path, {**counts, **environ})


def _look_after(options: argparse.Namespace, config: Config) -> int:
    from fox_shard.datadir.commands import run_dump, run_load, run_reshard

    match options.command:
        case "reshard":
            return run_reshard(config, options.to, dry_run=options.dry_run)
        case "dump":
            return run_dump(config, options.file, options.format, salvage=options.salvage)
        case _:
            return run_load(config, options.file, replace=options.replace)


def _visit(options: argparse.Namespace, config: Config) -> int:
    from fox_shard.remote.commands import run

    return run(options, config)


def _supervisord_environment(path: Path) -> dict[str, str]:
    """Return the FOX_ variables that fox.conf beside the configuration file gives the processes.

    So `fox health` and `fox config` in a shell, which supervisord did not start, count the same
    gateways and shards. A value made from a %(…)s expansion is left out: only supervisord knows it.
    """
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        parser.read(path.with_name("fox.conf"), encoding="utf-8")
        line = parser.get("supervisord", "environment", fallback="")
        pairs: dict[str, str] = dict_of_key_value_pairs(line)
    except (OSError, configparser.Error, ValueError):
        # supervisord itself refuses such a file, in its own words.
        return {}
    return {
        name: value for name, value in pairs.items() if name.startswith("FOX_") and "%" not in value
    }


def _number(member: Member, number: int, config: Config) -> int:
    count = config.gateways if member == "gateway" else config.shards
    if not 0 <= number < count:
        numbered = f"they are numbered 0 to {count - 1}"
        raise ConfigError(f"There is no {member} {number}: {member}s is {count}, {numbered}.")
    return number


def render(config: Config, origins: Origins) -> str:
    """Print the configuration as TOML; a comment after each value says where it came from."""
    blocks = []
    for section, settings in groupby(SETTINGS.values(), key=lambda setting: setting.section):
        lines = [f"[{section}]"] if section else []
        blocks.append([*lines, *(_line(setting, config, origins) for setting in settings)])
    for realm in config.realms:
        name = json.dumps(realm.name, ensure_ascii=False)
        headers = f"kwargs_are_headers = {json.dumps(realm.kwargs_are_headers)}"
        blocks.append(["[[realm]]", f"name = {name}", f'store = "{realm.store}"', headers])
        for rule in realm.history:
            lines = [
                f"{key} = {json.dumps(value, ensure_ascii=False)}"
                for key, value in msgspec.structs.asdict(rule).items()
            ]
            blocks.append(["[[realm.history]]", *lines])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _line(setting: Setting, config: Config, origins: Origins) -> str:
    owner = getattr(config, setting.section) if setting.section else config
    value = getattr(owner, setting.key)
    if value is None:
        value = "off"
    text = str(value) if isinstance(value, Address) else value
    assignment = f"{setting.key} = {json.dumps(text, ensure_ascii=False)}"
    return f"{assignment:<40} # {origins[setting.path]}"
