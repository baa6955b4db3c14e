"""MQTT clients and WAMP clients on one topic space, at different gateways.

The conversions between the protocols are those of semantics.md, Payloads.
"""

import asyncio

import pytest
from autobahn.wamp.types import PublishOptions, SubscribeOptions
from wamp_peers import KINDS

ACKNOWLEDGE = PublishOptions(acknowledge=True)


@pytest.mark.parametrize(
    ("payload", "args"),
    [
        (b"21.5", (21.5,)),
        (b'"text"', ("text",)),
        (b"true", (True,)),
        (b"null", (None,)),
        (b' {"a": [1, {"b": null}]} ', ({"a": [1, {"b": None}]},)),
        (b"[]", ()),
        (b"[1, [2], null]", (1, [2], None)),
        (b"", ()),
        ('"ä€𝄞"'.encode(), ("ä€𝄞",)),
        (b"9007199254740993", (9007199254740993,)),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_json_from_mqtt_becomes_arguments(mqtt, wamp, kind, payload, args):
    subscriber = await wamp.join(*kind, gateway=1)
    queue = await subscriber.events("m2w.json")
    device = await asyncio.to_thread(mqtt.connect, "m2w", gateway=0)
    await asyncio.to_thread(device.publish, "m2w/json", payload, 1)
    got, kwargs, _ = await queue.get()
    assert got == args
    assert [type(value) for value in got] == [type(value) for value in args]
    assert kwargs == {}


@pytest.mark.parametrize(
    ("payload", "argument"),
    [
        (b"ON", "ON"),
        (b"plain text", "plain text"),
        (b"{broken", "{broken"),
        (b"NaN", "NaN"),
        (b"1 2", "1 2"),
        (b"\xff\xfe\0", b"\xff\xfe\0"),
        (b"\0T04=", b"\0T04="),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_payload_that_is_no_json_becomes_text_or_bytes(mqtt, wamp, kind, payload, argument):
    subscriber = await wamp.join(*kind, gateway=1)
    queue = await subscriber.events("m2w.binary")
    device = await asyncio.to_thread(mqtt.connect, "m2wb", gateway=0)
    await asyncio.to_thread(device.publish, "m2w/binary", payload, 1)
    assert (await queue.get())[0] == (argument,)


@pytest.mark.parametrize(
    ("args", "kwargs", "payload"),
    [
        ((), {}, b""),
        ((21.5,), {}, b"21.5"),
        (("text",), {}, b'"text"'),
        ((None,), {}, b"null"),
        (({"a": [1]},), {}, b'{"a":[1]}'),
        (([1, 2],), {}, b"[1,2]"),
        ((1, [2], None), {}, b"[1,[2],null]"),
        ((b"\xff\0raw",), {}, b"\xff\0raw"),
        ((), {"k": "v"}, b'{"k":"v"}'),
        ((1,), {"k": "v"}, b'{"args":[1],"kwargs":{"k":"v"}}'),
        (("ä€𝄞",), {}, '"ä€𝄞"'.encode()),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_arguments_become_json_for_mqtt(mqtt, wamp, kind, args, kwargs, payload):
    device = await asyncio.to_thread(mqtt.connect, "w2m", gateway=0)
    await asyncio.to_thread(device.subscribe, "w2m/topic", qos=1)
    publisher = await wamp.join(*kind, gateway=1)
    await publisher.publish("w2m.topic", *args, **kwargs, options=ACKNOWLEDGE)
    got = (await asyncio.to_thread(device.receive)).payload
    assert bytes(got).replace(b": ", b":").replace(b", ", b",") == payload


@pytest.mark.parametrize(
    ("mqtt_topic", "uri"),
    [
        ("swap/a/b", "swap.a.b"),
        ("swap/a.b/c", "swap.a/b.c"),
        ("swap/ä/1", "swap.ä.1"),
        ("swap/x/y.z", "swap.x.y/z"),
    ],
)
async def test_slashes_and_dots_change_places_between_the_protocols(mqtt, wamp, mqtt_topic, uri):
    session = await wamp.join(gateway=1)
    queue = await session.events("swap", SubscribeOptions(match="prefix"))
    device = await asyncio.to_thread(mqtt.connect, "swap", gateway=0)
    await asyncio.to_thread(device.subscribe, mqtt_topic)
    await asyncio.to_thread(device.publish, mqtt_topic, "1", 1)
    assert (await queue.get())[2].topic == uri
    assert (await asyncio.to_thread(device.receive)).topic == mqtt_topic
    await session.publish(uri, 2, options=ACKNOWLEDGE)
    assert (await asyncio.to_thread(device.receive)).topic == mqtt_topic


@pytest.mark.parametrize(
    ("filter_", "match", "pattern"),
    [
        ("pat/+/end", "wildcard", "pat..end"),
        ("pat/#", "prefix", "pat"),
        ("pat/+/end", "exact", "pat.*.end"),
    ],
)
async def test_patterns_of_both_notations_match_the_same(mqtt, wamp, filter_, match, pattern):
    device = await asyncio.to_thread(mqtt.connect, "patterns", gateway=0)
    await asyncio.to_thread(device.subscribe, filter_)
    session = await wamp.join(gateway=1)
    queue = await session.events(pattern, SubscribeOptions(match=match))
    other = await wamp.join("rawsocket", "cbor", gateway=0)
    await other.publish("pat.no", 0, options=ACKNOWLEDGE) if "#" not in filter_ else None
    await other.publish("pat.x.end", 1, options=ACKNOWLEDGE)
    args, _, details = await queue.get()
    assert (args, details.topic) == ((1,), "pat.x.end")
    message = await asyncio.to_thread(device.receive)
    assert (message.topic, bytes(message.payload)) == ("pat/x/end", b"1")


async def test_both_protocols_share_the_retained_keys(mqtt, wamp):
    device = await asyncio.to_thread(mqtt.connect, "both", gateway=0)
    session = await wamp.join(gateway=1)
    await asyncio.to_thread(device.publish, "both/mqtt", "21.5", 1, True)
    retained = PublishOptions(acknowledge=True, retain=True)
    await session.publish("both.wamp", 1, 2, options=retained)
    queue = await session.events("both.mqtt", SubscribeOptions(get_retained=True))
    args, _, details = await queue.get()
    assert (args, details.retained) == ((21.5,), True)
    await asyncio.to_thread(device.subscribe, "both/wamp")
    message = await asyncio.to_thread(device.receive)
    assert (bytes(message.payload).replace(b" ", b""), message.retain) == (b"[1,2]", True)
    # An event with null as its only argument is empty, and erases the key.
    await session.publish("both.wamp", None, options=retained)
    assert bytes((await asyncio.to_thread(device.receive)).payload) == b"null"
    late = await asyncio.to_thread(mqtt.connect, "both-late", gateway=1)
    await asyncio.to_thread(late.subscribe, "both/wamp", "both/end")
    await session.publish("both.end", 1, options=ACKNOWLEDGE)
    assert (await asyncio.to_thread(late.receive)).topic == "both/end"


async def test_a_will_reaches_wamp_sessions(mqtt, wamp):
    session = await wamp.join(gateway=1)
    queue = await session.events("both.will")
    will = {"topic": "both/will", "payload": '{"gone": true}', "qos": 1}
    device = await asyncio.to_thread(mqtt.connect, "both-mortal", gateway=0, will=will)
    await asyncio.to_thread(device.cut)
    assert (await queue.get())[0] == ({"gone": True},)


async def test_sessions_of_both_protocols_may_be_left_out_by_role(mqtt, wamp):
    """Receivers may be limited by role, and MQTT sessions have a role too."""
    device = await asyncio.to_thread(mqtt.connect, "listed", gateway=0)
    await asyncio.to_thread(device.subscribe, "listed/#")
    session = await wamp.join(gateway=1)
    nobody = PublishOptions(acknowledge=True, eligible_authrole="nobody")
    await session.publish("listed.topic", 1, options=nobody)
    await session.publish("listed.end", 2, options=ACKNOWLEDGE)
    assert (await asyncio.to_thread(device.receive)).topic == "listed/end"


async def test_a_wamp_topic_with_mqtt_wildcards_is_not_sent_to_mqtt(mqtt, wamp):
    """Such a topic is no topic name in MQTT [MQTT-3.3.2-2]."""
    device = await asyncio.to_thread(mqtt.connect, "malformed", gateway=0)
    await asyncio.to_thread(device.subscribe, "plus/#")
    session = await wamp.join(gateway=1)
    queue = await session.events("plus", SubscribeOptions(match="prefix"))
    await (await wamp.join()).publish("plus.a+.b", 1, options=ACKNOWLEDGE)
    assert (await queue.get())[2].topic == "plus.a+.b"
    await session.publish("plus.end", options=ACKNOWLEDGE)
    assert (await asyncio.to_thread(device.receive)).topic == "plus/end"
