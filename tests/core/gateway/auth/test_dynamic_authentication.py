"""Dynamic authentication: what an authenticator is asked, and what follows from its answer."""

import pytest
from authenticators import FakeAuthenticator
from autobahn.wamp.auth import compute_wcs, derive_key
from mqtt_gateway import Client as MqttClient
from mqtt_gateway import FakeGateway as MqttGateway
from test_wamp_authentication import (
    FAILED,
    NO_MATCH,
    ROBOT,
    again,
    answer,
    assert_failed,
    assert_welcome,
    challenged,
    client_of,
    hello,
    signed,
)
from user_samples import PASSWORD, check_passwords, users
from wamp_client import SESSION

from fox_shard.config import Auth
from fox_shard.gateway.auth.failures import FailureLimit
from fox_shard.gateway.consulting.outcomes import NoAdvice
from fox_shard.gateway.mqtt import packets as mqtt

DOWN = NoAdvice("down", "shard-0 is down")
ERROR = NoAdvice("error", "com.example.no_such_user: paul")


def dynamic(**more):
    client = client_of(**{key: more.pop(key) for key in ("settings", "anonymous") if key in more})
    return client, FakeAuthenticator(client.gateway, **more)


def provider_of(client):
    ((_, how),) = client.asked
    return how["authprovider"], how["authmethod"]


def assert_dynamic(messages, authid="paul", authrole="guest", method="ticket"):
    ((kind, session, details),) = messages
    assert (kind, session) == (2, SESSION)
    shown = [details[key] for key in ("authid", "authrole", "authmethod", "authprovider")]
    assert shown == [authid, authrole, method, "dynamic"]
    return details


# Ticket


def test_a_ticket_is_shown_to_the_authenticator_which_says_the_role():
    client, authenticator = dynamic()
    assert challenged(client, "ticket", name="paul", device=7) == {}
    assert authenticator.asked() == []
    assert client.send([5, "open sesame", {}]) == []
    ((realm, authid, details),) = authenticator.asked()
    session = details.pop("session")
    assert 0 < session <= 1 << 53
    assert (realm, authid) == ("realm1", "paul")
    assert details == {
        "authmethod": "ticket",
        "ticket": "open sesame",
        "authextra": {"device": 7},
        "transport": {"type": "websocket", "peer": "127.0.0.1:5000"},
    }
    authenticator.answers("guest")
    assert_dynamic(client.received())
    assert provider_of(client) == ("dynamic", "ticket")
    assert client.gateway.authentication.failures == 0


def test_the_answer_may_name_another_authid_realm_and_extra():
    client, authenticator = dynamic()
    client.gateway.realms["other"] = MqttGateway().realms["other"]
    challenged(client, "ticket", name="paul")
    client.send([5, "x", {}])
    authenticator.answers(
        {"role": "guest", "authid": "P-1", "realm": "other", "extra": {"a": 1}, "more": 2}
    )
    details = assert_dynamic(client.received(), authid="P-1")
    assert (details["realm"], details["authextra"]) == ("other", {"a": 1})
    assert client.session.realm.name == "other"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        False,
        True,
        0,
        7,
        [],
        "",
        {},
        object(),
        {"role": None},
        {"role": ""},
        {"role": "fox.gateway"},
        {"role": "x" * 300},
        {"role": "a\nb"},
        {"role": "\ud800"},
        {"role": "guest", "authid": "\ud800"},
        "fox.worker",
        {"role": "guest", "authid": "fox.worker"},
        {"role": "guest", "authid": 7},
        {"role": "guest", "realm": "nowhere"},
        {"role": "guest", "realm": 7},
        {"role": "guest", "extra": []},
        {"role": "guest", "extra": {"a": object()}},
        {"role": "guest", "extra": {"a": 1 << 70}},
        {"role": "guest", "extra": {"a": "\ud800"}},
        {"role": "guest", "extra": {"a": "x" * 20_000}},
        # The answer to another method: nobody has looked at the ticket.
        {"role": "guest", "secret": "s3cret"},
        {"role": "guest", "pubkey": ROBOT},
        ERROR,
        DOWN,
        NoAdvice("timeout", "there was no answer in time"),
        NoAdvice("no_callee", "no callee"),
        NoAdvice("unreadable", "too long"),
    ],
)
def test_whatever_is_not_a_yes_is_a_no_that_looks_the_same(wrong):
    client, authenticator = dynamic()
    challenged(client, "ticket", name="paul")
    client.send([5, "open sesame", {}])
    authenticator.answers(wrong)
    assert_failed(client, client.received())
    refused = client.connection.refused
    assert refused.startswith(f"{FAILED}: the authentication failed (ticket as 'paul' in realm1: ")
    assert "sesame" not in refused


