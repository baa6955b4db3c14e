"""WAMP at a path of a web application: clients of another web server, real WebSockets."""

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asgi_server import serving
from msgspec import json, msgpack
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fox_shard import FoxRouter
from fox_shard.client import Session
from fox_shard.embedded import asgi

PATIENCE = 30.0
HELLO = [1, "realm1", {"roles": {"publisher": {}, "subscriber": {}}}]


@asynccontextmanager
async def application(text="", kind="wamp", **more):
    """Run a web application that has a router; yields the router and the address of WAMP."""
    with tempfile.TemporaryDirectory(prefix="fox-") as folder:
        file = Path(folder) / "conf" / "fox.toml"
        file.parent.mkdir()
        file.write_text(text)
        off = {f"gateway.{kind}": "off" for kind in ("websocket", "rawsocket", "mqtt")}
        router = FoxRouter(file, {**off, **more})
        async with (
            asyncio.timeout(PATIENCE),
            router.lifespan(object()),
            serving(getattr(router, kind)) as port,
        ):
            assert router.listening == {}
            yield router, f"ws://127.0.0.1:{port}/live"


@asynccontextmanager
async def connected(text="", subprotocol="wamp.2.json", **more):
    """The same, with one client; yields the router and the client's WebSocket."""
    async with (
        application(text, **more) as (router, url),
        connect(url, subprotocols=[subprotocol]) as client,
    ):
        yield router, client


def running(body):
    asyncio.run(body())


def test_clients_publish_and_call_through_the_web_server():
    async def body():
        async with application() as (router, url):
            realm = router.realm("realm1")
            await realm.register("com.example.add", lambda a, b: a + b)

            def client():
                with Session(url, "realm1") as session:
                    ours = session.subscribe("com.example.color", {"get_retained": True})
                    options = {"retain": True, "exclude_me": False}
                    publication = session.publish("com.example.color", ["red"], options)
                    event = ours.next()
                    assert (event.publication, event.args) == (publication, ["red"])
                    return session.call("com.example.add", 2, 3)

            assert await asyncio.to_thread(client) == [5]
            assert (await realm.call("wamp.session.count")).value == 1

    running(body)


def batch_of(codec, *messages):
    """Return a batch (WAMP #batchedwebsocket)."""
    if codec is json:
        return "".join(f"{json.encode(message).decode()}\x1e" for message in messages)
    parts = [codec.encode(message) for message in messages]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def messages_of(codec, batch):
    """Return the messages of a batch."""
    if codec is json:
        return [json.decode(one) for one in batch.split("\x1e")[:-1]]
    found = []
    while batch:
        size = int.from_bytes(batch[:4], "big")
        found.append(codec.decode(batch[4 : 4 + size]))
        batch = batch[4 + size :]
    return found


@pytest.mark.parametrize(
    ("subprotocol", "codec"), [("wamp.2.json", json), ("wamp.2.msgpack", msgpack)]
)
def test_messages_come_and_go_in_batches_where_the_client_asks_for_them(subprotocol, codec):
    async def body():
        async with connected(subprotocol=f"{subprotocol}.batched") as (_, client):
            assert client.subprotocol == f"{subprotocol}.batched"
            topic, options = "com.example.a", {"exclude_me": False, "acknowledge": True}
            await client.send(batch_of(codec, HELLO))
            (welcome,) = messages_of(codec, await client.recv())
            assert welcome[0] == 2
            subscribe, publish = [32, 1, {}, topic], [16, 2, options, topic, ["x"]]
            await client.send(batch_of(codec, subscribe, publish))
            found = []
            while len(found) < 3:
                found += messages_of(codec, await client.recv())
            assert sorted(message[0] for message in found) == [17, 33, 36]
            await client.send("x" if codec is json else b"xx")
            (refusal,) = messages_of(codec, await client.recv())
            assert (refusal[0], refusal[2]) == (3, "wamp.error.protocol_violation")
            with pytest.raises(ConnectionClosed):
                await client.recv()

    running(body)


