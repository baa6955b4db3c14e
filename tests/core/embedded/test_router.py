"""FoxRouter in an application: its event loop, its life, its errors."""

import asyncio
import gc
import logging
import signal
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from raw_wamp import GOODBYE, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, RawWamp

from fox_shard import ConfigError, FoxRouter, RouterError
from fox_shard.embedded.serving import run_serve
from fox_shard.embedded.shell import JunctionShell
from fox_shard.store.layout import Layout

PATIENCE = 30.0


@pytest.fixture
def folder():
    """A folder with a short name, because the paths of UNIX sockets are short."""
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        yield Path(name)


def settings(folder, **more):
    """Return settings for a router that has a folder and free ports of its own."""
    return {
        "data_dir": folder / "data",
        "run_dir": folder / "run",
        "users": folder / "users.toml",
        "gateway.websocket": "127.0.0.1:0",
        "gateway.rawsocket": "127.0.0.1:0",
        "gateway.mqtt": "off",
        **more,
    }


def port(router, kind="rawsocket"):
    return int(router.listening[kind].rpartition(":")[2])


async def beside(function, *arguments):
    """Run a client that blocks in a thread, while the event loop has the router."""
    return await asyncio.wait_for(asyncio.to_thread(function, *arguments), PATIENCE)


def publish(number, topic, value):
    """Publish a key from a session of its own, acknowledged."""
    with closing(RawWamp(number)) as client:
        client.do(PUBLISH, {"acknowledge": True, "retain": True}, topic, [value], answer=PUBLISHED)


def key(number, topic):
    """Return the value of the key."""
    with closing(RawWamp(number)) as client:
        client.do(SUBSCRIBE, {"get_retained": True}, topic, answer=SUBSCRIBED)
        return client.receive()[4][0]


def test_an_application_serves_clients_in_its_own_event_loop(folder):
    async def application():
        async with FoxRouter(settings=settings(folder)) as router:
            await beside(publish, port(router), "com.example.color", "red")
            assert await beside(key, port(router), "com.example.color") == "red"

    asyncio.run(application())

    # It is on the disk.
    async def again():
        async with FoxRouter(settings=settings(folder)) as router:
            return await beside(key, port(router), "com.example.color")

    assert asyncio.run(again()) == "red"


def test_an_application_may_have_clients_by_its_web_server_only(folder, monkeypatch):
    (folder / "conf").mkdir()
    file = folder / "conf" / "fox.toml"
    file.write_text('[gateway]\nwebsocket = "off"\nrawsocket = "off"\n')
    monkeypatch.setenv("FOX_GATEWAY_MQTT", "off")

    async def application():
        async with FoxRouter(file) as router:
            return router.listening

    assert asyncio.run(application()) == {}
    # A server of its own would be of no use.
    with pytest.raises(ConfigError, match="are all off"):
        run_serve(file)


def test_two_routers_in_one_process_have_nothing_in_common(folder):
    async def application():
        first = FoxRouter(settings=settings(folder / "a"))
        second = FoxRouter(settings=settings(folder / "b"))
        async with first, second:
            await beside(publish, port(first), "com.example.color", "red")
            await beside(publish, port(second), "com.example.color", "blue")
            assert await beside(key, port(first), "com.example.color") == "red"
            assert await beside(key, port(second), "com.example.color") == "blue"

    asyncio.run(application())


def test_the_end_says_goodbye_and_leaves_nothing_running(folder):
    threads = set(threading.enumerate())

    async def application():
        async with FoxRouter(settings=settings(folder)) as router:
            client = await beside(RawWamp, port(router))
            run = [path.name for path in (folder / "run").glob("*.health")]
        with closing(client):
            messages = await beside(client.closed)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return run, messages, tasks

    run, messages, tasks = asyncio.run(application())
    assert sorted(run) == [
        "coordinator.health",
        "gateway-0.health",
        "router.health",
        "shard-0.health",
    ]
    assert messages[-1][0] == GOODBYE
    assert not tasks
    assert set(threading.enumerate()) == threads
    assert not list((folder / "run").glob("*.health"))


def test_a_router_in_use_is_refused_also_in_the_same_process(folder):
    async def application():
        async with FoxRouter(settings=settings(folder)):
            with pytest.raises(
                RouterError, match=r"^router runs already .* attached in each of them\.$"
            ):
                await FoxRouter(settings=settings(folder)).start()
            other = settings(folder, run_dir=folder / "other")
            with pytest.raises(RouterError, match="is in use by another process"):
                await FoxRouter(settings=other).start()
        # The ones that were refused have let go of everything.
        async with FoxRouter(settings=settings(folder)):
            pass

    asyncio.run(application())


def test_a_router_runs_once_at_a_time_and_may_be_stopped_twice(folder):
    router = FoxRouter(settings=settings(folder))

    async def application():
        assert router.listening == {}
        await router.start()
        with pytest.raises(RouterError, match="runs already"):
            await router.start()
        await asyncio.gather(router.stop(), router.stop())
        await router.wait()
        assert router.listening == {}

    asyncio.run(application())


