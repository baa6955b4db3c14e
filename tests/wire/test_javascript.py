"""autobahn-js and MQTT.js, in Node, with the programs in tests/wire/js."""

import asyncio

import node
import pytest
from autobahn.wamp.types import PublishOptions, RegisterOptions


@pytest.fixture(scope="module", autouse=True)
def packages():
    """Install the packages before the tests, whose time is limited."""
    return node.modules()


async def count_up(count, details=None):
    for number in range(count):
        details.progress(number)
    return "done"


@pytest.mark.parametrize(
    ("serializer", "transport"),
    [
        ("json", "websocket"),
        ("msgpack", "websocket"),
        ("cbor", "websocket"),
        ("json", "rawsocket"),
    ],
)
async def test_autobahn_js_finds_the_broker_as_it_expects(cluster, wamp, serializer, transport):
    prefix = f"js.{serializer}.{transport}"
    ours = await wamp.join(gateway=1)
    here = await ours.events(f"{prefix}.here")
    await ours.register(lambda text: f"got {text}", f"{prefix}.theirs")
    await ours.register(count_up, f"{prefix}.steps", RegisterOptions(details_arg="details"))
    port = cluster.ports[transport]
    program = asyncio.create_task(
        asyncio.to_thread(node.run, "autobahn.cjs", serializer, transport, port, prefix)
    )
    greeting = asyncio.create_task(here.get())
    # A program that fails sends no greeting; awaiting the program then raises its error.
    await asyncio.wait([program, greeting], return_when=asyncio.FIRST_COMPLETED)
    if not program.done():
        assert (await greeting)[:2] == (("hello",), {"from": "js"})
        await ours.publish(f"{prefix}.there", 1, 2, options=PublishOptions(acknowledge=True))
    assert await program == {
        "protocol": f"wamp.2.{serializer}",
        "realm": "realm1",
        "role": "anonymous",
        "echo": True,
        "kwargs": {"k": "v"},
        "publication": True,
        "publisher": True,
        "wildcard": f"{prefix}.x.wild",
        "prefix": f"{prefix}.start.y",
        "retained": ["kept", True],
        "refused": "wamp.error.invalid_uri",
        "sum": 5,
        "error": {"error": "com.example.broken", "args": ["why"], "kwargs": {"where": "here"}},
        "nobody": "wamp.error.no_such_procedure",
        "steps": [0, 1, 2, 3, 4, "done"],
        "own_steps": [0, 1, 2, 3, 4, "done"],
        "unset": [1],
        "pattern": f"{prefix}.any.thing",
        "count": True,
        "theirs": "got from js",
        "there": [1, 2],
        "closed": "wamp.close.goodbye_and_out",
    }


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
async def test_wampy_finds_the_broker_as_it_expects(cluster, wamp, serializer):
    prefix = f"wampy.{serializer}"
    ours = await wamp.join()
    await ours.register(lambda text: f"got {text}", f"{prefix}.theirs")
    port = cluster.ports["websocket"]
    seen = await asyncio.to_thread(node.run, "wampy.cjs", serializer, port, prefix)
    binary = {"bytes": [0, 255], "date": 10**12}
    more = {
        "json": {"half": "fox.error.invalid_payload"},
        "msgpack": {"half": None, **binary},
        "cbor": {"half": "fox.error.invalid_payload", **binary, "set": [1], "expression": "a.*"},
    }
    assert seen == {
        "realm": "realm1",
        "role": "anonymous",
        "echo": True,
        "kwargs": {"k": "v"},
        "publisher": True,
        "undefined": [None, None, 1],
        "wildcard": f"{prefix}.x.wild",
        "sum": [5],
        "error": {"error": "com.example.broken", "args": ["why"], "kwargs": {"where": "here"}},
        "nobody": "wamp.error.no_such_procedure",
        "steps": [0, 1, 2, "done"],
        "gone": "wamp.error.no_such_procedure",
        "count": True,
        "theirs": "got from wampy",
        **more[serializer],
    }


@pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])
@pytest.mark.parametrize(("scheme", "kind"), [("mqtt", "mqtt"), ("ws", "websocket")])
async def test_mqtt_js_finds_the_broker_as_it_expects(cluster, wamp, scheme, kind, version):
    prefix = f"mqttjs{scheme}{version}"
    url = f"{scheme}://127.0.0.1:{cluster.ports[kind]}" + ("/mqtt" if scheme == "ws" else "")
    session = await wamp.join()
    queue = await session.events(f"{prefix}.to.wamp")
    program = asyncio.create_task(
        asyncio.to_thread(node.run, "mqtt.cjs", url, prefix, str(version))
    )
    greeting = asyncio.create_task(queue.get())
    await asyncio.wait([program, greeting], return_when=asyncio.FIRST_COMPLETED)
    if not program.done():
        assert (await greeting)[0] == ({"hello": "wamp"},)
        session.publish(f"{prefix}.from.wamp", 1, key="value")
    seen = await program
    topic = f"{prefix}/from/wamp"
    assert seen.pop("wamp") in (
        [topic, '{"args":[1],"kwargs":{"key":"value"}}', 0, False],
        [topic, '{"args": [1], "kwargs": {"key": "value"}}', 0, False],
    )
    assert seen == {
        "granted": [2, 0, 1],
        "messages": [[f"{prefix}/q/{n}", f"message {n} ä", n, False] for n in (0, 1, 2)],
        "live": [f"{prefix}/q/kept", "kept", 1, False],
        "kept": [f"{prefix}/q/kept", "kept", 1, True],
        "large": 1 << 20,
        "will": [f"{prefix}/will", "gone", 1, False],
    }