def test_what_a_client_has_sent_makes_no_line_of_the_log():
    client, authenticator = dynamic()
    name = "paul\n2026-11-29 INFO gateway-0 all is well"
    challenged(client, "ticket", name=name)
    client.send([5, "x", {}])
    authenticator.answers(NoAdvice("error", f"KeyError: there is no {name}"))
    assert_failed(client, client.received())
    assert client.connection.refused.isprintable()
    assert "there is no paul\\n2026" in client.connection.refused


def test_no_answer_in_time_refuses_and_a_late_one_changes_nothing():
    client, authenticator = dynamic()
    challenged(client, "ticket", name="paul")
    client.send([5, "x", {}])
    assert authenticator.asked()
    client.gateway.pass_time(4.9)
    assert client.received() == []
    client.gateway.pass_time(0.2)
    assert_failed(client, client.received())
    authenticator.answers("guest")
    assert client.received() == []
    assert client.asked == []


@pytest.mark.parametrize("method", ["ticket", "wampcra"])
def test_a_client_that_leaves_is_not_waited_for(method):
    client, authenticator = dynamic()
    hello(client, method, name="paul")
    if method == "ticket":
        client.send([5, "x", {}])
    assert len(authenticator.consultations) == 1
    client.session.connection_lost(client.gateway.now)
    assert len(authenticator.consultations) == 0
    assert authenticator.asked() == []


def test_a_client_whose_time_is_over_is_not_waited_for():
    client, authenticator = dynamic()
    client.gateway.pass_time(8.0)
    hello(client, "wampcra", name="paul")
    assert len(authenticator.consultations) == 1
    client.gateway.pass_time(2.5)
    assert len(authenticator.consultations) == 0
    assert client.hung_up == 1


def test_too_many_questions_refuse_with_a_hint_to_try_again():
    client, authenticator = dynamic(limit=1)
    challenged(client, "ticket", name="paul")
    client.send([5, "x", {}])
    other = again(client)
    challenged(other, "ticket", name="mary")
    ((_, _, uri),) = other.send([5, "x", {}])
    assert uri == "wamp.error.unavailable"
    assert len(authenticator.consultations) == 1


# Who is asked


@pytest.mark.parametrize("method", ["ticket", "wampcra", "cryptosign"])
def test_a_user_of_the_file_goes_first(method):
    client, authenticator = dynamic()
    more = {"pubkey": ROBOT} if method == "cryptosign" else {}
    challenged(client, method, **more)
    assert answer(client, "wrong")[0][2] == FAILED
    assert authenticator.asked() == []


def test_the_session_of_the_authenticator_logs_in_by_the_file():
    client, authenticator = dynamic()
    challenged(client, "ticket")
    assert_welcome(answer(client, PASSWORD), method="ticket")
    assert authenticator.asked() == []


@pytest.mark.parametrize("method", ["ticket", "wampcra", "cryptosign"])
def test_nobody_is_asked_about_the_names_of_the_server(method):
    client, authenticator = dynamic()
    more = {"pubkey": ROBOT} if method == "cryptosign" else {}
    challenged(client, method, name="fox.anything", **more)
    assert_failed(client, answer(client, "x"))
    assert authenticator.asked() == []


