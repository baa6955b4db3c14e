"""The users whom a web application has authenticated, and hands over with their WebSockets."""

import asyncio
import functools
import logging
import tempfile
import time
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from asgi_server import serving
from msgspec import json
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fox_shard import FoxRouter, WebUser

PATIENCE = 30.0
WELCOME, ABORT, GOODBYE = 2, 3, 6
CONFIG = """
[[realm]]
name = "realm1"
[[realm.role]]
name = "page"
[[realm.role.rule]]
uri = "com.example.open"
allow = ["publish", "subscribe"]

[[realm]]
name = "realm2"
"""
OFF = {f"gateway.{kind}": "off" for kind in ("websocket", "rawsocket", "mqtt")}
ANN = WebUser(authid="ann", role="page", extra={"theme": "dark"})


def running(body):
    """Make a test of a coroutine function."""

    @functools.wraps(body)
    def test(*arguments, **more):
        asyncio.run(body(*arguments, **more))

    return test


def of_cookie(scope):
    """Return the user that the cookie `name` tells."""
    cookies = SimpleCookie(dict(scope["headers"]).get(b"cookie", b"").decode())
    return WebUser(authid=cookies["name"].value, role="page") if "name" in cookies else None


@asynccontextmanager
async def running_router(user, **more):
    """Run a router whose users that function knows; yields it, and where its WebSockets are."""
    with tempfile.TemporaryDirectory(prefix="fox-") as folder:
        file = Path(folder) / "conf" / "fox.toml"
        file.parent.mkdir()
        file.write_text(CONFIG)
        router = FoxRouter(file, {**OFF, **more}, user=user)
        async with asyncio.timeout(PATIENCE), router, serving(router.wamp) as port:
            yield router, f"ws://127.0.0.1:{port}/live"


@asynccontextmanager
async def address(user, **more):
    async with running_router(user, **more) as (_router, url):
        yield url


class Client:
    def __init__(self, socket):
        self._socket = socket

    async def ask(self, *message):
        await self._socket.send(json.encode(message).decode())
        return json.decode(await self._socket.recv())

    async def hello(self, realm="realm1", **details):
        return await self.ask(1, realm, {"roles": {"publisher": {}, "caller": {}}, **details})


@asynccontextmanager
async def client(url, **headers):
    async with connect(url, subprotocols=["wamp.2.json"], additional_headers=headers) as socket:
        yield Client(socket)


@running
async def test_a_client_is_whom_the_application_says_and_has_that_role():
    async with address(of_cookie) as url, client(url, Cookie="name=ann") as ann:
        kind, session, details = await ann.hello(authmethods=["ticket"])
        assert kind == WELCOME
        assert (details["authid"], details["authrole"]) == ("ann", "page")
        assert (details["authmethod"], details["authprovider"]) == ("web", "application")
        for request, (topic, answer) in enumerate((("open", 17), ("closed", 8)), 1):
            options = {"acknowledge": True}
            assert (await ann.ask(16, request, options, f"com.example.{topic}"))[0] == answer
        assert session


@pytest.mark.parametrize("name", [None, b"ann", b"@realm1", b"ann@realm1"])
@running
async def test_an_mqtt_client_is_whom_the_application_says_too(name):
    async with running_router(of_cookie) as (router, _), serving(router.mqtt) as port:
        url, headers = f"ws://127.0.0.1:{port}/mqtt", {"Cookie": "name=ann"}
        async with connect(url, subprotocols=["mqtt"], additional_headers=headers) as socket:
            user = b"" if name is None else len(name).to_bytes(2, "big") + name
            flags = 0x02 if name is None else 0x82
            rest = b"\0\4MQTT\4" + bytes((flags, 0, 60)) + b"\0\1c" + user
            await socket.send(bytes((0x10, len(rest))) + rest)
            assert await socket.recv() == b"\x20\2\0\0"  # CONNACK: accepted
            realm = router.realm("realm1")
            sessions = (await realm.call("wamp.session.list", [["page"]])).value
            (who,) = [(await realm.call("wamp.session.get", [one])).value for one in sessions]
            assert (who["authid"], who["authmethod"]) == ("ann", "web")


@running
async def test_a_user_who_logs_out_can_be_sent_away():
    async with running_router(of_cookie) as (router, url), client(url, Cookie="name=ann") as ann:
        _, session, _ = await ann.hello()
        realm = router.realm("realm1")
        killed = await realm.call("wamp.session.kill_by_authid", ["ann"])
        assert killed.value == [session]
        assert json.decode(await ann._socket.recv())[0] == GOODBYE


@running
async def test_whom_it_does_not_know_is_anonymous_or_has_to_prove_it():
    async with address(of_cookie) as url, client(url) as nobody:
        kind, _, details = await nobody.hello()
        assert (kind, details["authid"]) == (WELCOME, "anonymous")


@pytest.mark.parametrize("name", ["ann", "", None])
@running
async def test_a_function_may_be_async_and_say_more(name):
    async def user(_scope):
        return ANN

    async with address(user) as url, client(url) as ann:
        _, _, details = await ann.hello(authid=name)
        assert details["authextra"] == {"theme": "dark"}


@pytest.mark.parametrize(
    ("user", "hello"),
    [
        (ANN, {"authid": "bob"}),
        (WebUser(authid="ann", role="page", realm="realm1"), {"realm": "realm2"}),
    ],
)
@running
async def test_a_client_cannot_be_somebody_else(user, hello):
    async with address(lambda _scope: user) as url, client(url) as ann:
        answer = await ann.hello(**hello)
        assert (answer[0], answer[2]) == (ABORT, "wamp.error.authentication_failed")


