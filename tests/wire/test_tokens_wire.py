"""Tokens (JWT) of real clients: a ticket of autobahn, a Bearer, a password of paho."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, suppress

import pytest
from cluster import Cluster, await_true, write_config
from mqtt_peers import Refused
from token_samples import AUDIENCE, ISSUER, key_set, token
from user_file import FAILED, ticket
from websockets.sync.client import connect

from fox_shard.client import LockLost, Unreachable
from fox_shard.client import connect as open_realm
from fox_shard.client.login import Token

CONFIG = f"""
[[realm]]
name = "realm1"
[realm.jwt]
jwks = "jwks.json"
algorithms = ["RS256", "ES256"]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
leeway = 0
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    config = write_config(tmp_path_factory.mktemp("token"), CONFIG)
    path = config.with_name("jwks.json")
    path.write_bytes(key_set(("rsa", "a", 0), ("ec", "c", 0)))
    return path


@pytest.fixture(scope="module")
def cluster(keys):
    with Cluster(config=keys.with_name("fox.toml")) as cluster:
        yield cluster


def right(**more):
    return token(int(time.time()), **{"kid": "a", **more})


@pytest.mark.parametrize("gateway", [0, 1])
@pytest.mark.parametrize("key", [{}, {"kind": "ec", "kid": "c"}])
async def test_autobahn_logs_in_with_a_token_as_its_ticket(wamp, gateway, key):
    session = await wamp.join(authenticator=ticket(right(**key)), gateway=gateway)
    details = session.details
    assert (details.authid, details.authrole) == ("peter", "dev")
    assert (details.authmethod, details.authprovider) == ("ticket", "jwt")


@pytest.mark.parametrize("more", [{"exp": 1}, {"number": 1}, {"sub": "paul"}, {"kid": "x"}])
async def test_a_wrong_token_is_told_nothing_and_not_logged(cluster, wamp, more):
    wrong = right(**more)
    with pytest.raises(ConnectionError, match=f"{FAILED}: the authentication failed$"):
        await wamp.join(authenticator=ticket(wrong))
    await asyncio.to_thread(
        await_true, "the log says why", lambda: "in realm1: the token" in cluster.log()
    )
    assert not any(part in cluster.log() for part in wrong.split("."))


async def test_anonymous_clients_are_refused(wamp):
    with pytest.raises(ConnectionError, match="no_matching_auth_method"):
        await wamp.join()


async def test_a_client_for_programs_comes_back_with_a_fresh_token(cluster):
    made = []
    url = f"ws://127.0.0.1:{cluster.websocket}/ws"

    async def joined(stack):
        for life in (2, 10, 30):  # a busy machine may need more time for the login

            async def fresh(life=life):
                # The first one is over soon, and its session with it.
                made.append(right() if made else right(exp=int(time.time()) + life))
                return made[-1]

            made.clear()
            with suppress(Unreachable):
                return await stack.enter_async_context(
                    open_realm(url, "realm1", login=Token(fresh))
                )
        raise AssertionError("no token was long enough")

    async with AsyncExitStack() as stack:
        realm = await joined(stack)
        first = realm.session
        assert realm.details["authprovider"] == "jwt"
        with pytest.raises(LockLost):
            async with realm.lock("com.example.lock"):
                await asyncio.Event().wait()
        # This waits for the next session.
        await realm.publish("com.example.a", acknowledge=True)
        assert realm.session != first
        assert len(made) == 2


async def test_a_token_that_cannot_be_had_is_told(cluster):
    def fails():
        raise OSError("the provider is down")

    url = f"ws://127.0.0.1:{cluster.websocket}/ws"
    with pytest.raises(Unreachable, match="There is no token: OSError: the provider is down"):
        async with open_realm(url, "realm1", login=Token(fails)):
            pass


def hello(cluster, bearer, *methods):
    """Return the answer to HELLO of a WebSocket whose request had that header."""
    url = f"ws://127.0.0.1:{cluster.websocket}/ws"
    headers = {"Authorization": f"Bearer {bearer}"}
    with connect(url, subprotocols=["wamp.2.json"], additional_headers=headers) as socket:
        details = {"roles": {"caller": {}}, "authmethods": methods}
        socket.send(json.dumps([1, "realm1", details]))
        return json.loads(socket.recv(timeout=20))


@pytest.mark.parametrize("methods", [(), ("anonymous",), ("ticket",)])
def test_a_bearer_joins_without_a_challenge(cluster, methods):
    kind, _, details = hello(cluster, right(), *methods)
    assert (kind, details["authid"], details["authprovider"]) == (2, "peter", "jwt")


def test_a_wrong_bearer_is_refused(cluster):
    assert hello(cluster, right(exp=1), "anonymous")[::2] == [3, FAILED]


@pytest.mark.parametrize(("user", "transport"), [("peter", "tcp"), ("", "websockets")])
def test_paho_logs_in_with_a_token_as_its_password(mqtt, user, transport):
    device = mqtt.connect("device", user=user, password=right(), transport=transport)
    assert device.subscribe("a/b") == [0]


def test_paho_is_refused_with_a_wrong_one(mqtt):
    with pytest.raises(Refused, match="Bad user name or password"):
        mqtt.connect("device", user="peter", password=right(exp=1))


async def test_a_session_ends_with_its_token(wamp, mqtt):
    for life in (3, 10, 30):  # a busy machine may need more time for both logins
        short = right(exp=int(time.time()) + life)
        with suppress(ConnectionError, Refused):
            session = await wamp.join(authenticator=ticket(short))
            device = await asyncio.to_thread(mqtt.connect, "short", user="peter", password=short)
            break
    details = await session.left
    assert (details.reason, details.message) == (
        "fox.close.token_expired",
        "the token has expired",
    )
    assert await asyncio.to_thread(device.lost.wait, 20)


async def test_new_keys_are_read_while_the_server_runs(cluster, keys, wamp):
    before = cluster.sizes()
    keys.write_bytes(key_set(("rsa", "b", 2), ("rsa", "a", 0)))
    await asyncio.to_thread(
        await_true,
        "both gateways have read the keys",
        lambda: cluster.all_gateways_said(" token_keys_read ", before),
    )
    session = await wamp.join(authenticator=ticket(right(kid="b", number=2)))
    assert session.details.authid == "peter"
