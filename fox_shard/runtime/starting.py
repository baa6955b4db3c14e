"""The whole server in the foreground: `fox run`.

Owns: what must be true before anything is started, each with the sentence that says it is not; and
supervisord's exit code. Never: the processes, which supervisord starts and looks after.
"""

import os
from pathlib import Path

from supervisor import supervisord

from fox_shard import compiled
from fox_shard.config import Config, check_any_listener
from fox_shard.datadir.opening import is_in_memory
from fox_shard.gateway.sockets.certificates import CertificateError
from fox_shard.gateway.sockets.listening import ListenError
from fox_shard.gateway.sockets.tls_contexts import TlsContexts
from fox_shard.runtime.addresses import check_addresses
from fox_shard.runtime.openness import check_openness
from fox_shard.runtime.schemas import SchemaFileError, read_schemas
from fox_shard.runtime.sentences import tell
from fox_shard.runtime.supervision import identity_of, peer_of, refusal_of
from fox_shard.store.layout import Layout
from fox_shard.store.store import StoreError


def run_server(config: Config, config_file: Path, fox_conf: Path) -> int:
    """Run supervisord until it is told to stop. Returns the exit code.

    config_file: what the processes read. fox_conf: what supervisord reads. Raises ConfigError.
    """
    check_any_listener(config)
    try:
        _check_nothing_runs(fox_conf)
        check_addresses(config)
        TlsContexts(config.listeners)
        _check_data(config)
        read_schemas(config)
        openness = check_openness(config)
    except (AlreadyRuns, CertificateError, ListenError, SchemaFileError, StoreError) as error:
        tell(f"fox: {error}")
        return 1
    if openness:
        tell(openness)
    build = compiled.chosen(os.environ)
    if build.stale:
        tell(f"fox: {build.stale}")
    compiled.use(build, os.environ)
    os.environ["FOX_CONFIG"] = str(config_file.absolute())
    # fox.conf has supervisord's own files there, and not in `run_dir`.
    (fox_conf.absolute().parent.parent / "run").mkdir(mode=0o700, exist_ok=True)
    supervisord.main(["-n", "-c", str(fox_conf.absolute())])
    refusal = refusal_of(identity_of(os.getpid()), Path(config.run_dir))
    if refusal:
        tell(f"fox: The server has stopped: {refusal}")
    return 1 if refusal else 0


class AlreadyRuns(Exception):
    """The server of this folder does."""


def _check_nothing_runs(fox_conf: Path) -> None:
    folder = fox_conf.absolute().parent.parent
    pid = peer_of(folder / "run" / "supervisor.sock")
    if pid is not None:
        raise AlreadyRuns(
            f"The server in {folder} is already running, pid {pid}: stop it first "
            f"(`kill {pid}`), or run a copy of the project in another folder."
        )


def _check_data(config: Config) -> None:
    """Whether there is what must be. What is in the files the shards find out."""
    layout = None if is_in_memory(config) else Layout.read(Path(config.data_dir))
    if layout is not None:
        for number in range(layout.shards):
            layout.require(number)
