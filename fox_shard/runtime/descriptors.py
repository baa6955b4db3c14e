"""Running out of file descriptors: each client takes one.

Owns: noticing it. Never: what becomes of clients then: the event loop (libuv) accepts them and
closes their connections at once, and tells nobody.
"""

import asyncio
import errno
import logging
import os
import resource
from collections.abc import Callable
from typing import Final, final

LOOK_AGAIN: Final = 1.0
"""Seconds."""

CALM: Final = 60.0
"""Seconds without a shortage after which the next one is news again."""

_log = logging.getLogger("fox")


def is_short() -> bool:
    """Is there no descriptor left in this process, or none in the whole system?"""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        raise
    return False


@final
class Shortage:
    """Looks whether there is one, and tells of each only once."""

    def __init__(self, is_short: Callable[[], bool] = is_short) -> None:
        self._is_short = is_short
        self._last = -CALM

    def is_news(self, now: float) -> bool:
        """Has one begun? now: seconds."""
        if not self._is_short():
            return False
        begins = now >= self._last + CALM
        self._last = now
        return begins


def watch_descriptors(process: str, loop: asyncio.AbstractEventLoop) -> None:
    """Log an error whenever a shortage begins, from now on."""
    shortage = Shortage()

    def look() -> None:
        if shortage.is_news(loop.time()):
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            _log.error("no_descriptors", extra={"fox": {"process": process, "limit": limit}})
        loop.call_later(LOOK_AGAIN, look)

    look()