def test_only_the_named_methods_are_asked_for():
    client, authenticator = dynamic(methods=("ticket",))
    assert hello(client, "cryptosign", "ticket", name="paul", pubkey=ROBOT) == [[4, "ticket", {}]]
    other = again(client)
    assert hello(other, "anonymous", name=None)[0][2] == NO_MATCH
    third = again(client)
    challenged(third, "cryptosign", name="paul", pubkey=ROBOT)
    assert authenticator.asked() == []


def test_all_else_goes_by_the_method_that_is_asked_for():
    client, authenticator = dynamic(methods=("ticket",))
    offered = ["scram", "wampcra", "ticket"]
    challenged(client, "ticket", methods=offered, name="paul", nonce="egVDf3DMJh0=")
    other = again(client)
    challenged(other, "scram", methods=offered, nonce="egVDf3DMJh0=")
    assert authenticator.asked() == []


def test_another_realm_has_no_authenticator():
    client, authenticator = dynamic()
    client.gateway.realms["other"] = MqttGateway().realms["other"]
    challenged(client, "ticket", name="paul", realm="other")
    assert_failed(client, answer(client, "x"))
    assert authenticator.asked() == []


# WAMP-CRA


@pytest.mark.parametrize("salted", [False, True])
def test_wampcra_proves_the_secret_that_the_authenticator_names(salted):
    client, authenticator = dynamic()
    assert hello(client, "wampcra", name="paul") == []
    ((realm, authid, details),) = authenticator.asked()
    assert (realm, authid, details["authmethod"]) == ("realm1", "paul", "wampcra")
    key, more = "s3cret", {}
    if salted:
        key = derive_key(b"s3cret", b"salt1", 2000, 32).decode()
        more = {"salt": "salt1", "iterations": 2000}
    authenticator.answers({"role": "guest", "secret": key, **more})
    ((kind, method, extra),) = client.received()
    assert (kind, method) == (4, "wampcra")
    challenge = extra.pop("challenge")
    assert '"authprovider":"dynamic"' in challenge
    assert f'"session":{details["session"]}' in challenge
    assert extra == ({**more, "keylen": 32} if salted else {})
    signature = compute_wcs(key.encode(), challenge.encode()).decode()
    assert_dynamic(client.send([5, signature, {}]), method="wampcra")


def test_a_wrong_signature_fails():
    client, authenticator = dynamic()
    hello(client, "wampcra", name="paul")
    authenticator.answers({"role": "guest", "secret": "s3cret"})
    client.received()
    assert_failed(client, client.send([5, "x", {}]))
    assert client.gateway.authentication.failures == 1


@pytest.mark.parametrize("no", [None, False, ERROR])
@pytest.mark.parametrize("method", ["wampcra", "cryptosign"])
def test_somebody_unknown_gets_a_challenge_that_has_no_right_answer(method, no):
    client, authenticator = dynamic()
    more = {"pubkey": ROBOT} if method == "cryptosign" else {}
    hello(client, method, name="paul", **more)
    authenticator.answers(no)
    ((kind, _, extra),) = client.received()
    assert kind == 4
    signature = signed(extra["challenge"]) if method == "cryptosign" else "x"
    assert_failed(client, client.send([5, signature, {}]))
    assert client.gateway.authentication.failures == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "guest",
        {"role": "guest"},
        {"role": "guest", "secret": ""},
        {"role": "guest", "secret": 7},
        {"role": "guest", "secret": "\ud800"},
        {"role": "guest", "secret": "s", "salt": "\ud800"},
        {"role": "guest", "secret": "s", "salt": "x", "iterations": 0},
        {"role": "guest", "secret": "s", "salt": "x", "keylen": 1 << 40},
        DOWN,
    ],
)
def test_wampcra_without_a_secret_lets_nobody_in(wrong):
    client, authenticator = dynamic()
    hello(client, "wampcra", name="paul")
    authenticator.answers(wrong)
    assert_failed(client, client.received())


