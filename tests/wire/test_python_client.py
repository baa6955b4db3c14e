"""The client with asyncio, at two gateways and four shards."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from realms import eventually, joined

from fox_shard.client import (
    CannotConnect,
    ConnectionLost,
    LockLost,
    Refused,
    Result,
    TooSlow,
    Unreachable,
    connect,
)

STEM = "com.example.realm"


def topic(request, *rest):
    """A topic of this test alone."""
    return ".".join((STEM, request.node.name.partition("[")[0], *rest))


@pytest.fixture
def name(request):
    return topic(request)


def url(cluster):
    return f"ws://127.0.0.1:{cluster.websocket}/ws"


# Publishing and subscribing


async def test_events_come_with_their_arguments(cluster, name):
    async with joined(cluster, 0) as (ours, _), joined(cluster, 1) as (theirs, _):
        async with ours.events(name + ".#") as events:
            published = await theirs.publish(
                name + ".a", [b"\x00", 2.5], {"unit": "K"}, x_t=1, acknowledge=True
            )
            event = await events.next()
        assert (event.topic, event.publication) == (name + ".a", published)
        assert (event.args, event.kwargs) == ([b"\x00", 2.5], {"unit": "K"})
        assert event.details["x_t"] == 1


async def test_a_function_is_called_with_each_event_in_order(cluster, name, caplog):
    seen = []

    async def slow(event):
        await asyncio.sleep(0.001)
        if event.value == 3:
            raise ZeroDivisionError
        seen.append(event.value)

    async with joined(cluster, 0) as (ours, _), joined(cluster, 1) as (theirs, _):
        async with await ours.subscribe(name, slow):
            for number in range(20):
                await theirs.publish(name, [number])
            await eventually(lambda: seen[-1:] == [19])
        assert seen == [number for number in range(20) if number != 3]
        assert "ZeroDivisionError" in caplog.text


async def test_a_refused_publish_raises(cluster, name):
    async with joined(cluster) as (realm, _):
        first = await realm.publish(name, [1], retain=True, when_id=0, acknowledge=True)
        with pytest.raises(Refused) as refused:
            await realm.publish(name, [2], retain=True, when_id=0, acknowledge=True)
        assert refused.value.uri == "fox.error.condition_failed"
        assert refused.value.kwargs == {"publication": first}
        assert await realm.publish("not a topic", [1]) is None
        with pytest.raises(TypeError, match="list or tuple"):
            await realm.publish(name, "text", acknowledge=True)


async def test_a_loop_that_is_left_ends_its_subscription(cluster, name):
    async with joined(cluster, 0) as (ours, _), joined(cluster, 1) as (theirs, _):
        await theirs.publish(name, [1], retain=True, acknowledge=True)
        async for event in ours.watch(name):
            assert event.value == 1
            break
        while name in await subscribed(theirs):
            pass


async def subscribed(realm):
    """The patterns of all exact subscriptions."""
    numbers = (await realm.call("wamp.subscription.list")).value["exact"]
    found = set()
    for number in numbers:
        with suppress(Refused):  # it may have ended meanwhile
            found.add((await realm.call("wamp.subscription.get", [number])).value["uri"])
    return found


async def test_keys_and_history_end_when_all_is_read(cluster, name):
    async with joined(cluster) as (realm, _):
        for number in range(3):
            await realm.publish(
                f"{name}.k{number}", [number], retain=True, trace=True, acknowledge=True
            )
        found = {event.topic: event.value async for event in realm.keys(name + ".#")}
        assert found == {f"{name}.k{number}": number for number in range(3)}
        recorded = realm.events(name + ".#", after=0, snapshot=True)
        assert [event.value async for event in recorded] == [0, 1, 2]


# Calls


async def test_procedures_answer(cluster, name):
    async with joined(cluster, 0) as (callee, _), joined(cluster, 1) as (caller, _):

        async def later(number, *, by=1, details=None):
            await asyncio.sleep(0)
            return [number + by, details.caller]

        async with (
            await callee.register(name + ".add", lambda a, b: a + b),
            await callee.register(name + ".nothing", lambda: None),
            await callee.register(name + ".both", lambda: Result([1, 2], {"c": 3})),
            await callee.register(name + ".later", later, details=True, disclose_caller=True),
        ):
            assert (await caller.call(name + ".add", [2, 3])).value == 5
            assert await caller.call(name + ".nothing") == Result([None])
            assert await caller.call(name + ".both") == Result([1, 2], {"c": 3})
            answer = await caller.call(name + ".later", [1], {"by": 2})
            assert answer.value == [3, caller.session]
        with pytest.raises(Refused) as gone:
            await caller.call(name + ".add", [2, 3])
        assert gone.value.uri == "wamp.error.no_such_procedure"


async def test_exceptions_are_errors_and_their_tracebacks_are_in_the_log(cluster, name, caplog):
    def wrong():
        raise KeyError("secret")

    async def refuses():
        raise Refused("com.example.stale", ["It is over."], {"holder": 7})

    async with joined(cluster, 0) as (callee, _), joined(cluster, 1) as (caller, _):
        await callee.register(name + ".wrong", wrong)
        await callee.register(name + ".refuses", refuses)
        with pytest.raises(Refused) as error:
            await caller.call(name + ".wrong")
        assert error.value.uri == "wamp.error.runtime_error"
        assert error.value.arguments == ["KeyError: 'secret'"]
        assert "in wrong" in caplog.text
        with pytest.raises(Refused, match=r"It is over\.") as error:
            await caller.call(name + ".refuses")
        assert (error.value.uri, error.value.kwargs) == ("com.example.stale", {"holder": 7})


async def test_a_result_comes_in_parts(cluster, name):
    async def count(to):
        for number in range(to):
            yield number

    async with joined(cluster, 0) as (callee, _), joined(cluster, 1) as (caller, _):
        await callee.register(name, count)
        assert [part.value async for part in caller.stream(name, [5])] == [0, 1, 2, 3, 4]
        assert (await caller.call(name, [5])).value == 4
        with pytest.raises(Refused):
            async for _ in caller.stream(name, ["five"]):
                pass


async def test_whoever_stops_waiting_cancels_the_call(cluster, name):
    begun, canceled = asyncio.Event(), []

    async def endless():
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            canceled.append("call")
            raise

    async def parts():
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            canceled.append("stream")

    async with joined(cluster, 0) as (callee, _), joined(cluster, 1) as (caller, _):
        await callee.register(name + ".endless", endless)
        await callee.register(name + ".parts", parts)
        calling = asyncio.create_task(caller.call(name + ".endless"))
        await begun.wait()  # a call that comes together with its end is not begun
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(calling, 0)
        await eventually(lambda: canceled == ["call"])
        async for _ in caller.stream(name + ".parts"):
            break
        await eventually(lambda: canceled == ["call", "stream"])
        with pytest.raises(Refused) as timeout:
            await caller.call(name + ".endless", timeout=100)
        assert timeout.value.uri == "wamp.error.timeout"


async def test_a_reducer_folds(cluster, name):
    def add(args, kwargs, details):
        return (details.retained or 0) + args[0]

    async with joined(cluster, 0) as (ours, _), joined(cluster, 1) as (theirs, _):
        await ours.register(name + ".#", add, reducer=True)
        changes = theirs.watch(name + ".total")
        await changes.begin()
        for number in (1, 2, 3):
            await theirs.publish(name + ".total", [number], acknowledge=True)
        assert [(await changes.next()).value for _ in range(3)] == [1, 3, 6]


# Slow programs


async def read_all(events):
    while True:
        await events.next()


async def test_a_slow_reader_makes_the_server_wait_and_misses_nothing(cluster, name):
    async with joined(cluster, 0, buffer=50_000) as (ours, _), joined(cluster, 1) as (theirs, _):
        events = ours.events(name)
        await events.begin()
        for number in range(300):
            await theirs.publish(name, [number, "x" * 1000], acknowledge=True)
        read = []
        while len(read) < 300:
            read.append((await events.next()).args[0])
            # Its answer is behind the events.
            assert (await ours.call("wamp.session.count")).value >= 2
        assert read == list(range(300))


async def test_a_reader_that_waits_for_ever_in_its_loop_is_told(cluster, name):
    async def never():
        await asyncio.Event().wait()

    async with joined(cluster, 0, buffer=1000) as (ours, _), joined(cluster, 1) as (theirs, _):
        await theirs.register(name + ".never", never)
        waiting = asyncio.create_task(ours.call(name + ".never"))
        async with ours.events(name) as events:
            for number in range(100):
                await theirs.publish(name, [number, "x" * 1000], acknowledge=True)
            with pytest.raises(TooSlow):
                await read_all(events)
        waiting.cancel()


# Lost connections


async def answer_of(caller, procedure):
    """Call until the callee is there again."""
    while True:
        try:
            return (await caller.call(procedure)).value
        except Refused as error:
            if error.uri not in ("wamp.error.no_such_procedure", "wamp.error.canceled"):
                raise
            await asyncio.sleep(0.05)


async def test_what_is_under_way_raises_when_the_connection_is_lost(cluster, name):
    async def endless():
        await asyncio.Event().wait()

    async with joined(cluster, 0) as (ours, line), joined(cluster, 1) as (theirs, _):
        await theirs.register(name, endless)
        calling = asyncio.create_task(ours.call(name))
        waiting = asyncio.create_task(
            ours.publish(name, [1], retain=True, watch=True, when={"never": True}, acknowledge=True)
        )
        await ours.call("wamp.session.count")
        first = ours.session
        line.cut()
        for task in (calling, waiting):
            with pytest.raises(ConnectionLost):
                await task
        assert (await ours.call("wamp.session.count")).value >= 2
        assert ours.session not in (0, first)


async def test_subscriptions_and_registrations_are_made_again(cluster, name):
    seen = []
    async with joined(cluster, 0) as (ours, line), joined(cluster, 1) as (theirs, _):
        await ours.subscribe(name, lambda event: seen.append(event.value))
        await ours.register(name, lambda: ours.session)
        first = ours.session
        assert (await theirs.call(name)).value == first
        line.cut()
        await eventually(lambda: ours.session not in (0, first))
        # Asked behind all that was made again.
        assert (await ours.call("wamp.session.count")).value >= 2

        assert await answer_of(theirs, name) == ours.session
        await theirs.publish(name, ["again"], acknowledge=True)
        await eventually(lambda: seen == ["again"])


async def test_a_killed_gateway_hides_no_change_and_no_recorded_event(own_cluster, name):
    async with AsyncExitStack() as stack:
        cluster = own_cluster()
        ours, line = await stack.enter_async_context(joined(cluster, 0))
        theirs, _ = await stack.enter_async_context(joined(cluster, 1))
        same, changed, gone, new = (f"{name}.{key}" for key in ("same", "changed", "gone", "new"))
        for key in (same, changed, gone):
            await theirs.publish(key, [1], retain=True, acknowledge=True)
        changes = await stack.enter_async_context(ours.watch(name + ".#"))
        log = await stack.enter_async_context(ours.events(name + ".#", after=0))
        procedure = await ours.register(name, lambda: "here")
        known = {(await changes.next()).topic for _ in range(3)}
        assert known == {same, changed, gone}
        await theirs.publish(name + ".log", [1], trace=True, acknowledge=True)
        assert (await log.next()).value == 1
        line.gateway = None
        cluster.kill("gateway-0")
        await theirs.publish(changed, [2], retain=True, acknowledge=True)
        await theirs.publish(new, [2], retain=True, acknowledge=True)
        await theirs.publish(gone, [], retain=True, acknowledge=True)
        await theirs.publish(name + ".log", [2], trace=True, acknowledge=True)
        shown = {}
        while len(shown) < 3:
            event = await changes.next()
            assert event.topic not in shown
            shown[event.topic] = (event.value, event.removed in ("missed", "deleted"))
        assert shown == {changed: (2, False), new: (2, False), gone: (None, True)}
        seen = []
        while 2 not in seen:
            event = await log.next()
            if event.topic == name + ".log":
                seen.append(event.value)
        assert seen == [2]
        await theirs.publish(same, [3], retain=True, acknowledge=True)
        assert (await changes.next()).value == 3
        # The dead gateway's session has the procedure until its peers give it up.
        assert await answer_of(theirs, name) == "here"
        await procedure.unregister()


async def test_connecting_fails_with_a_sentence(cluster):
    with pytest.raises(CannotConnect, match="Cannot connect"):
        async with connect("ws://127.0.0.1:9/ws", "realm1"):
            pass
    with pytest.raises(CannotConnect, match="HTTP 404"):
        async with connect(url(cluster).replace("/ws", "/elsewhere"), "realm1"):
            pass
    with pytest.raises(Unreachable, match="is not the address"):
        async with connect("http://127.0.0.1", "realm1"):
            pass
    with pytest.raises(Unreachable, match="does not let us into 'nowhere'"):
        async with connect(url(cluster), "nowhere"):
            pass


# Locks


async def test_one_program_at_a_time_has_the_lock_and_tokens_grow(cluster, name):
    order = []

    async def work(realm):
        async with realm.lock(name) as token:
            order.append(token)
            await asyncio.sleep(0.01)
            order.append(token)

    async with joined(cluster, 0) as (ours, _), joined(cluster, 1) as (theirs, _):
        await asyncio.gather(*(work(realm) for realm in (ours, theirs) * 3))
        assert order[::2] == order[1::2] == sorted(order[::2])
        assert [key async for key in ours.keys(name)] == []


async def test_a_lost_lock_cancels_its_block(cluster, name):
    async def hold(realm, held):
        async with realm.lock(name):
            held.set()
            await asyncio.Event().wait()

    async with joined(cluster, 0) as (ours, line), joined(cluster, 1) as (theirs, _):

        async def cut():
            line.cut()

        for lose in (
            lambda: theirs.publish(name, [], retain=True, acknowledge=True),
            lambda: theirs.publish(name, ["mine"], retain=True, acknowledge=True),
            cut,
        ):
            held = asyncio.Event()
            holding = asyncio.create_task(hold(ours, held))
            await held.wait()
            await lose()
            with pytest.raises(LockLost, match="is lost"):
                await holding
            await theirs.publish(name, [], retain=True, acknowledge=True)


async def test_a_lock_that_was_lost_in_the_block_is_told_at_its_end(cluster, name):
    async with joined(cluster, 0) as (ours, _), joined(cluster, 1) as (theirs, _):
        with pytest.raises(LockLost):
            async with ours.lock(name):
                await theirs.publish(name, ["mine"], retain=True, acknowledge=True)
        with pytest.raises(ZeroDivisionError):
            async with ours.lock(name + ".other"):
                raise ZeroDivisionError
        async with ours.lock(name + ".other"):
            pass


async def test_whoever_stops_waiting_for_a_lock_does_not_get_it_later(cluster, name):
    async with joined(cluster, 0) as (ours, _), joined(cluster, 1) as (theirs, _):
        async with theirs.lock(name):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2), ours.lock(name):
                    pass
        async with asyncio.timeout(20), theirs.lock(name):
            pass


async def test_a_lock_that_is_waited_for_outlives_the_connection(cluster, name):
    got = []

    async def work(realm):
        async with realm.lock(name) as token:
            got.append(token)

    async with joined(cluster, 0) as (ours, line), joined(cluster, 1) as (theirs, _):
        async with theirs.lock(name) as token:
            working = asyncio.create_task(work(ours))
            await eventually(lambda: cluster.waiting_publishes() == 1)
            line.cut()
            await eventually(lambda: line.opened == 2)
        await working
        assert got > [token]
