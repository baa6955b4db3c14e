"""Asking all processes at the same time how they are.

Owns: the questions, and how long there is for an answer. Never: what answers mean.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from fox_shard.config import Config
from fox_shard.runtime.attached_names import running
from fox_shard.runtime.health import ROUTER, process_names
from fox_shard.runtime.name_lock import is_held

PATIENCE: Final = 0.8
"""Seconds that a process has for its answer, before the next picture is due."""

LONGEST: Final = 1 << 24
"""Bytes of an answer, at most."""


class _Metrics(Struct):
    age: float
    counters: dict[str, float]
    gauges: dict[str, float]
    realms: dict[str, dict[str, float]]


class _Form(Struct):
    """What an answer has in it, if it is there, of all that is looked at."""

    status: str = ""
    pid: int | None = None
    processor: float | None = None
    cores: float = 0.0
    memory: int | None = None
    uptime: float | None = None
    sessions: int | None = None
    keys: int | None = None
    links: Mapping[str, bool] = {}
    metrics: _Metrics | None = None
    nodes: list[str] = []


def checked(line: bytes) -> dict[str, Any]:
    """Return an answer. Raises ValueError if it has another form than those of this version."""
    try:
        msgspec.json.decode(line, type=_Form)
        answer: dict[str, Any] = msgspec.json.decode(line)
    except RecursionError as error:
        raise ValueError("it has too many levels") from error
    return answer


async def ask_all(config: Config) -> dict[str, dict[str, Any]]:
    """Return what each process says, by name; of one that says nothing, why."""
    run_dir = Path(config.run_dir)
    router, *answers = await asyncio.gather(
        *(_ask(run_dir, name) for name in (ROUTER, *process_names(config)))
    )
    found = dict(zip(process_names(config), answers, strict=True))
    if "nodes" in router:
        # A server in one process: there are no others, whatever is configured.
        nodes = list(router["nodes"])
        answers = await asyncio.gather(*(_ask(run_dir, name) for name in nodes))
        found = {ROUTER: router, **dict(zip(nodes, answers, strict=True))}
    attached = sorted(running(run_dir))
    answers = await asyncio.gather(*(_ask(run_dir, name) for name in attached))
    return {**found, **dict(zip(attached, answers, strict=True))}


async def _ask(run_dir: Path, name: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(
                run_dir / f"{name}.health", limit=LONGEST
            )
            try:
                return checked(await reader.readline())
            finally:
                writer.close()
    except (FileNotFoundError, ConnectionRefusedError):
        return {"status": "starting" if is_held(run_dir, name) else "down"}
    except TimeoutError:
        return {"status": "silent", "reason": f"no answer within {PATIENCE:g} s"}
    except OSError as error:
        return {"status": "silent", "reason": str(error)}
    except ValueError as error:
        return {"status": "silent", "reason": f"its answer cannot be read: {error}"}
