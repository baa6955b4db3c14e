"""Reducers in Python and webhooks in the process of an application."""

import asyncio
import logging
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from webhook_target import Target

from fox_shard import FoxRouter, RouterError
from fox_shard.runtime.health import _ask

PATIENCE = 30.0

MODULE = """
import threading

from fox_shard.worker import Retry

main = threading.main_thread()
go = threading.Event()
begun = threading.Event()
tried = []


def add(args, kwargs, details):
    assert threading.current_thread() is not main
    return (details.retained or 0) + args[0]


def wait(args, kwargs, details):
    begun.set()
    go.wait()
    return "done"


def hang(args, kwargs, details):
    tried.append(args[0])
    if args[0] == "hang":
        go.wait()
    return args[0]


def retry(args, kwargs, details):
    tried.append(args[0])
    if len(tried) < 3:
        raise Retry(after=0.1)
    return args[0]


def fail(args, kwargs, details):
    raise ZeroDivisionError("odd")

"""

REALM = """
[[realm]]
name = "realm1"
"""

REDUCER = """
[[realm.reducer]]
pattern = "a.#"
function = "folding:{}"
concurrency = {}
"""

WEBHOOK = """
[[realm.webhook]]
name = "w"
topic = "a.#"
url = "{}/events"
longest_delay = 1
"""


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        folder = Path(name)
        (folder / "conf").mkdir()
        (folder / "folding.py").write_text(MODULE)
        sys.modules.pop("folding", None)
        yield folder
        if "folding" in sys.modules:
            sys.modules["folding"].go.set()
        sys.path[:] = [one for one in sys.path if one != name]


def router_of(folder, text, **more):
    file = folder / "conf" / "fox.toml"
    file.write_text(text)
    listeners = dict.fromkeys(("gateway.websocket", "gateway.rawsocket", "gateway.mqtt"), "off")
    places = {"data_dir": folder / "data", "run_dir": folder / "run"}
    return FoxRouter(file, {**listeners, **places, **more})


async def becomes(realm, topic, value):
    """Read the key's changes until it has that value."""
    async with asyncio.timeout(PATIENCE):
        async for change in realm.watch(topic):
            if change.args == [value]:
                return


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):
            pass


def test_a_function_folds_events_in_a_thread_of_its_own(folder):
    async def application():
        async with router_of(folder, REALM + REDUCER.format("add", 10)) as router:
            realm = router.realm("realm1")
            await registered(router)
            for number in (1, 2, 3):
                await realm.publish("a.b", [number], acknowledge=True)
            await becomes(realm, "a.b", 6)

    asyncio.run(application())
    assert not [one for one in threading.enumerate() if one.name.startswith("folding")]


async def registered(router):
    run = Path(router.config.run_dir)
    async with asyncio.timeout(PATIENCE):
        while (await asyncio.to_thread(_ask, run, "worker")).get("status") != "ok":
            pass


def test_a_function_that_blocks_holds_up_its_key_only(folder):
    async def application():
        text = REALM + REDUCER.format("wait", 2)
        async with router_of(folder, text) as router:
            import folding

            realm = router.realm("realm1")
            await registered(router)
            await realm.publish("a.b", [1], acknowledge=True)
            await until(folding.begun.is_set)
            # The event loop, and the server in it, go on.
            await realm.publish("com.key", ["x"], acknowledge=True, retain=True)
            await becomes(realm, "com.key", "x")
            folding.go.set()
            await becomes(realm, "a.b", "done")

    asyncio.run(application())


def test_a_function_that_fails_is_told(folder):
    async def application():
        async with router_of(folder, REALM + REDUCER.format("fail", 1)) as router:
            realm = router.realm("realm1")
            await registered(router)
            failures = realm.events("fox.reducer.failed")
            await failures.begin()
            await realm.publish("a.b", [1], acknowledge=True)
            async with asyncio.timeout(PATIENCE):
                event = await failures.next()
            assert event.args[3:5] == ["wamp.error.runtime_error", ["ZeroDivisionError: odd"]]

    asyncio.run(application())


def test_a_function_is_called_again_when_it_wants_to_be(folder):
    async def application():
        async with router_of(folder, REALM + REDUCER.format("retry", 1)) as router:
            realm = router.realm("realm1")
            await registered(router)
            await realm.publish("a.b", [1], acknowledge=True)
            await becomes(realm, "a.b", 1)

    asyncio.run(application())
    assert sys.modules["folding"].tried == [1, 1, 1]


def test_a_function_that_hangs_is_logged_and_seen_and_other_threads_go_on(folder, caplog):
    async def application():
        text = REALM + REDUCER.format("hang", 2)
        async with router_of(folder, text, **{"reducer.timeout": 0.2}) as router:
            realm = router.realm("realm1")
            await registered(router)
            await realm.publish("a.b", ["hang"], acknowledge=True)
            await realm.publish("a.c", ["well"], acknowledge=True)
            await becomes(realm, "a.c", "well")
            run = Path(router.config.run_dir)
            async with asyncio.timeout(PATIENCE):
                while "failure" not in (health := await asyncio.to_thread(_ask, run, "worker")):
                    pass
            assert health["failure"] == "the function folding:hang does not come to an end"
            await until(lambda: any(one.message.split()[0] == "failed" for one in caplog.records))

    with caplog.at_level(logging.ERROR, "fox"):
        asyncio.run(application())


def test_a_function_that_cannot_be_loaded_ends_the_start(folder):
    async def application():
        with pytest.raises(RouterError, match="folding has no function no_such"):
            await router_of(folder, REALM + REDUCER.format("no_such", 1)).start()

    asyncio.run(application())


def test_events_are_posted_and_what_was_not_is_posted_by_the_next_router(folder):
    async def application(target):
        async with router_of(folder, REALM + WEBHOOK.format(target.url)) as router:
            await router.realm("realm1").publish("a.b", [1], acknowledge=True)
            await until(lambda: target.requests)

    async def again(target):
        before = len(target.requests)
        async with router_of(folder, REALM + WEBHOOK.format(target.url)):
            await until(lambda: len(target.requests) > before)

    with Target() as target:
        target.will("/events", 500)
        asyncio.run(application(target))
        target.will("/events", 200)
        asyncio.run(again(target))
        ids = {request.headers["webhook-id"] for request in target.requests}
    assert len(ids) == 1


def test_a_secret_that_cannot_be_read_ends_the_start(folder):
    text = REALM + WEBHOOK.format("http://127.0.0.1:9") + 'secret_file = "missing"\n'

    async def application():
        with pytest.raises(RouterError, match=r'The webhook "w" has no secret from .*missing: No'):
            await router_of(folder, text).start()

    asyncio.run(application())
