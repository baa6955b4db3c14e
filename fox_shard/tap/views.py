"""How frames are shown: in lines, JSON, hex, or rates.

Owns: text. Never: where batches come from; trust in their content: a topic may hold escape
sequences for the terminal, so nothing unprintable gets through.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from fox_shard.backplane import frames
from fox_shard.documents import payloads
from fox_shard.tap.decode import UNKNOWN, UNREADABLE, Copy, Fields, Seen, jsonable

PREVIEW = 80
"""Characters of a payload or another value that a line shows."""

_PUBSUB, _RPC, _SESSION, _LINK, _BAD = "32", "33", "35", "90", "31"
_COLOURS = {
    **dict.fromkeys(("publish", "event", "again", "settled", "published", "refused"), _PUBSUB),
    **dict.fromkeys(("retained", "recorded", "selected_event", "will"), _PUBSUB),
    **dict.fromkeys(("subscribe", "subscribed", "not_subscribed", "unsubscribe"), "36"),
    **dict.fromkeys(("paused", "more", "caught_up", "read_history", "history_page"), "36"),
    **dict.fromkeys(("join", "leave", "kill", "session_alive"), _SESSION),
    **dict.fromkeys(
        ("report", "store_failure", "fence_query", "fence_passed", "hello", "sync_end"), _LINK
    ),
    **dict.fromkeys((UNKNOWN, UNREADABLE), _BAD),
}

_FLAGS = {
    "publish": ("ACKNOWLEDGE", "RETAIN", "EXCLUDE_ME", "DISCLOSE", "QOS1", "QOS2", "EMPTY"),
    "call": ("PROGRESS", "DISCLOSE_CALLER"),
}
_IN_COLUMNS = ("realm", "topic", "procedure", "pattern", "session", "encoding", "args", "kwargs")
_ENCODINGS = ("none", "json", "msgpack", "cbor", "raw")


class View(Protocol):
    """A way to turn frames into lines of output."""

    def show(self, copy: Copy, seen: list[Seen]) -> Iterator[str]:
        """Yield the lines for a batch that is wanted. seen: those of its frames that are wanted."""

    def tick(self, now: float) -> Iterator[str]:
        """Yield the lines that are due at this time (seconds since 1970)."""


class Lines:
    """One line per frame, in columns."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def show(self, copy: Copy, seen: list[Seen]) -> Iterator[str]:
        """Yield a line for each frame."""
        for one in seen:
            line = self._line(copy, one)
            colour = _BAD if one.problem else _COLOURS.get(one.kind, _RPC)
            yield f"\x1b[{colour}m{line}\x1b[0m" if self._coloured else line

    def tick(self, now: float) -> Iterator[str]:
        """Yield nothing."""
        yield from ()

    def _line(self, copy: Copy, one: Seen) -> str:
        seq = "-" if one.seq is None else f"#{one.seq}"
        if one.rseq is not None:
            seq += f"/r{one.rseq}"
        columns = [
            _where(copy, clock(copy.time)),
            f"{seq:>9} {one.kind:<13}",
            _text(one.realm),
            _text(one.topic),
            f"s={_text(str(one.sessions[0]))}" if one.sessions else "",
            _payload(one.fields),
            *_rest(one.fields, one.kind),
            f"!! {_text(one.problem, limit=500)}" if one.problem else "",
        ]
        return " ".join(column for column in columns if column)


class Json:
    """One JSON object per frame, with all its fields."""

    def show(self, copy: Copy, seen: list[Seen]) -> Iterator[str]:
        """Yield a line with an object for each frame."""
        for one in seen:
            record: dict[str, object] = {
                "time": copy.time,
                "process": copy.process,
                "direction": copy.direction,
                "peer": copy.peer,
                "seq": one.seq,
                "rseq": one.rseq,
                "kind": one.kind,
                "fields": jsonable(one.fields),
            }
            if one.problem:
                record["problem"] = one.problem
            yield json.dumps(record)

    def tick(self, now: float) -> Iterator[str]:
        """Yield nothing."""
        yield from ()


class Raw:
    """One line per batch, with its bytes in hex."""

    def show(self, copy: Copy, seen: list[Seen]) -> Iterator[str]:
        """Yield the batch's line."""
        yield f"{_where(copy, clock(copy.time))} {len(copy.batch):>7} {copy.batch.hex()}"

    def tick(self, now: float) -> Iterator[str]:
        """Yield nothing."""
        yield from ()


