"""A broker of real processes on free loopback ports, in a folder of its own.

Owns: starting, waiting until all is linked, logs, ending by process id. Never: clients.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.measure import clients, listening, owner
from bench.ports import free_port
from fox_shard.backplane.placement import Placement

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "conf" / "fox.toml"
START = 60.0
"""Seconds a broker has to start, on a busy machine, too."""

ANSWER = 10.0
"""Seconds a process has to answer a question about its health."""

END = 60.0
"""Seconds a process has to end, on a busy machine, too."""

SHOWN = 6000
"""Characters of the end of each log that are shown when a test has failed."""

BAD_SIGNS = ("Traceback", " CRITICAL ", "unreadable_batch")
"""Texts that no log may contain, whatever clients do."""


def await_true(what, condition, patience=START):
    """Poll until the condition is true, and return its value; fail after `patience` seconds.

    what: the condition in words, for the failure.
    """
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"after {patience} s still not: {what}"
        time.sleep(0.02)
    return value


def ask_health(run_dir, name):
    """Return the health report of a process, {} if it gives none."""
    try:
        with closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.settimeout(ANSWER)
            sock.connect(str(run_dir / f"{name}.health"))
            with sock.makefile() as answer:
                return json.loads(answer.read())
    except (OSError, ValueError):
        return {}


def write_config(folder, text, **modules):
    """Write a configuration file into `folder`, and Python modules where a server finds them.

    modules: their texts by name. Returns the file's path.
    """
    conf = folder / "conf"
    conf.mkdir()
    for name, module in modules.items():
        (folder / f"{name}.py").write_text(module)
    (conf / "fox.toml").write_text(text)
    return conf / "fox.toml"


class Places:
    """The ports and folders of one broker, and the environment variables that name them."""

    def __init__(self, gateways=2, shards=4):
        self.folder = Path(
            tempfile.mkdtemp(prefix="fox-")
        )  # short, because the paths of UNIX sockets are
        self.run_dir = self.folder / "run"
        self.websocket, self.rawsocket, self.mqtt = free_port(), free_port(), free_port()
        self.web = free_port()
        self.gateways, self.shards = gateways, shards

    @property
    def ports(self):
        return {"websocket": self.websocket, "rawsocket": self.rawsocket, "mqtt": self.mqtt}

    @property
    def shard_names(self):
        return [f"shard-{number}" for number in range(self.shards)]

    def shard_of(self, uri):
        """Return the number of the shard that owns a topic or procedure of realm1."""
        return Placement(self.shards).shard_of("realm1", uri)

    def on_shard(self, number, stem):
        """Return a topic or procedure `<stem>.n<count>` that belongs to that shard."""
        names = (f"{stem}.n{count}" for count in range(1000))
        return next(name for name in names if self.shard_of(name) == number)

    def on_each_shard(self, stem):
        """Return topics or procedures, one on each shard, in the order of the shards."""
        return [self.on_shard(number, stem) for number in range(self.shards)]

    @property
    def gateway_names(self):
        return [f"gateway-{number}" for number in range(self.gateways)]

    @property
    def names(self):
        """The names of all processes, in the order in which to start them."""
        return [*self.shard_names, "coordinator", *self.gateway_names]

    def environment(self, **more):
        listeners = {
            f"FOX_GATEWAY_{kind.upper()}": f"127.0.0.1:{port}" for kind, port in self.ports.items()
        }
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("FOX_")},
            **listeners,
            "FOX_WEB_ADDRESS": "off",
            "FOX_RUN_DIR": str(self.run_dir),
            "FOX_DATA_DIR": str(self.folder / "data"),
            **more,
        }

    def await_ready(self, unless=lambda: None):
        """Wait until all are linked and all gateways listen. unless: raises if that is hopeless."""

        def ready():
            unless()
            well = all(ask_health(self.run_dir, name).get("status") == "ok" for name in self.names)
            return well and all(listening(port) == self.gateways for port in self.ports.values())

        await_true("the broker is ready", ready)

    def gateway_of(self, pids, client, port):
        """Return the number of the gateway that a client is connected to, None if it is none.

        pids: the process ids of the gateways, by number. client: (host, port).
        """
        found = owner(pids, client, ("127.0.0.1", port))
        return None if found is None else pids.index(found)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster(Places):
    """A broker whose processes are started without supervisord, and ended only by `stop`.

    The end of `with` is `end`, or, after an error, `stop`.
    """

    def __init__(self, gateways=2, shards=4, config=CONFIG, **settings):
        """config: the configuration file, also of commands that get `settings`.

        settings: further environment variables.
        """
        super().__init__(gateways, shards)
        self.settings = {
            "FOX_CONFIG": str(config),
            "FOX_GATEWAYS": str(gateways),
            "FOX_SHARDS": str(shards),
            **settings,
        }
        self.processes = {}
        for name in self.started:
            self.start(name)
        try:
            self.await_ready(unless=self._all_run)
        except BaseException:
            print(self.log(most=SHOWN))
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error is None:
            self.end()
        else:
            self.stop()

    @property
    def started(self):
        """The names of the processes to start, in order."""
        return self.names

    @property
    def gateway_pids(self):
        return [self.processes[name].pid for name in self.gateway_names]

    def pids(self):
        return [process.pid for process in self.processes.values()]

    def command(self, name):
        """Return the command that starts the process."""
        return [sys.executable, "-m", "fox_shard", *name.split("-")]

    def start(self, name):
        """Start one process, for the first time or again."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name),
                cwd=ROOT,
                env=self.environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, name):
        """Kill one process with SIGKILL."""
        process = self.processes[name]
        process.kill()
        process.wait(END)

    def finish(self, name):
        """End one process with SIGTERM, for the rest of the broker's life; return its exit code."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(END)

    def restart(self, *names):
        """Kill these processes with SIGKILL, and start each again at once."""
        for name in names:
            self.kill(name)
            self.start(name)

    def health(self, name):
        return ask_health(self.run_dir, name)

    def gateway_at(self, client, kind):
        """Return the number of the gateway that a client, (host, port), is connected to."""
        return self.gateway_of(self.gateway_pids, client, self.ports[kind])

    def gateway_of_program(self, pid):
        """Return the number of the gateway that a process is connected to by WebSocket."""
        (client,) = clients(pid, ("127.0.0.1", self.websocket))
        return self.gateway_at(client, "websocket")

    def waiting_publishes(self):
        """Return the number of publishes that wait in all shards."""
        return sum(self.health(shard).get("waiting_publishes", 0) for shard in self.shard_names)

    def all_gateways_said(self, text, since):
        """Whether the log of each gateway has got the text since the logs had these sizes."""
        logs = [self.folder / f"{gateway}.log" for gateway in self.gateway_names]
        return all(text.encode() in path.read_bytes()[since[path] :] for path in logs)

    def sizes(self):
        """Return the length of each log: {path: bytes}."""
        return {path: path.stat().st_size for path in self.folder.glob("*.log")}

    def log(self, since=(), most=None):
        """Return what has been added to the logs since they had these sizes.

        most: characters of each log, which are its last ones; None: all.
        """
        since = dict(since)
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            text = path.read_bytes()[since.get(path, 0) :].decode(errors="replace")
            parts.append(f"--- {path.name}\n{text if most is None else text[-most:]}")
        return "\n".join(parts)

    def check(self, since):
        """Check that all processes run, and that no log has a bad sign since these sizes."""
        self._all_run()
        news = self.log(since)
        found = [sign for sign in BAD_SIGNS if sign in news]
        assert not found, f"{found} in the log:\n{self.log(since, SHOWN)}"

    def _all_run(self):
        ended = {
            name: process.returncode
            for name, process in self.processes.items()
            if process.poll() is not None
        }
        assert not ended, f"ended: {ended}"

    def stop(self):
        """End the processes and remove the folder; return {name: exit code}."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END)
        self.remove()
        return {name: process.returncode for name, process in self.processes.items()}

    def end(self):
        """Check the processes and logs, stop in any case, and check that all exit codes are 0."""
        try:
            # A process that has been started again just now may not handle SIGTERM yet.
            self.await_ready(unless=self._all_run)
            self.check(())
        finally:
            codes = self.stop()
        assert set(codes.values()) == {0}, f"exit codes {codes}"
