"""A web application behind Caddy: which pages may connect, and for whom limits count."""

import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import END, await_true
from web_servers import APPLICATION, PATIENCE, UVICORN, environment, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bench.ports import free_port

CLIENT = "203.0.113.9"
"""Where the client is, as the proxy says, although it is on this machine."""

NAMED, UNNAMED = f"header_up X-Forwarded-For {CLIENT}", "header_up -X-Forwarded-For"
HOST = "app.example"
OWN, FOREIGN = f"https://{HOST}", "https://attacker.example"
SETTINGS = {
    "FOX_GATEWAY_ALLOWED_ORIGINS": OWN,
    "FOX_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "1",
}


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
        variables = environment(name, **SETTINGS)
        with serving(Path(name), UVICORN, APPLICATION, variables) as server:
            yield server


def opened(port, origin):
    """Open a WebSocket as a page of that origin does, at the host of the application."""
    sock = socket.create_connection(("127.0.0.1", port))
    try:
        return connect(
            f"ws://{HOST}/wss", sock=sock, subprotocols=["wamp.2.json"], origin=origin, proxy=None
        )
    except InvalidStatus:
        sock.close()
        raise


def let_in(port):
    """Open a WebSocket, as soon as the web server has noticed that the last one is closed."""

    def attempt():
        try:
            return opened(port, OWN)
        except InvalidStatus as refused:
            if refused.response.status_code != 503:
                raise
        return None

    return await_true("the page is let in", attempt, PATIENCE)


def refused(port, origin):
    """Return the status with which the page is refused."""
    with pytest.raises(InvalidStatus) as refused:
        opened(port, origin)
    return refused.value.response.status_code


def test_pages_of_its_public_origin_may_connect_and_no_others(tmp_path, server):
    with caddy(tmp_path, server, NAMED) as port:
        assert refused(port, FOREIGN) == 403
        with let_in(port) as page:
            assert page.subprotocol == "wamp.2.json"


@pytest.mark.parametrize("header", [NAMED, UNNAMED])
def test_clients_count_at_the_address_that_the_proxy_says(tmp_path, server, header):
    """One for each address (`gateway.max_connections_per_address`)."""
    with caddy(tmp_path, server, header) as port, let_in(port):
        assert refused(port, OWN) == 503
        # At the proxy's own address, where all are if it says nothing.
        if header == NAMED:
            server.page().close()
        else:
            with pytest.raises(InvalidStatus):
                server.page()
