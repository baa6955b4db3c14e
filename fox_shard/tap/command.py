"""zmqtap, which is also `fox tap`: shows the frames that the server's processes exchange.

Owns: the command line, filters, which view is shown. Never: where batches come from (`sources`).
See docs/zmqtap.md.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fox_shard.config import ConfigError, load
from fox_shard.errors import ProtocolViolation, Refusal
from fox_shard.tap.decode import KINDS, UNKNOWN, UNREADABLE, Copy, Seen, read_batch
from fox_shard.tap.sources import Recorder, Taps, note, replay
from fox_shard.tap.views import Json, Lines, Rates, Raw, View
from fox_shard.topics.pattern import Pattern


@dataclass(frozen=True)
class Filter:
    """Which frames to show, each field being an option; None: the option selects everything.

    both: received batches, too, and not only sent ones.
    """

    process: str | None
    both: bool
    realm: str | None
    topic: Pattern | None
    kinds: frozenset[str] | None
    sessions: frozenset[int] | None

    def frames(self, copy: Copy) -> list[Seen] | None:
        """Return the frames of the batch that are wanted; None: the whole batch is not wanted.

        A batch without frames (a heartbeat, an acknowledgement) is wanted if no option selects
        frames.
        """
        if self.process is not None and not fnmatchcase(copy.process, self.process):
            return None
        if not self.both and copy.direction != ">":
            return None
        seen = [one for one in read_batch(copy, self.kinds) if self._wants_frame(one)]
        return seen if seen or not self._chooses_frames else None

    @property
    def _chooses_frames(self) -> bool:
        chosen = (self.realm, self.topic, self.kinds, self.sessions)
        return any(each is not None for each in chosen)

    def _wants_frame(self, one: Seen) -> bool:
        if self.realm is not None and one.realm != self.realm:
            return False
        if self.sessions is not None and self.sessions.isdisjoint(one.sessions):
            return False
        return self.topic is None or self._wants_topic(one, self.topic)

    @staticmethod
    def _wants_topic(one: Seen, wanted: Pattern) -> bool:
        if "pattern" not in one.fields:
            return bool(one.topic) and wanted.matches(one.topic)
        # The topic is the text of a pattern, which begins with a mark of its kind (`Pattern.text`).
        return one.topic == wanted.text or wanted.matches(one.topic[1:])


def main(argv: Sequence[str] | None = None, program: str = "zmqtap") -> int:
    """Run zmqtap. program: its name in help and errors. Returns the exit status."""
    options = _options(argv, program)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(options)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # The reader has closed the pipe; Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        note(str(error))
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    chosen = Filter(
        process=options.process,
        both=options.both,
        realm=options.realm,
        topic=options.topic,
        kinds=options.kind,
        sessions=frozenset(options.session) if options.session else None,
    )
    recorder = Recorder(options.record) if options.record else None
    taps = None if options.replay else Taps(options.run_dir, options.process)
    source: Iterator[Copy | None] = taps.copies() if taps else replay(options.replay)
    try:
        if recorder:
            _record(source, chosen, recorder, options.limit)
        else:
            _show(source, chosen, _view(options), options.limit)
    finally:
        if taps:
            taps.close()
        if recorder:
            recorder.close()
            note(f"{recorder.batches} batches recorded")


def _record(
    source: Iterator[Copy | None], chosen: Filter, recorder: Recorder, limit: int | None
) -> None:
    for copy in source:
        if copy is None:
            recorder.flush()
        elif chosen.frames(copy) is not None:
            recorder.record(copy)
            if limit and recorder.batches >= limit:
                return


def _show(source: Iterator[Copy | None], chosen: Filter, view: View, limit: int | None) -> None:
    written = 0
    for line in _lines(source, chosen, view):
        if line is None:
            sys.stdout.flush()
            continue
        sys.stdout.write(f"{line}\n")
        written += 1
        if limit and written >= limit:
            break
    sys.stdout.flush()


def _lines(source: Iterator[Copy | None], chosen: Filter, view: View) -> Iterator[str | None]:
    """Yield lines of output; None: there are no more for now."""
    now = 0.0
    for copy in source:
        now = time.time() if copy is None else copy.time
        yield from view.tick(now)
        if copy is None:
            yield None
        elif (seen := chosen.frames(copy)) is not None:
            yield from view.show(copy, seen)
    # The recording has ended, so its last second is over.
    yield from view.tick(now + 1)


def _view(options: argparse.Namespace) -> View:
    if options.count:
        return Rates(as_json=options.json)
    if options.json:
        return Json()
    if options.raw:
        return Raw()
    coloured = options.color == "always" or (options.color == "auto" and sys.stdout.isatty())
    return Lines(coloured=coloured)


def _options(argv: Sequence[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program, description="Show the frames that the server's processes exchange."
    )
    add = parser.add_argument
    add("--run-dir", type=Path, default=_run_dir(), help="the server's run directory (%(default)s)")
    add("--process", metavar="GLOB", help="only these processes, e.g. 'gateway-*'")
    add("--both", action="store_true", help="also what is received: shows most frames twice")
    add("--realm", help="only frames that name this realm")
    add("--topic", type=_topic, metavar="PATTERN", help="MQTT (a/+/#) or WAMP (a.*.#) notation")
    add("--kind", type=_kinds, metavar="KIND,…", help=f"only {', '.join(_ALL_KINDS)}")
    add("--session", type=int, action="append", metavar="ID", help="may be given several times")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--raw", action="store_true", help="batches in hex")
    how.add_argument("--count", action="store_true", help="frames a second, by process and kind")
    how.add_argument("--record", type=Path, metavar="FILE", help="append batches to a record")
    add("--json", action="store_true", help="one JSON object a line")
    add("--replay", type=Path, metavar="FILE", help="show a record instead of a running server")
    add("--limit", type=_positive, metavar="N", help="end after N lines, or N batches recorded")
    add("--color", choices=("auto", "always", "never"), default="auto")
    options = parser.parse_args(argv)
    if options.json and (options.raw or options.record):
        parser.error("--json goes with --count or alone")
    return options


_ALL_KINDS = (*KINDS, UNKNOWN, UNREADABLE)


def _run_dir() -> Path:
    """Return the run directory that the configuration names; a file with mistakes names none."""
    root = _root()
    file = Path(os.environ.get("FOX_CONFIG") or root / "conf" / "fox.toml")
    with suppress(ConfigError):
        return Path(load(file, os.environ).run_dir)
    return root / (os.environ.get("FOX_RUN_DIR") or "run")


def _root() -> Path:
    """Return the folder above conf/: the working directory, or else the project's."""
    project = Path(__file__).resolve().parent.parent.parent
    return next((at for at in (Path.cwd(), project) if (at / "conf" / "fox.toml").exists()), Path())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _topic(text: str) -> Pattern:
    """Parse a pattern, in MQTT notation if it contains `/` or `+`, else in WAMP's with `*`, `#`."""
    with suppress(Refusal, ProtocolViolation):
        return Pattern.mqtt(text) if "/" in text or "+" in text else Pattern.wamp(text)
    raise argparse.ArgumentTypeError(f"{text!r} is a pattern in neither notation")


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(text.replace("-", "_").split(","))
    if unknown := sorted(kinds.difference(_ALL_KINDS)):
        names = ", ".join(_ALL_KINDS)
        raise argparse.ArgumentTypeError(f"no kind {', '.join(unknown)}; there are {names}")
    return kinds
