"""The file with the users, as a gateway reads it: at the start, and whenever it has changed.

Owns: when it is read. Never: its format (see `users.file`), what becomes of sessions.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from fox_shard.runtime.file_stamp import stamp_of
from fox_shard.users import file
from fox_shard.users.user import Users

_log = logging.getLogger("fox")

LOOK: Final = 1.0
"""Seconds between two looks whether the file has changed."""


@final
class UsersWatch:
    """The file of one gateway. users: those that it had at the start; None: there was no file.

    If the file disappears, or cannot be read any more, the former users stay, because otherwise
    anybody could join.
    """

    def __init__(self, path: Path, process: str) -> None:
        """Read the file. process: for the log. Raises UsersFileError."""
        self._path = path
        self._process = process
        self._on_change: Callable[[Users], None] = lambda users: None
        self._loop = asyncio.get_running_loop()
        self._stamp = stamp_of(path)
        self.users = file.read(path)
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None

    def start(self, on_change: Callable[[Users], None]) -> None:
        """Begin to look for changes, and call `on_change` with the new users after each."""
        self._on_change = on_change
        self._look_later()

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(LOOK, self._look_again)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_again(self) -> None:
        stamp = stamp_of(self._path)
        if stamp != self._stamp and (self._reading is None or self._reading.done()):
            self._stamp = stamp
            self._reading = self._loop.create_task(self._read())
        self._look_later()

    async def _read(self) -> None:
        """Read the file beside the event loop, as there may be many users."""
        fields: dict[str, object] = {"process": self._process, "file": str(self._path)}
        try:
            users = await asyncio.to_thread(file.read, self._path)
        except file.UsersFileError as error:
            _log.error("users_not_read", extra={"fox": {**fields, "reason": str(error)}})
            return
        if users is None:
            reason = "the file has gone; its users stay until the server restarts"
            _log.error("users_not_read", extra={"fox": {**fields, "reason": reason}})
            return
        _log.info("users_read", extra={"fox": {**fields, "users": len(users.all)}})
        self._on_change(users)
