"""The health of the running processes, asked over their sockets in the run directory.

Owns: the questions, and how the answers are printed. Never: what makes a process healthy.
"""

import json
import socket
from pathlib import Path
from typing import Any

from fox_shard.config import Config
from fox_shard.runtime.name_lock import is_held

HEALTH_TIMEOUT = 2.0
"""Seconds a process has to answer."""


def check_health(config: Config) -> int:
    """Ask all processes how they are and print it. Returns 0 if all are well, else 1."""
    healthy = True
    for name in process_names(config):
        health = _ask(Path(config.run_dir), name)
        healthy &= health.get("status") == "ok"
        links = health.pop("links", {})
        down = [peer for peer, is_open in links.items() if not is_open]
        for hidden in ("name", "pid", "listening"):
            health.pop(hidden, None)
        refused = health.pop("refused", {})
        fields = " ".join(f"{key}={value}" for key, value in health.items())
        if refused:
            fields += " refused=" + ",".join(f"{limit}:{n}" for limit, n in refused.items())
        missing = f" not linked to {', '.join(down)}" if down else ""
        print(f"{name:<12} {fields}{missing}")
    return 0 if healthy else 1


def process_names(config: Config) -> list[str]:
    """Of all processes that there should be."""
    gateways = [f"gateway-{number}" for number in range(config.gateways)]
    shards = [f"shard-{number}" for number in range(config.shards)]
    return [*gateways, *shards, "coordinator"]


def _ask(run_dir: Path, name: str) -> dict[str, Any]:
    path = run_dir / f"{name}.health"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(HEALTH_TIMEOUT)
            client.connect(str(path))
            with client.makefile() as answer:
                health: dict[str, Any] = json.loads(answer.read())
                return health
    except (FileNotFoundError, ConnectionRefusedError):
        # A process with much data takes seconds until it can answer.
        return {"status": "starting" if is_held(run_dir, name) else "down"}
    except (OSError, ValueError) as error:
        return {"status": "down", "reason": str(error)}