def test_a_batch_has_a_limit():
    async def body():
        limit = {"gateway.batch_messages": 2}
        async with connected(subprotocol="wamp.2.json.batched", **limit) as (_, client):
            await client.send(batch_of(json, HELLO, *([[48, 1, {}, "a"]] * 2)))
            (refusal,) = messages_of(json, await client.recv())
            assert "a batch has at most 2 messages" in refusal[1]["message"]

    running(body)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["wamp.2.json.batched", "wamp.2.json"], "wamp.2.json"),
        (["wamp.2.cbor.batched", "wamp.2.json"], "wamp.2.cbor.batched"),
        (["x", "wamp.2.msgpack"], "wamp.2.msgpack"),
    ],
)
def test_batches_are_for_clients_that_offer_nothing_else(offered, chosen):
    said = []
    heard = iter(({"type": "websocket.connect"}, {"type": "websocket.disconnect"}))

    async def receive():
        return next(heard)

    async def send(message):
        said.append(message)

    async def body():
        async with application() as (router, _):
            scope = {"type": "websocket", "headers": [], "subprotocols": offered}
            await router.wamp(scope, receive, send)

    running(body)
    assert said == [{"type": "websocket.accept", "subprotocol": chosen}]


@pytest.mark.parametrize(
    ("subprotocol", "codec"), [("wamp.2.json", json), ("wamp.2.msgpack", msgpack)]
)
def test_each_serializer_has_its_type_of_message(subprotocol, codec):
    async def body():
        async with connected(subprotocol=subprotocol) as (router, client):
            hello = codec.encode(HELLO)
            await client.send(hello.decode() if codec is json else hello)
            answer = await client.recv()
            assert isinstance(answer, str) is (codec is json)
            welcome = codec.decode(answer)
            assert welcome[0] == 2
            session = (await router.realm("realm1").call("wamp.session.get", [welcome[1]])).value
            assert session["authid"] == "anonymous"
            assert session["transport"]["type"] == "websocket"
            # The wrong type ends the connection.
            await client.send(b"{}" if codec is json else "{}")
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd.code == 1003

    running(body)


@pytest.mark.parametrize(
    ("more", "options", "code"),
    [
        ({}, {"subprotocols": ["wamp.2.flatbuffers"]}, 1008),
        ({}, {"origin": "https://attacker.example"}, 1008),
        ({"gateway.max_connections": 1}, {}, None),
        ({}, {"origin": "http://localhost:9999"}, None),
        ({"gateway.allowed_origins": ["https://a.example"]}, {"origin": "https://a.example"}, None),
    ],
)
def test_who_may_open_a_websocket(more, options, code):
    async def body():
        async with application(**more) as (_router, url):
            options.setdefault("subprotocols", ["wamp.2.json"])
            async with connect(url, **options) as client:
                if code is None:
                    await client.send(json.encode(HELLO).decode())
                    assert json.decode(await client.recv())[0] == 2
                    return
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert closed.value.rcvd.code == code

    running(body)


def test_connections_are_limited_together_with_those_of_listeners():
    async def body():
        async with application(**{"gateway.max_connections": 1}) as (router, url):
            async with (
                connect(url, subprotocols=["wamp.2.json"]),
                connect(url, subprotocols=["wamp.2.json"]) as second,
            ):
                with pytest.raises(ConnectionClosed) as closed:
                    await second.recv()
                assert closed.value.rcvd.code == 1013
            # The first one has left, as soon as the web server has noticed.
            while router.gateway.admission._count:  # noqa: ASYNC110 - nothing else tells that
                await asyncio.sleep(0.001)
            async with connect(url, subprotocols=["wamp.2.json"]) as third:
                await third.send(json.encode(HELLO).decode())
                assert json.decode(await third.recv())[0] == 2

    running(body)


def test_a_client_that_vanishes_ends_its_session_and_its_weak_keys():
    async def body():
        async with application() as (router, url):
            realm, gone = router.realm("realm1"), asyncio.Queue()
            await realm.subscribe("com.example.ann", gone.put_nowait, retained=True)
            async with connect(url, subprotocols=["wamp.2.json"]) as client:
                await client.send(json.encode(HELLO).decode())
                await client.recv()
                options = {"acknowledge": True, "retain": True, "weak": True}
                message = [16, 1, options, "com.example.ann", ["here"]]
                await client.send(json.encode(message).decode())
                assert (await gone.get()).args == ["here"]
                client.transport.abort()
            assert (await gone.get()).details["removed"] == "weak"

    running(body)


def test_a_message_that_is_too_long_closes_the_connection():
    async def body():
        async with connected(**{"gateway.max_message_size": 1 << 16}) as (_router, client):
            await client.send(json.encode(HELLO).decode())
            await client.recv()
            await client.send("x" * (1 << 17))
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd.code == 1009

    running(body)


