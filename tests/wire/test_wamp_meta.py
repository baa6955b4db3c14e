"""The registration and the subscription meta API over both gateways, with real clients."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import RegisterOptions, SubscribeOptions

PREFIX = "com.example.meta"


async def error_of(session, procedure, *args):
    """Return the URI of the error of a call.

    The exception refers to the frame that catches it, which must not be one that has MQTT clients:
    the cycle would let their sockets be collected before paho closes them.
    """
    with pytest.raises(ApplicationError) as caught:
        await session.call(procedure, *args)
    return caught.value.error


async def test_registrations_are_known_at_both_gateways(wamp):
    """WAMP #registration-metapi."""
    one, other = await wamp.two()
    shared = RegisterOptions(invoke="roundrobin")
    first = await one.register(lambda: 1, f"{PREFIX}.shared", options=shared)
    await other.register(lambda: 2, f"{PREFIX}.shared", options=shared)
    prefix = await other.register(lambda: 3, f"{PREFIX}.p", options=RegisterOptions(match="prefix"))
    wildcard = await one.register(
        lambda: 4, f"{PREFIX}..w", options=RegisterOptions(match="wildcard")
    )
    for session in (one, other):

        async def ask(procedure, *args, session=session):
            return await session.call(f"wamp.registration.{procedure}", *args)

        lists = await ask("list")
        assert first.id in lists["exact"]
        assert prefix.id in lists["prefix"]
        assert wildcard.id in lists["wildcard"]
        assert await ask("lookup", f"{PREFIX}.shared") == first.id
        assert await ask("lookup", f"{PREFIX}.p", {"match": "prefix"}) == prefix.id
        assert await ask("lookup", f"{PREFIX}.p") is None
        assert await ask("match", f"{PREFIX}.shared") == first.id
        assert await ask("match", f"{PREFIX}.pq.r") == prefix.id
        assert await ask("match", f"{PREFIX}.x.w") == wildcard.id
        assert await ask("match", "com.example.nothing") is None
        details = await ask("get", first.id)
        created = datetime.fromisoformat(details.pop("created"))
        assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
        uri = f"{PREFIX}.shared"
        now = {"x_callees": 2, "x_running": 0, "x_queued": 0}
        what = {"id": first.id, "uri": uri, "match": "exact", "invoke": "roundrobin"}
        assert details == what | now
        both = sorted((one.details.session, other.details.session))
        assert await ask("list_callees", first.id) == both
        assert await ask("count_callees", first.id) == 2
    await first.unregister()
    assert await one.call("wamp.registration.list_callees", first.id) == [other.details.session]
    await wildcard.unregister()
    for procedure in ("get", "list_callees", "count_callees"):
        error = await error_of(other, f"wamp.registration.{procedure}", wildcard.id)
        assert error == "wamp.error.no_such_registration"


async def test_subscriptions_are_known_at_both_gateways(wamp, mqtt):
    """WAMP #subscription-metapi; subscriptions of MQTT clients are among them."""
    one, other = await wamp.two()
    device = await asyncio.to_thread(mqtt.connect, "meta-api-device", gateway=1)
    await asyncio.to_thread(device.subscribe, "com/example/meta/t", "com/example/meta/+/w")
    exact = await one.subscribe(lambda *_: None, f"{PREFIX}.t")
    prefix = await other.subscribe(
        lambda *_: None, f"{PREFIX}.t", options=SubscribeOptions(match="prefix")
    )
    for session in (one, other):

        async def ask(procedure, *args, session=session):
            return await session.call(f"wamp.subscription.{procedure}", *args)

        wildcard = await ask("lookup", f"{PREFIX}..w", {"match": "wildcard"})
        lists = await ask("list")
        assert exact.id in lists["exact"]
        assert prefix.id in lists["prefix"]
        assert wildcard in lists["wildcard"]
        assert await ask("lookup", f"{PREFIX}.t") == exact.id
        assert await ask("match", f"{PREFIX}.t") == sorted((exact.id, prefix.id))
        assert await ask("match", "com.example.nothing") is None
        details = await ask("get", wildcard)
        created = datetime.fromisoformat(details.pop("created"))
        assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
        assert details == {"id": wildcard, "uri": f"{PREFIX}..w", "match": "wildcard"}
        (device_id,) = await ask("list_subscribers", wildcard)
        both = sorted((one.details.session, device_id))
        assert await ask("list_subscribers", exact.id) == both
        assert await ask("count_subscribers", exact.id) == 2
    assert (await one.call("wamp.session.get", device_id))["transport"]["protocol"] == "mqtt.3.1.1"
    await prefix.unsubscribe()
    for procedure in ("get", "list_subscribers", "count_subscribers"):
        error = await error_of(other, f"wamp.subscription.{procedure}", prefix.id)
        assert error == "wamp.error.no_such_subscription"
