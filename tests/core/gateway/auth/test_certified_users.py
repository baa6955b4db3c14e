"""Clients that log in by a certificate, which TLS has verified: authmethod `tls`, and MQTT."""

import pytest
from mqtt_gateway import Client as MqttClient
from mqtt_gateway import FakeGateway
from user_samples import PASSWORD, bot, check_passwords, users
from wamp_client import Client as WampClient

from fox_shard.config import Address, Listener
from fox_shard.gateway.clients.access import Access
from fox_shard.gateway.mqtt import packets as mqtt

WELCOME, ABORT, CHALLENGE = 2, 3, 4
SIGNED = Listener(protocol="mqtt", address=Address("0.0.0.0", 8883))


def hello(name, *, methods=("tls",), authid=None, binding=b"", realm="realm1", extra=None):
    """Return the answer to HELLO of a client whose certificate has that name; None: no name."""
    client = WampClient()
    client.gateway.authentication.users = users(bot("ab" * 32))
    client.connection.access = Access(listener=SIGNED, user=name, channel_binding=binding)
    details = {"roles": {"caller": {}}, "authmethods": list(methods)}
    if authid is not None:
        details["authid"] = authid
    if extra is not None:
        details["authextra"] = extra
    return client.send([1, realm, details])[0]


@pytest.mark.parametrize("authid", [None, "peter"])
def test_the_certificate_names_the_user(authid):
    kind, _, details = hello("peter", authid=authid)
    assert kind == WELCOME
    assert (details["authid"], details["authrole"], details["authmethod"]) == (
        "peter",
        "dev",
        "tls",
    )


@pytest.mark.parametrize(
    ("name", "authid"), [("paul", None), ("paul", "peter"), ("peter", "mary"), ("peter", "paul")]
)
def test_nobody_else_is_let_in(name, authid):
    kind, _, reason = hello(name, authid=authid)
    assert (kind, reason) == (ABORT, "wamp.error.authentication_failed")


def test_without_a_name_in_a_certificate_there_is_no_such_method():
    assert hello(None)[0::2] == [ABORT, "wamp.error.no_matching_auth_method"]
    assert hello(None, methods=["tls", "ticket"], authid="peter")[:2] == [CHALLENGE, "ticket"]


@pytest.mark.cites("advanced.authentication_cryptosign.8")
def test_a_signature_is_bound_to_the_connection_if_there_is_one():
    extra = {"pubkey": "ab" * 32, "channel_binding": "tls-unique"}
    answer = hello(None, methods=["cryptosign"], binding=b"finished", extra=extra)
    assert answer[2]["channel_binding"] == "tls-unique"
    answer = hello(None, methods=["cryptosign"], binding=b"", extra=extra)
    assert answer[2]["channel_binding"] is None


def connect(name, *, user=None, password=None):
    gateway = FakeGateway()
    gateway.authentication.users = users(bot("ab" * 32))
    client = MqttClient(gateway)
    client.connection.access = Access(listener=SIGNED, user=name)
    client.send(mqtt.Connect(client_id="c", user_name=user, password=password))
    check_passwords(gateway)
    (answer,) = client.received()
    return client.session, answer.code


@pytest.mark.parametrize("user", [None, "peter", "peter@realm1", "@realm1"])
def test_an_mqtt_client_without_a_password_is_the_user_of_its_certificate(user):
    session, code = connect("peter", user=user)
    assert code == mqtt.ACCEPTED
    assert (session.authid, session.authrole) == ("peter", "dev")


@pytest.mark.parametrize(
    ("name", "user", "password"),
    [
        ("paul", None, None),
        ("peter", "paul", None),
        ("peter", "mary", None),
        ("peter", "peter", b"wrong"),
    ],
)
def test_a_certificate_helps_nobody_else(name, user, password):
    assert connect(name, user=user, password=password)[1] != mqtt.ACCEPTED


def test_a_password_is_worth_as_much_as_without_a_certificate():
    session, code = connect("bot", user="peter", password=PASSWORD.encode())
    assert (code, session.authid) == (mqtt.ACCEPTED, "peter")
