"""Those who read: watchers, which stay connected, and new ones, which are shown the keys.

Owns: subscribing, and what has arrived. Never: judging.
"""

import asyncio

import msgspec

from chaos.door import Door
from chaos.ledger import PREFIX, Found, Ledger, Watch, read_mark
from chaos.peers import EVENT, PUBLISH, SUBSCRIBE, Mqtt, Peer, Wamp

PATIENCE = 40.0
"""Seconds until a reader has been shown everything."""


async def watch(
    door: Door, ledger: Ledger, gateway: str, name: str, qos: int | None
) -> tuple[Watch, Peer]:
    """Subscribe to everything at that gateway. qos: of MQTT; None: WAMP."""
    kind = "WAMP" if qos is None else f"MQTT QoS {qos}"
    watching = Watch(f"{name}, {kind} at {gateway}", ledger)
    if qos is None:
        wamp = await door.enter(Wamp, name, gateway)
        wamp.on_event = lambda event: watching.see(
            event[3].get("topic", ""), event[4] if len(event) > 4 else [], event[2]
        )
        await wamp.request(SUBSCRIBE, {"match": "prefix"}, f"{PREFIX}.")
        return watching, wamp
    mqtt = await door.enter(Mqtt, name, gateway)

    def on_message(topic: str, payload: bytes, _qos: int, retained: bool) -> None:  # noqa: FBT001
        if not retained:
            watching.see(topic, _decoded(payload), None)

    mqtt.on_message = on_message
    assert await mqtt.subscribe(f"{PREFIX}/#", qos) == qos
    return watching, mqtt


def _decoded(payload: bytes) -> object:
    return msgspec.json.decode(payload) if payload else []


async def read_wamp(door: Door, gateway: str) -> dict[str, Found]:
    """The keys that WAMP shows to a new subscriber there."""
    keys: dict[str, Found] = {}
    peer = await door.enter(Wamp, "", gateway)
    end = f"{PREFIX}.end.{peer.session}"
    ended = asyncio.Event()

    def on_event(event: list) -> None:  # type: ignore[type-arg]
        assert event[0] == EVENT
        details, args = event[3], event[4] if len(event) > 4 else []
        if details["topic"] == end:
            ended.set()
        elif details.get("retained"):
            assert details["topic"] not in keys, f"shown twice: {details['topic']}"
            keys[details["topic"]] = _found(details["topic"], args, event[2])

    peer.on_event = on_event
    async with asyncio.timeout(PATIENCE):
        await peer.request(SUBSCRIBE, {"match": "prefix", "get_retained": True}, f"{PREFIX}.")
        # The first live event comes behind all keys.
        await peer.request(PUBLISH, {"acknowledge": True, "exclude_me": False}, end, [])
        await ended.wait()
    await door.leave(peer)
    return keys


async def read_mqtt(door: Door, gateway: str) -> dict[str, Found]:
    """The keys that MQTT shows to a new subscriber there."""
    keys: dict[str, Found] = {}
    peer = await door.enter(Mqtt, f"reader-{gateway}", gateway)
    end = f"{PREFIX}/end/{gateway}"
    ended = asyncio.Event()

    def on_message(topic: str, payload: bytes, _qos: int, retained: bool) -> None:  # noqa: FBT001
        if topic == end:
            ended.set()
        elif retained:
            name = topic.replace("/", ".")
            assert name not in keys, f"shown twice: {name}"
            keys[name] = _found(name, _decoded(payload), None)

    peer.on_message = on_message
    async with asyncio.timeout(PATIENCE):
        await peer.subscribe(f"{PREFIX}/#", 1)
        await peer.publish(end, b"", 1, retain=False)
        await ended.wait()
    await door.leave(peer)
    return keys


def _found(topic: str, args: object, publication: int | None) -> Found:
    mark = read_mark(args)
    assert mark is not None, f"the key {topic} is {args!r}"
    return Found(mark, publication)
