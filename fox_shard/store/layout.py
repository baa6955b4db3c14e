"""The layout of a data folder: its files, and the number of shards that they are for.

Owns: the manifest, the paths of files, and the lock that says whether the layout may change.
Never: what is in the stores.

    manifest.json                   {"format": 2, "generation": 2, "shards": 3}
    lock                            held shared to use the files, alone to move them
    generation-2/shard-0.sqlite     … shard-2.sqlite
    coordinator.sqlite

Another number of shards means another generation: its files are written beside the old ones, and
the manifest, which is replaced in one step, says which generation counts.

In a new folder, the manifest is written first, marked `"complete": false`, then the files of all
shards, then the manifest without that mark. From then on, a missing file has been lost. Manifests
of format 1 have no such mark: their layout counts as complete if any of its files exists.
"""

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Literal, NamedTuple, Self, final

import msgspec
from msgspec import Meta, Struct

from fox_shard.store.bulk import Bulk
from fox_shard.store.disk import sync
from fox_shard.store.file import Label
from fox_shard.store.refusals import refusing, remedy
from fox_shard.store.store import StoreError

FORMAT: Final = 2
"""Format of the folder; the files in it have a format of their own."""

LOOK_AGAIN: Final = 0.02
"""Seconds between two looks at a manifest that another process is completing."""


class _Manifest(Struct, omit_defaults=True):
    format: Literal[1, 2]
    generation: Annotated[int, Meta(ge=1, lt=1 << 53)]
    shards: Annotated[int, Meta(ge=1, le=64)]
    complete: bool = True


class _Format(Struct):
    format: int


class Layout(NamedTuple):
    """The content of a folder's manifest. complete: the files of all shards have been made."""

    folder: Path
    generation: int
    shards: int
    complete: bool = True

    @property
    def directory(self) -> Path:
        """The folder with the shards' files."""
        return self.folder / f"generation-{self.generation}"

    @property
    def coordinator(self) -> tuple[Path, Label]:
        """The coordinator's file, which belongs to no generation, and its label."""
        return self.folder / "coordinator.sqlite", Label("coordinator", 0)

    def shard(self, number: int) -> tuple[Path, Label]:
        """Return a shard's file and its label."""
        label = Label(f"shard {number} of {self.shards}", self.generation)
        return self.directory / f"shard-{number}.sqlite", label

    def require(self, number: int) -> None:
        """Raise StoreError if the shard's file has been lost."""
        path, _ = self.shard(number)
        if self.complete and not path.exists():
            raise StoreError(
                f"{path} is missing, and with it all keys of shard {number}: bring it back, or "
                f"{remedy(path)}."
            )

    def next(self, shards: int) -> "Layout":
        """Return the layout of the next generation, for that number of shards."""
        return Layout(self.folder, self.generation + 1, shards)

    @classmethod
    def read(cls, folder: Path) -> "Layout | None":
        """Return the layout of the folder; None: there is no manifest. Raises StoreError.

        Hold the lock: without it, another generation may begin at any moment.
        """
        manifest = _read(folder)
        return None if manifest is None else _layout(folder, manifest)

    @classmethod
    def open(
        cls, folder: Path, shards: int, on_new: Callable[[Path], None] = lambda folder: None
    ) -> "Layout":
        """Return the layout of the folder; in a new folder, first make generation 1.

        shards: the number of shards of a new folder; an existing layout may have another one.
        on_new: called with the folder once its files have been made. Several processes may call
        this at the same time. Raises StoreError.
        """
        cls.begin(folder, shards)
        while not _is_current(_read(folder)):
            try:
                with Hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    if _complete(folder):
                        on_new(folder)
            except BlockingIOError:
                # Another process is making the files, or has made them and uses them now.
                time.sleep(LOOK_AGAIN)
        return cls.read(folder) or cls.open(folder, shards, on_new)

    @classmethod
    def begin(cls, folder: Path, shards: int) -> None:
        """Write the manifest of a new folder, but none of its files. Raises StoreError."""
        if cls.read(folder) is not None:
            return
        lost = next(folder.glob("generation-*"), None)
        # Another process may have begun the folder in between; then nothing is lost.
        if lost is not None and cls.read(folder) is None:
            raise StoreError(
                f"{_manifest(folder)} is missing, but {lost.name} is there: bring it back, or move "
                f"{lost.name} away to begin with nothing."
            )
        _begin(cls(folder, 1, shards, complete=False))

    def replace(self) -> None:
        """Make this the layout that counts. Hold the lock alone. Raises StoreError."""
        path = _manifest(self.folder)
        with refusing(path):
            _write(self, path.with_suffix(".new")).rename(path)
            sync(self.folder)


