"""How far long work is: what is told, and when anything is shown."""

import io
import sys

import pytest

from fox_shard.progress import STRIDE, bar, counted, unseen
from fox_shard.remote.rebuilding import steps


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Make standard error a terminal. (pytest sets it anew between a fixture and its test.)"""

    def make():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return make


def test_items_are_counted_from_none_to_all():
    told = []
    assert [*counted(range(STRIDE + 1), lambda *now: told.append(now), "keys", 7)] == [
        *range(STRIDE + 1)
    ]
    assert told == [("keys", 0, 7), ("keys", STRIDE, 7), ("keys", STRIDE + 1, 7)]


def test_a_terminal_shows_one_bar_after_the_other_and_keeps_none(terminal):
    terminal = terminal()
    with bar(quiet=False) as progress:
        progress("rows", 0, 10)
        progress("rows", 5, 10)
        progress("keys", 0, 0)
    shown = terminal.getvalue()
    assert "rows:   0%" in shown
    assert "keys: 0" in shown
    assert shown.splitlines()[-1].strip() == ""
    assert "\n" not in shown.replace("\r", "")


def test_nothing_is_shown_if_not_wanted(terminal):
    terminal = terminal()
    with bar(quiet=True) as progress:
        assert progress is unseen
    assert terminal.getvalue() == ""


def test_nothing_is_shown_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with bar(quiet=False) as progress:
        assert progress is unseen
    assert sys.stderr.getvalue() == ""


def test_a_bar_is_erased_when_the_work_fails(terminal):
    terminal = terminal()

    def work():
        with bar(quiet=False) as progress:
            progress("rows", 0, 10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert terminal.getvalue().endswith("\r")


def table(scanned, shown, *, complete=False):
    about = {"table": "t", "rows": 1, "aggregate": True}
    return {**about, "shards": 4, "scanned": scanned, "shown": shown, "complete": complete}


@pytest.mark.parametrize(
    ("tables", "seen"),
    [
        ([], (0, 0)),
        ([{"table": "t", "rows": 5}], (0, 0)),
        ([table(1, 0), table(4, 2)], (7, 16)),
        ([table(4, 4)], (7, 8)),
        ([table(4, 4, complete=True)], (8, 8)),
    ],
)
def test_steps_of_rebuilding(tables, seen):
    assert steps(tables) == seen
