"""The configuration of an attached gateway."""

import pytest

from fox_shard.config import Address, Config, ConfigError, Gateway, Listener
from fox_shard.config.attached import attached_config

SERVER = Config(
    shards=3,
    gateway=Gateway(websocket=Address("127.0.0.1", 8080), outbound_limit=1 << 20),
    listeners=(Listener(protocol="mqtt", address=Address("127.0.0.1", 1884)),),
)


def test_it_has_the_servers_settings_but_no_listeners():
    config = attached_config(SERVER, {})
    assert (config.shards, config.gateway.outbound_limit) == (3, 1 << 20)
    gateway = config.gateway
    assert (gateway.websocket, gateway.rawsocket, gateway.mqtt) == (None, None, None)
    assert config.listeners == ()


def test_variables_say_where_it_listens_and_what_its_clients_may_cost():
    environ = {"FOX_GATEWAY_MQTT": "127.0.0.1:9", "FOX_GATEWAY_WEBSOCKET": "off"}
    config = attached_config(
        SERVER, {**environ, "FOX_GATEWAY_OUTBOUND_LIMIT": "70000", "FOX_LOG_LEVEL": "debug"}
    )
    assert config.gateway.mqtt == Address("127.0.0.1", 9)
    assert config.gateway.websocket is None
    assert config.gateway.outbound_limit == 70_000
    assert config.log.level == "debug"


def test_variables_that_say_the_same_as_the_server_are_no_mistake():
    assert attached_config(SERVER, {"FOX_SHARDS": "3", "FOX_DATA_DIR": "data"}).shards == 3


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("FOX_SHARDS", "4", "shards is 3 in the running server"),
        ("FOX_BACKPLANE_HEARTBEAT", "0.5", "backplane.heartbeat is 1.0 in the running server"),
        ("FOX_GATEWAY_MQTT", "nowhere", "FOX_GATEWAY_MQTT"),
        ("FOX_GATEWAY_MQT", "off", "names no setting"),
    ],
)
def test_a_mistake_is_told_in_words(variable, value, sentence):
    with pytest.raises(ConfigError, match=sentence):
        attached_config(SERVER, {variable: value})


def test_a_program_says_so_by_path():
    settings = {"gateway.mqtt": "127.0.0.1:0", "gateway.outbound_limit": 70_000, "shards": 3}
    config = attached_config(SERVER, {}, settings)
    assert config.gateway.mqtt == Address("127.0.0.1", 0)
    assert (config.gateway.websocket, config.gateway.outbound_limit) == (None, 70_000)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shards": 4}, "settings: shards says 4, but shards is 3 in the running server"),
        ({"data_dir": "elsewhere"}, "settings: data_dir says elsewhere, but"),
        ({"gateway.mqt": "off"}, "settings: there is no setting gateway.mqt"),
        ({"gateway.mqtt": "nowhere"}, "settings: gateway.mqtt"),
    ],
)
def test_a_mistake_of_a_program_is_told_in_words(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        attached_config(SERVER, {}, settings)
