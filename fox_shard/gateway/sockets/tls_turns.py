"""How much TLS costs in one turn of the event loop.

Owns: the budget of a turn, which socket goes on when. Never: TLS.

A handshake costs its gateway up to a millisecond, and a client may send as many records as fit into
what is read at once, each with a byte. So both are counted, and what a turn does not pay for goes
on in the next ones, in order of arrival. Everything else of the event loop runs between two turns.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, final

UNITS: Final = 4_000
"""Units of a turn, each of about a microsecond."""

HANDSHAKE: Final = 1_000
"""Units of a step of a handshake that the server answers."""

RECORD: Final = 2
"""Units of a record."""


class Working(Protocol):
    """A socket that has something left to do."""

    def go_on(self) -> None:
        """Go on."""

    def failed(self, error: Exception) -> None:
        """End the connection, because `go_on` has raised the error."""


@final
class TlsTurns:
    """The budget of one kind of work, and the sockets that wait for it."""

    __slots__ = ("_call_soon", "_left", "_scheduled", "_waiting")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """call_soon: of the event loop."""
        self._call_soon = call_soon
        self._left = UNITS
        self._scheduled = False
        self._waiting: deque[Working] = deque()

    @property
    def used_up(self) -> bool:
        """Whether whoever comes now has to wait."""
        return self._left <= 0 or bool(self._waiting)

    def spend(self, units: int) -> None:
        """Count work."""
        self._left -= units
        self._schedule()

    def later(self, socket: Working) -> None:
        """Let a socket go on in one of the next turns."""
        self._waiting.append(socket)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        self._left = UNITS
        for _ in range(len(self._waiting)):
            if self._left <= 0:
                break
            socket = self._waiting.popleft()
            try:
                socket.go_on()
            except Exception as error:  # noqa: BLE001 - as when `data_received` raises it
                socket.failed(error)
        if self._waiting:
            self._schedule()
