"""Clients with tokens (JWT): as a ticket, as a Bearer, as a password of MQTT; and their end."""

import mqtt_gateway
import pytest
from gateway_harness import WALL, GatewayHarness
from token_samples import pem, settings, token
from user_samples import PASSWORD, check_passwords, users
from wamp_client import ROLES, Client

from fox_shard.deadline import Deadline
from fox_shard.gateway.auth.token_keys import read_key
from fox_shard.gateway.auth.tokens import Tokens
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.sessions.token_expiry import ENDED, SLACK, TOKEN_EXPIRED, TokenExpiry
from fox_shard.gateway.transports.bearer import SeveralAuthorizations, bearer_of
from fox_shard.users.user import Users

NOW = 1_800_000_000
FAILED = "wamp.error.authentication_failed"


def with_tokens(gateway, *, keys=True):
    chosen = settings()
    tokens = Tokens("realm1", chosen, lambda: gateway.now, lambda: float(NOW))
    tokens.keys = read_key(pem("rsa"), chosen) if keys else None
    gateway.authentication.users = users()
    gateway.authentication.tokens = {"realm1": tokens}


def client_of(**more):
    client = Client()
    with_tokens(client.gateway, **more)
    return client


def hello(client, *methods, name=None):
    details = {"roles": ROLES, "authmethods": methods}
    return client.send([1, "realm1", {**details, "authid": name} if name else details])


def answer(client, ticket):
    return client.send([5, ticket, {}])


@pytest.mark.parametrize(
    ("offered", "method"),
    [(["ticket"], "ticket"), (["jwt"], "jwt"), (["x", "jwt", "ticket"], "jwt")],
)
@pytest.mark.parametrize("name", ["peter", None])
def test_a_token_is_a_ticket(offered, method, name):
    client = client_of()
    assert hello(client, *offered, name=name) == [[4, method, {}]]
    ((kind, _, details),) = answer(client, token(NOW))
    assert kind == 2
    shown = [details[key] for key in ("authid", "authrole", "authmethod", "authprovider")]
    assert shown == ["peter", "dev", method, "jwt"]
    assert client.session.expires == NOW + 1010


@pytest.mark.parametrize("method", ["ticket", "jwt"])
@pytest.mark.parametrize("wrong", [token(NOW, exp=NOW - 100), token(NOW, sub="paul"), "ey.a.b"])
def test_a_wrong_token_fails_like_everything_else(method, wrong):
    client = client_of()
    hello(client, method, name="peter")
    got = answer(client, wrong)
    if wrong == "ey.a.b" and method == "ticket":
        assert check_passwords(client.gateway) == 1
        got = client.received()
    assert got == [[3, {"message": "the authentication failed"}, FAILED]]
    assert client.gateway.authentication.failures == 1
    assert wrong not in client.connection.refused


def test_the_log_says_why_a_token_is_refused():
    client = client_of()
    hello(client, "ticket", name="peter")
    answer(client, token(NOW, exp=NOW - 100))
    assert client.connection.refused.endswith(
        "(ticket as 'peter' in realm1: the token has expired)"
    )


def test_a_password_is_a_password_where_there_are_tokens():
    client = client_of()
    hello(client, "ticket", name="peter")
    assert answer(client, PASSWORD) == []
    assert check_passwords(client.gateway) == 1
    assert client.received()[0][2]["authprovider"] == "static"
    assert client.session.expires is None


def test_a_token_is_a_password_where_there_are_no_tokens():
    client = client_of()
    client.gateway.authentication.tokens = {}
    hello(client, "ticket", name="peter")
    assert answer(client, token(NOW)) == []
    assert check_passwords(client.gateway) == 1
    assert client.received()[0][2] == FAILED


def test_without_keys_a_client_is_told_to_come_later():
    client = client_of(keys=False)
    hello(client, "ticket")
    ((_, _, uri),) = answer(client, token(NOW))
    assert uri == "wamp.error.unavailable"
    assert client.gateway.authentication.failures == 0


@pytest.mark.parametrize(
    ("offered", "method"),
    [([], "ticket"), (["anonymous"], "ticket"), (["ticket"], "ticket"), (["jwt"], "jwt")],
)
def test_a_bearer_needs_no_challenge(offered, method):
    client = client_of()
    client.connection.bearer = token(NOW)
    ((kind, _, details),) = hello(client, *offered)
    assert (kind, details["authid"], details["authmethod"]) == (2, "peter", method)
    assert client.connection.bearer == ""


def test_a_wrong_bearer_is_not_let_in_as_anonymous():
    client = client_of()
    client.gateway.authentication._anonymous = frozenset(["realm1"])
    client.connection.bearer = token(NOW, iss="x")
    ((kind, _, uri),) = hello(client, "anonymous")
    assert (kind, uri) == (3, FAILED)
    assert "another issuer" in client.connection.refused


def test_a_bearer_may_prove_something_else():
    client = client_of()
    client.connection.bearer = token(NOW)
    ((kind, method, _),) = hello(client, "wampcra", name="peter")
    assert (kind, method) == (4, "wampcra")


@pytest.mark.parametrize(
    ("headers", "bearer"),
    [
        ([], ""),
        (["Bearer a.b.c"], "a.b.c"),
        (["bearer  a.b.c "], "a.b.c"),
        (["Basic a.b.c"], ""),
        (["Bearer"], ""),
    ],
)
def test_which_header_is_a_bearers(headers, bearer):
    assert bearer_of(headers) == bearer


