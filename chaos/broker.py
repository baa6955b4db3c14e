"""The broker's processes, restarted when they end, as by supervisord with conf/fox.conf.

Owns: processes, their ports and folder, their logs. Never: when they are killed.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.measure import listening, owner
from bench.ports import free_port

ROOT = Path(__file__).parents[1]

START = 60.0
"""Seconds within which all processes must be linked and serve."""

END = 20.0
"""Seconds within which a process must end after SIGTERM."""

RAN = 1.0
"""Seconds after which a start counts as successful (`startsecs`); others delay the next start."""

PEER_TIMEOUT = 3.0
"""Seconds after which the other processes give up a process that hangs."""

BAD_SIGNS = ("Traceback", " CRITICAL ", "unreadable_batch")
"""Texts that no log may contain, whichever processes are killed."""

SLOW_TURN = re.compile(r" slow_turn .*where=(\S+)")
SLOW_TURN_OVER = re.compile(r" slow_turn_over .*seconds=([\d.]+)")


async def until(what: str, condition: Callable[[], bool], patience: float) -> None:
    """Poll until the condition holds: there are no notices when processes and files change.

    Raises AssertionError with `what` after `patience` seconds.
    """
    try:
        async with asyncio.timeout(patience):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"after {patience:g} s still not: {what}") from None


class Broker:
    """The processes of one broker, which are restarted whenever they end, from `start` to `stop`.

    exits: (name, exit code) of every process that has ended. hanging: stopped by `hang` now.
    harmed: when each process was last sent a signal.
    """

    def __init__(self, gateways: int, shards: int, more: str = "") -> None:
        """more: what the configuration has in addition to conf/fox.toml: sections of its realm."""
        self.folder = Path(tempfile.mkdtemp(prefix="fox-chaos-"))
        self._config = self.folder / "conf" / "fox.toml"
        self._config.parent.mkdir()
        self._config.write_text((ROOT / "conf" / "fox.toml").read_text() + more)
        self.gateways = [f"gateway-{number}" for number in range(gateways)]
        shard_names = [f"shard-{number}" for number in range(shards)]
        self.names = [*shard_names, "coordinator", *self.gateways]
        self.ports = {"rawsocket": free_port(), "mqtt": free_port(), "websocket": free_port()}
        listeners = {
            f"FOX_GATEWAY_{kind.upper()}": f"127.0.0.1:{port}" for kind, port in self.ports.items()
        }
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FOX_")},
            **listeners,
            "FOX_BACKPLANE_PEER_TIMEOUT": str(PEER_TIMEOUT),
            "FOX_WEB_ADDRESS": "off",
            "FOX_GATEWAYS": str(gateways),
            "FOX_SHARDS": str(shards),
            "FOX_RUN_DIR": str(self.folder / "run"),
            "FOX_DATA_DIR": str(self.folder / "data"),
        }
        self.processes: dict[str, Process] = {}
        self.hanging: set[str] = set()
        self.harmed: dict[str, float] = {}
        self.exits: list[tuple[str, int]] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._machine_runs = asyncio.Event()
        self._machine_runs.set()

    async def start(self) -> None:
        """Start all processes; return when they are linked and serve."""
        self._keepers = [asyncio.create_task(self._keep(name)) for name in self.names]
        await self.whole()

    async def _keep(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        delay = 0
        while True:
            await self._machine_runs.wait()
            began = loop.time()
            with (self.folder / f"{name}.log").open("ab") as log:
                process = self.processes[name] = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "fox_shard", *name.split("-")),
                    *("--config", str(self._config)),
                    cwd=ROOT,
                    env=self._environment,
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                )
            self.exits.append((name, await process.wait()))
            delay = 0 if loop.time() - began >= RAN else delay + 1
            await asyncio.sleep(delay)

    def pid(self, name: str) -> int | None:
        """Return the process id, or None if the process is not running now."""
        process = self.processes.get(name)
        return process.pid if process is not None and process.returncode is None else None

    def send(self, name: str, number: signal.Signals) -> bool:
        """Send a signal; return False if the process is not running."""
        if self.pid(name) is None or not send_signal(self.processes[name], number):
            return False
        self.harmed[name] = asyncio.get_running_loop().time()
        return True

    async def hang(self, name: str, seconds: float) -> bool:
        """Stop a process for so many seconds; return False if the process is not running."""
        if not self.send(name, signal.SIGSTOP):
            return False
        self.hanging.add(name)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.send(name, signal.SIGCONT)
            self.hanging.discard(name)
        return True

    async def pause(self, seconds: float) -> None:
        """Stop all processes for so many seconds, as on a machine that is suspended.

        Meanwhile none is started, which would find that the others are gone.
        """
        self._machine_runs.clear()
        await asyncio.gather(*(self.hang(name, seconds) for name in self.names))
        self._machine_runs.set()

    def is_well(self, name: str) -> bool:
        """Whether the process reports that it is healthy."""
        if name in self.hanging:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(1)
                sock.connect(str(self.folder / "run" / f"{name}.health"))
                with sock.makefile() as answer:
                    return bool(json.loads(answer.read())["status"] == "ok")
        except (OSError, ValueError):
            return False

    def is_whole(self) -> bool:
        """Whether all processes are linked and all gateways listen."""
        return all(listening(port) == len(self.gateways) for port in self.ports.values()) and all(
            self.is_well(name) for name in self.names
        )

    async def whole(self) -> None:
        """Wait until `is_whole`. Raises AssertionError after `START` seconds."""
        await until("all processes are well", self.is_whole, START)

    def gateway_of(self, kind: str, client: tuple[str, int]) -> str | None:
        """Return the name of the gateway that a client is connected to; None: it has ended.

        kind: of listener, a key of `ports`. client: the client's own address.
        """
        running = {pid: name for name in self.gateways if (pid := self.pid(name)) is not None}
        with suppress(OSError):  # a process may end while its files are looked at
            pid = owner(running, client, ("127.0.0.1", self.ports[kind]))
            return None if pid is None else running[pid]
        return None

    def complaints(self) -> list[str]:
        """Return the passages of the logs that contain one of `BAD_SIGNS`."""
        found = []
        for path in sorted(self.folder.glob("*.log")):
            text = path.read_text(errors="replace")
            for sign in BAD_SIGNS:
                at = text.find(sign)
                if at >= 0:
                    found.append(f"{path.name}: {text[max(0, at - 300) : at + 3000]}")
        return found

    def slowest(self) -> str:
        """Return how long the longest turn of a process took, and where; "-" if none was slow."""
        found: list[tuple[float, str]] = []
        for path in sorted(self.folder.glob("*.log")):
            where = ""
            for line in path.read_text(errors="replace").splitlines():
                if begins := SLOW_TURN.search(line):
                    where = begins[1]
                elif over := SLOW_TURN_OVER.search(line):
                    found.append((float(over[1]), f"{path.stem} at {line[:23]}, in {where}"))
        return "{:.1f} s, {}".format(*max(found)) if found else "-"

    async def stop(self) -> list[str]:
        """End all processes; return a sentence for each that did not end well."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        living = {name: p for name, p in self.processes.items() if p.returncode is None}
        for process in living.values():
            send_signal(process, signal.SIGTERM)
        bad = []
        for name, process in living.items():
            try:
                code = await asyncio.wait_for(process.wait(), END)
            except TimeoutError:
                send_signal(process, signal.SIGKILL)
                code = await process.wait()
            if code:
                bad.append(f"{name} ended with {code} after SIGTERM")
        return bad

    def remove(self) -> None:
        """Delete the folder with logs and data."""
        shutil.rmtree(self.folder, ignore_errors=True)


def send_signal(process: Process, number: signal.Signals) -> bool:
    """Send a signal; return False if the process has just ended.

    `Process.send_signal` would look first whether it has, and thereby take the exit code away from
    the thread that waits for it: asyncio would know nothing better than to report code 255.
    """
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True
