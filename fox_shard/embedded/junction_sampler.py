"""A short look at the frames between the nodes of one process, for the dashboard.

Owns: how much is kept of what the junction shows. Never: who may look (see `web.frames`); how
frames are read and told (see `tap.sampling`).
"""

import asyncio
from pathlib import Path
from typing import Final, final

from fox_shard.backplane.tap import BATCH_LIMIT
from fox_shard.embedded.parts import Observe
from fox_shard.tap.decode import Copy
from fox_shard.tap.sampling import LOOK, MOST, Sample, TapSampler
from fox_shard.web.frames import FrameLook, FrameSource

MOST_BYTES: Final = 1 << 23
"""Bytes of batches, after which a look ends."""


def frame_source(observe: Observe | None, run_dir: Path) -> FrameSource:
    """Return what looks at the frames. observe: see `Parts`; None: the processes have taps."""
    return TapSampler(run_dir) if observe is None else JunctionSampler(observe)


@final
class JunctionSampler:
    """A `FrameSource`: what the nodes of this process hand each other. One look at a time."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._lock = asyncio.Lock()

    async def look(self) -> FrameLook:
        """Observe the junction for a moment, and read what it has shown."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            kept, begin = _Kept(), loop.time()
            self._observe(kept.add)
            try:
                async with asyncio.timeout(LOOK):
                    await kept.full.wait()
            except TimeoutError:
                pass
            finally:
                self._observe(None)
            seconds = loop.time() - begin
            return await asyncio.to_thread(_read, kept.copies, seconds)


@final
class _Kept:
    """Copies of batches, until there are enough. full: is set then."""

    def __init__(self) -> None:
        self.copies: list[Copy] = []
        self.full = asyncio.Event()
        self._bytes = 0

    def add(self, wall: float, process: str, peer: str, batch: bytes) -> None:
        """Keep what is shown of a batch: an `Observer`."""
        if self.full.is_set():
            return
        # A copy, without the frames that come along with a parcel.
        shown = bytes(memoryview(batch)[:BATCH_LIMIT])
        self.copies.append(Copy(wall, process, ">", peer, len(self.copies) + 1, shown))
        self._bytes += len(shown)
        if len(self.copies) >= MOST or self._bytes >= MOST_BYTES:
            self.full.set()


def _read(copies: list[Copy], seconds: float) -> FrameLook:
    sample = Sample()
    for copy in copies:
        sample.add(copy)
        if sample.is_full:
            # The rest is not counted, so neither is the time in which it came.
            return sample.told(copy.time - copies[0].time)
    return sample.told(seconds)
