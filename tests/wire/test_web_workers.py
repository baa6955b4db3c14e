"""The workers of a web server, each with a router that is attached to a running server."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from itertools import count

import httpx
import pytest
from cluster import END, ROOT, Cluster, await_true, write_config
from mqtt_peers import MqttPeer
from raw_wamp import (
    CALL,
    ERROR,
    EVENT,
    HELLO,
    PUBLISH,
    PUBLISHED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    WELCOME,
    at_gateway,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from bench.measure import owner
from bench.ports import free_port
from fox_shard.runtime.attached_names import running

PATIENCE = 40.0
TRIES = 200
BLOCKED = 8
"""Seconds, longer than twice `backplane.attached_timeout`."""
ROLES = {"publisher": {}, "subscriber": {}}


class Browser:
    """A client that came through the web server; worker: the process that serves it."""

    def __init__(self, port, workers):
        address = f"ws://127.0.0.1:{port}/live"
        self._socket = connect(address, subprotocols=["wamp.2.json"], compression=None)
        self._ask(HELLO, "realm1", {"roles": ROLES}, answer=WELCOME)
        self.worker = owner(workers, self._socket.local_address[:2], ("127.0.0.1", port))

    def _ask(self, *message, answer):
        self._socket.send(json.dumps(message))
        while (received := self.receive())[0] != answer:
            assert received[0] == EVENT, received
        return received

    def receive(self):
        return json.loads(self._socket.recv(PATIENCE))

    def subscribe(self, topic):
        self._ask(SUBSCRIBE, 1, {}, topic, answer=SUBSCRIBED)

    def publish(self, topic, value):
        self._ask(PUBLISH, 2, {"acknowledge": True}, topic, [value], answer=PUBLISHED)

    def event(self):
        message = self.receive()
        assert message[0] == EVENT, message
        return message[4][0]

    def await_cut(self):
        with pytest.raises(ConnectionClosed):
            self._socket.recv(PATIENCE)

    def close(self):
        self._socket.close()


class Workers:
    """uvicorn with two workers, which are known by the weak keys that they publish."""

    def __init__(self, cluster, port):
        self._cluster, self._port = cluster, port
        self._watcher = at_gateway(cluster, 0)
        options = {"match": "prefix", "get_retained": True}
        self._watcher.do(SUBSCRIBE, options, "workers", answer=SUBSCRIBED)
        self.pids = set()
        self._clients = []

    def await_two(self):
        """Wait until two work, and return their process ids."""
        while len(self.pids) < 2:
            message = self._watcher.receive()
            assert message[0] == EVENT, message
            self.pids.add(message[4][0])
        return self.pids

    def kill(self, worker):
        """Kill a worker, and return the one that the web server starts instead."""
        os.kill(worker, signal.SIGKILL)
        self.pids.remove(worker)
        (rest,) = self.pids
        (new,) = self.await_two() - {rest}
        return new

    def publish(self, worker, topic, value):
        """Let the application publish in that worker; return whether it was there to be called."""
        with closing(at_gateway(self._cluster, 1)) as caller:
            caller.send(CALL, 1, {}, f"workers.p{worker}.publish", [topic, value])
            answer = caller.receive()
        assert answer[0] in (RESULT, ERROR)
        return answer[0] == RESULT

    def refuse(self):
        """Whether a new WebSocket is refused, at whichever worker."""
        try:
            connect(f"ws://127.0.0.1:{self._port}/live", subprotocols=["wamp.2.json"]).close()
        except InvalidStatus:
            return True
        return False

    def browser(self, worker):
        """Return a client of that worker."""
        for _ in range(TRIES):
            browser = Browser(self._port, self.pids)
            if browser.worker == worker:
                return browser
            browser.close()
        raise AssertionError(f"the web server gives worker {worker} no client")

    def http(self, worker):
        """Return an HTTP client with one connection, which is that worker's."""
        for _ in range(TRIES):
            client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=PATIENCE)
            self._clients.append(client)
            stream = client.get("/").extensions["network_stream"]
            place = stream.get_extra_info("client_addr")[:2]
            if owner(self.pids, place, ("127.0.0.1", self._port)) == worker:
                return client
        raise AssertionError(f"the web server gives worker {worker} no HTTP client")

    def mqtt(self):
        """Return an MQTT client of any worker."""
        return MqttPeer(("127.0.0.1", self._port), "b", transport="websockets")

    def close(self):
        for client in self._clients:
            client.close()
        self._watcher.close()