class Rates:
    """The frames per second of each process, direction and kind, once a second."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._frames: Counter[tuple[str, str, str]] = Counter()
        self._since: float | None = None

    def show(self, copy: Copy, seen: list[Seen]) -> Iterator[str]:
        """Count the frames; yield nothing yet."""
        self._frames.update((copy.process, copy.direction, one.kind) for one in seen)
        yield from ()

    def tick(self, now: float) -> Iterator[str]:
        """Yield the rates, if a second is over."""
        if self._since is None:
            self._since = now
        elapsed = now - self._since
        if elapsed < 1:
            return
        rates = {key: round(count / elapsed, 1) for key, count in sorted(self._frames.items())}
        yield from self._objects(now, rates) if self._as_json else self._table(now, rates)
        self._frames.clear()
        self._since = now

    def _table(self, now: float, rates: dict[tuple[str, str, str], float]) -> Iterator[str]:
        yield f"{clock(now)[:8]} {'process':<14} {'kind':<15} {'frames/s':>10}"
        for (process, direction, kind), rate in rates.items():
            yield f"{'':8} {_text(process):<14} {direction} {kind:<13} {rate:>10,.1f}"

    def _objects(self, now: float, rates: dict[tuple[str, str, str], float]) -> Iterator[str]:
        for (process, direction, kind), rate in rates.items():
            yield json.dumps(
                {
                    "time": now,
                    "process": process,
                    "direction": direction,
                    "kind": kind,
                    "frames_per_second": rate,
                }
            )


def clock(seconds: float) -> str:
    """Return the local time of day, to the microsecond."""
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{seconds % 1 * 1e6:06.0f}"


def _where(copy: Copy, when: str) -> str:
    return f"{when} {_text(copy.process):<12} {copy.direction} {_text(copy.peer):<12}"


def _text(value: str, limit: int = PREVIEW) -> str:
    """Return the text without anything that a terminal would act on, shortened to `limit`."""
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def _payload(fields: Fields) -> str:
    holder = _holder(fields)
    if holder is None:
        return ""
    encoding = holder["encoding"]
    parts = [_preview(encoding, holder.get(name)) for name in ("args", "kwargs")]
    known = isinstance(encoding, int) and 0 <= encoding < len(_ENCODINGS)
    name = _ENCODINGS[encoding] if known and isinstance(encoding, int) else f"encoding {encoding!r}"
    return " ".join([f"{name}:", *(part for part in parts if part)])


def _holder(fields: Fields) -> Fields | None:
    """Return the fields with the payload: the frame's own or those of a nested frame."""
    if "encoding" in fields:
        return fields
    inside = (value for value in fields.values() if isinstance(value, dict))
    return next(filter(None, map(_holder, inside)), None)


def _preview(encoding: object, data: object) -> str:
    if not isinstance(data, bytes):
        return "" if data is None else _text(repr(data))
    if encoding in (payloads.MSGPACK, payloads.CBOR) and data:
        readable = jsonable({"encoding": encoding, "args": data})
        shown = readable["args"] if isinstance(readable, dict) else readable
        return _text(json.dumps(shown, ensure_ascii=False))
    try:
        return _text(data.decode())
    except UnicodeDecodeError:
        return _text(data.hex())


def _rest(fields: Fields, kind: str) -> Iterator[str]:
    """Yield `name=value` for the fields without a column, unless zero, empty or absent."""
    for name, value in fields.items():
        if isinstance(value, dict) and name in ("publish", "call", "event"):
            yield from _rest(value, name)
        elif name == "flags" and isinstance(value, int):
            yield from _flags(value, kind)
        elif name not in _IN_COLUMNS and value not in (None, False, 0, "", b"", [], {}):
            plain = isinstance(value, str | int)
            shown = value if plain else json.dumps(jsonable(value), ensure_ascii=False)
            yield _text(f"{name}={shown}")


def _flags(value: int, kind: str) -> Iterator[str]:
    names = _FLAGS.get(kind, _FLAGS["publish"])
    for name in names:
        bit: int = getattr(frames, name)
        if value & bit:
            value &= ~bit
            yield name
    if value:
        yield f"flags={value:#x}"