ROLES = """
[[realm]]
name = "realm1"
[[realm.role]]
name = "anonymous"
[[realm.role.rule]]
uri = "com.example.open"
allow = ["publish"]
"""


def test_clients_of_the_web_server_have_their_roles():
    async def body():
        async with connected(ROLES) as (_router, client):
            await client.send(json.encode(HELLO).decode())
            await client.recv()
            codes = []
            for number, topic in enumerate(("com.example.open", "com.example.closed"), 1):
                message = [16, number, {"acknowledge": True}, topic, [1]]
                await client.send(json.encode(message).decode())
                codes.append(json.decode(await client.recv())[0])
            assert codes == [17, 8]

    running(body)


@pytest.mark.parametrize("kind", ["wamp", "mqtt"])
def test_a_client_that_reads_nothing_is_given_up_and_forgotten(kind, monkeypatch):
    monkeypatch.setattr(asgi, "FAREWELL", 0.1)
    subscribes = {
        "wamp": ("wamp.2.json", [json.encode(HELLO).decode(), '[32,1,{},"com.example.flood"]']),
        "mqtt": ("mqtt", [CONNECT, SUBSCRIBE]),
    }
    limits = {"gateway.outbound_limit": 1 << 16, "gateway.slow_timeout": 0.2}
    conversations = []

    async def run(conversation, receive):
        conversations.append(conversation)
        await whole(conversation, receive)

    whole = asgi._Conversation.run
    monkeypatch.setattr(asgi._Conversation, "run", run)

    async def body():
        async with application(kind=kind, **limits) as (router, url):
            subprotocol, messages = subscribes[kind]
            realm, events = router.realm("realm1"), asyncio.Queue()
            await realm.subscribe("com.example.flood", events.put_nowait)
            async with connect(url, subprotocols=[subprotocol], compression=None) as client:
                for message in messages:
                    await client.send(message)
                    await client.recv()
                count = 0
                while router.gateway.admission._count:
                    count += 1
                    await realm.publish(
                        "com.example.flood", ["x" * 100_000], acknowledge=True, exclude_me=False
                    )
                    await events.get()
                assert count < 2000
                # A timer of the session has the connection for a while.
                (conversation,) = conversations
                assert conversation.connection.closed
                assert conversation.waiting == 0
                assert conversation._queue.empty()
                client.transport.abort()

    running(body)


CONNECT = bytes.fromhex("100d00044d51545404020000000161")
SUBSCRIBE = b"\x82\x16\0\x01\0\x11com/example/flood\0"


def test_mqtt_packets_of_one_turn_are_joined_and_may_be_cut_anywhere():
    async def body():
        async with (
            application(kind="mqtt") as (router, url),
            connect(url, subprotocols=["mqtt"]) as client,
        ):
            sent = CONNECT + SUBSCRIBE + b"\xc0\0"
            for part in (sent[:3], sent[3:20], sent[20:]):
                await client.send(part)
            answers = b""
            while len(answers) < 4 + 5 + 2:
                answers += await client.recv()
            assert answers.startswith(b"\x20\x02\0\0")
            assert {b"\xd0\0", b"\x90\x03\0\x01\0"} <= {answers[4:6], answers[4:9], answers[6:]}
            realm, kinds = router.realm("realm1"), []
            for number in (await realm.call("wamp.session.list")).value:
                session = (await realm.call("wamp.session.get", [number])).value
                kinds.append(session["transport"]["type"])
            assert sorted(kinds) == ["local", "websocket"]

    running(body)


def test_the_end_of_the_router_says_goodbye():
    async def body():
        async with application() as (router, url):
            async with connect(url, subprotocols=["wamp.2.json"]) as client:
                await client.send(json.encode(HELLO).decode())
                await client.recv()
                stopping = asyncio.create_task(router.stop())
                assert json.decode(await client.recv())[0] == 6
                await client.send(json.encode([6, {}, "wamp.close.goodbye_and_out"]).decode())
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert closed.value.rcvd.code == 1000
            await stopping
            async with connect(url, subprotocols=["wamp.2.json"]) as client:
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert closed.value.rcvd.code == 1013

    running(body)


def test_plain_http_is_told_what_is_here():
    async def body():
        async with application() as (router, _):
            said = []

            async def send(message):
                said.append(message)

            await router.wamp({"type": "http"}, None, send)
            assert said[0]["status"] == 426

    running(body)
