"""zmqtap: shows the frames that the processes of a running broker send to each other.

Owns: the command line, filters, taps and recordings as sources of batches. Never: disturbing the
broker: zmqtap only subscribes, and the taps drop what is not read in time. See docs/zmqtap.md.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

import msgpack
import zmq
from zmq.utils.monitor import recv_monitor_message
from zmqtap_decode import KINDS, UNKNOWN, UNREADABLE, Copy, Seen, read_batch
from zmqtap_views import Json, Lines, Rates, Raw, View

from fox_shard.backplane import frames
from fox_shard.config import ConfigError, load
from fox_shard.errors import ProtocolViolation, Refusal
from fox_shard.topics.pattern import Pattern

RECORD_FORMAT = 1
RESCAN = 0.5
"""Seconds between scans for taps of processes that have started."""
RECEIVE_LIMIT = 20_000
"""Copies that may wait in this process; ZeroMQ drops further ones."""


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


class Taps:
    """The taps of all processes in a run directory, including processes that start later.

    A killed process leaves the file of its tap behind. So a process counts as attached from the
    handshake on its tap until the disconnection, both of which the socket's monitor reports.
    """

    def __init__(self, run_dir: Path, process: str | None) -> None:
        self._folder = run_dir / "tap"
        self._process = process or "*"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_LIMIT)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        events = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED
        self._monitor = self._socket.get_monitor_socket(events)
        self._poller = zmq.Poller()
        for socket in (self._socket, self._monitor):
            self._poller.register(socket, zmq.POLLIN)
        self._tried: set[str] = set()
        self._attached: set[str] = set()
        self._looked = False
        self._numbers: dict[str, int] = {}
        self._missed = 0
        self._waiting = False

    def copies(self) -> Iterator[Copy | None]:
        """Yield batches as they come, and None whenever there is nothing to read.

        Something comes at least twice a second.
        """
        scanned = -RESCAN
        while True:
            if (now := time.monotonic()) >= scanned + RESCAN:
                scanned = now
                self._note_arrivals_and_departures()
                self._scan()
                self._tell_missed()
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                yield None
                self._poller.poll(int(RESCAN * 1000))
                self._note_arrivals_and_departures()
                continue
            copy = _read_copy(parts)
            if copy is None:
                note("a message that is no tap's was left out")
            else:
                if copy.process not in self._attached:
                    # Under load nothing else looks at the monitor for a while: say where a batch
                    # comes from before the first one is shown.
                    self._note_arrivals_and_departures()
                self._check_number(copy)
                yield copy

    def close(self) -> None:
        """Detach from all taps."""
        self._tell_missed()
        self._socket.disable_monitor()
        self._context.destroy(linger=0)

    def _scan(self) -> None:
        found = {path.name for path in self._folder.glob("*") if path.is_socket()}
        for name in sorted(found - self._tried):
            if fnmatchcase(name, self._process):
                self._socket.connect(f"ipc://{self._folder / name}")
                self._tried.add(name)
        # A running process answers before the next scan, so that none is reported too early.
        if not self._attached and not self._waiting and (self._looked or not self._tried):
            self._waiting = True
            which = "process" if self._process == "*" else f"process {self._process}"
            note(
                f"no {which} runs in {self._folder.parent}: waiting for one to start "
                "(Ctrl-C to stop; --run-dir for another directory)"
            )
        self._looked = bool(self._tried)

    def _note_arrivals_and_departures(self) -> None:
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            name = Path(event["endpoint"].decode()).name
            if event["event"] == zmq.Event.HANDSHAKE_SUCCEEDED:
                self._attached.add(name)
                self._waiting = False
                note(f"attached to {name}")
            elif name in self._attached:
                # ZeroMQ keeps trying to connect, and so finds the next process of that name.
                self._attached.discard(name)
                self._numbers.pop(name, None)
                note(f"{name} has gone")

    def _check_number(self, copy: Copy) -> None:
        last = self._numbers.get(copy.process)
        if last is not None and copy.number > last + 1:
            self._missed += copy.number - last - 1
        self._numbers[copy.process] = copy.number

    def _tell_missed(self) -> None:
        if self._missed:
            note(f"missed {self._missed} batches: more than can be shown (filters help)")
            self._missed = 0


def _read_copy(parts: list[bytes]) -> Copy | None:
    try:
        name, header, batch = parts
        direction, peer, when, number = msgpack.unpackb(header, raw=False)
        return Copy(float(when), name.decode(), direction.decode(), str(peer), int(number), batch)
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException):
        return None


class Recorder:
    """A recording: a file of msgpack values to which batches are appended (see docs/zmqtap.md)."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab")
        self._file.write(msgpack.packb({"zmqtap": RECORD_FORMAT, "protocol": frames.VERSION}))
        self._file.flush()
        self.batches = 0

    def record(self, copy: Copy) -> None:
        """Append a batch."""
        self._file.write(msgpack.packb(list(copy)))
        self.batches += 1

    def flush(self) -> None:
        """Hand the appended batches over to the system."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._file.close()


def replay(path: Path) -> Iterator[Copy]:
    """Yield the batches of a recording; note where a damaged recording breaks off."""
    with path.open("rb") as file:
        unpacker = msgpack.Unpacker(file, raw=False, max_buffer_size=0)
        try:
            for value in unpacker:
                if isinstance(value, list) and len(value) == len(Copy._fields):
                    yield Copy(*value)
                elif not isinstance(value, dict) or value.get("zmqtap") != RECORD_FORMAT:
                    note(f"{path} is no record of this version of zmqtap")
                    return
                elif value.get("protocol") != frames.VERSION:
                    note(f"recorded from frames of version {value.get('protocol')}")
        except (ValueError, TypeError, msgpack.UnpackException):
            note(f"{path} is broken after {unpacker.tell()} bytes")


def note(text: str) -> None:
    """Print a sentence on standard error."""
    print(f"zmqtap: {text}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run zmqtap. Returns the exit status."""
    options = _options(argv)
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


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="zmqtap", description="Show the frames that the server's processes exchange."
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
    root = Path(__file__).resolve().parent.parent
    file = Path(os.environ.get("FOX_CONFIG") or root / "conf" / "fox.toml")
    with suppress(ConfigError):
        return Path(load(file, os.environ).run_dir)
    return root / (os.environ.get("FOX_RUN_DIR") or "run")


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
