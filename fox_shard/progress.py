"""How far the long work of a command is: a bar on standard error, if that is a terminal.

Owns: where it is shown, and how. Never: what is counted.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar, final

Progress = Callable[[str, int, int], None]
"""Called with what is counted ("keys"), how many are done, and how many there are; 0: who knows."""

_Item = TypeVar("_Item")

STRIDE: Final = 1000
"""Items between two calls of `Progress`."""


def unseen(_what: str, _done: int, _total: int) -> None:
    """A `Progress` that nobody sees."""


@contextmanager
def bar(*, quiet: bool) -> Iterator[Progress]:
    """Show the calls of a `Progress` as a bar for each thing that is counted, one after the other.

    At the end no trace of it is left in the terminal. quiet: show nothing, as without a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield unseen
        return
    shown = _Bar()
    try:
        yield shown
    finally:
        shown.close()


def counted(
    items: Iterable[_Item], progress: Progress, what: str, total: int = 0
) -> Iterator[_Item]:
    """Yield the items, and tell how many that were."""
    progress(what, 0, total)
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if not number % STRIDE:
            progress(what, number, total)
    progress(what, number, total)


@final
class _Bar:
    """One bar at a time."""

    def __init__(self) -> None:
        from tqdm import tqdm  # who shows nothing need not load it

        tqdm.monitor_interval = 0  # no thread: calls come often enough
        self._make = tqdm
        self._what = ""
        self._close: Callable[[], object] = lambda: None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.close()
            self._what = what
            self._shown = self._make(
                desc=what,
                total=total or None,
                file=sys.stderr,
                leave=False,
                unit_scale=True,
                unit="",
            )
            self._close = self._shown.close
        self._shown.update(done - self._shown.n)

    def close(self) -> None:
        """Erase the bar."""
        self._close()
