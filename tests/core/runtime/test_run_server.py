"""`fox run`, before supervisord."""

from bench.ports import free_port
from fox_shard.config import parse
from fox_shard.runtime import starting


def test_supervisord_finds_its_folder_also_if_somebody_has_removed_it(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(starting.supervisord, "main", lambda _: found.append(run.is_dir()))
    monkeypatch.setenv("FOX_CONFIG", "")
    (tmp_path / "conf").mkdir()
    run = tmp_path / "run"
    config, _ = parse(
        "",
        {
            "FOX_WEB_ADDRESS": "off",
            "FOX_GATEWAY_WEBSOCKET": f"127.0.0.1:{free_port()}",
            "FOX_GATEWAY_MQTT": "off",
            "FOX_GATEWAY_RAWSOCKET": "off",
        },
        folder=tmp_path,
        name="fox.toml",
    )
    assert starting.run_server(config, tmp_path / "conf/fox.toml", tmp_path / "conf/fox.conf") == 0
    assert found == [True]