def test_several_headers_are_refused():
    with pytest.raises(SeveralAuthorizations):
        bearer_of(["Bearer a", "Bearer b"])


@pytest.mark.parametrize(
    ("user", "password", "bearer", "code"),
    [
        ("peter", token(NOW), "", mqtt.ACCEPTED),
        ("", token(NOW), "", mqtt.ACCEPTED),
        ("@realm1", token(NOW), "", mqtt.ACCEPTED),
        ("paul", token(NOW), "", mqtt.BAD_USER_NAME_OR_PASSWORD),
        ("peter", token(NOW, exp=1), token(NOW), mqtt.BAD_USER_NAME_OR_PASSWORD),
        (None, None, token(NOW), mqtt.ACCEPTED),
        ("peter", None, token(NOW), mqtt.ACCEPTED),
        (None, None, token(NOW, exp=1), mqtt.BAD_USER_NAME_OR_PASSWORD),
    ],
)
def test_a_token_is_a_password_of_mqtt(user, password, bearer, code):
    gateway = mqtt_gateway.FakeGateway()
    with_tokens(gateway)
    client = mqtt_gateway.Client(gateway)
    client.connection.bearer = bearer
    password = None if password is None else password.encode()
    client.send(mqtt.Connect(client_id="c", user_name=user, password=password))
    assert client.received() == [mqtt.Connack(code)]
    if code == mqtt.ACCEPTED:
        assert (client.session.authid, client.session.authrole) == ("peter", "dev")
        assert client.session.expires == NOW + 1010
    else:
        assert "token" in client.connection.refused


def test_a_realm_with_tokens_has_users_though_nobody_is_anonymous():
    client = client_of()
    client.gateway.authentication.users = Users(())
    ((_, details, uri),) = hello(client, "anonymous")
    assert uri == "wamp.error.no_matching_auth_method"
    assert details["message"].endswith(", jwt")


# The end


class Bearer:
    def __init__(self, id_):
        self.id, self.ended = id_, None

    def end(self, reason, message):
        self.ended = (reason, message)


class Expiring:
    def __init__(self):
        self.now, self.timers, self.chores, self.sessions = 0.0, Timers(Deadline()), [], {}
        self.offset = 0.0
        self.expiry = TokenExpiry(self.sessions, self.timers, self.chores.append, self)

    @property
    def wall(self):
        return self.now + self.offset

    def set_clock(self, offset):
        self.offset = offset
        self.expiry.clock_set()

    def add(self, id_, when):
        self.sessions[id_] = Bearer(id_)
        self.expiry.add(self.sessions[id_], when)

    def turn(self, now):
        """Run a turn, and return the sessions that have ended in it."""
        self.now = now
        self.timers.run(now)
        self.chores[:] = [chore for chore in self.chores if chore()]
        ended = [id_ for id_, one in self.sessions.items() if one.ended]
        for id_ in ended:
            assert self.sessions.pop(id_).ended == (TOKEN_EXPIRED, "the token has expired")
        return ended


def test_a_session_ends_when_its_token_expires():
    expiring = Expiring()
    for id_, when in ((1, 30.0), (2, 10.0), (3, 20.0)):
        expiring.add(id_, when)
    del expiring.sessions[3]
    assert [expiring.turn(now) for now in (9.0, 10.0, 20.0, 29.0, 30.0)] == [[], [2], [], [], [1]]


def test_a_clock_that_is_put_forward_ends_sessions_earlier():
    expiring = Expiring()
    expiring.add(1, 1000.0)
    assert expiring.turn(9.0) == []
    expiring.set_clock(980.0)
    assert [expiring.turn(now) for now in (10.0, 19.9, 20.0)] == [[], [], [1]]


def test_a_clock_that_is_put_back_lets_sessions_go_on():
    expiring = Expiring()
    expiring.set_clock(980.0)
    expiring.add(1, 1000.0)
    assert expiring.turn(9.0) == []
    expiring.set_clock(970.0)
    assert [expiring.turn(now) for now in (20.0, 29.9, 30.0)] == [[], [], [1]]


@pytest.mark.parametrize(("set_by", "after"), [(0.0, 3600), (3000.0, 600), (-600.0, 4200)])
def test_the_clock_that_counts_is_the_one_that_there_is(set_by, after):
    one = GatewayHarness(shards=1)
    session = one.session(expires=WALL + 3600)
    one.pass_time(1.0)
    one.wrong_by = set_by

    def ended():
        one.gateway.turns.begin(one.now)
        one.gateway.turns.do_chores()
        return ("end", TOKEN_EXPIRED) in session.take()

    one.pass_time(after - 5.0, step=1.0)
    assert not ended()
    one.pass_time(6.0)
    assert ended()


def test_many_sessions_end_a_few_at_a_time():
    expiring = Expiring()
    for id_ in range(2 * ENDED + 1):
        expiring.add(id_, 10.0)
    turns = [len(expiring.turn(now)) for now in (10.0, 10.1, 10.2, 10.3)]
    assert turns == [ENDED, ENDED, 1, 0]
    expiring.add(99, 10.0)
    assert expiring.turn(10.4) == [99]


def test_sessions_that_ended_before_are_forgotten():
    expiring = Expiring()
    for id_ in range(5000):
        expiring.add(id_, 1e9)
        del expiring.sessions[id_]
        assert len(expiring.expiry) <= SLACK + 3
