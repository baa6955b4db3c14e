"""A snapshot as lines of text.

Owns: what stands where, in how many columns and lines; how numbers are written. Never: the terminal
(see `screen`).
"""

import json
import time
import unicodedata
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from fox_shard.top.monitor import in_order
from fox_shard.top.snapshot import Process, Rates, Realm, Snapshot


class Style(Enum):
    """How a part of a line looks."""

    PLAIN = "plain"
    TITLE = "title"
    HEAD = "head"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    FAINT = "faint"


class Part(NamedTuple):
    """A part of a line."""

    text: str
    style: Style = Style.PLAIN


Line = Sequence[Part]

KEYS: Final = "q quit   c by cpu   m by memory   n by name"

_STATUS: Final = {"ok": Style.GOOD, "degraded": Style.WARNING, "starting": Style.WARNING}
"""Of the other states all are bad."""

_BUSY: Final = 0.85
_PROCESSES: Final = (
    *("PROCESS", "HEALTH", "CPU", "MEM", "UP", "RESTARTS"),
    *("SESSIONS", "KEYS", "QUEUED", "UNREAD", "LINKS"),
)
_REALMS: Final = ("REALM", "PUBLISHES/s", "EVENTS/s", "CALLS/s", "DROPPED/s", "IN B/s", "OUT B/s")