# Cryptosign


@pytest.mark.parametrize("name", ["paul", None])
@pytest.mark.parametrize(
    "keys",
    [{"pubkey": ROBOT.upper()}, {"pubkeys": ["ab" * 32, ROBOT]}, {"authorized_keys": [ROBOT]}],
)
def test_cryptosign_proves_the_key_that_the_authenticator_allows(name, keys):
    client, authenticator = dynamic()
    assert hello(client, "cryptosign", name=name, pubkey=ROBOT) == []
    ((_, authid, details),) = authenticator.asked()
    assert (authid, details["pubkey"], details["authextra"]) == (name, ROBOT, {"pubkey": ROBOT})
    authenticator.answers({"role": "guest", "authid": "robot", **keys})
    ((_, _, extra),) = client.received()
    messages = client.send([5, signed(extra["challenge"]), {}])
    assert_dynamic(messages, authid="robot", method="cryptosign")


def test_another_key_than_the_allowed_one_fails():
    client, authenticator = dynamic()
    hello(client, "cryptosign", name="paul", pubkey=ROBOT)
    authenticator.answers({"role": "guest", "pubkey": "ab" * 32})
    ((_, _, extra),) = client.received()
    assert_failed(client, client.send([5, signed(extra["challenge"]), {}]))


@pytest.mark.parametrize("wrong", ["guest", {"role": "guest"}, {"role": "guest", "pubkey": 7}])
def test_cryptosign_without_a_key_lets_nobody_in(wrong):
    client, authenticator = dynamic()
    hello(client, "cryptosign", name="paul", pubkey=ROBOT)
    authenticator.answers(wrong)
    assert_failed(client, client.received())


def test_cryptosign_without_any_authid_fails():
    client, authenticator = dynamic()
    hello(client, "cryptosign", name=None, pubkey=ROBOT)
    authenticator.answers({"role": "guest", "pubkey": ROBOT})
    assert_failed(client, client.received())


# Anonymous


def test_an_anonymous_client_gets_a_name_and_the_role_that_is_named():
    client, authenticator = dynamic()
    assert hello(client, "anonymous", name="claimed") == []
    ((_, authid, details),) = authenticator.asked()
    assert details["authmethod"] == "anonymous"
    assert authid != "claimed"
    authenticator.answers("visitor")
    assert_dynamic(client.received(), authid=authid, authrole="visitor", method="anonymous")


def test_a_realm_that_is_open_asks_nobody():
    client, authenticator = dynamic(anonymous=("realm1",))
    ((kind, _, details),) = hello(client, "anonymous", name=None)
    assert (kind, details["authprovider"]) == (2, "static")
    assert authenticator.asked() == []


# Limits


def test_refusals_count_for_the_address_and_troubles_do_not():
    client, authenticator = dynamic(settings=Auth(max_failures=2))

    def fails(outcome):
        other = again(client)
        hello(other, "ticket", name="paul")
        other.send([5, "x", {}])
        authenticator.answers(outcome)
        return other.received()

    for _ in range(2):
        fails(DOWN)
        # The callee left before it answered.
        fails(NoAdvice("error", "the callee left", "wamp.error.canceled"))
    assert client.gateway.authentication.failures == 0
    fails(None)
    fails(ERROR)
    ((_, details, uri),) = hello(client, "ticket", name="paul")
    assert uri == FAILED
    assert details["message"].startswith("too many attempts")


def test_attempts_at_the_same_time_are_no_more_attempts():
    client, authenticator = dynamic(settings=Auth(max_failures=1))
    second = again(client)
    for one in (client, second):
        challenged(one, "ticket", name="paul")
        one.send([5, "x", {}])
    authenticator.answers(None)
    authenticator.answers("guest")
    assert_failed(client, client.received())
    ((_, details, uri),) = second.received()
    assert uri == FAILED
    assert details["message"].startswith("too many attempts")


