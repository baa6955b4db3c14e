"""Checking passwords in threads, beside the event loop of a gateway.

Owns: the threads. Never: which passwords, and when (see `gateway.auth.hashing`).
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import final

from fox_shard.gateway.auth.hashing import AT_ONCE, Job
from fox_shard.gateway.core import Gateway

_log = logging.getLogger("fox")


@final
class PasswordChecks:
    """The threads of one gateway, which exist from the first password on."""

    def __init__(self, gateway: Gateway, schedule_flush: Callable[[], None]) -> None:
        self._gateway = gateway
        self._hashing = gateway.authentication.hashing
        self._schedule_flush = schedule_flush
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")

    def begin(self) -> None:
        """Begin to check the passwords that are due."""
        for job in self._hashing.due():
            self._threads.submit(job.run).add_done_callback(partial(self._tell, job))

    def stop(self) -> None:
        """Wait for the checks that have begun, and forget the others."""
        self._threads.shutdown(cancel_futures=True)

    def _tell(self, job: Job, check: "Future[bool]") -> None:
        self._loop.call_soon_threadsafe(self._finished, job, check)

    def _finished(self, job: Job, check: "Future[bool]") -> None:
        if check.cancelled():
            return
        error = check.exception()
        if error is not None:
            # As when there is no memory for it, or the verifier was written by hand.
            _log.error("password_not_checked", exc_info=error)
        self._gateway.now = self._loop.time()
        self._hashing.finished(job, right=error is None and check.result())
        self._schedule_flush()