def test_a_router_may_start_again_in_another_event_loop(folder):
    router = FoxRouter(settings=settings(folder))

    async def application(value):
        async with router:
            realm = router.realm("realm1")
            before = [key.args async for key in realm.keys("com.example.color")]
            await realm.publish("com.example.color", [value], acknowledge=True, retain=True)
            assert await beside(key, port(router), "com.example.color") == value
        return before

    assert asyncio.run(application("red")) == []
    assert asyncio.run(application("blue")) == [["red"]]


def test_a_router_that_has_failed_may_start_again(folder):
    router = FoxRouter(settings=settings(folder))

    async def application():
        await router.start()
        router._failed(ValueError("nobody expected this"))
        with pytest.raises(RouterError, match="nobody expected this"):
            await router.wait()
        async with router:
            await router.realm("realm1").publish("com.example.color", ["red"], acknowledge=True)
        await router.wait()

    asyncio.run(application())


@pytest.mark.parametrize(
    ("file", "settings_", "message"),
    [
        ("none.toml", {}, "^Cannot read the configuration file none.toml: "),
        (None, {"gateway.mqt": "off"}, "^settings: there is no setting gateway.mqt; did you mean"),
        (None, {"gateway.mqtt": "nonsense"}, "^settings: gateway.mqtt must be "),
        (None, {"statsd.address": "127.0.0.1:0"}, "^settings: statsd.address must be "),
        (None, {"log.level": 3}, "^settings: log.level must be "),
    ],
)
def test_a_mistake_in_the_configuration_is_one_sentence(file, settings_, message):
    with pytest.raises(ConfigError, match=message):
        FoxRouter(file, settings_)


def test_there_are_one_gateway_and_one_shard_whatever_is_configured(monkeypatch):
    monkeypatch.setenv("FOX_SHARDS", "8")
    config = FoxRouter().config
    assert (config.gateways, config.shards) == (1, 1)


def test_a_file_that_is_named_has_its_data_beside_it(folder):
    conf = folder / "conf"
    conf.mkdir()
    (conf / "fox.toml").write_text('[gateway]\nmqtt = "off"\n')
    config = FoxRouter(conf / "fox.toml").config
    assert config.gateway.mqtt is None
    assert config.data_dir == str(folder / "data")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"gateway.rawsocket": "192.0.2.1:1"}, "^Cannot listen at 192.0.2.1:1: anybody in the net"),
        ({"gateway.rawsocket": "192.0.2.1:1", "auth.open": True}, "^Cannot listen at 192.0.2.1:1"),
    ],
)
def test_a_router_that_cannot_start_leaves_nothing(folder, more, message):
    threads = set(threading.enumerate())

    async def application():
        with pytest.raises(RouterError, match=message):
            await FoxRouter(settings=settings(folder, **more)).start()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(application())
    assert set(threading.enumerate()) == threads
    assert not list((folder / "run").glob("*.health"))
    assert not (folder / "data").exists()


def test_data_for_more_shards_is_refused_with_the_way_out(folder):
    Layout.open(folder / "data", 4)

    async def application():
        with pytest.raises(RouterError, match=r"is for 4 shards, .* `fox reshard --to 1`"):
            await FoxRouter(settings=settings(folder)).start()

    asyncio.run(application())


def test_an_unexpected_error_ends_the_router_but_not_the_application(folder, monkeypatch, caplog):
    broken = ZeroDivisionError("broken")

    async def application():
        router = FoxRouter(settings=settings(folder))
        async with router:
            client = await beside(RawWamp, port(router))

            def fail(*_):
                raise broken

            monkeypatch.setattr(router._parts.shell._junction, "turn", fail)
            client.send(SUBSCRIBE, 1, {}, "com.example.any")
            with pytest.raises(RouterError, match=r"failed \(ZeroDivisionError: broken\)"):
                await asyncio.wait_for(router.wait(), PATIENCE)
            with closing(client):
                assert await beside(client.closed) == []

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(application())
    assert [record.message for record in caplog.records] == ["failed"]

    async def again():
        async with FoxRouter(settings=settings(folder)):
            pass

    monkeypatch.undo()
    asyncio.run(again())


def test_a_failure_while_starting_is_raised(folder, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(JunctionShell, "_take_turn", fail)

    async def application():
        with pytest.raises(RouterError, match=r"failed \(ZeroDivisionError: broken\)"):
            await asyncio.wait_for(FoxRouter(settings=settings(folder)).start(), PATIENCE)

    asyncio.run(application())


def test_the_applications_log_signals_and_interpreter_are_left_alone(folder):
    def state():
        return (
            [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)],
            logging.getLogger().handlers[:],
            logging.getLogger("fox").handlers[:],
            gc.get_threshold(),
            gc.get_freeze_count(),
            sys.getswitchinterval(),
        )

    async def application():
        before = state()
        async with FoxRouter(settings=settings(folder)):
            assert state() == before

    asyncio.run(application())
