"""The file with the keys of signed HTTP requests (`web.keys`).

Owns: reading it, its mode, and what is wrong with it. Never: signatures (see `web.signatures`).
"""

import os
from pathlib import Path

import msgspec

from fox_shard.errors import StartError
from fox_shard.users.secret_file import exposing_mode
from fox_shard.web.signatures import SigningKey


class SigningKeysFileError(StartError):
    """The file cannot be used; the message is one sentence."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: tuple[SigningKey, ...] = ()


def read_signing_keys(path: str) -> tuple[SigningKey, ...]:
    """Return the keys. path: "": there are none. Raises SigningKeysFileError."""
    if not path:
        return ()
    try:
        with Path(path).open("rb") as file:
            mode = exposing_mode(os.fstat(file.fileno()), os.getuid())
            text = file.read()
        keys = msgspec.toml.decode(text, type=_File).key
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SigningKeysFileError(f"Cannot read web.keys, {path}: {reason}.") from error
    if mode:
        raise SigningKeysFileError(
            f"{path} has the mode {mode}, so others on this machine may read it: chmod 600."
        )
    if len({one.key for one in keys}) < len(keys):
        raise SigningKeysFileError(f"{path} has two keys of one name.")
    return keys
