"""The next generation of a data folder: the files of all shards, written anew.

Owns: which rows are carried over; that the old generation counts until the next one is complete.
Never: why there is a next one.

At every moment, the manifest names one generation whose files are whole. Files of other generations
that are left behind are removed when the next generation is written.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from heapq import merge
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

import msgspec

from fox_shard.backplane.frames import Contribution, Event
from fox_shard.backplane.placement import Placement
from fox_shard.datadir.builds import Builds
from fox_shard.datadir.damage import OnDamage, described, naming_rows
from fox_shard.datadir.definitions import Definitions
from fox_shard.shard import rows
from fox_shard.shard.history.cursor import TrimMarks
from fox_shard.shard.links.outbox import OWN
from fox_shard.store import journal
from fox_shard.store.bulk import Bulk
from fox_shard.store.disk import sync
from fox_shard.store.file import Label, count, read, read_identity, salvage
from fox_shard.store.layout import Layout
from fox_shard.store.refusals import refusing
from fox_shard.store.statements import LARGEST
from fox_shard.store.store import StoreError
from fox_shard.topics.ids import SHARDS

Row = tuple[bytes, bytes, int]
"""Key, value, and number of the shard that had the row."""

BUFFER: Final = 1 << 20
"""Bytes of values for one shard that may wait for a statement."""

SPARE: Final = 1 << 20
"""Bytes that must be free on the disk for each new file, beside its rows."""

_OF_AGGREGATES: Final = (rows.BUILD, rows.CONTRIBUTION, rows.UNWRITTEN)
"""Kinds of rows that are computed from keys."""

_RESTORE: Final = "move the data folder away and restore a backup with `fox load`."
_NEWER: Final = "start the version of fox-shard that wrote it."

_OURS: Final = re.compile(r"shard-[0-9]+\.sqlite(-wal|-shm|-journal|\.lock|\.new)?")


def stored(folder: Path) -> Layout:
    """Return the layout of a folder that has lost no file. Hold its lock. Raises StoreError."""
    layout = require(folder)
    for number in range(layout.shards):
        layout.require(number)
    return layout


def require(folder: Path) -> Layout:
    """Return the layout of a folder. Raises StoreError if nothing is stored; makes no folder."""
    layout = Layout.read(folder)
    if layout is None:
        raise StoreError(f"Nothing is stored in {folder} yet.")
    return layout


def shards_with_files(layout: Layout) -> list[int]:
    """Return the numbers of the shards that have files: all, if the layout is complete."""
    return [number for number in range(layout.shards) if layout.shard(number)[0].exists()]


def count_rows(layout: Layout, prefix: bytes = b"") -> int:
    """Return the number of rows, in all shards, whose keys begin so. Raises StoreError."""
    return sum(count(*layout.shard(number), prefix) for number in shards_with_files(layout))


def read_keys(layout: Layout) -> Iterator[Event]:
    """Yield the retained keys, one shard after the other, each shard's as of one moment.

    Raises StoreError, at any key.
    """
    for number in shards_with_files(layout):
        with naming_rows(), closing(read(*layout.shard(number), rows.KEY)) as found:
            for key, value in found:
                yield decode_event(key, value)


def salvage_keys(folder: Path, on_damage: OnDamage) -> Iterator[Event]:
    """Yield the retained keys, without those that are missing or damaged.

    on_damage: called for each key or file that is left out. Hold the lock. Raises StoreError if
    nothing is stored.
    """
    layout = require(folder)
    for number in range(layout.shards):
        path, label = layout.shard(number)
        if not path.exists():
            on_damage(f"{path} is missing")
            continue
        try:
            yield from _salvage(path, label, on_damage)
        except StoreError as error:
            on_damage(f"what follows in {path} ({error.__cause__ or error})")


def _salvage(path: Path, label: Label, on_damage: OnDamage) -> Iterator[Event]:
    damaged: list[bytes] = []
    with closing(salvage(path, label, rows.KEY, damaged.append)) as found:
        for key, value in found:
            try:
                yield decode_event(key, value)
            except StoreError:
                damaged.append(key)
    for key in damaged:
        on_damage(described(path, key))


def decode_event(key: bytes, value: bytes) -> Event:
    """Return the event that a row holds. Raises StoreError."""
    try:
        return rows.decode_event(value)
    except msgspec.MsgspecError as error:
        raise StoreError(f"The row {key[:40]!r} is damaged ({error}): {_RESTORE}") from error


def read_rows(layout: Layout) -> Iterator[Row]:
    """Yield all shards' rows in the order of their keys, in which they are written fastest.

    Raises StoreError, at any row.
    """
    return merge(*(_rows_of(layout, number) for number in shards_with_files(layout)))


def _rows_of(layout: Layout, number: int) -> Iterator[Row]:
    with naming_rows(), closing(read(*layout.shard(number))) as found:
        for key, value in found:
            yield key, value, number


def home_of(key: bytes, value: bytes, placement: Placement) -> int | None:
    """Return the shard to which a row goes in another generation; None: to no single shard.

    Rows of peers, outcomes, waiters, grants and unannounced changes are left behind, because they
    belong to processes and clients that have ended. Clock ceilings, reducers, definitions of
    tables, builds of aggregates and trim marks of event logs go to all shards, and frames of
    outboxes to the owners of their topics, with keys of their own (see `NextGeneration`). Raises
    StoreError.
    """
    with _reading(key):
        match key[:1]:
            case rows.KEY | rows.TOPIC_MARKS:
                return placement.shard_of(*rows.key_ref_of(key))
            case rows.CONTRIBUTION | rows.UNWRITTEN:
                realm, _, topic, _ = rows.group_of(key)
                return placement.shard_of(realm, topic)
            case rows.RECORDED:
                publish = rows.decode_event(value).publish
                return placement.shard_of(publish.realm, publish.topic)
            case rows.QUEUED:
                queued = rows.decode_queued(value)
                return placement.shard_of(queued.event.publish.realm, queued.topic)
            case rows.LOG_MARKS | rows.RESHARDED | rows.REDUCER | rows.DEFINITION:
                return None
            case rows.WILL:
                publish = rows.decode_will(value).publish
                return placement.shard_of(publish.realm, publish.topic)
            case (
                rows.UNANNOUNCED
                | rows.WAITER
                | rows.GRANT
                | rows.PEER
                | rows.OUTCOMES
                | rows.OUTBOX
                | rows.LAST
                | rows.BUILD
                | rows.CEILING
                | journal.TRIAL
            ):
                return None
    raise StoreError(f"The row {key[:40]!r} is of an unknown kind: {_NEWER}")


@contextmanager
def _reading(key: bytes) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise StoreError(f"The row {key[:40]!r} is damaged ({error}): {_RESTORE}") from error


@final
class _Outboxes:
    """The outboxes of the old generation: which of their frames are not in other stores yet.

    Rows come in the order of their keys, so that all watermarks come before all frames.
    """

    def __init__(self, old: Layout) -> None:
        self._old = old
        # Name of the sender -> the identity of its store.
        self._identities: dict[str, int] = {}
        # (receiver, sender) -> the receiver's row about the sender.
        self._watermarks: dict[tuple[str, str], rows.PeerRow] = {}

    def note_watermark(self, row: Row) -> None:
        """Note up to which frame a shard has the frames of another shard."""
        key, value, shard = row
        with _reading(key):
            self._watermarks[f"shard-{shard}", rows.peer_of(key)] = rows.decode_peer(value)

    def waits(self, row: Row) -> bool:
        """Whether the frame has not had its effect in the shard that it was sent to."""
        key, _, shard = row
        receiver, sender = rows.peer_of(key), f"shard-{shard}"
        reached = self._watermarks.get((receiver, sender))
        return (
            reached is None
            or reached.identity != self._identity_of(shard, sender)
            or reached.watermark < rows.number_of(key)
        )

    def _identity_of(self, shard: int, sender: str) -> int:
        if sender not in self._identities:
            self._identities[sender] = read_identity(*self._old.shard(shard))
        return self._identities[sender]


@final
class NextGeneration:
    """The generation after `old`, while its files are written.

    A context manager that removes the files unless `finish` was called. Hold the lock alone. All
    methods raise StoreError.
    """

    def __init__(
        self, old: Layout, shards: int, needed: int, *, with_aggregates: bool = True
    ) -> None:
        """Make room in the folder. needed: roughly the bytes of rows that will be written.

        with_aggregates: otherwise what rows contribute to aggregates is left behind, also what is
        on its way, so that the shards compute it anew.
        """
        self._with_aggregates = with_aggregates
        self._builds = Builds(old.shards)
        self.layout = old.next(shards)
        self.placement = Placement(shards)
        self._ceiling = 0
        # Topics of one event log may come from several shards and go to any shard, so that the
        # marks of all old shards go to all new ones.
        self._log_marks: dict[bytes, TrimMarks] = {}
        # Every shard knows every reducer.
        self._reducers: dict[bytes, bytes] = {}
        self._outboxes = _Outboxes(old)
        self.definitions = Definitions()
        # What is made of the rows that concern more than one new shard, by kind.
        self._of_all_shards: dict[bytes, Callable[[Row], None]] = {
            rows.CEILING: self._note_ceiling,
            rows.PEER: self._outboxes.note_watermark,
            rows.OUTBOX: self._carry_over_frame,
            rows.LOG_MARKS: self._note_log_marks,
            rows.REDUCER: self._note_reducer,
            rows.DEFINITION: self._note_definition,
            rows.BUILD: self._note_build,
        }
        self._files: list[Bulk] = []
        self._waiting: list[list[bytes]] = [[] for _ in range(shards)]
        self._sizes = [0] * shards
        # How many frames of outboxes each shard has got.
        self._frames = [0] * shards
        self._finished = False
        with refusing(old.folder):
            remove_others(old)
            _check_room(old.folder, needed + shards * SPARE)
            self.layout.directory.mkdir(mode=0o700, exist_ok=True)
            sync(old.folder)

    def __enter__(self) -> Self:
        try:
            for number in range(self.layout.shards):
                self._files.append(Bulk(*self.layout.shard(number)))
        except BaseException:
            self._undo()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._finished:
            self._undo()

    def _undo(self) -> None:
        for file in self._files:
            file.abandon()
        with refusing(self.layout.directory):
            _remove(self.layout.directory)

    def put(self, shard: int, key: bytes, value: bytes) -> None:
        """Write a row; a key's last value counts."""
        waiting = self._waiting[shard]
        waiting += (key, value)
        self._sizes[shard] += len(value)
        if len(waiting) == 2 * LARGEST or self._sizes[shard] > BUFFER:
            self._flush(shard)

    def _flush(self, shard: int) -> None:
        self._files[shard].put(self._waiting[shard])
        self._waiting[shard] = []
        self._sizes[shard] = 0

    def raise_ceiling(self, ticks: int) -> None:
        """Let the clocks of all shards begin above `ticks` (publication ids divided by 64)."""
        self._ceiling = max(self._ceiling, ticks)

    def carry_over(self, row: Row) -> int | None:
        """Carry over a row of the old generation; returns its new shard (see `home_of`)."""
        key, value, _ = row
        if key[:1] in _OF_AGGREGATES and not self._with_aggregates:
            return None
        home = home_of(key, value, self.placement)
        if home is not None:
            self.put(home, key, value)
        elif key[:1] in self._of_all_shards:
            self._of_all_shards[key[:1]](row)
        return home

    def _note_ceiling(self, row: Row) -> None:
        self.raise_ceiling(rows.decode_ceiling(row[1]))

    def _note_log_marks(self, row: Row) -> None:
        key, value, _ = row
        self._log_marks.setdefault(key, TrimMarks()).add(rows.decode_marks(value))

    def _note_reducer(self, row: Row) -> None:
        key, value, _ = row
        self._reducers[key] = value

    def _note_build(self, row: Row) -> None:
        key, value, _ = row
        with _reading(key):
            self._builds.add(key, rows.decode_build(value))

    def _note_definition(self, row: Row) -> None:
        key, value, _ = row
        with _reading(key):
            self.definitions.add(key, rows.decode_definition(value))

    def _carry_over_frame(self, row: Row) -> None:
        """Let the owner of a frame's topic find the frame as one of its own (see `ShardOutbox`)."""
        key, value, _ = row
        with _reading(key):
            frame = rows.decode_outbox_frame(value)
            waits = self._outboxes.waits(row)
        if isinstance(frame, Contribution) and not self._with_aggregates:
            return
        if waits and frame.target_topic:
            home = self.placement.shard_of(frame.realm, frame.target_topic)
            self._frames[home] += 1
            self.put(home, rows.outbox(OWN, self._frames[home]), value)

    def finish(self, old: Layout) -> None:
        """Make this generation the one that counts, and remove the old one."""
        for shard, file in enumerate(self._files):
            if self._ceiling:
                self.put(shard, rows.CEILING, rows.encode(self._ceiling))
                self.put(shard, rows.RESHARDED, rows.encode(self._ceiling * SHARDS))
            for key, marks in self._log_marks.items():
                self.put(shard, key, rows.encode(marks.ids))
            for key, value in self._reducers.items():
                self.put(shard, key, value)
            for key, value in self.definitions.encoded():
                self.put(shard, key, value)
            for key, value in self._builds.merged(self.layout.shards):
                self.put(shard, key, value)
            self._flush(shard)
            file.finish()
        # From here on the manifest alone decides which generation counts: undo nothing.
        self._finished = True
        self.layout.replace()
        with refusing(old.directory):
            remove_others(self.layout)


def remove_others(layout: Layout) -> None:
    """Remove all generations but this one: unfinished ones and old ones. Raises OSError."""
    for directory in layout.folder.glob("generation-*"):
        if directory != layout.directory:
            _remove(directory)


def _remove(directory: Path) -> None:
    """Remove our files, and their folder if it holds no others."""
    for path in directory.iterdir():
        if _OURS.fullmatch(path.name):
            path.unlink()
    if not any(directory.iterdir()):
        directory.rmdir()


def size(layout: Layout) -> int:
    """Return the bytes of the shards' files, logs included. Raises StoreError."""
    with refusing(layout.directory):
        return sum(path.stat().st_size for path in layout.directory.glob("shard-*.sqlite*"))


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"There is no room in {folder}: {needed >> 20} MiB are needed beside what is there, "
            f"and {free >> 20} MiB are free: make room, then try again."
        )
