"""A UNIX socket in the run directory that answers whoever connects.

Owns: the socket. Never: what is answered.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final


@final
class AnswerSocket:
    """The socket, from `open` to `close`."""

    def __init__(self, path: Path, answer: Callable[[], bytes]) -> None:
        """answer: returns all that is said."""
        self._path = path
        self._ask = answer
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to answer. The socket that an earlier process has left behind goes."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._answer, self._path)

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._ask())
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()