def picture_of(
    snapshot: Snapshot, where: str, *, width: int, height: int | None, sort: str
) -> list[Line]:
    """Return the lines, of which none is wider than `width`.

    where: the server, in a few words. height: of the terminal, to be filled or kept to; None: there
    is room for everything. sort: one of `monitor.SORTS`.
    """
    top = [*_head(snapshot, where), *_sentences(snapshot), []]
    processes = _processes(in_order(snapshot.processes, sort), width)
    realms = [[], *_realms(snapshot.realms, width)]
    if height is None:
        return [_cut(line, width) for line in (*top, *processes, *realms)]
    room = max(0, height - 1 - len(top))
    # The realms get what the processes leave, which is half of the room at least.
    of_realms = min(len(realms), max(room - len(processes), room // 2))
    lines = [*top, *_first(processes, room - of_realms), *_first(realms, of_realms)]
    lines = lines[: height - 1]
    lines += [[]] * (height - 1 - len(lines))
    return [_cut(line, width) for line in (*lines, [Part(KEYS, Style.FAINT)])]


def _first(lines: list[Line], count: int) -> list[Line]:
    """Return the first lines, of which the last one says how many are left out."""
    if len(lines) <= count:
        return lines
    if count <= 0:
        return []
    return [*lines[: count - 1], [Part(f"… {len(lines) - count + 1} more", Style.FAINT)]]


def _head(snapshot: Snapshot, where: str) -> Iterable[Line]:
    clock = time.strftime("%H:%M:%S", time.localtime(snapshot.at))
    well = sum(one.status == "ok" for one in snapshot.processes)
    ill = len(snapshot.processes) - well
    # The nodes of a server in one process have the number of that.
    count = len({one.pid or one.name for one in snapshot.processes})
    is_well = Part(f"{ill} not well", Style.BAD) if ill else Part("all well", Style.GOOD)
    about = f"  {where}  {clock}  {count} process{'' if count == 1 else 'es'}, "
    yield [Part("fox top", Style.TITLE), Part(about), is_well]
    rates = snapshot.rates
    yield [
        Part(
            f"publishes {short(rates.publishes)}/s   events {short(rates.events)}/s   "
            f"calls {short(rates.calls)}/s   in {size(rates.bytes_in)}/s   "
            f"out {size(rates.bytes_out)}/s"
        )
    ]
    slow, dropped = snapshot.slow_clients, rates.dropped
    yield [
        Part(f"sessions {short(snapshot.sessions)}   keys {short(snapshot.keys)}   "),
        Part(f"slow clients ended {short(slow)}", Style.WARNING if slow else Style.PLAIN),
        Part("   "),
        Part(f"events dropped {short(dropped)}/s", Style.WARNING if dropped else Style.PLAIN),
    ]


def _sentences(snapshot: Snapshot) -> Iterable[Line]:
    for process in snapshot.processes:
        for trouble in process.trouble:
            yield [Part(f"{process.name}: {_on_one_line(trouble)}", Style.BAD)]
    for sentence in snapshot.sentences:
        yield [Part(sentence, Style.WARNING)]


def _processes(processes: Sequence[Process], width: int) -> list[Line]:
    rows = [_process(one) for one in processes]
    return _table(_PROCESSES, rows, left=2, width=width)


def _process(one: Process) -> list[Part]:
    busy = one.cores is not None and one.cores >= _BUSY
    return [
        Part(one.name),
        Part(one.status, _STATUS.get(one.status, Style.BAD)),
        Part("-" if one.cores is None else f"{one.cores:.0%}", _warned(busy)),
        Part("-" if one.memory is None else size(one.memory)),
        Part("-" if one.uptime is None else span(one.uptime)),
        Part(str(one.restarts), _warned(one.restarts)),
        Part(_count(one.sessions)),
        Part(_count(one.keys)),
        Part(_count(one.queued), _warned(one.queued)),
        Part("-" if one.unread is None else size(one.unread), _warned(one.unread)),
        Part("-" if one.unhandled is None else size(one.unhandled)),
    ]


def _warned(is_so: object) -> Style:
    return Style.WARNING if is_so else Style.PLAIN


def _realms(realms: Sequence[Realm], width: int) -> list[Line]:
    rows = [[Part(_on_one_line(one.name)), *_numbers(one.rates)] for one in realms]
    return _table(_REALMS, rows, left=1, width=width)


def _numbers(rates: Rates) -> list[Part]:
    return [
        Part(short(rates.publishes)),
        Part(short(rates.events)),
        Part(short(rates.calls)),
        Part(short(rates.dropped), _warned(rates.dropped)),
        Part(size(rates.bytes_in)),
        Part(size(rates.bytes_out)),
    ]


def _table(
    head: Sequence[str], rows: Sequence[Sequence[Part]], *, left: int, width: int
) -> list[Line]:
    """Return a table of which the first `left` columns are flush left, and numbers flush right.

    width: that of the terminal; if there is room, the table is less dense.
    """
    table = [[Part(name, Style.HEAD) for name in head], *rows]
    widths = [max(cells(part.text) for part in column) for column in zip(*table, strict=True)]
    gap = "  " if sum(widths) + 2 * len(widths) <= width else " "
    lines: list[Line] = []
    for row in table:
        line: list[Part] = []
        for number, (part, wide) in enumerate(zip(row, widths, strict=True)):
            space = " " * (wide - cells(part.text))
            text = part.text + space if number < left else space + part.text
            line.append(Part((gap if number else "") + text, part.style))
        lines.append(line)
    return lines


def _count(number: int | None) -> str:
    return "-" if number is None else short(number)


def short(number: float) -> str:
    """Return a number in four characters or so: 7, 950, 1.2k, 35k, 1.2M."""
    if number < 999.5:
        return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"
    for unit in ("k", "M", "G"):
        number /= 1000
        if number < 9.95:
            return f"{number:.1f}{unit}"
        if number < 999.5:
            return f"{number:.0f}{unit}"
    return f"{number / 1000:.0f}T"


def size(count: float) -> str:
    """Return a number of bytes in five characters or so: 7, 950, 1.2K, 35K, 1.2M."""
    if count < 1000:
        return f"{count:.0f}"
    for unit in ("K", "M", "G"):
        count /= 1024
        if count < 9.95:
            return f"{count:.1f}{unit}"
        if count < 999.5:
            return f"{count:.0f}{unit}"
    return f"{count / 1024:.0f}T"


def span(seconds: float) -> str:
    """Return a time in four characters or so: 59s, 59m, 23h, 99d."""
    for unit, length in (("s", 60), ("m", 60), ("h", 24)):
        if seconds < length:
            return f"{seconds:.0f}{unit}"
        seconds /= length
    return f"{seconds:.0f}d"


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(line: Line, width: int) -> Line:
    """Return what fits of a line."""
    parts = []
    for text, style in line:
        fits = ""
        for character in text:
            width -= _cell(character)
            if width < 0:
                break
            fits += character
        parts.append(Part(fits, style))
        if width < 0:
            break
    return parts


def _on_one_line(text: str) -> str:
    """Return a text; as JSON, if it has characters that a terminal would not print."""
    return text if text.isprintable() else json.dumps(text)


def text_of(line: Line) -> str:
    """Return a line without styles."""
    return "".join(part.text for part in line).rstrip()
