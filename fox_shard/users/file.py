"""The file with the users, `conf/users.toml`.

Owns: reading and writing it, its mode, and the place of a mistake. Never: when it is read; what the
`fox user` command says.
"""

import fcntl
import json
import os
import tomllib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from fox_shard.errors import StartError
from fox_shard.users.mistakes import in_words
from fox_shard.users.secret_file import exposing_mode
from fox_shard.users.user import DuplicateUser, Scram, User, Users, WampCra

MODE: Final = 0o600

HEAD: Final = """\
# The users, without their passwords. `fox user add`, `password`, `key` and `remove` write
# this file anew, without comments; a server that runs reads it again within seconds.
# See docs/users.md.
"""


class UsersFileError(StartError):
    """A file with users that cannot be read; the message is a sentence with the place."""


class _Document(Struct, forbid_unknown_fields=True):
    user: tuple[User, ...] = ()


def read(path: Path) -> Users | None:
    """Return the users; None if there is no file. Raises UsersFileError."""
    try:
        with path.open("rb") as file:
            if mode := exposing_mode(os.fstat(file.fileno()), os.getuid()):
                raise UsersFileError(
                    f"{path} has the mode {mode}, so others on this machine may read it: "
                    f"chmod 600 {path}"
                )
            text = file.read().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsersFileError(f"Cannot read the users in {path}: {reason}.") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Users:
    """Return the users that a TOML text describes. name: its name in errors.

    Raises UsersFileError, with the path of the wrong key.
    """
    try:
        document = msgspec.convert(tomllib.loads(text), _Document)
        return Users(document.user)
    except tomllib.TOMLDecodeError as error:
        raise UsersFileError(f"{name} is not valid TOML: {error}.") from error
    except msgspec.ValidationError as error:
        what, _, where = in_words(error).partition(" - at `$")
        place = where.rstrip("`").lstrip(".")
        raise UsersFileError(f"{name}: {place + ': ' if place else ''}{what}.") from error
    except DuplicateUser as error:
        raise UsersFileError(f"{name}: {error}.") from error


def change(path: Path, edit: Callable[[tuple[User, ...]], Iterable[User]]) -> None:
    """Replace the users with `edit(users)`, all or nothing; one `change` waits for another.

    Raises UsersFileError, and what `edit` raises; the file is left as it was then.
    """
    try:
        # A server without any file (`fox serve`) has no folder for them either.
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent):
            users = read(path)
            text = render(edit(users.all if users is not None else ()))
            parse(text, str(path))
            _replace(path, text)
    except OSError as error:
        raise UsersFileError(f"Cannot write the users to {path}: {error.strerror}.") from error


def render(users: Iterable[User]) -> str:
    """Return the users as a TOML text."""
    return HEAD + "".join("\n[[user]]\n" + "".join(_lines(user, "user")) for user in users)


def _lines(struct: Struct, section: str) -> Iterator[str]:
    """Yield the lines of a section, those with default values left out, then its subsections."""
    fields = msgspec.structs.fields(struct)
    values = [(one.name, getattr(struct, one.name)) for one in fields]
    values = [
        (name, value)
        for (name, value), one in zip(values, fields, strict=True)
        if value != one.default
    ]
    for name, value in values:
        if not isinstance(value, Scram | WampCra):
            yield f"{name} = {_value(value)}\n"
    for name, value in values:
        if isinstance(value, Scram | WampCra):
            yield f"[{section}.{name}]\n"
            yield from _lines(value, f"{section}.{name}")


def _value(value: Any) -> str:  # noqa: ANN401 - of any field
    """Return a value as TOML, whose texts, numbers and lists are written as in JSON."""
    if isinstance(value, bytes):
        value = b64encode(value).decode()
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which other changes wait for."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write the file beside itself, and put it in its place: no reader sees a part of it.

    What root writes belongs to whoever the former file belonged to, or else the folder: otherwise
    the server, which is another user, could not read what `sudo fox user` has written.
    """
    path = path.resolve()
    former = (path if path.exists() else path.parent).stat()
    beside = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if os.geteuid() == 0:
            os.fchown(file.fileno(), former.st_uid, former.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
