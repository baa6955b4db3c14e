"""`fox serve`: what is found out before anything is started."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("setting", ["gateway.mqtt", "web.address"])
def test_an_address_that_is_taken_is_told_before_there_is_any_data(setting, tmp_path):
    listeners = ("GATEWAY_MQTT", "GATEWAY_WEBSOCKET", "GATEWAY_RAWSOCKET", "WEB_ADDRESS")
    settings = {f"FOX_{name}": "off" for name in listeners}
    variable = f"FOX_{setting.replace('.', '_').upper()}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        # There must be a listener for clients.
        settings["FOX_GATEWAY_MQTT"] = f"127.0.0.1:{free.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = settings[variable] = f"127.0.0.1:{other.getsockname()[1]}"
        environment = {name: text for name, text in os.environ.items() if name != "FOX_CONFIG"}
        done = subprocess.run(
            [sys.executable, "-m", "fox_shard", "serve"],
            cwd=tmp_path,
            env={**environment, **settings, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    # The first of two lines is about a build of other sources.
    assert done.stderr.splitlines()[-1] == (
        f"fox: Cannot listen at {address}: another program listens there; stop it, or set another "
        f"port with {setting} or {variable}."
    )
    assert "linked" not in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())
