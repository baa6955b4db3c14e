"""How all processes are, for whoever looks at the dashboard.

Owns: the questions to their sockets in the run directory, at most one a second to each. Never: what
makes a process healthy; who may know it (see `web.status`).
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Final, final

from fox_shard.config import Config
from fox_shard.runtime.attached_names import running
from fox_shard.runtime.health import HEALTH_TIMEOUT, process_names
from fox_shard.runtime.name_lock import is_held

KEPT: Final = 1.0
"""Seconds for which the answers are good for everybody who asks."""


@final
class ProcessHealth:
    """The health of the processes of one server: a `web.status.ProcessSource`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._run_dir = Path(config.run_dir)
        self._asking: asyncio.Task[list[dict[str, Any]]] | None = None
        self._asked = 0.0

    async def processes(self) -> list[dict[str, Any]]:
        """Return what each process says; of one that says nothing, why."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or now - self._asked >= KEPT:
            self._asked = now
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    async def _ask_all(self) -> list[dict[str, Any]]:
        names = [*process_names(self._config), *sorted(running(self._run_dir))]
        answers = await asyncio.gather(*(self._ask(name) for name in names))
        return [{**answer, "name": name} for name, answer in zip(names, answers, strict=True)]

    async def _ask(self, name: str) -> dict[str, Any]:
        path = self._run_dir / f"{name}.health"
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    answer: dict[str, Any] = json.loads(await reader.read())
                finally:
                    writer.close()
                return answer
        except (FileNotFoundError, ConnectionRefusedError):
            # A process with much data takes seconds until it can answer.
            return {"status": "starting" if is_held(self._run_dir, name) else "down"}
        except TimeoutError:
            return {"status": "down", "reason": f"no answer within {HEALTH_TIMEOUT:g} s"}
        except (OSError, ValueError) as error:
            return {"status": "down", "reason": str(error)}
