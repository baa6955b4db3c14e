"""A short look at the frames between the processes, for the dashboard.

Owns: how long it is looked, and at how many frames. Never: who may look (see `web.frames`);
payloads, which are not told.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Final, final

from fox_shard.tap.decode import Seen, read_batch
from fox_shard.tap.sources import Taps
from fox_shard.web.frames import FrameCount, FrameLook, FrameSeen

LOOK: Final = 0.4
"""Seconds for which it is looked, unless so many frames come sooner."""

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


def _look(run_dir: Path) -> FrameLook:
    taps = Taps(run_dir, None, tell=lambda _text: None)
    begin = time.monotonic()
    counts: Counter[tuple[str, str, str]] = Counter()
    shown: list[Seen] = []
    decoded = 0
    try:
        for copy in taps.copies():
            # Each frame crosses two taps: the sender's copy is the one that counts.
            if copy is not None and copy.direction == ">":
                seen = read_batch(copy)
                decoded += len(seen)
                counts.update((copy.process, copy.peer, one.kind) for one in seen)
                shown = [*shown, *seen][-SHOWN:]
            if decoded >= MOST or time.monotonic() - begin >= LOOK:
                break
    finally:
        taps.close()
    seconds = max(time.monotonic() - begin, 0.001)
    return FrameLook(
        seconds=round(seconds, 3),
        counts=[FrameCount(*names, number) for names, number in counts.most_common()],
        frames=[_told(one) for one in reversed(shown)],
    )


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
