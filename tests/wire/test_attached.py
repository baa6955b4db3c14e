"""Gateways that are attached to a running server, and go again."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest
from cluster import END, ROOT, Cluster, await_true, write_config
from raw_wamp import (
    EVENT,
    GOODBYE,
    PUBLISH,
    PUBLISHED,
    SUBSCRIBE,
    SUBSCRIBED,
    RawWamp,
    at_gateway,
)
from served import Served

from bench.ports import free_port
from fox_shard import ConfigError, FoxRouter, RouterError
from fox_shard.backplane.attached import PREFIX
from fox_shard.client import ConnectionLost
from fox_shard.runtime.attached_names import running

PATIENT = 30.0
"""Seconds for what takes a few timeouts of attached gateways, on a busy machine, too."""


class Attached:
    """An attached gateway with a RawSocket listener of its own."""

    def __init__(self, cluster, **environ):
        before = set(running(cluster.run_dir))
        self.port = free_port()
        settings = {"FOX_GATEWAY_RAWSOCKET": f"127.0.0.1:{self.port}", **environ}
        self.process = attach(cluster.run_dir, settings, stderr=subprocess.DEVNULL)
        self._cluster = cluster
        (self.name,) = await_true("it has a name", lambda: running(cluster.run_dir) - before)

    def await_open(self):
        await_true("it listens", lambda: "listening" in self._cluster.health(self.name))
        return self

    def client(self):
        return RawWamp(self.port)

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(END)


def attach(run_dir, settings=(), **options):
    command = [sys.executable, "-m", "fox_shard", "gateway", "--attach", str(run_dir)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOX_")}
    return subprocess.Popen(command, cwd=ROOT, env={**environ, **dict(settings)}, **options)


@contextmanager
def attached(cluster, count, **environ):
    """Start attached gateways; those that are left end with the test."""
    gateways = [Attached(cluster, **environ) for _ in range(count)]
    try:
        yield [one.await_open() for one in gateways]
    finally:
        for one in gateways:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait(END)


@pytest.fixture(scope="module")
def server():
    with Cluster() as cluster:
        yield cluster


def known(cluster):
    """Return which attached gateways the shards and the coordinator know."""
    names = [*cluster.shard_names, "coordinator"]
    return {
        (name, peer)
        for name in names
        for peer in cluster.health(name)["links"]
        if peer.startswith(PREFIX)
    }


def listen(client, topic):
    client.do(SUBSCRIBE, {}, topic, answer=SUBSCRIBED)


def publish(client, topic, *args):
    client.request += 1
    client.send(PUBLISH, client.request, {"acknowledge": True}, topic, args)
    while client.receive()[0] != PUBLISHED:
        pass


def event(client):
    message = client.receive()
    assert message[0] == EVENT
    return message[4]


def test_what_one_publishes_reaches_the_clients_of_all(server):
    with (
        attached(server, 2) as (one, other),
        closing(at_gateway(server, 1)) as there,
        closing(one.client()) as here,
        closing(other.client()) as elsewhere,
    ):
        for client in (elsewhere, there):
            listen(client, "attached.a")
        publish(here, "attached.a", 1)
        assert event(elsewhere) == event(there) == [1]
        listen(here, "attached.b")
        publish(there, "attached.b", 2)
        assert event(here) == [2]


def test_health_lists_them_and_does_not_depend_on_them(server):
    def health():
        command = [sys.executable, "-m", "fox_shard", "health"]
        environ = server.environment(**server.settings)
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)

    with attached(server, 1) as (one,):
        told = health()
        assert told.returncode == 0, told.stdout
        assert f"{one.name} status=ok" in told.stdout
        one.end(signal.SIGKILL)
        told = health()
        assert told.returncode == 0, told.stdout
        assert one.name not in told.stdout


def test_two_that_come_and_go_under_load_are_not_noticed_elsewhere(server):
    """Every acknowledged event arrives in order, and nobody waits for long."""
    since = server.sizes()
    stopped = threading.Event()
    slowest = 0.0
    sent = 0

    def load(publisher):
        nonlocal slowest, sent
        while not stopped.is_set():
            began = time.monotonic()
            publish(publisher, server.on_shard(sent % server.shards, "load"), sent)
            slowest = max(slowest, time.monotonic() - began)
            sent += 1

    got = []

    def read(subscriber):
        while not got or got[-1] != "end":
            message = subscriber.receive()
            if message[0] == EVENT:
                got.append(message[4][0])

    with closing(at_gateway(server, 0)) as publisher, closing(at_gateway(server, 1)) as subscriber:
        subscriber.do(SUBSCRIBE, {"match": "prefix"}, "load.", answer=SUBSCRIBED)
        threads = [
            threading.Thread(target=load, args=(publisher,), daemon=True),
            threading.Thread(target=read, args=(subscriber,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            with attached(server, 2) as gateways:
                clients = [one.client() for one in gateways]
                for client in clients:
                    client.do(SUBSCRIBE, {"match": "prefix"}, "load.", answer=SUBSCRIBED)
                for client in clients:
                    for _ in range(20):
                        assert client.receive()[0] == EVENT
                for one in gateways:
                    one.end(how)
                for client in clients:
                    client.close()
        stopped.set()
        threads[0].join(PATIENT)
        publish(publisher, "load.end", "end")
        threads[1].join(PATIENT)
        assert not any(thread.is_alive() for thread in threads)
    assert got == [*range(sent), "end"]
    assert slowest < PATIENT / 2
    server.check(since)
    await_true("all are forgotten", lambda: not known(server), PATIENT)


def test_one_that_stands_still_ends_its_own_sessions_only(server):
    with attached(server, 1) as (one,), closing(at_gateway(server, 0)) as publisher:
        client = one.client()
        with closing(client):
            listen(client, "still.a")
            one.process.send_signal(signal.SIGSTOP)
            try:
                for number in range(10):
                    publish(publisher, "still.a", number)
                await_true("it is forgotten", lambda: not known(server), PATIENT)
            finally:
                one.process.send_signal(signal.SIGCONT)
            assert client.closed()[-1][0] in (GOODBYE, EVENT)
        # It is let in again, in another incarnation.
        await_true("it is linked", lambda: server.health(one.name).get("status") == "ok")
        with closing(one.client()) as again:
            listen(again, "still.b")
            publish(publisher, "still.b", 1)
            assert event(again) == [1]


def test_its_sessions_live_while_the_server_is_restarted():
    with (
        Cluster() as cluster,
        attached(cluster, 1) as (one,),
        closing(one.client()) as client,
        closing(at_gateway(cluster, 0)) as publisher,
    ):
        topics = cluster.on_each_shard("restarted")
        for topic in topics:
            listen(client, topic)
        cluster.restart(*cluster.shard_names, "coordinator")
        for topic in topics:
            publish(publisher, topic, topic)
        assert sorted(event(client)[0] for _ in topics) == sorted(topics)


def test_files_of_one_that_has_ended_are_gone(server):
    with attached(server, 1) as (one,):
        one.end(signal.SIGTERM)
        assert one.process.returncode == 0
        assert not list(server.run_dir.glob(f"{one.name}*"))


async def test_an_application_has_one_in_its_own_event_loop(server):
    before = signal.getsignal(signal.SIGTERM)
    settings = {"gateway.rawsocket": "127.0.0.1:0"}
    async with FoxRouter(settings=settings, attach=server.run_dir) as router:
        ((kind, address),) = router.listening.items()
        assert kind == "rawsocket"
        await asyncio.to_thread(talk, server, int(address.rpartition(":")[2]))
        (name,) = running(server.run_dir)
        health = await asyncio.to_thread(server.health, name)
        assert (health["status"], health["listening"]) == ("ok", router.listening)
    await router.wait()
    assert not list(server.run_dir.glob(f"{name}*"))
    assert signal.getsignal(signal.SIGTERM) is before


async def test_an_application_may_stop_its_router_and_attach_it_again(server):
    router, names = FoxRouter(attach=server.run_dir), set()
    for number in range(2):
        async with router:
            names |= set(running(server.run_dir))
            realm, events = router.realm("realm1"), asyncio.Queue()
            await realm.subscribe("app.again", events.put_nowait)
            await realm.publish("app.again", [number], acknowledge=True, exclude_me=False)
            assert (await events.get()).args == [number]
    # To the server it is another one each time.
    assert len(names) == 2


def talk(server, port):
    """Publish from a gateway of the server to a client at that port, and back."""
    with closing(RawWamp(port)) as here, closing(at_gateway(server, 0)) as there:
        for topic, reader, writer in (("app.a", here, there), ("app.b", there, here)):
            listen(reader, topic)
            publish(writer, topic, 1)
            assert event(reader) == [1]


async def refusal(run_dir, **more):
    """Return why the router of an application does not start."""
    with pytest.raises(RouterError) as refused:
        await FoxRouter(attach=run_dir, **more).start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return str(refused.value)


async def test_an_application_is_told_why_it_has_none(server, tmp_path):
    assert "No server has run in" in await refusal(tmp_path)
    # What a server leaves behind that has ended.
    (tmp_path / "server.json").write_bytes((server.run_dir / "server.json").read_bytes())
    assert "does not run any more" in await refusal(tmp_path)


async def test_applications_share_one_process(tmp_path):
    """A router that is the whole server, and two that are attached to it, one after the other."""
    places = {"run_dir": tmp_path / "run", "data_dir": tmp_path / "data"}
    off = {f"gateway.{kind}": "off" for kind in ("websocket", "rawsocket", "mqtt")}
    async with FoxRouter(write_config(tmp_path, ""), {**places, **off}) as whole:
        own = whole.realm("realm1")
        for turn in (1, 2):
            async with FoxRouter(attach=places["run_dir"]) as router:
                realm = router.realm("realm1")
                async with realm.events("one.a") as there, own.events("one.a") as here:
                    for publisher in (own, realm):
                        await publisher.publish("one.a", [turn], acknowledge=True, exclude_me=False)
                        assert (await here.next()).args == (await there.next()).args == [turn]
                async with await own.register("one.p", lambda n: n + 1):
                    assert (await realm.call("one.p", [turn])).value == turn + 1


def test_gateways_stay_while_a_server_of_one_process_is_killed_and_comes_back():
    served = Served()
    try:
        with attached(served, 2) as (one, other):
            with closing(one.client()) as reader, closing(other.client()) as writer:
                listen(reader, "one.b")
                publish(writer, "one.b", 1)
                assert event(reader) == [1]
                served.restart()
                # Neither of the two sessions has ended.
                publish(writer, "one.b", 2)
                assert event(reader) == [2]
            other.end(signal.SIGKILL)
    finally:
        served.end()


async def test_an_application_can_set_its_gateway_only(server):
    with pytest.raises(ConfigError, match="settings: shards says 3, but shards is 4"):
        await FoxRouter(settings={"shards": 3}, attach=server.run_dir).start()
    with pytest.raises(ConfigError, match="leave out `file`"):
        FoxRouter("conf/fox.toml", attach=server.run_dir)
    with pytest.raises(RouterError, match="start it first"):
        FoxRouter(attach=server.run_dir).config  # noqa: B018


async def test_an_application_that_held_its_event_loop_for_too_long_joins_again(server):
    async with FoxRouter(attach=server.run_dir) as router:
        realm, events = router.realm("realm1"), asyncio.Queue()
        await realm.subscribe("attached.held", events.put_nowait)
        before = realm.session
        # This holds the loop.
        await_true("it is forgotten", lambda: not known(server), PATIENT)
        while realm.session in (0, before):
            with suppress(ConnectionLost):
                await realm.publish("attached.any", [1], acknowledge=True)
        await realm.publish("attached.held", [1], acknowledge=True, exclude_me=False)
        assert (await events.get()).args == [1]


async def test_an_application_goes_on_when_its_router_fits_no_more():
    with Cluster() as cluster:
        async with FoxRouter(attach=cluster.run_dir) as router:
            assert await router.realm("realm1").publish("attached.c", [1], acknowledge=True)
            for name in cluster.names:
                cluster.kill(name)
            shutil.rmtree(cluster.folder / "data")
            cluster.settings["FOX_SHARDS"] = "5"
            cluster.shards = 5
            for name in cluster.names:
                cluster.start(name)
            with pytest.raises(RouterError, match=r"not let this gateway in: .* with [45] shards"):
                await router.wait()
            with pytest.raises(RouterError, match="does not run"):
                router.realm("realm1")
        await asyncio.to_thread(cluster.await_ready)


def refused(run_dir, **settings):
    """Return what a gateway says that is not let in."""
    process = attach(run_dir, settings, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (1, 2), said
    (sentence,) = [line for line in said.splitlines() if line.startswith("fox: ")]
    return sentence


def test_without_a_server_it_says_so(tmp_path):
    assert "No server has run in" in refused(tmp_path)


def test_with_another_version_it_says_so(server, tmp_path):
    form = json.loads((server.run_dir / "server.json").read_text())
    (tmp_path / "server.json").write_text(json.dumps({**form, "protocol": 3, "version": "0.0"}))
    assert "0.0 with protocol 3" in refused(tmp_path)


def test_with_another_configuration_it_says_so(server):
    assert "shards is 4 in the running server" in refused(server.run_dir, FOX_SHARDS="3")


def test_beyond_the_limit_it_says_so():
    with Cluster(FOX_BACKPLANE_ATTACHED_GATEWAYS="1") as cluster, attached(cluster, 1):
        assert "backplane.attached_gateways" in refused(cluster.run_dir)
