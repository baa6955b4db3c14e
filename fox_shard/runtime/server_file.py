"""The file in the run directory that says to attached gateways what server runs there.

Owns: the file, and whether what it says fits this version. Never: links.
"""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct

from fox_shard.backplane.frames import VERSION
from fox_shard.config import Config
from fox_shard.errors import StartError
from fox_shard.version import __version__

NAME: Final = "server.json"


class AttachError(StartError):
    """A gateway cannot be attached; the message is one sentence."""


class Server(Struct, frozen=True):
    """The running server. folder: where modules of Python functions are looked for first."""

    generation: int
    folder: str
    config: Config


class _Form(Struct, frozen=True):
    """What is in the file, of which other versions understand the first two fields."""

    protocol: int
    version: str
    server: Raw


def write_server(run_dir: Path, server: Server) -> None:
    """Replace the file. It is for the server's own user, as the configuration may have secrets."""
    data = msgspec.json.encode(_Form(VERSION, __version__, Raw(msgspec.json.encode(server))))
    beside = run_dir / f"{NAME}.{os.getpid()}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    beside.replace(run_dir / NAME)


def read_server(run_dir: Path) -> Server:
    """Return what server runs in that run directory. Raises AttachError."""
    path = run_dir / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise AttachError(
            f"No server has run in {run_dir}: there is no {NAME}. Start the server first, and give "
            "its run directory (run_dir)."
        ) from None
    except OSError as error:
        raise AttachError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        form = msgspec.json.decode(data, type=_Form)
        if form.protocol != VERSION:
            raise AttachError(
                f"The server in {run_dir} is fox-shard {form.version} with protocol "
                f"{form.protocol}, this is {__version__} with protocol {VERSION}: use the server's "
                "version."
            )
        return msgspec.json.decode(form.server, type=Server)
    except msgspec.DecodeError as error:
        raise AttachError(f"{path} is not from this version of fox-shard: {error}.") from error
