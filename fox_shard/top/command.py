"""`fox top`: the command.

Owns: when processes are asked, where pictures go, exit codes. Never: what is in a picture.
"""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from fox_shard.config import Config
from fox_shard.runtime.cores import usable_cores
from fox_shard.top.answers import ask_all
from fox_shard.top.monitor import SORTS, Monitor
from fox_shard.top.picture import picture_of, text_of
from fox_shard.top.snapshot import Snapshot

DONE: Final = 0
USAGE: Final = 2
UNAVAILABLE: Final = 69

_SORT_KEYS: Final = {sort[0]: sort for sort in SORTS}


class _Nobody(Exception):
    """No process answers."""


def run_top(options: argparse.Namespace, config: Config) -> int:
    """Show how the processes are, again and again. Returns the exit code."""
    where = os.path.relpath(config.run_dir)
    try:
        if options.json or options.once:
            return _print(options, config, where)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            _tell("The live view needs a terminal: say --once, or --json.")
            return USAGE
        return _view(options, config, where)
    except _Nobody:
        _tell(f"No process of the server in {config.run_dir} answers. Does the server run?")
        return UNAVAILABLE


def _print(options: argparse.Namespace, config: Config, where: str) -> int:
    for snapshot in _snapshots(config, options.interval):
        if options.json:
            print(msgspec.json.encode(snapshot).decode(), flush=True)
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
            lines = picture_of(snapshot, where, width=width, height=None, sort=options.sort)
            print("\n".join(map(text_of, lines)), flush=True)
        if options.once:
            break
    return DONE


def _snapshots(config: Config, interval: float) -> Iterator[Snapshot]:
    """Yield a snapshot after each interval. Raises _Nobody."""
    monitor = _monitor()
    _take(monitor, config, first=True)
    due = time.monotonic() + interval
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + interval, time.monotonic())
        yield _take(monitor, config)


def _view(options: argparse.Namespace, config: Config, where: str) -> int:
    # Curses takes tens of milliseconds, and not every Python has it.
    from fox_shard.top.screen import TerminalError, opened

    monitor = _monitor()
    latest, sort = _take(monitor, config, first=True), options.sort
    try:
        with opened() as screen:

            def show() -> None:
                width, height = screen.size
                screen.show(picture_of(latest, where, width=width, height=height, sort=sort))

            due = time.monotonic()
            while True:
                show()
                due = max(due + options.interval, time.monotonic())
                for key in screen.keys(due, show):
                    if key == "q":
                        return DONE
                    sort = _SORT_KEYS.get(key, sort)
                    show()
                latest = _take(monitor, config)
    except TerminalError as error:
        _tell(str(error))
        return USAGE
    except KeyboardInterrupt:
        return DONE


def _monitor() -> Monitor:
    return Monitor(usable_cores())


def _take(monitor: Monitor, config: Config, *, first: bool = False) -> Snapshot:
    """Ask all processes. first: whether there must be one that answers. Raises _Nobody."""
    answers = asyncio.run(ask_all(config))
    if first and all(answer.get("status") == "down" for answer in answers.values()):
        raise _Nobody
    return monitor.take(answers, time.monotonic(), time.time())


def _tell(sentence: str) -> None:
    print(f"fox: {sentence}", file=sys.stderr)
