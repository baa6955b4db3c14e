"""`fox serve`: what is found out before anything is started."""

import socket

import pytest

from fox_shard.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("FOX_GATEWAY_MQTT", f"127.0.0.1:{free.getsockname()[1]}")
    for name in ("GATEWAY_WEBSOCKET", "GATEWAY_RAWSOCKET", "WEB_ADDRESS"):
        monkeypatch.setenv(f"FOX_{name}", "off")
    monkeypatch.delenv("FOX_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("setting", ["gateway.mqtt", "web.address"])
def test_an_address_that_is_taken_is_told_before_there_is_any_data(
    setting, folder, monkeypatch, capfd
):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv(f"FOX_{setting.replace('.', '_').upper()}", address)
        assert main(["serve"]) == 1
    variable = f"FOX_{setting.replace('.', '_').upper()}"
    said = capfd.readouterr().err.splitlines()
    # The first of two lines is about a build of other sources.
    assert said[-1] == (
        f"fox: Cannot listen at {address}: another program listens there; stop it, or set another "
        f"port with {setting} or {variable}."
    )
    assert all("make compile" in line for line in said[:-1])
    assert not list(folder.iterdir())
