"""The line that says that the server is ready.

Owns: when all processes are linked and all gateways listen, and whether that is news. Never: what
makes a process healthy.

The coordinator looks after each of its starts, and writes into the run directory which processes it
found. If one of these still runs the next time, only some processes were restarted, which is no
news.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any, Final

from fox_shard.config import Config
from fox_shard.runtime.health import HEALTH_TIMEOUT, process_names
from fox_shard.runtime.supervision import READY, Supervisor

_log = logging.getLogger("fox")

LOOK_AGAIN: Final = 0.1
"""Seconds."""


async def announce_ready(config: Config, supervisor: Supervisor | None) -> None:
    """Wait until the server is ready, and say so once."""
    answers = await _all_ready(config)
    pids = " ".join(f"{name}={answer['pid']}" for name, answer in answers.items())
    identity = supervisor.identity if supervisor else ""
    path = Path(config.run_dir) / READY
    before = path.read_text().split("\n") if path.exists() else ["", ""]
    path.write_text(f"{identity}\n{pids}")
    if before[0] != identity or set(before[1].split()).isdisjoint(pids.split()):
        _log.info("ready", extra={"fox": answers["gateway-0"]["listening"]})


async def _all_ready(config: Config) -> dict[str, dict[str, Any]]:
    # The HTTP server says itself where it listens; nobody waits for it.
    names = [name for name in process_names(config) if name != "web"]
    answers: dict[str, dict[str, Any]] = {}
    while len(answers) < len(names):
        answers = {}
        for name in names:
            answer = await _ask(Path(config.run_dir) / f"{name}.health")
            if not is_ready(name, answer):
                await asyncio.sleep(LOOK_AGAIN)
                break
            answers[name] = answer
    return answers


def is_ready(name: str, health: dict[str, Any]) -> bool:
    """Is the process of that name linked, and does it listen if it is a gateway?"""
    listens = "listening" in health or not name.startswith("gateway-")
    return health.get("status") == "ok" and listens


async def _ask(path: Path) -> dict[str, Any]:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                answer: dict[str, Any] = json.loads(await reader.read())
            finally:
                writer.close()
            return answer
    except (OSError, TimeoutError, ValueError):
        return {}  # it is not there yet
