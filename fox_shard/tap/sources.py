"""Where batches come from: the taps of running processes, and recordings.

Owns: subscribing to taps, reading and writing recordings. Never: disturbing the broker: the taps
drop what is not read in time; what a batch has in it (`decode`).
"""

import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

import msgpack
import zmq
from zmq.utils.monitor import recv_monitor_message

from fox_shard.backplane import frames
from fox_shard.tap.decode import Copy

RECORD_FORMAT = 1

RESCAN = 0.5
"""Seconds between scans for taps of processes that have started."""

RECEIVE_LIMIT = 20_000
"""Copies that may wait in this process; ZeroMQ drops further ones."""


class Taps:
    """The taps of all processes in a run directory, including processes that start later.

    A killed process leaves the file of its tap behind. So a process counts as attached from the
    handshake on its tap until the disconnection, both of which the socket's monitor reports.
    """

    def __init__(
        self, run_dir: Path, process: str | None, tell: Callable[[str], None] | None = None
    ) -> None:
        """process: a pattern of names; None: all. tell: is told who comes and goes."""
        self._note = tell or note
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
                self._note("a message that is no tap's was left out")
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
            self._note(
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
                self._note(f"attached to {name}")
            elif name in self._attached:
                # ZeroMQ keeps trying to connect, and so finds the next process of that name.
                self._attached.discard(name)
                self._numbers.pop(name, None)
                self._note(f"{name} has gone")

    def _check_number(self, copy: Copy) -> None:
        last = self._numbers.get(copy.process)
        if last is not None and copy.number > last + 1:
            self._missed += copy.number - last - 1
        self._numbers[copy.process] = copy.number

    def _tell_missed(self) -> None:
        if self._missed:
            self._note(f"missed {self._missed} batches: more than can be shown (filters help)")
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
