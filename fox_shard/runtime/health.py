"""The health of the running processes, asked over their sockets in the run directory.

Owns: the questions, and how the answers are printed. Never: what makes a process healthy.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fox_shard.backplane.attached import is_attached
from fox_shard.config import Config
from fox_shard.runtime.attached_names import running
from fox_shard.runtime.cores import usable_cores
from fox_shard.runtime.name_lock import is_held

BUSY = 0.85
"""The share of a core that makes a process a busy one: beyond it, waiting times grow fast."""

_WHY_ONE = {
    "gateway": "some connections are much busier than the rest.",
    "shard": "some topics or procedures are much busier than the rest.",
}

HEALTH_TIMEOUT = 2.0
"""Seconds a process has to answer."""

ROUTER: Final = "router"
"""The name under which a server in one process answers, and holds its lock."""

NODES: Final = ("gateway-0", "shard-0", "coordinator")
"""What a server in one process consists of; each answers under its own name, as a process does."""


def check_health(config: Config, *, as_json: bool = False) -> int:
    """Ask all processes how they are and print it. Returns 0 if all are well, else 1.

    as_json: print each answer as it is.
    """
    healthy = True
    shares: dict[str, float] = {}
    run_dir = Path(config.run_dir)
    attached = sorted(running(run_dir))
    for name in (*_names(config), *attached):
        health = _ask(run_dir, name)
        # Attached gateways come and go, and the server is well without them.
        healthy &= health.get("status") == "ok" or name in attached
        if as_json:
            print(json.dumps({"name": name, **health}))
            continue
        links = health.pop("links", {})
        down = [peer for peer, up in links.items() if not (up or is_attached(peer))]
        for hidden in ("name", "pid", "listening", "metrics", "uptime", "processor"):
            health.pop(hidden, None)
        memory = health.pop("memory", 0)
        refused = health.pop("refused", {})
        share = health.pop("cores", None)
        fields = " ".join(f"{key}={value}" for key, value in health.items())
        if refused:
            fields += " refused=" + ",".join(f"{limit}:{n}" for limit, n in refused.items())
        if share is not None:
            shares[name] = share
            fields += f" cpu={share:.0%}"
        if memory:
            fields += f" memory={memory / (1 << 20):.0f}MiB"
        missing = f" not linked to {', '.join(down)}" if down else ""
        print(f"{name:<12} {fields}{missing}")
    for sentence in shortages(shares, usable_cores()):
        print(sentence)
    return 0 if healthy else 1


def shortages(shares: Mapping[str, float], cores: float) -> Iterator[str]:
    """Yield a sentence for what there is too little of: processes of a kind, or cores.

    shares: of a core, by process.
    """
    if sum(shares.values()) >= BUSY * cores:
        yield (
            f"The {cores:g} cores of this machine are used up: more processes would not help, "
            "more cores would."
        )
        return
    for kind, setting in (("gateway", "FOX_GATEWAYS"), ("shard", "FOX_SHARDS")):
        of_kind = [share for name, share in shares.items() if name.startswith(f"{kind}-")]
        if of_kind and min(of_kind) >= BUSY:
            yield f"All {kind}s are busy: one more would help (see {setting} in conf/fox.conf)."
        elif of_kind and max(of_kind) >= BUSY:
            yield f"One {kind} is busy, others are not: {_WHY_ONE[kind]}"


def _names(config: Config) -> list[str]:
    """Of all that is asked: the nodes of a server in one process, or else the processes."""
    alone = _ask(Path(config.run_dir), ROUTER)
    return process_names(config) if alone["status"] == "down" else list(alone.get("nodes", NODES))


def process_names(config: Config) -> list[str]:
    """Of all processes that there should be."""
    gateways = [f"gateway-{number}" for number in range(config.gateways)]
    shards = [f"shard-{number}" for number in range(config.shards)]
    functions = (one for realm in config.realms for one in realm.reducer if not one.is_built_in)
    webhooks = (realm.webhook for realm in config.realms)
    worker = ["worker"] if any(functions) or any(webhooks) else []
    web = ["web"] if config.web.address is not None else []
    return [*gateways, *shards, "coordinator", *worker, *web]


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
