"""The broker under supervisord, with a copy of conf/ in its own folder: starts, crashes, end."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from cluster import END, ask_health, await_true
from mqtt_peers import MqttPeer
from raw_wamp import (
    CALL,
    ERROR,
    EVENT,
    GOODBYE,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    YIELD,
    RawWamp,
)
from supervised import Supervised


@pytest.fixture(scope="module")
def supervised():
    broker = Supervised()
    yield broker
    if broker.supervisord.poll() is None:
        broker.stop()


def test_fox_conf_sets_the_numbers_of_processes(supervised):
    assert set(supervised.children()) == {*supervised.names, "worker"}


def test_the_http_server_is_started_again(supervised):
    pid = supervised.children()["web"]
    os.kill(pid, signal.SIGKILL)
    await_true("it is there again", lambda: supervised.children().get("web", pid) != pid)
    await_true("it is well", lambda: ask_health(supervised.run_dir, "web").get("status") == "ok")


def test_without_http_there_is_no_process_for_it():
    broker = Supervised(2, 4, await_ready=False, FOX_WEB_ADDRESS="off")
    try:
        await_true("it is ready", lambda: " ready " in broker.said.read_text())
        await_true("the process has ended", lambda: "web" not in broker.children())
        assert "EXITED" in broker.ctl("status", "web")
        assert broker.fox("health").returncode == 0
    finally:
        assert broker.stop() == 0


def test_health_reports_all_processes(supervised):
    done = supervised.fox("health")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        *supervised.gateway_names,
        *supervised.shard_names,
        "coordinator",
        "web",
    ]
    assert all("status=ok" in line for line in lines)


def test_a_second_process_of_a_name_is_refused_in_one_sentence(supervised):
    for process in (["shard", "1"], ["gateway", "0"], ["coordinator"]):
        done = supervised.fox(*process)
        assert done.returncode == 1
        (sentence,) = done.stderr.splitlines()
        assert sentence.startswith(f"fox: {'-'.join(process)} runs already")
        assert "FOX_RUN_DIR" in sentence


def test_a_second_server_in_the_folder_is_refused(supervised):
    before, said = supervised.children(), supervised.said.read_text()
    of_second = supervised.folder / "second.log"
    assert supervised.start(of_second).wait(END) == 1
    assert supervised.children() == before
    # Nothing was started, and the second server said nothing there.
    news = supervised.said.read_text()[len(said) :]
    assert " started " not in news
    assert "fox: " not in news
    (sentence,) = of_second.read_text().splitlines()
    pid = supervised.supervisord.pid
    assert sentence.startswith(
        f"fox: The server in {supervised.folder} is already running, pid {pid}: "
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FOX_GATEWAY_WEBSOKET", "off", "FOX_GATEWAY_WEBSOKET"),
        ("FOX_GATEWAY_MQTT", "nonsense", "FOX_GATEWAY_MQTT"),
    ],
)
def test_a_mistake_in_the_settings_is_reported_in_one_sentence(supervised, name, value, sentence):
    done = subprocess.run(
        [sys.executable, "-m", "fox_shard", "shard", "0"],
        cwd=supervised.folder,
        env=supervised.environment(**{name: value}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert sentence in line


def test_a_killed_shard_comes_back_and_the_service_goes_on(supervised):
    """Meanwhile calls are answered `wamp.error.unavailable`, and publishes wait."""
    topic = supervised.on_shard(1, "killed.topic")
    procedure = supervised.on_shard(1, "killed.procedure")
    other = supervised.on_shard(2, "killed.other")
    with ExitStack() as stack:
        callee, caller, second = (RawWamp(supervised.rawsocket) for _ in range(3))
        for client in (callee, caller, second):
            stack.callback(client.close)
        callee.do(SUBSCRIBE, {}, topic, answer=SUBSCRIBED)
        callee.do(REGISTER, {}, procedure, answer=REGISTERED)
        callee.do(REGISTER, {}, other, answer=REGISTERED)
        pid = supervised.children()["shard-1"]
        with stopped(supervised.supervisord):  # so that the shard stays dead for now
            os.kill(pid, signal.SIGKILL)

            def refused():
                """Make a call; one that is on its way to the shard is refused as well."""
                caller.request += 1
                caller.send(CALL, caller.request, {}, procedure)
                reply = caller.receive()
                assert reply[:3] == [ERROR, CALL, caller.request]
                assert reply[4] == "wamp.error.unavailable"
                return "shard-1" in reply[5][0]

            await_true("calls are refused", refused)
            # Procedures of another shard still work.
            answer(callee, second, other, "there")
            second.request += 1
            second.send(PUBLISH, second.request, {"acknowledge": True}, topic, ["waited"])
            health = supervised.fox("health")
            assert health.returncode == 1
            assert "shard-1" in health.stdout
        supervised.await_ready()
        assert supervised.children()["shard-1"] != pid
        event = callee.receive()
        assert (event[0], event[4]) == (EVENT, ["waited"])
        assert second.receive()[:2] == [PUBLISHED, second.request]
        answer(callee, caller, procedure, "again")


@contextmanager
def stopped(process):
    """Stop a process while the block runs."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def answer(callee, caller, procedure, result):
    """Make a call and answer it."""
    caller.request += 1
    caller.send(CALL, caller.request, {}, procedure)
    invocation = callee.receive()
    assert invocation[0] == INVOCATION
    callee.send(YIELD, invocation[1], {}, [result])
    assert caller.receive() == [RESULT, caller.request, {}, [result]]


@pytest.mark.parametrize("name", ["coordinator", "gateway-0"])
def test_any_other_killed_process_comes_back_too(supervised, name):
    pid = supervised.children()[name]
    os.kill(pid, signal.SIGKILL)
    await_true(f"{name} is back", lambda: supervised.children().get(name, pid) != pid)
    supervised.await_ready()
    with closing(RawWamp(supervised.rawsocket)) as client:
        client.do(PUBLISH, {"acknowledge": True}, "killed.any", answer=PUBLISHED)

        def counted():
            """Whether the call succeeds; the gateway may not have linked to the new coordinator."""
            client.request += 1
            client.send(CALL, client.request, {}, "wamp.session.count")
            return client.receive()[0] == RESULT

        await_true("the coordinator answers", counted)


def test_a_taken_port_is_reported_in_one_sentence(supervised):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "fox_shard", "gateway", str(supervised.gateways)],
            cwd=supervised.folder,
            env=supervised.environment(
                FOX_GATEWAYS=str(supervised.gateways + 1),
                FOX_SHARDS=str(supervised.shards),
                FOX_GATEWAY_WEBSOCKET=address,
            ),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    sentences = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert sentences == [
        f"fox: Cannot listen at {address}: another program listens there; stop it, or set another "
        "port with gateway.websocket or FOX_GATEWAY_WEBSOCKET."
    ]


def test_sigterm_says_goodbye_to_all_and_ends_everything(supervised):
    children = supervised.children()
    with closing(RawWamp(supervised.rawsocket)) as client:
        device = MqttPeer(("127.0.0.1", supervised.mqtt), "sigterm")
        said = supervised.said
        supervised.supervisord.send_signal(signal.SIGTERM)
        (goodbye,) = client.closed()
        assert (goodbye[0], goodbye[2]) == (GOODBYE, "wamp.close.system_shutdown")
        client.close()
        assert device.lost.wait(END)
        device.close()
    assert supervised.supervisord.wait(END) == 0
    text = said.read_text()
    assert "Traceback" not in text
    for name, pid in children.items():
        assert not Path(f"/proc/{pid}").exists()
        assert f"{name} stopped" in text
    supervised.remove()