@running
async def test_a_session_ends_when_the_users_time_is_over():
    def user(_scope):
        return WebUser(authid="ann", role="page", expires=time.time() - 1)

    async with address(user) as url, client(url) as ann:
        answer = await ann.hello()
        if answer[0] == WELCOME:
            answer = json.decode(await ann._socket.recv())
        assert answer[0] in (ABORT, GOODBYE), answer


def fails(_scope):
    raise KeyError("the secret of the session")


async def hangs(_scope):
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (fails, "KeyError: 'the secret of the session'"),
        (hangs, "no answer within 0.1 s"),
        (lambda _scope: "ann", "TypeError: `user` returns a WebUser or None, not str"),
        (lambda _scope: WebUser(authid="fox.application", role="page"), "ValueError: WebUser: "),
        (lambda _scope: WebUser(authid="", role="page"), "ValueError: WebUser: "),
        (lambda _scope: WebUser(authid="ann", role=None), "ValueError: WebUser: "),
        (lambda _scope: WebUser(authid="ann", role="page", extra={"a": client}), "TypeError: "),
        (lambda _scope: WebUser(authid="ann", role="page", extra="dark"), "ValueError: WebUser: "),
        (
            lambda _scope: WebUser(authid="ann", role="page", expires=float("nan")),
            "ValueError: WebUser: expires is nan",
        ),
    ],
)
@running
async def test_if_the_application_cannot_say_who_it_is_nobody_gets_in(user, reason, caplog):
    limits = {"gateway.handshake_timeout": 0.1, "gateway.max_connections": 1}
    async with address(user, **limits) as url:
        # The second one shows that the first one does not count any more.
        for _ in range(2):
            async with client(url) as refused:
                with pytest.raises(ConnectionClosed) as closed:
                    await refused._socket.recv()
            assert closed.value.rcvd.code == 1011
            assert closed.value.rcvd.reason == "The web application could not say who you are."
    said = [one.fox["reason"] for one in caplog.records if one.levelno == logging.ERROR]
    assert len(said) == 2
    assert all(one.startswith(reason) for one in said)


@running
async def test_pages_of_another_site_are_refused_before_the_application_is_asked():
    async with address(fails) as url:
        headers = {"Origin": "https://attacker.example", "Cookie": "name=ann"}
        async with client(url, **headers) as refused:
            with pytest.raises(ConnectionClosed) as closed:
                await refused._socket.recv()
            assert closed.value.rcvd.code == 1008


@asynccontextmanager
async def http_of(user, **more):
    """Yield a router whose users that function knows, and an HTTP client of `router.web`."""
    with tempfile.TemporaryDirectory(prefix="fox-") as folder:
        file = Path(folder) / "conf" / "fox.toml"
        file.parent.mkdir()
        file.write_text(CONFIG)
        router = FoxRouter(file, {**OFF, **more}, user=user)
        pages = httpx.ASGITransport(router.web)
        async with (
            asyncio.timeout(PATIENCE),
            router,
            httpx.AsyncClient(transport=pages, base_url="http://127.0.0.1") as http,
        ):
            yield router, http


def publish(http, topic="com.example.open", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post("/api/publish", json={"topic": topic}, headers=headers)


@running
async def test_a_request_is_carried_out_by_whom_the_application_says():
    async with http_of(of_cookie) as (router, http):
        assert (await publish(http, Cookie="name=ann")).status_code == 200
        assert (await publish(http, "com.example.closed", Cookie="name=ann")).status_code == 403
        realm = router.realm("realm1")
        (session,) = (await realm.call("wamp.session.list", [["page"]])).value
        who = (await realm.call("wamp.session.get", [session])).value
        assert (who["authid"], who["authmethod"]) == ("ann", "web")
        assert (await publish(http)).status_code == 403  # anonymous
        assert (await publish(http, Cookie="name=ann", Authorization="Bearer x")).status_code == 401


@running
async def test_another_site_cannot_use_the_cookies_of_a_visitor():
    origins = {"gateway.allowed_origins": ["https://a.example"]}
    async with http_of(of_cookie, **origins) as (_router, http):
        ann = {"Cookie": "name=ann"}
        path, allowed = "/api/keys/com.example.open", {"Origin": "https://a.example"}
        assert (await http.get(path, headers={**ann, "Origin": "https://b"})).status_code == 403
        for site, more, status in (
            ("same-origin", {}, 404),
            ("none", {}, 404),
            ("cross-site", {}, 403),
            ("same-site", {}, 403),
            ("cross-site", allowed, 404),
        ):
            headers = {**ann, "Sec-Fetch-Site": site, **more}
            assert (await http.get(path, headers=headers)).status_code == status, site


@running
async def test_a_user_of_a_request_has_a_realm_and_an_end_as_one_of_a_websocket_has():
    users = {
        "other": WebUser(authid="ann", role="page", realm="realm2"),
        "gone": WebUser(authid="ann", role="page", expires=time.time() - 1),
        "short": WebUser(authid="ann", role="page", expires=time.time() + 3600),
        "wrong": "ann",
    }

    def user(scope):
        return users[dict(scope["headers"])[b"x-user"].decode()]

    async with http_of(user) as (router, http):
        statuses = {
            name: (await publish(http, X_User=name)).status_code
            for name in ("other", "gone", "short", "wrong")
        }
        assert statuses == {"other": 403, "gone": 401, "short": 200, "wrong": 500}
        users["short"] = WebUser(authid="ann", role="page", expires=time.time() + 7200)
        assert (await publish(http, X_User="short")).status_code == 200
        counted = (await router.realm("realm1").call("wamp.session.count", [["page"]])).value
        assert counted == 1
