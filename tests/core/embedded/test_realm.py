"""The application's own session in a router in its process."""

import asyncio
import logging
import tempfile
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from raw_wamp import CALL, PUBLISH, PUBLISHED, RESULT, RawWamp

from fox_shard import Event, FoxRouter, Refused, Result, RouterError
from fox_shard.client import ConnectionLost, Unreachable

PATIENCE = 30.0


def in_router(text="", **more):
    """Run a coroutine function as an application that is given its router."""

    def decorate(body):
        def test(**fixtures):
            async def application():
                async with routing(text, **more) as router, asyncio.timeout(PATIENCE):
                    await body(router, **fixtures)

            asyncio.run(application())

        test.__name__ = body.__name__
        return test

    return decorate


@asynccontextmanager
async def routing(text="", **more):
    with tempfile.TemporaryDirectory(prefix="fox-") as folder:
        file = Path(folder) / "conf" / "fox.toml"
        file.parent.mkdir()
        file.write_text(text)
        settings = {
            "gateway.websocket": "off",
            "gateway.rawsocket": "127.0.0.1:0",
            "gateway.mqtt": "off",
            **more,
        }
        async with FoxRouter(file, settings) as router:
            yield router


def client(router):
    return RawWamp(int(router.listening["rawsocket"].rpartition(":")[2]))


@in_router()
async def test_a_call_reaches_the_applications_own_function(router):
    realm = router.realm("realm1")
    registration = await realm.register("com.example.add", lambda a, b=0: a + b)
    assert (await realm.call("com.example.add", [2], {"b": 3})).value == 5
    await registration.unregister()
    with pytest.raises(Refused) as refused:
        await realm.call("com.example.add", [2, 3])
    assert refused.value.uri == "wamp.error.no_such_procedure"


