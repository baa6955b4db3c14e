"""Passwords that wait to be checked, which takes too long for a turn.

Owns: their queue, and how many are checked at a time. Never: checking them: the shell takes `due`,
runs each job beside the event loop, and says `finished` (the simulator does the same in virtual
time).
"""

from collections import deque
from collections.abc import Callable
from typing import Final, final

from fox_shard.users.passwords import matches

AT_ONCE: Final = 2
"""Passwords that are checked at a time, each with a thread and 19 MiB."""


@final
class Job:
    """A password to be checked. wanted: whether it still is, asked when its turn has come."""

    __slots__ = ("_password", "_verifier", "done", "wanted")

    def __init__(
        self,
        verifier: str,
        password: str,
        wanted: Callable[[], bool],
        done: Callable[[bool], None],
    ) -> None:
        self._verifier = verifier
        self._password = password
        self.wanted = wanted
        self.done = done

    def run(self) -> bool:
        """Return whether the password is right. Takes tens of milliseconds; from any thread."""
        return matches(self._verifier, self._password)


@final
class Hashing:
    """The jobs of one gateway."""

    __slots__ = ("_limit", "_running", "_waiting")

    def __init__(self, limit: int) -> None:
        """limit: jobs that may wait."""
        self._limit = limit
        self._waiting: deque[Job] = deque()
        self._running = 0

    @property
    def full(self) -> bool:
        """Whether no further job may wait."""
        return len(self._waiting) >= self._limit

    def add(self, job: Job) -> None:
        """Let a job wait. The caller has looked whether the queue is full."""
        self._waiting.append(job)

    def due(self) -> list[Job]:
        """Return the jobs to be run now."""
        jobs: list[Job] = []
        while self._waiting and self._running < AT_ONCE:
            job = self._waiting.popleft()
            if job.wanted():
                self._running += 1
                jobs.append(job)
        return jobs

    def finished(self, job: Job, *, right: bool) -> None:
        """Note the result of a job that `due` has returned."""
        self._running -= 1
        job.done(right)