@contextmanager
def web_server(cluster):
    """Run the web application in two workers of uvicorn."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "web_application:app", "--port", str(port)]
    options = ["--app-dir", "tests/wire", "--workers", "2", "--log-level", "warning"]
    # Even the variables of the server's own gateways do not matter.
    environ = cluster.environment(**cluster.settings, RUN_DIR=str(cluster.run_dir))
    process = subprocess.Popen([*command, *options], cwd=ROOT, env=environ)
    try:
        with closing(Workers(cluster, port)) as workers:
            workers.await_two()
            yield workers
        process.send_signal(signal.SIGTERM)
        process.wait(END)
        assert not running(cluster.run_dir)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(END)


def test_workers_share_a_server_and_may_come_and_go():
    with (
        Cluster() as cluster,
        web_server(cluster) as workers,
        closing(MqttPeer(("127.0.0.1", cluster.mqtt), "a")) as mqtt,
    ):
        one, other = workers.await_two()
        topics = cluster.on_each_shard("news")
        with closing(workers.browser(one)) as here, closing(workers.browser(other)) as there:
            mqtt.subscribe("news/#")
            for topic in topics:
                for browser in (here, there):
                    browser.subscribe(topic)

            def reaches(publish, *browsers):
                """Publish on each shard, one after the other, and let all get it."""
                for topic in topics:
                    publish(topic)
                    assert {browser.event() for browser in browsers} == {topic}
                    ((to, payload, _, _),) = mqtt.take(1)
                    assert (to, payload) == (topic.replace(".", "/"), f'"{topic}"'.encode())

            def published_by(worker):
                def publish(topic):
                    done = "the worker is called"
                    await_true(done, lambda: workers.publish(worker, topic, topic), PATIENCE)

                return publish

            reaches(published_by(one), here, there)
            reaches(published_by(other), here, there)

            # A worker is killed, and the web server starts another one.
            third = workers.kill(one)
            here.await_cut()
            reaches(published_by(third), there)
            with closing(workers.browser(third)) as again:
                for topic in topics:
                    again.subscribe(topic)
                reaches(lambda topic: there.publish(topic, topic), again)

                # The server itself is restarted.
                for names in (cluster.shard_names[:1], [*cluster.shard_names, "coordinator"]):
                    cluster.kill(names[0])
                    await_true("new WebSockets are refused", workers.refuse)
                    cluster.restart(*names)
                    reaches(published_by(other), there, again)
                    reaches(lambda topic: there.publish(topic, topic), again)


RECORDED = """
[[realm]]
name = "realm1"
[[realm.history]]
topic = "com.example.recorded"
match = "prefix"
"""


class Reader:
    """A reader of an event stream. last: the id of the last event. numbers: what events say."""

    def __init__(self, client, last="0"):
        self.last, self.numbers = last, []
        query = "topic=com.example.recorded&match=prefix"
        headers = {"Last-Event-ID": last}
        request = client.build_request("GET", f"/fox/api/events?{query}", headers=headers)

        def answer():
            """Return the answer, None from a worker that the server has not let in again yet."""
            answer = client.send(request, stream=True)
            if answer.status_code == 503:
                answer.read()
                return None
            assert answer.status_code == 200, answer.read()
            return answer

        self._lines = await_true("the stream is opened", answer, PATIENCE).iter_lines()

    def read(self, count):
        """Read further events; return whether there were so many before the end."""
        fields = {}
        try:
            while len(self.numbers) < count:
                line = next(self._lines, None)
                if line is None or fields.get("event") == "end":
                    return False
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif data := fields.pop("data", None):
                    self.last = fields.pop("id")
                    self.numbers += json.loads(data)["args"]
        except httpx.TransportError:
            return False
        return True


def test_workers_have_http_in_common(tmp_path):
    """What is sent to one reaches the streams of the other, also after a kill and a long block."""
    with (
        Cluster(shards=2, config=write_config(tmp_path, RECORDED)) as cluster,
        web_server(cluster) as workers,
    ):
        one, other = workers.await_two()
        sent = count()
        topics = cluster.on_each_shard("com.example.recorded")

        def send(client):
            number = next(sent)
            body = {"topic": topics[number % 2], "args": [number]}
            answer = client.post("/fox/api/publish", json=body)
            assert answer.is_success, answer.text

        here, there = workers.http(one), workers.http(other)
        with closing(workers.mqtt()) as mqtt:
            mqtt.subscribe("com/example/recorded/#")
            reader = Reader(workers.http(one))
            for client in (here, there, here, there):
                send(client)
            assert reader.read(4)
            assert sorted(reader.numbers) == [0, 1, 2, 3]
            assert sorted(int(payload) for _, payload, _, _ in mqtt.take(4)) == [0, 1, 2, 3]

            # A write at one worker is a condition at the other.
            key = "/fox/api/keys/com.example.door"
            first = here.put(key, json="open", headers={"If-None-Match": "*"})
            etag = first.headers["etag"]
            assert there.get(key).headers["etag"] == etag
            assert there.put(key, json="closed", headers={"If-Match": etag}).is_success
            assert here.put(key, json="ajar", headers={"If-Match": etag}).status_code == 412

            # A worker is killed: its reader goes on at the other.
            workers.kill(one)
            send(there)
            assert not reader.read(6)
            seen = reader.numbers
            reader = Reader(workers.http(other), reader.last)
            assert reader.read(5 - len(seen))
            assert sorted(seen + reader.numbers) == [0, 1, 2, 3, 4]

        (third,) = workers.pids - {other}
        here = workers.http(third)
        seen += reader.numbers
        reader = Reader(workers.http(other), reader.last)
        # One worker stands still for so long that the server gives it up.
        blocked = threading.Thread(target=there.get, args=(f"/block?seconds={BLOCKED}",))
        blocked.start()
        for _ in range(3):
            send(here)
        blocked.join()
        assert not reader.read(100)
        seen += reader.numbers
        reader = Reader(workers.http(other), reader.last)
        assert reader.read(8 - len(seen))
        assert sorted(seen + reader.numbers) == [*range(8)]
        send(there)
        assert reader.read(9 - len(seen))