def test_nobody_is_asked_about_clients_of_an_address_that_has_failed_too_often_meanwhile():
    client, authenticator = dynamic(settings=Auth(max_failures=1))
    others = [again(client) for _ in range(20)]
    for one in (client, *others):
        challenged(one, "ticket", name="paul")
        one.send([5, "x", {}])
    asked = len(authenticator.asked())
    assert asked < 20
    authenticator.answers(None)
    assert authenticator.asked() == []
    waited = others[asked - 1 :]
    assert waited
    for one in waited:
        ((_, details, uri),) = one.received()
        assert uri == FAILED
        assert details["message"].startswith("too many attempts")
    assert len(authenticator.consultations) == asked - 1


def test_an_authextra_is_passed_on_up_to_a_limit():
    client, authenticator = dynamic()
    challenged(client, "ticket", name="paul", much="x" * 20_000)
    assert_failed(client, client.send([5, "x", {}]))
    assert authenticator.asked() == []


# MQTT


def connect(user, password):
    gateway = MqttGateway()
    gateway.authentication.users = users()
    authenticator = FakeAuthenticator(gateway)
    client = MqttClient(gateway)
    client.send(mqtt.Connect(client_id="c", user_name=user, password=password))
    return client, authenticator


def test_a_password_of_mqtt_is_a_ticket():
    client, authenticator = connect("paul@realm1", b"open sesame")
    ((realm, authid, details),) = authenticator.asked()
    assert (realm, authid) == ("realm1", "paul")
    assert (details["authmethod"], details["ticket"]) == ("ticket", "open sesame")
    assert details["transport"] == {"type": "tcp", "peer": "test"}
    assert client.connection.paused
    authenticator.answers({"role": "guest", "realm": "other"})
    assert client.received() == [mqtt.Connack(mqtt.ACCEPTED)]
    session = client.session
    assert (session.realm.name, session.authid, session.authrole) == ("other", "paul", "guest")
    assert not client.connection.paused


@pytest.mark.parametrize("no", [None, {}, ERROR, DOWN])
def test_a_password_that_the_authenticator_refuses(no):
    client, authenticator = connect("paul", b"open sesame")
    authenticator.answers(no)
    assert client.received() == [mqtt.Connack(mqtt.BAD_USER_NAME_OR_PASSWORD)]
    assert client.closed
    assert client.calls == []
    assert "ticket as 'paul' in realm1: " in client.connection.refused
    assert "sesame" not in client.connection.refused


def test_a_user_of_the_file_by_mqtt_goes_first():
    client, authenticator = connect("peter", PASSWORD.encode())
    assert authenticator.asked() == []
    check_passwords(client.gateway)
    assert client.received() == [mqtt.Connack(mqtt.ACCEPTED)]


def test_an_mqtt_client_that_leaves_is_not_waited_for():
    client, authenticator = connect("paul", b"x")
    assert len(authenticator.consultations) == 1
    client.session.connection_lost()
    assert len(authenticator.consultations) == 0


def test_an_mqtt_client_without_a_name_is_anonymous():
    client, authenticator = connect(None, None)
    ((_, authid, details),) = authenticator.asked()
    assert details["authmethod"] == "anonymous"
    authenticator.answers("visitor")
    assert client.received() == [mqtt.Connack(mqtt.ACCEPTED)]
    assert (client.session.authid, client.session.authrole) == (authid, "visitor")


def test_failures_at_mqtt_count_too():
    client, authenticator = connect("paul", b"x")
    client.gateway.authentication._failure_limit = FailureLimit(1)
    authenticator.answers(None)
    other = MqttClient(client.gateway)
    other.send(mqtt.Connect(client_id="d", user_name="paul", password=b"x"))
    assert other.received() == [mqtt.Connack(mqtt.SERVER_UNAVAILABLE)]
