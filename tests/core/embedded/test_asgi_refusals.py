"""Who is not let in at a path of a web application, and how that is said: bare messages of ASGI."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from fox_shard import FoxRouter, RouterError

OFF = {f"gateway.{kind}": "off" for kind in ("websocket", "rawsocket", "mqtt")}
HTTP = {"extensions": {"websocket.http.response": {}}}
REFUSED_IN_HTTP = ["websocket.http.response.start", "websocket.http.response.body"]


def request(origin=None, host="app.example", **more):
    """Return the scope of a client of a web server at 127.0.0.1."""
    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin else ())]
    return {
        "type": "websocket",
        "headers": headers,
        "subprotocols": ["wamp.2.json"],
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8000),
        **more,
    }


async def first_answers(application, scope):
    """Return what the application says to a client that then leaves."""
    said = []
    messages = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])

    async def receive():
        return next(messages)

    async def send(message):
        said.append(message)

    await application(scope, receive, send)
    return said


def said(scope, **settings):
    """Return what a running router says to the request."""

    async def body(folder):
        folders = {"data_dir": folder / "data", "run_dir": folder / "run"}
        async with FoxRouter(settings={**OFF, **folders, **settings}) as router:
            return await first_answers(router.wamp, scope)

    with tempfile.TemporaryDirectory(prefix="fox-") as folder:
        return asyncio.run(body(Path(folder)))


@pytest.mark.parametrize(
    ("scope", "status", "code", "sentence"),
    [
        (
            {"subprotocols": ["mqtt"]},
            400,
            1008,
            "Ask for one of the subprotocols wamp.2.json, wamp.2.msgpack, wamp.2.cbor.",
        ),
        (
            {"origin": "https://attacker.example"},
            403,
            1008,
            "Pages of https://attacker.example may not connect: see gateway.allowed_origins.",
        ),
    ],
)
def test_a_refusal_is_said_in_http_if_the_web_server_can(scope, status, code, sentence):
    start, body = said(request(**scope, **HTTP))
    assert [start["type"], body["type"]] == REFUSED_IN_HTTP
    assert (start["status"], body["body"]) == (status, f"{sentence}\n".encode())
    (close,) = said(request(**scope))
    assert close == {"type": "websocket.close", "code": code, "reason": sentence}


def test_without_its_lifespan_a_router_says_what_is_missing(caplog):
    router = FoxRouter(settings=OFF)
    application = router.wamp
    for _ in range(2):
        start, _ = asyncio.run(first_answers(application, request(**HTTP)))
        assert start["status"] == 503
    (close, *_) = asyncio.run(first_answers(application, request()))
    assert close["reason"].startswith("The router does not run yet")
    assert len(close["reason"].encode()) <= 123  # RFC 6455 5.5
    (record,) = caplog.records  # said once
    assert "have the lifespan `router.lifespan`" in record.fox["reason"]
    with pytest.raises(RouterError, match="have the lifespan"):
        router.realm("realm1")
