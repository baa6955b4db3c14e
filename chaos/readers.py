"""Subscribers: watchers, which stay connected, and new readers, which are shown the keys.

Owns: subscribing, receiving. Never: the checks (see `ledger`).
"""

import asyncio
import contextlib

import msgspec

from chaos.door import Door
from chaos.ledger import PREFIX, Found, Ledger, Watch, read_mark
from chaos.peers import EVENT, SUBSCRIBE, Mqtt, Peer, Wamp

PATIENCE = 40.0
"""Seconds within which a new reader must have been shown all keys."""


async def watch(
    door: Door, ledger: Ledger, gateway: str, name: str, qos: int | None
) -> tuple[Watch, Peer]:
    """Subscribe to everything at that gateway. qos: the MQTT QoS; None: WAMP."""
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
    """Return the keys, by topic, that a new WAMP subscriber is shown at that gateway."""
    keys: dict[str, Found] = {}
    peer = await door.enter(Wamp, "", gateway)

    def on_event(event: list) -> None:  # type: ignore[type-arg]
        assert event[0] == EVENT
        details, args = event[3], event[4] if len(event) > 4 else []
        assert details["topic"] not in keys, f"shown twice: {details['topic']}"
        keys[details["topic"]] = _found(details["topic"], args, event[2])

    peer.on_event = on_event
    async with asyncio.timeout(PATIENCE):
        await peer.request(SUBSCRIBE, {"match": "prefix", "snapshot": True}, f"{PREFIX}.")
        await peer.revoked.wait()
    await door.leave(peer)
    return keys


async def read_mqtt(door: Door, gateway: str, count: int) -> dict[str, Found]:
    """Return the keys, by topic, that a new MQTT subscriber is shown at that gateway.

    count: the expected number, because MQTT does not say when all keys have been sent.
    """
    keys: dict[str, Found] = {}
    peer = await door.enter(Mqtt, f"reader-{gateway}", gateway)
    enough = asyncio.Event()

    def on_message(topic: str, payload: bytes, _qos: int, retained: bool) -> None:  # noqa: FBT001
        if retained:
            name = topic.replace("/", ".")
            assert name not in keys, f"shown twice: {name}"
            keys[name] = _found(name, _decoded(payload), None)
            if len(keys) == count:
                enough.set()

    peer.on_message = on_message
    await peer.subscribe(f"{PREFIX}/#", 1)
    if count:
        with contextlib.suppress(TimeoutError):
            # A key that is still missing is named by `Ledger.judge_keys`.
            await asyncio.wait_for(enough.wait(), PATIENCE)
    await door.leave(peer)
    return keys


def _found(topic: str, args: object, publication: int | None) -> Found:
    mark = read_mark(args)
    assert mark is not None, f"the key {topic} is {args!r}"
    return Found(mark, publication)
