"""CONNACK waits for the end of an older session with the same client id [MQTT-3.1.4-2]."""

import pytest
from mqtt_gateway import Client, FakeGateway

from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import encode

ACCEPTED = mqtt.Connack(mqtt.ACCEPTED)
WILL = mqtt.Will("w", b"offline", 1)


@pytest.fixture
def client():
    gateway = FakeGateway()
    gateway.admits = False
    return Client(gateway)


def names(client):
    return [call[0] for call in client.calls]


def test_a_session_that_waits_is_not_read_and_has_no_will(client):
    assert client.answers(mqtt.Connect(client_id="c", will=WILL, keep_alive=10)) == []
    assert client.connection.paused
    assert names(client) == ["session_opened"]
    client.session.admitted()
    assert client.received() == [ACCEPTED]
    assert not client.connection.paused
    assert names(client) == ["will"]
    client.session.admitted()
    assert client.received() == []
    assert client.answers(mqtt.Pingreq()) == [mqtt.Pingresp()]


@pytest.mark.parametrize("cut", [0, 5, 1000])
def test_what_comes_before_connack_is_handled_after_it(cut, client):
    """A client need not wait for CONNACK [MQTT-3.1.4-5]."""
    early = b"".join(
        encode(packet) for packet in (mqtt.Publish("a", b"1"), mqtt.Pingreq(), mqtt.Disconnect())
    )
    client.feed(encode(mqtt.Connect(client_id="c", will=WILL)) + early[:cut])
    if early[cut:]:
        client.feed(early[cut:])
    assert names(client) == ["session_opened"]
    assert client.received() == []
    client.session.admitted()
    assert client.received() == [ACCEPTED, mqtt.Pingresp()]
    assert names(client) == ["will", "publish", "session_ended"]
    assert client.closed


def test_a_violation_before_connack_ends_the_session_after_it(client):
    client.feed(encode(mqtt.Connect(client_id="c")) + b"\xf0\0")
    assert not client.closed
    client.session.admitted()
    assert client.closed


def test_a_session_that_is_taken_over_while_it_waits_is_never_accepted(client):
    client.send(mqtt.Connect(client_id="c", will=WILL))
    client.session.end("fox.close.session_taken_over", "again")
    client.session.admitted()
    assert client.received() == []
    assert names(client) == ["session_opened", "session_ended"]


def test_a_session_waits_no_longer_than_the_handshake_may_take(client):
    client.send(mqtt.Connect(client_id="c"))
    limit = client.gateway.settings.handshake_timeout
    client.gateway.advance(limit - 0.1)
    assert client.received() == []
    client.gateway.advance(0.2)
    assert client.received() == [ACCEPTED]
    assert not client.closed
