"""The sections [[listener]]: what they may say, and what is told about a mistake."""

from pathlib import Path

import pytest

from fox_shard.config import Address, ConfigError, Listener, UnixPath, load, parse
from fox_shard.config.rendering import render

FOLDER = Path("/srv/fox")
MQTT = '[[listener]]\nprotocol = "mqtt"\naddress = "0.0.0.0:8883"\n'
TLS = 'certificate = "a.pem"\nkey = "a.key"\n'
UNIX = '[[listener]]\nprotocol = "mqtt"\naddress = "unix:run/mqtt.sock"\n'


def read(text, **environ):
    return parse(text, environ, folder=FOLDER, name="fox.toml")[0]


def test_listeners_are_read_in_order_and_printed():
    text = f'{MQTT}{TLS}[[listener]]\nprotocol = "websocket"\naddress = "unix:w-{{gateway}}"\n'
    config, origins = parse(text, {}, folder=FOLDER, name="fox.toml")
    mqtt, websocket = config.listeners
    assert mqtt == Listener(
        protocol="mqtt", address=Address("0.0.0.0", 8883), certificate="a.pem", key="a.key"
    )
    assert (mqtt.scheme, websocket.scheme) == ("mqtts", "ws")
    assert websocket.address.of_gateway(1) == UnixPath("/srv/fox/w-1")
    assert read(render(config, origins)).listeners == config.listeners


def test_certificates_are_relative_to_the_file(tmp_path):
    path = tmp_path / "conf" / "fox.toml"
    path.parent.mkdir()
    path.write_text(MQTT + 'certificate = "tls/a.pem"\nkey = "/etc/a.key"\n')
    (listener,) = load(path, {}).listeners
    assert listener.certificate == str(tmp_path / "conf/tls/a.pem")
    assert (listener.key, listener.ca) == ("/etc/a.key", "")


def test_the_three_of_gateway_may_be_off():
    off = {f"FOX_GATEWAY_{kind}": "off" for kind in ("WEBSOCKET", "RAWSOCKET", "MQTT")}
    assert len(read(MQTT, **off).listeners) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("listener = 1", "fox.toml: listener must be 1 to 100 sections [[listener]], not 1."),
        (
            MQTT + "tls = true",
            "fox.toml: listener[0]: there is no setting tls; there are protocol, address, "
            "certificate, key, client_certificate, ca, certificate_user, mode, proxy_protocol, "
            "forwarded, trusted_proxies.",
        ),
        (
            '[[listener]]\naddress = "a:1"',
            'fox.toml: listener[0].protocol must be one of "mqtt", "rawsocket", "websocket", not '
            "null.",
        ),
        (
            '[[listener]]\nprotocol = "mqtt"\naddress = "unix:"',
            'fox.toml: listener[0].address must be an address "host:port" with a port from 1 to '
            '65535, or "unix:/path", not "unix:".',
        ),
        (
            MQTT + 'certificate = "a.pem"',
            "fox.toml: listener[0].key is missing: TLS needs a certificate and its key.",
        ),
        (
            MQTT + 'client_certificate = "required"',
            "fox.toml: listener[0].client_certificate needs TLS: set certificate and key, too.",
        ),
        (
            MQTT + TLS + 'client_certificate = "required"',
            "fox.toml: listener[0].ca is missing: the authorities that sign the certificates of "
            "clients.",
        ),
        (
            MQTT + TLS + 'ca = "ca.pem"',
            'fox.toml: listener[0].ca has no effect unless client_certificate is "optional" or '
            '"required".',
        ),
        (
            MQTT + 'forwarded = "forwarded"',
            "fox.toml: listener[0].forwarded is for HTTP: use proxy_protocol with this protocol.",
        ),
        (
            MQTT + 'trusted_proxies = ["10.0.0.1/8"]',
            "fox.toml: listener[0].trusted_proxies must be a list of networks such as "
            '["10.0.0.0/8", "::1"], not "10.0.0.1/8".',
        ),
        (MQTT + MQTT, "fox.toml: listener[1].address: there are two listeners at 0.0.0.0:8883."),
        (
            UNIX,
            "fox.toml: listener[0].address must contain {gateway}, as unix:run/mqtt-{gateway}.sock "
            "does: each of the 2 gateways has a UNIX socket of its own.",
        ),
        (
            f"gateways = 1\n{UNIX.replace('mqtt.sock', 'm' * 100)}",
            f"fox.toml: listener[0].address: /srv/fox/run/{'m' * 100} is too long for a UNIX "
            "socket, whose path has at most 107 bytes.",
        ),
        (
            MQTT.replace("0.0.0.0:8883", "127.0.0.1:1883"),
            "gateway.mqtt and listener[0].address are both 127.0.0.1:1883.",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence(text, sentence):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == sentence


def test_the_environment_sets_no_listeners():
    with pytest.raises(ConfigError, match=r"^Environment variable FOX_LISTENER_MQTTS: listeners"):
        read("", FOX_LISTENER_MQTTS="0.0.0.0:8883")
