"""A web application behind Caddy: which pages may connect, and for whom limits count."""

import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import END, await_true
from web_servers import APPLICATION, UVICORN, environment, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bench.ports import free_port

CLIENT = "203.0.113.9"
"""Where the client is, as the proxy says, although it is on this machine."""

NAMED, UNNAMED = f"header_up X-Forwarded-For {CLIENT}", "header_up -X-Forwarded-For"
HOST = "app.example"
OWN, FOREIGN, LOCAL = f"https://{HOST}", "https://attacker.example", "http://localhost:3000"


@contextmanager
def caddy(folder, server, header):
    """Run a proxy in front of the web server; yields its port."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("Caddy is not installed (Debian package caddy)")
    port = free_port()
    file = folder / "Caddyfile"
    site = (
        f"http://:{port} {{\n  reverse_proxy 127.0.0.1:{server.port} {{\n    {header}\n  }}\n}}\n"
    )
    file.write_text(f"{{\n  admin off\n  auto_https off\n}}\n{site}")
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "run", "--config", str(file), "--adapter", "caddyfile"],
            cwd=folder,
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await_true("the proxy listens", lambda: _answers(port))
        yield port
    finally:
        # Asked to end, Caddy waits for its connections.
        process.kill()
        process.wait(END)


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        variables = environment(name, FOX_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS="1")
        with serving(Path(name), UVICORN, APPLICATION, variables) as server:
            yield server


def opened(port, origin):
    """Open a WebSocket as a page of that origin does, at the host of the application."""
    sock = socket.create_connection(("127.0.0.1", port))
    try:
        return connect(
            f"ws://{HOST}/live", sock=sock, subprotocols=["wamp.2.json"], origin=origin, proxy=None
        )
    except InvalidStatus:
        sock.close()
        raise


def refused(port, origin):
    """Return the status with which the page is refused."""
    with pytest.raises(InvalidStatus) as refused:
        opened(port, origin)
    return refused.value.response.status_code


def test_pages_of_the_application_may_connect_and_count_where_they_are(tmp_path, server):
    with caddy(tmp_path, server, NAMED) as port:
        with opened(port, OWN) as page:
            assert page.subprotocol == "wamp.2.json"
            # One for each address (`gateway.max_connections_per_address`).
            assert refused(port, OWN) == 503
            with server.page():
                pass
        for origin in (FOREIGN, LOCAL):
            assert refused(port, origin) == 403


def test_if_the_proxy_does_not_say_who_comes_only_local_pages_may_connect(tmp_path, server):
    with caddy(tmp_path, server, UNNAMED) as port:
        for origin in (OWN, FOREIGN):
            assert refused(port, origin) == 403
        opened(port, LOCAL).close()
