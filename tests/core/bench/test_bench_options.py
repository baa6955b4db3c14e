"""fox bench: what is refused before anything is connected."""

import sys

import pytest

from fox_shard.cli import main
from fox_shard.client import CannotConnect


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FOX_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_paho_it_is_said_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "paho", None)
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    monkeypatch.delitem(sys.modules, "fox_shard.bench.mqtt", raising=False)
    assert main(["bench", "pub", "--mqtt"]) == 2
    said = capsys.readouterr().err
    assert said == "fox: MQTT clients need paho-mqtt: pip install 'fox-shard[bench]'.\n"


@pytest.mark.parametrize("load", ["pub", "sub", "call"])
def test_a_load_logs_in_as_all_commands_do(load, capsys):
    assert main(["bench", load, "--token-file", "missing"]) == 2
    assert "missing has no token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "login"),
    [
        ([], (None, None)),
        (["--realm", "realm1"], (None, None)),
        (["--realm", "shop"], ("@shop", None)),
        (["--user", "ann"], ("ann", "s3cret")),
        (["--user", "ann", "--auth", "ticket", "--realm", "shop"], ("ann@shop", "s3cret")),
        (["--token-file", "token"], ("", "a.b.c")),
        (["--token-file", "token", "--realm", "shop"], ("@shop", "a.b.c")),
        (["--token-file", "token", "--user", "ann"], ("ann", "a.b.c")),
    ],
)
def test_mqtt_clients_log_in_by_user_name_and_password(arguments, login, tmp_path, monkeypatch):
    monkeypatch.setenv("FOX_PASSWORD", "s3cret")
    (tmp_path / "token").write_text("a.b.c\n")
    targets = []

    async def connect(target, _name, _window):
        targets.append(target)
        raise CannotConnect("That is enough.")

    monkeypatch.setattr("fox_shard.bench.mqtt.connect_mqtt", connect)
    assert main(["bench", "pub", "--mqtt", *arguments]) == 69
    assert {(target.user, target.password) for target in targets} == {login}


def test_mqtt_clients_cannot_keep_a_password_to_themselves(capsys):
    assert main(["bench", "pub", "--mqtt", "--user", "ann", "--auth", "scram"]) == 2
    assert "MQTT clients send the password itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mqtt://a:99999", "is not the address of an MQTT server"),
        ("mqtt://", "is not the address of an MQTT server"),
        ("ws://", "is not the address of a WebSocket"),
    ],
)
def test_an_address_that_is_none_is_a_mistake(url, sentence, capsys):
    assert main(["bench", "pub", "--url", url]) == 2
    assert sentence in capsys.readouterr().err


def test_without_a_listener_it_is_asked_for_an_address(monkeypatch, capsys):
    monkeypatch.setenv("FOX_GATEWAY_MQTT", "off")
    assert main(["bench", "sub", "--mqtt"]) == 2
    assert "gateway.mqtt is off: say where with --url mqtt://" in capsys.readouterr().err


@pytest.mark.parametrize("load", ["pub", "sub", "call"])
def test_wamp_clients_log_in_as_the_options_say(load, capsys):
    assert main(["bench", load, "--token-file", "missing.jwt"]) == 2
    assert "missing.jwt has no token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "source"), [([], "FOX_GATEWAY_WEBSOCKET"), (["--mqtt"], "FOX_GATEWAY_MQTT")]
)
def test_the_setting_that_has_the_address_is_that_of_the_protocol(arguments, source, monkeypatch):
    monkeypatch.setenv("FOX_GATEWAY_WEBSOCKET", "127.0.0.1:1")
    monkeypatch.setenv("FOX_GATEWAY_MQTT", "127.0.0.1:2")
    asked = []
    monkeypatch.setattr(
        "fox_shard.bench.command.run_bench",
        lambda options, config: asked.append(options.source) or 0,
    )
    assert main(["bench", "pub", *arguments]) == 0
    assert asked == [source]
