"""docs/proxies.md: the server behind nginx and behind Caddy, configured as it is printed."""

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cluster import END, ROOT, await_true
from mqtt_peers import PahoClient
from paho.mqtt.enums import CallbackAPIVersion
from web_cluster import WebCluster
from websockets.sync.client import connect

from bench.measure import listening
from bench.ports import free_port

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from certificates import Authority

PAGE = (ROOT / "docs" / "proxies.md").read_text()
CLIENT = "127.0.0.2"
"""The address from which the client connects: not that of the proxy."""


def printed(language):
    """Return the blocks of the page in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class Place:
    """Ports, certificates and configurations, as printed but for the places."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority(folder)
        self.authority.sign("example.com", "localhost")
        self.sockets, self.mqtt, self.https, self.mqtts = (free_port() for _ in range(4))
        (folder / "www").mkdir()
        (folder / "www" / "index.html").write_text("the application")
        listeners, settings = (self.here(text) for text in printed("toml"))
        config = (ROOT / "conf" / "fox.toml").read_text()
        for line in re.findall(r"^.* = .*$", settings, re.MULTILINE):
            setting = line.partition(" = ")[0]
            config, found = re.subn(rf"^{setting} = .*", line, config, flags=re.MULTILINE)
            assert found, f"conf/fox.toml has no {setting}"
        self.config = folder / "fox.toml"
        self.config.write_text(config + "\n" + listeners)

    def here(self, text):
        """Return a configuration with the places of this test."""
        for there, here in (
            ("127.0.0.1:8090", f"127.0.0.1:{self.sockets}"),
            ("127.0.0.1:1884", f"127.0.0.1:{self.mqtt}"),
            ("listen 443", f"listen 127.0.0.1:{self.https}"),
            ("listen 8883", f"listen 127.0.0.1:{self.mqtts}"),
            ("/etc/ssl/", f"{self.folder}/"),
            ("/srv/www", f"{self.folder}/www"),
            ("https://example.com", f"https://localhost:{self.https}"),
        ):
            text = text.replace(there, here)
        return text

    def of_proxy(self, text, cluster):
        return self.here(text).replace("127.0.0.1:8088", f"127.0.0.1:{cluster.web}")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("proxies"))


@pytest.fixture(scope="module")
def server(place):
    with WebCluster(config=place.config) as cluster:
        yield cluster


@contextmanager
def running(command, folder, ports, end):
    """Run a proxy until it listens at these ports, and end it by that signal after the block."""
    with (folder / "proxy.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        for port in ports:
            await_true(f"the proxy listens at {port}", lambda port=port: listening(port))
        yield
    finally:
        process.send_signal(end)
        process.wait(END)


def nginx(place, server):
    """Return command, ports and signal of the end of nginx with the printed configuration."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if program is None or not module.exists():
        pytest.skip("nginx is not installed (Debian packages nginx, libnginx-mod-stream)")
    (text,) = printed("nginx")
    own = f"load_module {module};\npid {place.folder}/nginx.pid;\nevents {{}}\n"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"  {kind}_temp_path {place.folder}/{kind};\n" for kind in kinds)
    text = text.replace("http {\n", f"http {{\n  access_log off;\n{folders}", 1)
    file = place.folder / "nginx.conf"
    file.write_text(own + place.of_proxy(text, server))
    command = [program, "-e", "stderr", "-c", str(file), "-g", "daemon off; user root;"]
    return command, (place.https, place.mqtts), signal.SIGTERM  # which its workers hear of, too


def caddy(place, server):
    """Return command, port and signal of the end of Caddy with the printed configuration."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("Caddy is not installed (Debian package caddy)")
    (text,) = printed("caddyfile")
    begin = f"https://localhost:{place.https} {{\n"
    begin += (
        f"  bind 127.0.0.1\n  tls {place.folder}/example.com.pem {place.folder}/example.com.key\n"
    )
    assert text.startswith("example.com {\n")
    text = text.replace("example.com {\n", begin, 1)
    file = place.folder / "Caddyfile"
    file.write_text("{\n  admin off\n  auto_https off\n}\n" + place.of_proxy(text, server))
    command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
    return command, (place.https,), signal.SIGKILL  # asked to end, it waits for its connections


@pytest.fixture(scope="module", params=[nginx, caddy])
def proxied(request, place, server):
    command, ports, end = request.param(place, server)
    with running(command, place.folder, ports, end):
        yield request.param.__name__


def tls(place):
    return ssl.create_default_context(cafile=place.authority.path)


@contextmanager
def joined(place, **headers):
    """Join by WebSocket through the proxy, from CLIENT; yield the connection."""
    origin = f"https://localhost:{place.https}"
    sock = socket.create_connection(("127.0.0.1", place.https), 20, source_address=(CLIENT, 0))
    with connect(
        f"wss://localhost:{place.https}/ws",
        sock=sock,
        ssl=tls(place),
        server_hostname="localhost",
        origin=origin,
        subprotocols=["wamp.2.json"],
        additional_headers=headers,
    ) as websocket:
        websocket.send(json.dumps([1, "realm1", {"roles": {"caller": {}, "subscriber": {}}}]))
        welcome = json.loads(websocket.recv(20))
        assert welcome[0] == 2
        yield websocket, welcome[1]


def test_a_page_of_that_origin_joins_and_keeps_its_address(proxied, place):
    with joined(place) as (websocket, session):
        websocket.send(json.dumps([48, 1, {}, "wamp.session.get", [session]]))
        _, _, _, (details,) = json.loads(websocket.recv(20))
    assert CLIENT in json.dumps(details["transport"])


def test_nobody_writes_another_address_into_the_header(proxied, place):
    with joined(place, **{"X-Forwarded-For": "192.0.2.1"}) as (websocket, session):
        websocket.send(json.dumps([48, 1, {}, "wamp.session.get", [session]]))
        _, _, _, (details,) = json.loads(websocket.recv(20))
    assert CLIENT in json.dumps(details["transport"])
    assert "192.0.2.1" not in json.dumps(details["transport"])


def test_http_and_its_events_pass_as_they_come(proxied, place):
    origin = f"https://localhost:{place.https}"
    with httpx.Client(base_url=origin, verify=tls(place), timeout=20) as http:
        assert http.get("/").text == "the application"
        with http.stream("GET", "/api/events", params={"topic": "proxied.a"}) as events:
            lines = events.iter_lines()
            assert next(lines) is not None
            body = {"topic": "proxied.a", "args": [1], "options": {"acknowledge": True}}
            answer = http.post("/api/publish", json=body, headers={"Origin": origin})
            assert answer.status_code == 200, answer.text
            assert next(line for line in lines if line.startswith("data:"))


def test_mqtt_over_websocket_and_over_tls(proxied, place, server):
    ways = [("websockets", place.https)]
    if proxied == "nginx":
        ways.append(("tcp", place.mqtts))
    for transport, port in ways:
        client = PahoClient(CallbackAPIVersion.VERSION2, transport=transport)
        if transport == "websockets":
            client.ws_set_options(path="/mqtt")
        client.tls_set(str(place.authority.path))
        with closing_client(client, port):
            client.publish(f"proxied/{transport}", b"1", qos=1).wait_for_publish(20)


@contextmanager
def closing_client(client, port):
    client.connect("localhost", port)
    client.loop_start()
    try:
        await_true("it has connected", client.is_connected)
        yield
    finally:
        client.disconnect()
        client.loop_stop()
