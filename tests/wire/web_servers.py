"""Web servers with an application that has a router, and clients that see which worker serves them.

Owns: their processes, logs and ports. Never: what the applications do.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from cluster import END, ROOT, SHOWN, await_true
from raw_wamp import CALL, EVENT, HELLO, RESULT, SUBSCRIBE, SUBSCRIBED, WELCOME
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bench.measure import owner
from bench.ports import free_port
from fox_shard.backplane.attached import PREFIX

PATIENCE = 60.0
APPLICATION = "live_application:app"
TRIES = 200
"""Connections until one comes to the wanted worker."""

ROLES = {"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}}
OFF = {f"FOX_GATEWAY_{kind}": "off" for kind in ("WEBSOCKET", "RAWSOCKET", "MQTT")}
UVICORN = ("-m", "uvicorn", "--port", "{port}", "--no-access-log")
GUNICORN = ("-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}")
HYPERCORN = ("-m", "hypercorn", "-b", "127.0.0.1:{port}")
GRANIAN = ("-m", "granian", "--interface", "asgi", "--port", "{port}")


def blocks(page):
    """Return the complete files of a page in docs/: [(name, text)], in the page's order."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def environment(folder, **more):
    """Return the variables of a server of tests/wire/live_application.py, whose data are there.

    folder: its name is short, because the paths of UNIX sockets are.
    """
    place = {"FOX_RUN_DIR": f"{folder}/run", "FOX_DATA_DIR": f"{folder}/data"}
    paths = os.pathsep.join([str(ROOT / "tests" / "wire"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **OFF, **place, "PYTHONPATH": paths, **more}


def attached_gateways(cluster):
    """Return the names of those that the coordinator knows."""
    return {name for name in cluster.health("coordinator")["links"] if name.startswith(PREFIX)}


def children(pid):
    """Return the processes that a process has started, and theirs."""
    try:
        own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [descendant for child in own for descendant in (int(child), *children(int(child)))]


class WebServer:
    """A web server in a folder, at a free port.

    command: of Python, with {port}. log: where its output is. is_spread: there are several workers.
    """

    def __init__(self, folder, command, application, environment):
        self.port = free_port()
        self.folder, self.log = folder, folder / "web-server.log"
        self._command = [
            sys.executable,
            *(part.format(port=self.port) for part in command),
            application,
        ]
        self._environment = environment
        self.is_spread = "--workers" in command or "-w" in command
        self.start()

    def start(self):
        """Start the server, for the first time or again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self):
        """Return what it has printed."""
        return self.log.read_text()

    def await_ready(self):
        """Wait until it answers."""
        await_true("the web server is ready", self._is_ready, PATIENCE)

    def _is_ready(self):
        assert self.process.poll() is None, f"it has ended: {self.said()[-SHOWN:]}"
        with suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/")[0] < 500
        return False

    def request(self, method, path, value=None, cookie="", worker=None):
        """Return the status, text and cookie of the answer. worker: the process that answers."""
        with closing(self._connection(worker)) as connection:
            body = None if value is None else json.dumps(value)
            headers = {"Content-Type": "application/json", **({"Cookie": cookie} if cookie else {})}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            said = answer.getheader("Set-Cookie", "").partition(";")[0]
            return answer.status, answer.read().decode(), said

    def _connection(self, worker):
        for _ in range(TRIES):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            connection.connect()
            place = connection.sock.getsockname()
            accepted = partial(self.worker_of, place)
            if worker is None or await_true("it is accepted", accepted, PATIENCE) == worker:
                return connection
            connection.close()
        raise AssertionError(f"the web server gives worker {worker} no connection")

    def worker_of(self, client):
        """Return the process that serves a client, (host, port); None: not known yet."""
        pids = [self.process.pid, *children(self.process.pid)]
        return owner(pids, client[:2], ("127.0.0.1", self.port))

    def page(self, **more):
        """Return a WAMP client, as a page has one. more: of `Page`."""
        return Page(self, **more)

    def pages_of_two_workers(self):
        """Return a client of one worker, and one of another, which may still be starting."""
        one = await_true("a worker lets clients in", self._page_if_linked, PATIENCE)

        def other():
            page = self._page_if_linked()
            if page is None or page.worker not in (None, one.worker):
                return page
            page.close()
            return None

        return one, await_true("there is a second worker", other, PATIENCE)

    def _page_if_linked(self):
        """Return a client, None if it comes to a worker that the server has not let in yet."""
        try:
            return self.page()
        except InvalidStatus as refused:
            if refused.response.status_code != 503:
                raise
        return None

    def end(self):
        """End it with SIGTERM, and its workers with it; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END)

    def kill(self):
        """End it and its workers with SIGKILL, if they run."""
        for pid in (self.process.pid, *children(self.process.pid)):
            if self.process.poll() is None or pid != self.process.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(END)


@contextmanager
def serving(folder, command, application, environment):
    """Run a web server that must end well, and whose log must have no traceback."""
    server = WebServer(folder, command, application, environment)
    try:
        server.await_ready()
        yield server
        if server.process.poll() is None:
            server.end()
        # hypercorn prints one of its own when it stops while clients are connected.
        assert "Traceback" not in server.said() or command == HYPERCORN
    except BaseException:
        print(server.said()[-SHOWN:])
        raise
    finally:
        server.kill()


class Page:
    """A client that came through the web server. worker: the process that serves it."""

    def __init__(self, server, path="/wss", cookie="", **details):
        headers = {"Cookie": cookie} if cookie else {}
        self._socket = connect(
            f"ws://127.0.0.1:{server.port}{path}",
            subprotocols=["wamp.2.json"],
            compression=None,
            additional_headers=headers,
            open_timeout=PATIENCE,
            close_timeout=0.1,  # it may have much that it has not read
        )
        self.welcome = self.ask(HELLO, "realm1", {"roles": ROLES, **details}, answer=WELCOME)[2]
        self.worker = server.worker_of(self._socket.local_address)
        self._requests = 0
        self._events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *message):
        self._socket.send(json.dumps(message))

    def receive(self):
        return json.loads(self._socket.recv(PATIENCE))

    def ask(self, *message, answer=None):
        """Send a message, and return the answer; events that come before are kept."""
        self.send(*message)
        while (received := self.receive())[0] == EVENT:
            self._events.append(received)
        assert answer in (None, received[0]), received
        return received

    def request(self, kind, *rest, answer=None):
        self._requests += 1
        return self.ask(kind, self._requests, {}, *rest, answer=answer)

    def subscribe(self, topic):
        self.request(SUBSCRIBE, topic, answer=SUBSCRIBED)

    def call(self, procedure, *args):
        return self.request(CALL, procedure, args, answer=RESULT)[3][0]

    def event(self):
        """Return the first argument of the next event."""
        message = self._events.pop(0) if self._events else self.receive()
        assert message[0] == EVENT, message
        return message[4][0]

    def close(self):
        self._socket.close()
