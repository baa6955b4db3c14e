"""The tap, where a debugger sees the batches of this process.

Owns: one XPUB socket and what its subscribers are sent. Never: waiting, or any influence: the
process does the same with or without subscribers, even slow ones.

Each copy is one ZeroMQ message of three parts:

1. the process's name;
2. msgpack `[direction, peer, time, number]`: `b">"` sent or `b"<"` received, the other process's
   name, seconds since 1970, and a number that counts the copies from 1 on, so that a hole tells
   how many copies a subscriber has lost;
3. the batch as it crosses the link (`frames.Batch`), cut after `BATCH_LIMIT` bytes.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import final

import zmq
from msgspec import msgpack

WAITING_LIMIT = 256
"""Copies that may wait for one subscriber; further copies are dropped."""

BATCH_LIMIT = 1 << 18
"""Bytes shown of a batch. With WAITING_LIMIT, a stopped subscriber costs at most 64 MiB."""

SENT = b">"
RECEIVED = b"<"


@final
class Tap:
    """The tap of one process, at `<run_dir>/tap/<name>`.

    The event loop watches `fileno` for reading and calls `on_readable`. Callers publish only while
    `active` is set: without subscribers, checking it is the whole cost.
    """

    __slots__ = ("_name", "_number", "_socket", "_topics", "active")

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", run_dir: Path, name: str) -> None:
        """Bind the socket. Raises OSError (from the folder) or zmq.ZMQError (from the socket)."""
        folder = Path(run_dir) / "tap"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.active = False
        self._name = name.encode()
        self._number = 0
        self._topics: set[bytes] = set()
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, WAITING_LIMIT)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(f"ipc://{folder / name}")
        except zmq.ZMQError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a subscriber comes or goes."""
        return self._socket.fileno()

    def on_readable(self) -> None:
        """Read all that subscribers said, because ZeroMQ signals only once."""
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            message = self._socket.recv(zmq.NOBLOCK)
            # XPUB: 1 and a topic subscribe, 0 and a topic unsubscribe; all else is ignored.
            if message[:1] == b"\x01":
                self._topics.add(message[1:])
            elif message[:1] == b"\x00":
                self._topics.discard(message[1:])
        self.active = any(self._name.startswith(topic) for topic in self._topics)

    def publish(self, direction: bytes, peer: str, batch: bytes) -> None:
        """Show one batch, SENT to or RECEIVED from `peer`. Slow subscribers miss it."""
        self._number += 1
        header = msgpack.encode((direction, peer, time.time(), self._number))
        with suppress(zmq.Again):
            self._socket.send_multipart((self._name, header, batch[:BATCH_LIMIT]), zmq.NOBLOCK)
        # Sending may swallow the signal of `fileno`.
        self.on_readable()

    def close(self) -> None:
        """Close the socket. Copies that subscribers have not read yet are lost."""
        self.active = False
        self._socket.close()
