"""The trace of a simulated run: what happened when, for the report of a failure.

Owns: the latest entries, and how they are shown. Never: what happens.
"""

from collections import deque
from collections.abc import Collection
from typing import final

from fox_shard.backplane.frames import Batch, Hello, Report, SyncEnd
from fox_shard.testing.timing import Timing

LIMIT = 20_000
"""Number of entries that are kept, the latest ones."""

REPORT_LINES = 120
"""Number of lines that a failure shows, the latest ones."""

Entry = tuple[float, str, str | Batch]
"""(time, what happened, ""), or (time, receiving process, batch)."""


@final
class Trace:
    """The trace of one run. entries: in the order of time."""

    def __init__(self, seed: int, timing: Timing) -> None:
        self._seed = seed
        self._timing = timing
        self.entries: deque[Entry] = deque(maxlen=LIMIT)

    def note(self, text: str) -> None:
        """Add a line."""
        self.entries.append((self._timing.now, text, ""))

    def received(self, name: str, batch: Batch) -> None:
        """Add a batch that the process of that name receives."""
        self.entries.append((self._timing.now, name, batch))

    def report(self, what: str, about: Collection[str], lines: int) -> str:
        """Return the description of a failure, with the seed and the end of the trace.

        about: show only lines that contain one of these texts, if there are any. lines: how many.
        """
        shown = [line for entry in self.entries for line in _lines(entry)]
        shown = [line for line in shown if any(text in line for text in about)] or shown
        trimmed = [f"… {len(shown) - lines} lines"] if len(shown) > lines else []
        head = f"seed {self._seed}, at {self._timing.now:.4f}: {what}"
        return "\n".join([head, *trimmed, *shown[-lines:]])


def _lines(entry: Entry) -> list[str]:
    now, who, batch = entry
    if isinstance(batch, str):
        return [f"{now:.4f} {who}"]
    return [
        f"{now:.4f} {batch.source}>{who} {number} {frame!r}"
        for number, frame in enumerate(batch.frames, batch.first)
        if not isinstance(frame, Hello | SyncEnd | Report)
    ]