def _begin(layout: Layout) -> None:
    path = _manifest(layout.folder)
    with refusing(path):
        layout.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = _write(layout, path.with_suffix(f".{os.getpid()}"))
        try:
            with suppress(FileExistsError):
                # Unlike a rename, a link does not replace the manifest of a faster process.
                os.link(written, path)
        finally:
            written.unlink()
        sync(layout.folder)
        sync(layout.folder.parent)  # in which the folder may be new


def _complete(folder: Path) -> bool:
    """Make the files of an incomplete layout; returns whether it was one. Hold the lock alone."""
    manifest = _read(folder)
    if manifest is None:
        raise StoreError(f"{_manifest(folder)} has gone: somebody moves what is in {folder}.")
    layout = _layout(folder, manifest)
    made = not layout.complete
    if made:
        with refusing(layout.directory):
            layout.directory.mkdir(mode=0o700, exist_ok=True)
        for path, label in map(layout.shard, range(layout.shards)):
            if not path.exists():
                Bulk(path, label).finish()
        with refusing(folder):
            sync(folder)
    if made or manifest.format < FORMAT:
        layout._replace(complete=True).replace()
    return made


def _is_current(manifest: _Manifest | None) -> bool:
    return manifest is not None and manifest.format == FORMAT and manifest.complete


def _read(folder: Path) -> _Manifest | None:
    path = _manifest(folder)
    try:
        with refusing(path):
            text = path.read_bytes()
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        number = msgspec.json.decode(text, type=_Format).format
        if number > FORMAT:
            raise StoreError(
                f"{path} has format {number}, and this version of fox-shard knows formats up to "
                f"{FORMAT}: start the version of fox-shard that wrote it."
            )
        return msgspec.json.decode(text, type=_Manifest)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"{path} is damaged ({error}): write it anew as "
            f'{{"format": {FORMAT}, "generation": …, "shards": …}}, with the number of the '
            "generation-… folder beside it and the number of shard files therein."
        ) from error


def _layout(folder: Path, manifest: _Manifest) -> Layout:
    layout = Layout(folder, manifest.generation, manifest.shards, manifest.complete)
    if manifest.format > 1:
        return layout
    there = any(layout.shard(number)[0].exists() for number in range(layout.shards))
    return layout._replace(complete=there)


def _write(layout: Layout, path: Path) -> Path:
    manifest = _Manifest(FORMAT, layout.generation, layout.shards, layout.complete)
    path.write_bytes(msgspec.json.encode(manifest))
    sync(path)
    return path


def _manifest(folder: Path) -> Path:
    return folder / "manifest.json"


@final
class Hold:
    """The lock of a data folder, until `release` or the end of the process.

    The lock belongs to this object: while it is held shared, even the same process cannot take it
    alone.
    """

    def __init__(self, folder: Path, operation: int) -> None:
        """Take the lock. operation: see flock(2). Raises BlockingIOError, StoreError."""
        path = folder / "lock"
        with refusing(path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = path.open("a")
        try:
            fcntl.flock(self._file, operation)
        except BaseException:
            self._file.close()
            raise

    def release(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def hold_shared(folder: Path, *, wait: bool) -> Hold:
    """Take the lock shared, so that the layout stays as it is while its files are in use.

    wait: wait for a process that is moving the files, instead of raising StoreError.
    """
    try:
        return Hold(folder, fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise StoreError(
            f"The files in {folder} are being moved by `fox reshard` or `fox load`: try again when "
            "that has ended."
        ) from None


def hold_alone(folder: Path) -> Hold:
    """Take the lock alone, to move the files. Raises StoreError if a process uses them."""
    try:
        return Hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(
            f"The files in {folder} are in use, by a shard that runs or by another `fox` command: "
            "stop the server, then try again."
        ) from None
