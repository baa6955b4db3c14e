"""The brokers under test: started on free loopback ports, ended by their process ids.

Owns: processes, their settings and folders. Never: load.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from bench import syncs
from bench.measure import listening
from bench.ports import free_port

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
_PEERS = _HERE / ".peers"
_FOX_WAMP = "fox-wamp@0.7.28"
_START_TIMEOUT = 60.0  # seconds
_MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
sys_interval 0
log_dest none
connection_messages false
"""


class Missing(Exception):
    """A broker cannot be started here; the text says what to install."""


class Server:
    """The processes of one broker.

    mqtt, wamp: its addresses; None: the broker does not speak this protocol.
    """

    name = ""
    version = ""
    mqtt: tuple[str, int] | None = None
    wamp: tuple[str, int] | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fox-bench-"))
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        """The process ids of the whole broker."""
        return [process.pid for process in self._processes]

    @property
    def kinds(self) -> list[str]:
        """What each process is, in the order of `pids`."""
        return [self.name] * len(self._processes)

    @property
    def gateways(self) -> list[int]:
        """The ids of the processes that share the ports; empty if there is just one process."""
        return []

    def halt(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def stop(self) -> None:
        """End the processes and remove their folder."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        """Return the end of each process's output."""
        texts = {path: path.read_text(errors="replace") for path in self.folder.glob("*.log")}
        return "\n".join(f"{path.name}: {texts[path][-2000:]}" for path in sorted(texts))

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    cwd=_ROOT,
                    env=os.environ | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def _await_listeners(self, port: int, count: int) -> None:
        end = time.monotonic() + _START_TIMEOUT
        while listening(port) < count:
            dead = [process.args for process in self._processes if process.poll() is not None]
            if dead or time.monotonic() > end:
                logs = self.logs()
                self.stop()
                raise Missing(f"{self.name} did not start ({dead or 'timeout'})\n{logs}")
            time.sleep(0.05)


class FoxShard(Server):
    """Our broker: gateways, shards and the coordinator, started directly."""

    name = "fox-shard"
    version = metadata.version("fox-shard")
    mqtt: tuple[str, int]
    wamp: tuple[str, int]

    def __init__(
        self, gateways: int, shards: int, *, traced: bool = False, configuration: str = ""
    ) -> None:
        """Start the broker. traced: record when shards wait for the disk (see `syncs`).

        configuration: in place of `conf/fox.toml`.
        """
        super().__init__()
        self._file = Path("conf/fox.toml")
        if configuration:
            self._file = self.folder / "fox.toml"
            self._file.write_text(configuration)
        self._traced = traced
        websocket, mqtt, raw = free_port(), free_port(), free_port()
        self.wamp, self.mqtt = ("127.0.0.1", websocket), ("127.0.0.1", mqtt)
        self.rawsocket = ("127.0.0.1", raw)
        self._environment = {
            "FOX_GATEWAYS": str(gateways),
            "FOX_SHARDS": str(shards),
            "FOX_GATEWAY_WEBSOCKET": f"127.0.0.1:{websocket}",
            "FOX_GATEWAY_MQTT": f"127.0.0.1:{mqtt}",
            "FOX_GATEWAY_RAWSOCKET": f"127.0.0.1:{raw}",
            "FOX_WEB_ADDRESS": "off",
            "FOX_RUN_DIR": str(self.folder / "run"),
            "FOX_DATA_DIR": str(self.folder / "data"),
        }
        for folder in ("run", "data"):
            (self.folder / folder).mkdir(mode=0o700)
        self._workers = [("shard", str(n)) for n in range(shards)] + [("coordinator",)]
        self._workers += [("gateway", str(n)) for n in range(gateways)]
        self._gateways = gateways
        self.begin()

    def begin(self) -> None:
        """Start the processes with the existing data; return when they serve."""
        for worker in self._workers:
            command = [sys.executable, "-m", "fox_shard", *worker, "--config", str(self._file)]
            if self._traced and worker[0] == "shard":
                command = syncs.traced(command, self.folder / f"{'-'.join(worker)}.syncs")
            self._spawn("-".join(worker), command, self._environment)
        for address in (self.mqtt, self.wamp):
            self._await_listeners(address[1], self._gateways)

    def syncs(self, began: float, ended: float) -> int:
        """Return how often traced shards waited for the disk between two times (since 1970)."""
        found = [sync for file in self.folder.glob("*.syncs") for sync in syncs.read(file)]
        return sum(began <= sync.began and sync.ended <= ended for sync in found)

    @property
    def kinds(self) -> list[str]:
        """What each process is, in the order of `pids`."""
        return [worker[0] for worker in self._workers]

    @property
    def gateways(self) -> list[int]:
        """The ids of the gateways, which are the last processes to be started."""
        return self.pids[-self._gateways :]


class FoxServe(FoxShard):
    """Our broker in one process: `fox serve`."""

    name = "fox-serve"

    def __init__(self) -> None:
        super().__init__(1, 1)

    def begin(self) -> None:
        """Start the process with the existing data; return when it serves."""
        command = [sys.executable, "-m", "fox_shard", "serve", "--config", str(self._file)]
        self._spawn("serve", command, self._environment)
        for address in (self.mqtt, self.wamp):
            self._await_listeners(address[1], 1)

    @property
    def kinds(self) -> list[str]:
        """What each process is, in the order of `pids`."""
        return [self.name]


class ThinnestRelay(Server):
    """The thinnest relay of messages over ZeroMQ in Python (`bench.relay`), which is no broker."""

    name = "relay"
    version = "-"

    def __init__(self) -> None:
        super().__init__()
        self.mqtt = ("127.0.0.1", free_port())
        path = str(self.folder / "relay")
        command = [sys.executable, "-m", "bench.relay"]
        self._spawn("shard", [*command, "shard", path], {})
        self._spawn("gateway", [*command, "gateway", str(self.mqtt[1]), path], {})
        self._await_listeners(self.mqtt[1], 1)

    @property
    def kinds(self) -> list[str]:
        """What each process is, in the order of `pids`."""
        return ["shard", "gateway"]


class Mosquitto(Server):
    """Debian's mosquitto, without a log and without limits on queues and messages in flight."""

    name = "mosquitto"

    def __init__(self) -> None:
        super().__init__()
        path = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if path is None:
            raise Missing("mosquitto is not installed (Debian package mosquitto)")
        said = subprocess.run([path, "-h"], capture_output=True, text=True, check=False).stdout
        self.version = said.split()[2] if said.startswith("mosquitto version") else "?"
        self.mqtt = ("127.0.0.1", free_port())
        conf = self.folder / "mosquitto.conf"
        conf.write_text(_MOSQUITTO_CONF.format(port=self.mqtt[1]))
        self._spawn("mosquitto", [path, "-c", str(conf)], {})
        self._await_listeners(self.mqtt[1], 1)


class FoxWamp(Server):
    """The server of the npm package fox-wamp, in memory, without tracing."""

    name = "fox-wamp"

    def __init__(self) -> None:
        super().__init__()
        node = shutil.which("node")
        if node is None:
            raise Missing("node is not installed")
        package = _install_fox_wamp()
        self.version = json.loads((package / "package.json").read_text())["version"]
        self.wamp = ("127.0.0.1", free_port())
        script = str(_HERE / "fox_wamp.cjs")
        self._spawn("fox-wamp", [node, script, str(package), str(self.wamp[1])], {})
        self._await_listeners(self.wamp[1], 1)


def _install_fox_wamp() -> Path:
    """Return the package's folder under bench/.peers; install the package if it is not there."""
    package = _PEERS / "node_modules" / "fox-wamp"
    if not package.exists():
        _PEERS.mkdir(exist_ok=True)
        (_PEERS / "package.json").write_text('{"name": "peers", "private": true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", _FOX_WAMP]
        done = subprocess.run(command, cwd=_PEERS, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"{_FOX_WAMP} could not be installed: {done.stderr[-500:]}")
    return package
