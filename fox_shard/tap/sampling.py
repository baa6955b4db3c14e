"""A short look at the frames between the processes, for the dashboard.

Owns: how long a look takes, and how many frames it shows. Never: who may look (see `web.frames`);
payloads, which are not told.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Final, final

from fox_shard.tap.decode import Copy, Seen, read_batch
from fox_shard.tap.sources import Taps
from fox_shard.web.frames import FrameCount, FrameLook, FrameSeen

LOOK: Final = 0.4
"""Seconds that a look takes, unless `MOST` frames come sooner."""

MOST: Final = 3000
"""Frames that one look decodes, after which the taps are left."""

SHOWN: Final = 200
"""The latest frames of a look, which are told one by one."""


@final
class TapSampler:
    """A `FrameSource`: the taps of all processes in a run directory. One look at a time."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._lock = asyncio.Lock()

    async def look(self) -> FrameLook:
        """Attach to all taps, look, and detach."""
        async with self._lock:
            return await asyncio.to_thread(_look, self._run_dir)


@final
class Sample:
    """What one look has seen so far."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._shown: list[Seen] = []
        self._decoded = 0

    @property
    def is_full(self) -> bool:
        """Whether so much was seen that the look ends."""
        return self._decoded >= MOST

    def add(self, copy: Copy) -> None:
        """Decode a batch that a process has sent."""
        seen = read_batch(copy)
        self._decoded += len(seen)
        self._counts.update((copy.process, copy.peer, one.kind) for one in seen)
        self._shown = [*self._shown, *seen][-SHOWN:]

    def told(self, seconds: float) -> FrameLook:
        """Return what is told of it. seconds: how long the look took."""
        return FrameLook(
            seconds=round(max(seconds, 0.001), 3),
            counts=[FrameCount(*names, number) for names, number in self._counts.most_common()],
            frames=[_told(one) for one in reversed(self._shown)],
        )


def _look(run_dir: Path) -> FrameLook:
    taps = Taps(run_dir, None, tell=lambda _text: None)
    begin = time.monotonic()
    sample = Sample()
    try:
        for copy in taps.copies():
            # Each frame crosses two taps: the sender's copy is the one that counts.
            if copy is not None and copy.direction == ">":
                sample.add(copy)
            if sample.is_full or time.monotonic() - begin >= LOOK:
                break
    finally:
        taps.close()
    return sample.told(time.monotonic() - begin)


def _told(one: Seen) -> FrameSeen:
    return FrameSeen(
        time=one.copy.time,
        process=one.copy.process,
        peer=one.copy.peer,
        kind=one.kind,
        realm=one.realm,
        topic=one.topic,
        sessions=one.sessions,
        problem=one.problem,
    )
