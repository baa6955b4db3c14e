"""The terminal: pictures in full, and keys.

Owns: curses. Never: what is in a picture (see `picture`).
"""

import curses
import locale
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, final

from fox_shard.top.picture import Line, Style

_COLOURS: Final = {
    Style.GOOD: curses.COLOR_GREEN,
    Style.WARNING: curses.COLOR_YELLOW,
    Style.BAD: curses.COLOR_RED,
}

_ATTRIBUTES: Final = {
    Style.TITLE: curses.A_BOLD,
    Style.HEAD: curses.A_REVERSE,
    Style.WARNING: curses.A_BOLD,
    Style.BAD: curses.A_BOLD,
    Style.FAINT: curses.A_DIM,
}

CTRL_C: Final = 3


class TerminalError(Exception):
    """The terminal cannot show pictures. The text is a sentence."""


@final
class Screen:
    """The terminal while pictures are shown; see `opened`."""

    def __init__(self, window: "curses.window") -> None:
        self._window = window
        self._styles = dict(_ATTRIBUTES)
        # https://no-color.org
        if curses.has_colors() and not os.environ.get("NO_COLOR"):
            curses.start_color()
            curses.use_default_colors()
            for number, (style, colour) in enumerate(_COLOURS.items(), start=1):
                curses.init_pair(number, colour, -1)
                self._styles[style] = self._styles.get(style, 0) | curses.color_pair(number)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines that the terminal has now, whatever became of its signal."""
        columns, lines = os.get_terminal_size()
        if curses.is_term_resized(lines, columns):
            curses.resizeterm(lines, columns)
        height, width = self._window.getmaxyx()
        return width, height

    def show(self, lines: list[Line]) -> None:
        """Show a picture, whose lines fit in."""
        window = self._window
        width, height = self.size
        window.erase()
        for y, line in enumerate(lines[:height]):
            for text, style in line:
                room = width - window.getyx()[1]
                # A character in the last column of the last line would scroll.
                if y == height - 1:
                    room -= 1
                if room > 0 and text:
                    shown = text.encode(window.encoding, "replace").decode(window.encoding)
                    window.addnstr(shown, len(shown), self._styles.get(style, 0))
            if y + 1 < height:
                window.move(y + 1, 0)
        window.refresh()

    def keys(self, until: float, resized: Callable[[], None]) -> Iterator[str]:
        """Yield the keys that are pressed until then, in monotonic seconds; Ctrl-C is `q`.

        resized: called when the terminal has another size.
        """
        while (seconds := until - time.monotonic()) > 0:
            self._window.timeout(max(1, round(seconds * 1000)))
            key = self._window.getch()
            if key == curses.KEY_RESIZE:
                resized()
            elif key == CTRL_C:
                yield "q"
            elif 0 <= key < 256:
                yield chr(key)


@contextmanager
def opened() -> Iterator[Screen]:
    """Use the terminal; at the end it is as before. Raises TerminalError."""
    locale.setlocale(locale.LC_ALL, "")
    try:
        curses.setupterm()
        knows = all(curses.tigetstr(one) for one in ("cup", "clear"))
    except curses.error:
        knows = False
    if not knows:
        kind = os.environ.get("TERM", "")
        raise TerminalError(
            f"A terminal of the kind {kind!r} (TERM) cannot show a live view: say --once."
        )
    window = curses.initscr()
    try:
        curses.noecho()
        curses.raw()
        window.keypad(True)  # noqa: FBT003
        if curses.tigetstr("civis"):
            curses.curs_set(0)
        yield Screen(window)
    finally:
        curses.endwin()
