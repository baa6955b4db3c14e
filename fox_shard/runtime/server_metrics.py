"""The metrics of a whole server, gathered for `/metrics`.

Owns: asking the coordinator for its sums, and who is there. Never: what is counted (see
`coordinator.totals`); the form of the answers (see `web.metrics`).
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, final

import msgspec

from fox_shard.config import Config
from fox_shard.coordinator.totals import ProcessTotals, Sums
from fox_shard.runtime.health_socket import answers
from fox_shard.runtime.sums_socket import path_of
from fox_shard.web.metrics import MetricsPage, Snapshot

PATIENCE: Final = 2.0
"""Seconds in which the coordinator has to answer."""

_decoder = msgspec.msgpack.Decoder(Sums)


def metrics_page(
    config: Config,
    token: str,
    processes: Sequence[str],
    own: Callable[[], dict[str, ProcessTotals]],
) -> MetricsPage | None:
    """Return the answers at `/metrics`; None: nobody may read them.

    token: see `read_token`. processes, own: see `ServerMetrics`.
    """
    access = config.metrics.access
    if access == "off":
        return None
    return MetricsPage(ServerMetrics(config, processes, own), access, token)


@final
class ServerMetrics:
    """A `Source`: the sums of the coordinator, and who is there."""

    def __init__(
        self,
        config: Config,
        processes: Sequence[str],
        own: Callable[[], dict[str, ProcessTotals]],
    ) -> None:
        """processes: those that there should be. own: what this process has counted itself."""
        self._run_dir = Path(config.run_dir)
        self._data_dir = config.data_dir
        self._processes = processes
        self._own = own

    async def snapshot(self) -> Snapshot:
        """Return the values of now."""
        sums, server = await asyncio.gather(
            self._ask(), asyncio.to_thread(_filesystem, self._data_dir)
        )
        own = self._own()
        links = sums.links if sums is not None else {}
        up = {
            name: name in own or (answers(self._run_dir, name) and links.get(name, True))
            for name in dict.fromkeys((*self._processes, *own))
        }
        return Snapshot(up, sums, own, server)

    async def _ask(self) -> Sums | None:
        """Return the coordinator's answer; None: it is not there, or does not answer."""
        with suppress(OSError, TimeoutError, msgspec.DecodeError):
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_unix_connection(path_of(self._run_dir))
                try:
                    return _decoder.decode(await reader.read(-1))
                finally:
                    writer.close()
        return None


def _filesystem(folder: str) -> dict[str, int]:
    """Return its size and what is free, in bytes; nothing if the folder is not there yet."""
    try:
        told = os.statvfs(folder)
    except OSError:
        return {}
    return {"size": told.f_frsize * told.f_blocks, "free": told.f_frsize * told.f_bavail}
