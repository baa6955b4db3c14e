"""supervisord and its workers: one that ends is started again, one that is stopped says goodbye."""

import asyncio
import os
import signal
import socket
import time
from contextlib import ExitStack, closing
from random import Random

import pytest
from cluster import ask_health, await_true
from mqtt_peers import MqttPeer
from raw_wamp import EVENT, GOODBYE, PUBLISH, SUBSCRIBE, SUBSCRIBED, RawWamp
from supervised import Supervised

from chaos.door import Door
from chaos.ledger import Ledger
from chaos.readers import read_mqtt, read_wamp
from chaos.writers import Writer

BACK = 60.0
"""Seconds within which a worker is back; usually it takes about one."""

STOPPED = 30.0
"""Seconds within which everything is stopped; usually it takes about three."""


@pytest.fixture(scope="module")
def supervised():
    broker = Supervised()
    yield broker
    if broker.supervisord.poll() is None:
        assert broker.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["gateway-0", "shard-1", "coordinator"])
def test_a_worker_that_ends_is_started_again(supervised, name, number, record_property):
    """After SIGTERM and SIGINT, the worker's exit code is 0."""
    program = name if name == "coordinator" else f"{name.partition('-')[0]}:{name}"
    # A worker that ends within a second of its start is started again only later.
    await_true(
        "supervisord takes it for started", lambda: "RUNNING" in supervised.ctl("status", program)
    )
    pid = supervised.children()[name]
    log = supervised.folder / "run" / "supervisord.log"
    before = log.stat().st_size
    began = time.monotonic()
    os.kill(pid, number)
    await_true(f"{name} is started", lambda: supervised.children().get(name, pid) != pid, BACK)
    await_true(
        f"{name} is well",
        lambda: ask_health(supervised.run_dir, name).get("status") == "ok",
        BACK,
    )
    supervised.await_ready()
    took = time.monotonic() - began
    record_property("seconds", round(took, 2))
    print(f"{name} is back {took:.2f} s after {number.name}")
    if number != signal.SIGKILL:
        assert f"exited: {name} (exit status 0; expected)" in log.read_text()[before:]


class Site:
    """A supervised broker with the interface that `chaos` needs."""

    def __init__(self, supervised):
        self.gateways = supervised.gateway_names
        self.ports = supervised.ports
        self._supervised = supervised

    def is_well(self, name):
        return ask_health(self._supervised.run_dir, name).get("status") == "ok"

    def gateway_of(self, kind, client):
        pids = {pid: name for name, pid in self._supervised.children().items()}
        try:
            number = self._supervised.gateway_of(list(pids), client, self.ports[kind])
        except OSError:  # a process has ended meanwhile
            return None
        return None if number is None else list(pids.values())[number]


def test_restarts_by_supervisorctl_under_load_lose_nothing_acknowledged(supervised):
    asyncio.run(restart_under_load(supervised))


async def restart_under_load(supervised):
    door, ledger = Door(Site(supervised)), Ledger()
    writers = [
        Writer(f"w{number}", how, ledger, door, Random(number))
        for number, how in enumerate(("wamp", "wamp", "mqtt 1", "mqtt 2"))
    ]

    async def await_progress():
        before = ledger.acknowledged
        await asyncio.to_thread(
            await_true, "publishes are acknowledged", lambda: ledger.acknowledged > before + 100
        )

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for writer in writers:
            group.create_task(writer.run())
        for program in (
            "gateway:gateway-0",
            "gateway:gateway-1",
            "gateway:*",
            "shard:*",
            "coordinator",
        ):
            await await_progress()
            said = await asyncio.to_thread(supervised.ctl, "restart", program)
            assert "started" in said
            assert "ERROR" not in said
            await asyncio.to_thread(supervised.await_ready)
        await await_progress()
        for writer in writers:
            writer.stop()
    assert not [why for writer in writers for why in writer.refused]
    for gateway in door.broker.gateways:
        keys = await read_wamp(door, gateway)
        complaints = list(ledger.judge_keys(f"WAMP at {gateway}", keys))
        keys = await read_mqtt(door, gateway, len(keys))
        complaints += ledger.judge_keys(f"MQTT at {gateway}", keys)
        assert not complaints, "\n".join(complaints[:10])
    assert not list(ledger.judge_ids())


def test_a_stop_takes_seconds_whatever_the_clients_do(supervised, record_property):
    """WAMP clients get a GOODBYE, answering or not; clients that do not read are cut off."""
    broker = supervised
    log = broker.folder / "run" / "supervisord.log"
    before = log.stat().st_size
    with ExitStack() as stack:
        polite, silent, deaf, flooding = (
            stack.enter_context(closing(RawWamp(broker.rawsocket, receive_buffer=size)))
            for size in (None, None, 4096, None)
        )
        mute = stack.enter_context(socket.create_connection(("127.0.0.1", broker.rawsocket)))
        device = MqttPeer(("127.0.0.1", broker.mqtt), "device")
        stack.callback(device.close)
        deaf.do(SUBSCRIBE, {}, "stop.flood", answer=SUBSCRIBED)
        silent.do(SUBSCRIBE, {}, "stop.flood", answer=SUBSCRIBED)
        for number in range(200):
            flooding.send(PUBLISH, number + 1, {}, "stop.flood", ["x" * 30000])
        for _ in range(200):
            assert silent.receive()[0] == EVENT
        began = time.monotonic()
        broker.supervisord.send_signal(signal.SIGTERM)
        goodbye = polite.receive()
        assert (goodbye[0], goodbye[2]) == (GOODBYE, "wamp.close.system_shutdown")
        polite.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
        assert polite.closed() == []
        # This client does not answer, and is disconnected all the same.
        (goodbye,) = silent.closed()
        assert (goodbye[0], goodbye[2]) == (GOODBYE, "wamp.close.system_shutdown")
        assert device.lost.wait(STOPPED)
        mute.settimeout(STOPPED)
        assert mute.recv(1) == b""
        assert broker.supervisord.wait(STOPPED) == 0
        took = time.monotonic() - began
    record_property("seconds", round(took, 2))
    print(f"all is stopped after {took:.2f} s")
    said = broker.said.read_text()
    assert "Traceback" not in said
    assert "SIGKILL" not in log.read_text()[before:]
    broker.remove()
