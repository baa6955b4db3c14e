"""User and password of CONNECT (MQTT 3.1.3.4, 3.1.3.5, 3.2.2.3)."""

import pytest
from mqtt_gateway import Client, FakeGateway
from user_samples import PASSWORD, bot, check_passwords, users

from fox_shard.config import Auth
from fox_shard.gateway.auth.failures import FailureLimit
from fox_shard.gateway.mqtt import packets as mqtt

RIGHT = PASSWORD.encode()


def gateway_of(anonymous=()):
    gateway = FakeGateway()
    gateway.authentication.users = users(bot("ab" * 32))
    gateway.authentication._anonymous = frozenset(anonymous)
    return gateway


def connect(user, password, *more, gateway=None):
    client = Client(gateway or gateway_of())
    packet = mqtt.Connect(client_id="c", user_name=user, password=password)
    client.send(packet, *more)
    return client


@pytest.mark.parametrize(
    ("user", "realm", "authid", "role"),
    [
        ("peter", "realm1", "peter", "dev"),
        ("peter@realm1", "realm1", "peter", "dev"),
        ("mary@example.com@other", "other", "mary@example.com", "ops"),
    ],
)
def test_the_right_password_opens_the_session(user, realm, authid, role):
    client = connect(user, RIGHT)
    assert (client.received(), client.calls) == ([], [])
    assert client.connection.paused
    assert check_passwords(client.gateway) == 1
    assert client.received() == [mqtt.Connack(mqtt.ACCEPTED)]
    assert client.calls == [("session_opened", realm, "mqtt.3.1.1", "tcp", "c")]
    session = client.session
    assert (session.realm.name, session.authid, session.authrole) == (realm, authid, role)
    assert not client.connection.paused


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("peter", b"wrong"),
        ("peter", b""),
        ("peter", None),
        ("peter", b"\xff"),
        ("peter@other", RIGHT),
        ("paul", RIGHT),
        ("bot", b""),
        ("", RIGHT),
        ("peter@nowhere", RIGHT),
        ("x" * 300, RIGHT),
    ],
)
@pytest.mark.parametrize("anonymous", [(), ("realm1", "other")])
def test_all_who_prove_nothing_get_one_code(user, password, anonymous):
    client = connect(user, password, gateway=gateway_of(anonymous))
    assert check_passwords(client.gateway) == (len(user) <= 255)
    assert client.received() == [mqtt.Connack(mqtt.BAD_USER_NAME_OR_PASSWORD)]
    assert client.closed
    assert client.calls == []
    assert len(client.connection.refused) < 200
    assert PASSWORD not in client.connection.refused


def test_a_client_without_a_user_name_is_refused():
    client = connect(None, None)
    assert client.received() == [mqtt.Connack(mqtt.NOT_AUTHORIZED)]
    assert client.closed


def test_a_client_without_a_user_name_may_join_a_realm_that_is_open():
    client = connect(None, None, gateway=gateway_of(["realm1"]))
    assert client.received() == [mqtt.Connack(mqtt.ACCEPTED)]
    # A client id proves nothing: as an authid, it might be that of a user, who is told more.
    assert (client.session.authid, client.session.authrole) == ("anonymous", "anonymous")


def test_a_client_id_is_nobodys_authid_any_more_when_there_are_users():
    gateway = gateway_of(["realm1"])
    lets_in = gateway.authentication.lets_in
    assert lets_in("realm1", "anonymous", "anonymous", "anonymous")
    assert not lets_in("realm1", "c", "anonymous", "anonymous")
    gateway.authentication.users = None
    assert lets_in("realm1", "c", "anonymous", "anonymous")


def test_without_users_names_and_passwords_are_ignored():
    client = connect("peter", b"wrong", gateway=FakeGateway())
    assert client.received() == [mqtt.Connack(mqtt.ACCEPTED)]
    assert (client.session.authid, client.session.authrole) == ("c", "anonymous")


@pytest.mark.parametrize("password", [RIGHT, b"wrong"])
def test_what_comes_before_connack_is_handled_after_it(password):
    """[MQTT-3.1.4-5]."""
    client = connect("peter", password, mqtt.Publish("a", b"1"))
    client.send(mqtt.Publish("a", b"2"))
    assert client.calls == []
    check_passwords(client.gateway)
    handled = [(name, *rest[-1:]) for name, *rest in client.calls]
    expected = [("session_opened", "c"), ("publish", b"1"), ("publish", b"2")]
    assert handled == (expected if password == RIGHT else [])


def test_a_client_that_leaves_while_its_password_is_checked_leaves_nothing():
    client = connect("peter", RIGHT)
    client.reader.connection_lost(client.gateway.now)
    check_passwords(client.gateway)
    assert (client.received(), client.calls) == ([], [])


def test_a_password_must_be_checked_in_time():
    client = connect("peter", RIGHT)
    client.gateway.advance(10.0)
    assert client.closed
    assert client.connection.refused == "no password was checked in time"
    check_passwords(client.gateway)
    assert (client.received(), client.calls) == ([], [])


def test_an_address_with_too_many_failures_is_told_that_the_server_is_unavailable():
    gateway = gateway_of()
    gateway.authentication._failure_limit = FailureLimit(Auth(max_failures=1).max_failures)
    connect("peter", b"wrong", gateway=gateway)
    check_passwords(gateway)
    client = connect("peter", RIGHT, gateway=gateway)
    assert client.received() == [mqtt.Connack(mqtt.SERVER_UNAVAILABLE)]
    assert client.closed
    assert gateway.limit_counts.totals() == {"max_failures": 1}
