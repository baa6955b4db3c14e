"""What an attached gateway needs to begin: its server's configuration, and a name.

Owns: how a process gets these, given the run directory of a server. Never: the gateway itself (see
`make_gateway`, `ClientSide`), the event loop.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

from msgspec.structs import replace

from fox_shard.backplane.attached import name_of
from fox_shard.config import Config
from fox_shard.config.attached import attached_config
from fox_shard.config.reader import NO_SETTINGS
from fox_shard.runtime.attached_names import clear_away
from fox_shard.runtime.health_socket import answers
from fox_shard.runtime.name_lock import hold_name
from fox_shard.runtime.server_file import AttachError, read_server


class Place(NamedTuple):
    """The place of an attached gateway beside a server.

    config: the server's, with the gateway's own listeners. generation: of the server's layout.
    folder: where modules of Python functions are looked for first. number: see `Gateway`; nobody
    had it before. lock: goes with the process, and tells the server that the gateway runs.
    """

    config: Config
    generation: int
    folder: Path
    number: str
    lock: TextIO


def take_place(
    run_dir: Path, environ: Mapping[str, str], settings: Mapping[str, object] = NO_SETTINGS
) -> Place:
    """Return a place beside the server of that run directory.

    environ: may set the gateway's own listeners and limits (FOX_GATEWAY_…); so may settings, by
    path. Raises AttachError, or ConfigError.
    """
    server = read_server(run_dir)
    own = attached_config(server.config, environ, settings)
    config = replace(own, run_dir=str(run_dir.absolute()))
    clear_away(run_dir)
    name = name_of(secrets.randbits(48))
    number = name.partition("-")[2]
    return Place(config, server.generation, Path(server.folder), number, hold_name(config, name))


def refuse_if_ended(run_dir: Path, config: Config) -> None:
    """Raise AttachError if neither the coordinator nor any shard of the server runs."""
    names = ["coordinator", *(f"shard-{number}" for number in range(config.shards))]
    if not any(answers(run_dir, name) for name in names):
        raise AttachError(
            f"The server of {run_dir} does not run any more: start it first, or give the "
            "run directory (run_dir) of one that runs."
        )


def leave_place(place: Place) -> None:
    """Give the place back, at the end."""
    place.lock.close()
    (Path(place.config.run_dir) / f"gateway-{place.number}.lock").unlink(missing_ok=True)
