"""WebSockets at the HTTP server's port: for whom the gateway is asked."""

import asyncio

import pytest

from fox_shard.client.failures import CannotConnect
from fox_shard.runtime.web import _forwarded
from fox_shard.runtime.web_relay import WebSocketRelay


@pytest.mark.parametrize(
    ("client", "asked_for"),
    [(("192.0.2.7", 4711), ("192.0.2.7", 4711)), (("", None), ("", 0)), (None, ("", 0))],
)
def test_a_gateway_is_asked_for_address_and_port_of_the_client(client, asked_for):
    asked, said = [], []

    async def dial(*about):
        asked.append(about)
        raise CannotConnect("That is enough.")

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        said.append(message)

    scope = {"type": "websocket", "subprotocols": ["wamp.2.json"], "headers": [], "client": client}
    asyncio.run(WebSocketRelay(dial)(scope, receive, send))
    assert asked == [(*asked_for, ["wamp.2.json"], {})]
    assert said == [{"type": "websocket.close", "code": 1013, "reason": "No gateway answers."}]


@pytest.mark.parametrize(
    ("host", "port", "header"),
    [
        ("192.0.2.7", 4711, "192.0.2.7:4711"),
        ("192.0.2.7", 0, "192.0.2.7"),
        ("2001:db8::7", 4711, "[2001:db8::7]:4711"),
        ("2001:db8::7", 0, "2001:db8::7"),
        ("", 0, ""),
    ],
)
def test_a_gateway_is_told_the_port_if_there_is_one(host, port, header):
    assert _forwarded(host, port) == header