@in_router()
async def test_a_function_may_be_async_and_give_several_results_and_errors(router):
    realm = router.realm("realm1")

    async def divide(a, b):
        await asyncio.sleep(0)
        if not b:
            raise Refused("com.example.by_zero", ["not by 0"], {"a": a})
        return Result([a // b, a % b], {"of": a})

    await realm.register("com.example.divide", divide)
    assert await realm.call("com.example.divide", [7, 2]) == Result([3, 1], {"of": 7})
    with pytest.raises(Refused, match=r"^com.example.by_zero: not by 0$") as refused:
        await realm.call("com.example.divide", [7, 0])
    assert refused.value.kwargs == {"a": 7}
    with pytest.raises(Refused, match="TypeError: unsupported operand") as refused:
        await realm.call("com.example.divide", ["seven", 2])
    assert refused.value.uri == "wamp.error.runtime_error"


@in_router()
async def test_a_result_that_cannot_be_sent_is_an_error(router):
    realm = router.realm("realm1")
    await realm.register("com.example.object", object)
    with pytest.raises(Refused, match="TypeError"):
        await realm.call("com.example.object")


@in_router()
async def test_an_acknowledged_publish_returns_its_id_and_others_return_at_once(router):
    realm = router.realm("realm1")
    first = await realm.publish("com.example.color", ["red"], acknowledge=True, retain=True)
    second = await realm.publish("com.example.color", ["blue"], acknowledge=True, retain=True)
    assert 0 < first < second
    assert await realm.publish("com.example.any", [1]) is None
    with pytest.raises(Refused) as refused:
        await realm.publish(
            "com.example.color", ["green"], acknowledge=True, retain=True, when_id=first
        )
    assert refused.value.uri == "fox.error.condition_failed"
    assert refused.value.kwargs["publication"] == second


@in_router()
async def test_a_function_gets_the_keys_and_then_the_events_in_order(router):
    realm = router.realm("realm1")
    await realm.publish("com.example.a", [0], acknowledge=True, retain=True)
    events, done = [], asyncio.Event()

    async def on_event(event):
        await asyncio.sleep(0)
        events.append(event)
        if len(events) == 101:
            done.set()

    subscription = await realm.subscribe("com.example", on_event, match="prefix", get_retained=True)
    for number in range(1, 101):
        await realm.publish("com.example.b", [number], {"k": number}, exclude_me=False)
    await done.wait()
    assert isinstance(events[0], Event)
    assert (events[0].topic, events[0].details["retained"]) == ("com.example.a", True)
    assert [event.args for event in events] == [[number] for number in range(101)]
    assert events[1].kwargs == {"k": 1}
    await subscription.unsubscribe()
    await realm.publish("com.example.b", [101], exclude_me=False, acknowledge=True)
    await asyncio.sleep(0)
    assert len(events) == 101


@in_router()
async def test_two_functions_may_subscribe_to_the_same(router):
    realm = router.realm("realm1")
    first, second = asyncio.Queue(), asyncio.Queue()
    one = await realm.subscribe("com.example.any", first.put_nowait)
    await realm.subscribe("com.example.any", second.put_nowait)
    await realm.publish("com.example.any", [1], exclude_me=False)
    assert (await first.get()).args == (await second.get()).args == [1]
    await one.unsubscribe()
    await realm.publish("com.example.any", [2], exclude_me=False)
    assert (await second.get()).args == [2]
    assert first.empty()


def test_a_function_that_fails_is_logged_and_gets_the_next_event(caplog):
    @in_router()
    async def application(router):
        realm, got = router.realm("realm1"), asyncio.Queue()

        def on_event(event):
            if event.args == [0]:
                raise ZeroDivisionError("zero")
            got.put_nowait(event)

        await realm.subscribe("com.example.any", on_event)
        for number in range(2):
            await realm.publish("com.example.any", [number], exclude_me=False)
        assert (await got.get()).args == [1]

    with caplog.at_level(logging.ERROR):
        application()
    (record,) = caplog.records
    assert record.message == "What handles com.example.any has failed."
    assert record.exc_info[0] is ZeroDivisionError


@in_router()
async def test_clients_and_the_application_see_one_another(router):
    realm, events = router.realm("realm1"), asyncio.Queue()
    await realm.register("com.example.twice", lambda number: 2 * number)
    await realm.subscribe("com.example.any", events.put_nowait)

    def outside():
        peer = client(router)
        peer.do(PUBLISH, {"acknowledge": True}, "com.example.any", ["out"], answer=PUBLISHED)
        result = peer.do(CALL, {}, "com.example.twice", [21], answer=RESULT)
        peer.close()
        return result

    assert (await asyncio.to_thread(outside))[3] == [42]
    assert (await events.get()).args == ["out"]


@in_router()
async def test_a_canceled_task_cancels_its_call(router):
    realm, canceled, begun = router.realm("realm1"), asyncio.Event(), asyncio.Event()

    async def wait():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            canceled.set()

    await realm.register("com.example.wait", wait)
    task = asyncio.create_task(realm.call("com.example.wait"))
    await begun.wait()
    task.cancel()
    await canceled.wait()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(Refused) as refused:
        await realm.call("com.example.wait", timeout=20)
    assert refused.value.uri in ("wamp.error.canceled", "wamp.error.timeout")


@in_router()
async def test_the_wrong_realm_and_wrong_values_are_refused(router):
    with pytest.raises(Unreachable, match="there is no realm 'other'"):
        await router.realm("other").publish("com.example.any")
    realm = router.realm("realm1")
    for value, error in ((object(), TypeError), (1 << 70, OverflowError), ("x" * (1 << 24), None)):
        with pytest.raises(error or ValueError):
            await realm.publish("com.example.any", [value])
    assert await realm.publish("com.example.any", ["x" * (1 << 20)], acknowledge=True)


ROLES = """
[[realm]]
name = "realm1"
[[realm.role]]
name = "anonymous"
[[realm.role.rule]]
uri = "com.example.open"
allow = ["call"]
"""


@in_router(ROLES)
async def test_the_application_may_do_everything_whatever_roles_there_are(router):
    realm, callers = router.realm("realm1"), []
    await realm.register("com.example.closed", lambda: callers.append(1))
    await realm.call("com.example.closed")
    session = (await realm.call("wamp.session.list")).value[0]
    details = (await realm.call("wamp.session.get", [session])).value
    assert (details["authid"], details["authrole"]) == ("fox.application", "application")

    def outside():
        peer = client(router)
        peer.request += 1
        peer.send(CALL, peer.request, {}, "com.example.closed")
        answer = peer.receive()
        peer.close()
        return answer

    assert (await asyncio.to_thread(outside))[4] == "wamp.error.not_authorized"
    assert callers == [1]


@in_router("", **{"gateway.outbound_limit": 1 << 20})
async def test_keys_come_at_the_pace_of_the_function(router):
    """Far more of them than may wait for it."""
    realm = router.realm("realm1")
    keys = [f"com.example.n{number}" for number in range(3000)]
    await asyncio.gather(
        *(realm.publish(key, ["x" * 1000], acknowledge=True, retain=True) for key in keys)
    )
    found, done = [], asyncio.Event()

    async def on_key(event):
        await asyncio.sleep(0)
        found.append(event.topic)
        if len(found) == len(keys):
            done.set()

    await realm.subscribe("com.example", on_key, match="prefix", get_retained=True)
    await done.wait()
    assert sorted(found) == sorted(keys)


SMALL = {"gateway.outbound_limit": 65_536, "gateway.slow_timeout": 0.5}


@in_router("", **SMALL)
async def test_a_function_that_does_not_keep_up_gets_no_more_while_the_application_asks(router):
    realm, never = router.realm("realm1"), asyncio.Event()
    subscription = await realm.subscribe("com.example.any", lambda event: never.wait())
    other = await realm.subscribe("com.example.other", lambda event: None)
    first = realm.session
    for _ in range(1000):
        await realm.publish("com.example.any", ["x" * 1000], exclude_me=False, acknowledge=True)
    never.set()
    while not subscription.over:  # noqa: ASYNC110 - no event is set when it becomes true
        await asyncio.sleep(0)
    assert not other.over
    assert realm.session == first


@in_router("", **SMALL)
async def test_a_function_that_does_not_keep_up_ends_the_session_and_there_is_another(router):
    realm, seen = router.realm("realm1"), []
    goes_on = asyncio.Event()

    async def on_event(event):
        seen.append(event.value)
        await goes_on.wait()

    await realm.subscribe("com.example.any", on_event)
    first = realm.session

    def outside():
        with closing(client(router)) as peer:
            for _ in range(300):
                peer.do(PUBLISH, {"acknowledge": True}, "com.example.any", ["x" * 1000], answer=17)

    await asyncio.to_thread(outside)
    # The application notices the end of the session when it reads on.
    goes_on.set()
    while realm.session in (0, first):  # noqa: ASYNC110 - no event is set when it becomes true
        await asyncio.sleep(0.01)
    while seen[-1:] != ["again"]:
        await realm.publish("com.example.any", ["again"], exclude_me=False, acknowledge=True)
    assert router.realm("realm1") is realm


@in_router()
async def test_many_publishes_at_once_wait_for_the_gateway(router):
    realm = router.realm("realm1")
    ids = await asyncio.gather(
        *(
            realm.publish(f"com.example.n{number}", ["x" * 500], acknowledge=True, retain=True)
            for number in range(2000)
        )
    )
    assert len(set(ids)) == 2000
    found = []
    done = asyncio.Event()
    await realm.subscribe(
        "com.example",
        lambda event: found.append(event.topic) or (len(found) == 2000 and done.set()),
        match="prefix",
        get_retained=True,
    )
    await done.wait()


def test_the_end_of_the_router_ends_the_session_and_all_that_waits():
    async def application():
        async with routing() as router:
            realm = router.realm("realm1")
            begun, ended = asyncio.Event(), []

            async def wait():
                begun.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    ended.append("function")
                    raise

            await realm.register("com.example.wait", wait)
            await realm.subscribe("com.example.any", lambda event: None)
            await realm.publish(
                "com.example.present", [1], acknowledge=True, retain=True, weak=True
            )
            call = asyncio.create_task(realm.call("com.example.wait"))
            await begun.wait()
            await router.stop()
            with pytest.raises(ConnectionLost, match="The router is shutting down"):
                await call
            with pytest.raises(ConnectionLost, match="The router is shutting down"):
                await realm.publish("com.example.any")
            with pytest.raises(RouterError, match="does not run"):
                router.realm("realm1")
            assert ended == ["function"]
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(application())


def test_there_is_no_realm_before_the_start():
    with pytest.raises(RouterError, match="does not run"):
        FoxRouter().realm("realm1")


INVOICES = {
    "invoice": {
        "primary_key": ["number"],
        "properties": {"number": {"type": "integer"}, "customer": {"type": "string"}},
    }
}


@in_router()
async def test_the_rows_of_a_table_come_page_by_page(router):
    realm = router.realm("realm1")
    await realm.call("fox.schema.set", [INVOICES])
    numbers = range(1201)
    for number in numbers:
        row = {"number": number, "customer": "acme" if number % 2 else "other"}
        await realm.publish("invoice", [row], acknowledge=number == numbers[-1])
    assert sorted([row["number"] async for row in realm.rows("invoice")]) == [*numbers]
    found = [row async for row in realm.rows("invoice", {"customer": "acme"})]
    assert len(found) == 600
    with pytest.raises(Refused):
        await anext(realm.rows("nothing"))
