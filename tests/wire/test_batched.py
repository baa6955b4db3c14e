"""Batched WebSocket subprotocols over a real connection (WAMP #batchedwebsocket)."""

import cbor2
import msgspec
import pytest
from websockets.asyncio.client import connect

CODECS = {
    "json": (msgspec.json.encode, msgspec.json.decode),
    "msgpack": (msgspec.msgpack.encode, msgspec.msgpack.decode),
    "cbor": (cbor2.dumps, cbor2.loads),
}


@pytest.mark.parametrize("name", CODECS)
async def test_several_messages_in_one(name, cluster):
    encode, decode = CODECS[name]

    def batch(*messages):
        encoded = [encode(message) for message in messages]
        if name == "json":
            return b"".join(one + b"\x1e" for one in encoded).decode()
        return b"".join(len(one).to_bytes(4, "big") + one for one in encoded)

    async def receive():
        data = await client.recv()
        if name == "json":
            assert data.endswith("\x1e")
            return decode(data[:-1])
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        return decode(data[4:])

    port = cluster.ports["websocket"]
    subprotocol = f"wamp.2.{name}.batched"
    async with connect(f"ws://127.0.0.1:{port}/ws", subprotocols=[subprotocol]) as client:
        assert client.subprotocol == subprotocol
        await client.send(batch([1, "realm1", {"roles": {"caller": {}, "publisher": {}}}]))
        assert (await receive())[0] == 2
        wanted = {"acknowledge": True}
        topic = f"batched.{name}"
        await client.send(batch(*([16, n, wanted, topic, [n]] for n in range(1, 101))))
        assert [(await receive())[:2] for _ in range(100)] == [[17, n] for n in range(1, 101)]
        await client.send("" if name == "json" else b"")
        assert (await receive())[2] == "wamp.error.protocol_violation"
