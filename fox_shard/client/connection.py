"""A blocking WebSocket to a router.

Owns: the socket, the opening handshake, whole messages, signs of life. Never: what messages mean
(see `session`).

The module uses the protocol of the library websockets, but not its threads. So a caller can wait
for a file descriptor at the same time (`fox lock` waits for the end of a process), and can fork
safely.
"""

import os
import select
import socket
import ssl
import time
from collections import deque
from math import inf
from typing import Final, final

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from fox_shard.client.address import UNIX
from fox_shard.client.failures import CannotConnect, ConnectionLost, Unreachable
from fox_shard.client.tls import SYSTEM, Tls, context_of

OPENING: Final = 15.0
"""Seconds for connecting. A gateway that waits for its shards answers 503 after 10 seconds."""

QUIET: Final = 0.25
"""Part of `patience` after which a silent router is sent a ping."""

READ: Final = 1 << 16
"""Bytes that are read at a time."""


AT_PATH: Final = "ws://localhost/ws"
"""What is asked for at a UNIX socket."""


@final
class Connection:
    """An open WebSocket. `send` and `receive` raise ConnectionLost once the connection is lost."""

    __slots__ = (
        "_fragments",
        "_last_heard",
        "_lost",
        "_messages",
        "_patience",
        "_pinged_at",
        "_protocol",
        "_socket",
        "_url",
    )

    def __init__(self, url: str, subprotocol: str, patience: float, tls: Tls = SYSTEM) -> None:
        """Connect. patience: seconds of silence after which the connection counts as lost.

        tls: with wss.

        Raises Unreachable.
        """
        self._url = url
        self._patience = patience
        self._messages: deque[bytes] = deque()
        self._fragments = b""
        # Why the connection is lost; "" while it is not.
        self._lost = ""
        self._last_heard = time.monotonic()
        # When the silent router was pinged; None if the router has sent something since.
        self._pinged_at: float | None = None
        uri = uri_of(url)
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol(subprotocol)], max_size=None)
        try:
            self._socket = _at_path(url) if url.startswith(UNIX) else _open(uri, tls)
        except OSError as error:
            raise unreachable(url, error) from error
        try:
            self._shake_hands(time.monotonic() + OPENING)
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(patience)

    def send(self, message: bytes) -> None:
        """Send a text message. Raises ConnectionLost."""
        if self._lost:
            raise ConnectionLost(self._lost)
        self._protocol.send_text(message)
        self._write()

    def receive(self, until: float = inf, unless: int | None = None) -> bytes | None:
        """Wait for the next message and return it; return None if the wait ends without one.

        until: when to stop waiting, in monotonic seconds. unless: a file descriptor that stops the
        wait as soon as it is readable. Raises ConnectionLost.
        """
        while not self._messages:
            if self._lost:
                raise ConnectionLost(self._lost)
            next_check = self._next_check()
            ready = self._wait(min(until, next_check), unless)
            now = time.monotonic()
            if self._socket in ready:
                self._read()
            elif unless in ready or now >= until:
                return None
            elif now >= next_check:
                self._check_silence(now)
        return self._messages.popleft()

    def close(self) -> None:
        """Close the WebSocket, with a close frame if the connection is not lost."""
        if self._protocol.state is State.OPEN and not self._lost:
            self._protocol.send_close(1000)
            self._write()
        self._socket.close()

    def _shake_hands(self, until: float) -> None:
        protocol = self._protocol
        protocol.send_request(protocol.connect())
        self._write()
        while protocol.state is State.CONNECTING and not (protocol.handshake_exc or self._lost):
            if self._wait(until, None):
                self._read()
            elif time.monotonic() >= until:
                raise CannotConnect(f"{self._url} does not answer.")
        if protocol.state is not State.OPEN:
            why = refusal_of(protocol.handshake_exc)
            raise CannotConnect(f"There is no router at {self._url}: {why}.")

    def _next_check(self) -> float:
        """Return when to call `_check_silence` if nothing arrives."""
        if self._pinged_at is None:
            return self._last_heard + self._patience * QUIET
        return self._pinged_at + self._patience * (1 - QUIET)

    def _check_silence(self, now: float) -> None:
        """Ping the silent router, or give it up if it has been pinged already."""
        if self._pinged_at is not None:
            self._lost = f"{self._url} does not answer any more."
            return
        self._pinged_at = now
        self._protocol.send_ping(b"")
        self._write()

    def _wait(self, until: float, unless: int | None) -> list[socket.socket | int]:
        """Wait until the socket or `unless` is readable, or until `until`; return what is."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return [self._socket]
        files: list[socket.socket | int] = [self._socket]
        if unless is not None:
            files.append(unless)
        seconds = None if until == inf else max(0.0, until - time.monotonic())
        return select.select(files, [], [], seconds)[0]

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ)
        except OSError as error:
            self._lose(error)
            return
        self._last_heard = time.monotonic()
        self._pinged_at = None
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._write()
        if self._protocol.state in (State.CLOSING, State.CLOSED) and not self._lost:
            why = self._protocol.close_reason or "it was closed"
            self._lost = f"The connection to {self._url} is lost: {why}."

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._fragments += frame.data
            if frame.fin:
                self._messages.append(self._fragments)
                self._fragments = b""

    def _write(self) -> None:
        """Send the protocol's bytes; a failure is raised by the next `send` or `receive`."""
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.sendall(data)
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost = f"The connection to {self._url} is lost: {error.strerror or error}."


def uri_of(url: str) -> WebSocketURI:
    """Return the parts of a URL. Raises Unreachable."""
    try:
        return parse_uri(AT_PATH if url.startswith(UNIX) else url)
    except (InvalidURI, ValueError):  # ValueError: a port beyond 65535, [ without ]
        meant = ""
        if url.startswith(("http://", "https://")):
            # The HTTP server has a WebSocket, too.
            meant = f" Did you mean ws{url.removeprefix('http').rstrip('/')}/ws?"
        raise Unreachable(
            f"{url!r} is not the address of a WebSocket (ws://…, wss://… or unix:/path).{meant}"
        ) from None


def _open(uri: WebSocketURI, tls: Tls) -> socket.socket:
    context = context_of(tls) if uri.secure else None
    plain = socket.create_connection((uri.host, uri.port), timeout=OPENING)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return plain
        return context.wrap_socket(plain, server_hostname=uri.host)
    except BaseException:
        plain.close()
        raise


def _at_path(url: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.settimeout(OPENING)
        found.connect(url.removeprefix(UNIX))
    except BaseException:
        found.close()
        raise
    return found


def unreachable(url: str, error: OSError) -> Unreachable:
    """Return the failure that says why a socket to `url` could not be opened."""
    match error:
        case ssl.SSLCertVerificationError():
            return Unreachable(
                f"The certificate of {url} is not trusted: {error.verify_message}. If its "
                "authority is your own, say with --ca which file has that."
            )
        case ssl.SSLError():
            return CannotConnect(f"{url} does not speak TLS: {error.reason or error}.")
        case _:
            # asyncio says "Connect call failed" and the address, whatever the system has said.
            number = error.errno or 0
            said = os.strerror(number) if number > 0 else error.strerror
            return CannotConnect(f"Cannot connect to {url}: {said or error}.")


def refusal_of(error: Exception | None) -> str:
    """Return why a handshake has failed, as the end of a sentence."""
    match error:
        case InvalidStatus(response=response):
            return f"it answers HTTP {response.status_code} {response.reason_phrase}"
        case InvalidHandshake():
            return f"it answers like something else ({error})"
        case _:
            return "it closes the connection"
