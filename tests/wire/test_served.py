"""`fox serve`: the same promises from one process."""

import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from autobahn.wamp.types import PublishOptions
from cluster import END, ROOT, Places, ask_health, await_true
from mqtt_peers import MqttPeer
from programs import Fox
from raw_wamp import EVENT, GOODBYE, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, RawWamp
from served import ROUTER, Served

from bench.ports import free_port


@pytest.fixture(scope="module")
def shared_cluster():
    served = Served()
    yield served
    served.end()


@pytest.fixture
def served():
    served = Served()
    yield served
    served.end()


async def test_wamp_and_mqtt_clients_share_one_topic_space(cluster, wamp, mqtt):
    ann, bob = await wamp.join(), await wamp.join("rawsocket", "msgpack")
    await bob.register(lambda a, b: a + b, "com.example.add")
    assert await ann.call("com.example.add", 2, 3) == 5
    device = mqtt.connect()
    assert device.subscribe("com/example/#", qos=1) == [1]
    await ann.publish("com.example.temperature", 21.5, options=PublishOptions(acknowledge=True))
    assert device.take(1) == [("com/example/temperature", b"21.5", 0, False)]


def test_the_fox_commands_work_as_with_a_cluster(shared_cluster):
    fox = Fox(shared_cluster)
    health = fox.prints("health").splitlines()
    assert [line.split()[:2] for line in health] == [
        ["gateway-0", "status=ok"],
        ["shard-0", "status=ok"],
        ["coordinator", "status=ok"],
        ["web", "status=ok"],
    ]
    fox.prints("put", "com.example.color", "red")
    assert fox.prints("get", "com.example.color") == "red\n"
    assert "com.example.color" in fox.run("dump", "-")[1]


def test_no_second_server_uses_the_run_directory_or_the_data(shared_cluster):
    """Neither another one in one process, nor a process of a cluster."""
    fox = Fox(shared_cluster)
    for command in (["serve"], ["shard", "0"], ["coordinator"], ["gateway", "0"], ["web"]):
        code, _, err = fox.run(*command)
        assert code == 1
        assert "runs already" in err
        assert "FoxRouter" not in err  # which is for applications
    elsewhere = str(shared_cluster.folder / "elsewhere")
    ports = dict.fromkeys(("GATEWAY_WEBSOCKET", "GATEWAY_RAWSOCKET", "WEB_ADDRESS"), "off")
    ports["GATEWAY_MQTT"] = f"127.0.0.1:{free_port()}"
    others = {f"FOX_{name}": value for name, value in ports.items()}
    code, _, err = fox.run("serve", FOX_RUN_DIR=elsewhere, **others)
    assert (code, "is in use by another process" in err) == (1, True)
    code, _, err = fox.run("reshard", "--to", "2")
    assert (code, "are in use" in err) == (1, True)


def test_without_any_file_there_are_the_defaults():
    ports = Places(gateways=1, shards=1)
    web = f"127.0.0.1:{ports.web}"
    environment = {
        name: value
        for name, value in ports.environment(PYTHONPATH=str(ROOT), FOX_WEB_ADDRESS=web).items()
        if name not in ("FOX_RUN_DIR", "FOX_DATA_DIR")
    }
    fox = [sys.executable, "-m", "fox_shard"]
    folder = ports.folder
    process = subprocess.Popen(
        [*fox, "serve"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        await_true("it is ready", lambda: ask_health(folder / "run", ROUTER))
        done = [
            subprocess.run(
                [*fox, *command], cwd=folder, env=environment, capture_output=True, text=True,
                timeout=30, check=False,
            )
            for command in (["put", "a.b", "1"], ["get", "a.b"], ["health"])
        ]  # fmt: skip
        assert [one.returncode for one in done] == [0, 0, 0], done
        assert done[1].stdout == "1\n"
    finally:
        process.terminate()
        _, said = process.communicate(timeout=END)
    assert process.returncode == 0
    assert re.search(rf"ready websocket=127.0.0.1:{ports.websocket} ", said)
    assert f"listening web={web}" in said
    assert "Anybody on this machine may do everything in realm1" in said
    assert sorted(path.name for path in folder.iterdir()) == ["data", "run"]
    assert not list((folder / "run").glob("*.health"))
    ports.remove()


def test_http_is_answered_beside_wamp_and_mqtt(shared_cluster, mqtt):
    """One topic space, conditional writes, and problems in words."""
    device = mqtt.connect()
    device.subscribe("com/example/lamp/#")
    with httpx.Client(base_url=f"http://127.0.0.1:{shared_cluster.web}", timeout=30) as http:
        lamp = "/api/keys/com.example.lamp.state"
        first = http.put(lamp, json="on", headers={"If-None-Match": "*"})
        assert http.put(lamp, json="on", headers={"If-None-Match": "*"}).status_code == 412
        assert http.put(lamp, json="off", headers={"If-Match": first.headers["etag"]}).is_success
        assert [payload for _, payload, _, _ in device.take(2)] == [b'"on"', b'"off"']
        missing = http.get("/nothing")
        assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")
        elsewhere = http.get(lamp, headers={"Host": "attacker.example"})
        assert elsewhere.status_code == 421
        sessions = ask_health(shared_cluster.run_dir, "web")["sessions"]
        assert sessions == 1


def test_sigterm_says_goodbye_and_publishes_wills(served):
    with ExitStack() as stack, closing(RawWamp(served.rawsocket)) as client:
        client.do(SUBSCRIBE, {}, "com.example.will", answer=SUBSCRIBED)
        will = {"topic": "com/example/will", "payload": b"gone", "qos": 1}
        device = MqttPeer(("127.0.0.1", served.mqtt), "device", will=will)
        events = f"http://127.0.0.1:{served.web}/api/events?topic=com.example.a"
        stack.enter_context(httpx.stream("GET", events)).raise_for_status()
        served.router.send_signal(signal.SIGTERM)
        messages = client.closed()
        assert messages[-1][0] == GOODBYE
        assert messages[-1][2] == "wamp.close.system_shutdown"
        assert device.lost.wait(END)
        device.close()
    assert served.router.wait(END) == 0
    served.start(ROUTER)
    served.await_ready()


def test_what_is_acknowledged_survives_kill_and_restart(served):
    """Keys at QoS 1 from several clients, until the process is killed; three times."""
    acknowledged = {}
    for life in range(3):
        stop = threading.Event()

        counts = dict.fromkeys(range(3), 0)

        def write(name, life=life, stop=stop, counts=counts):
            client = MqttPeer(("127.0.0.1", served.mqtt), f"writer-{life}-{name}")
            sent = []
            number = 0
            while not stop.is_set() and not client.lost.is_set():
                number += 1
                topic = f"kept/{life}/{name}/{number % 50}"
                info = client.offer(topic, str(number), 1, retain=True)
                sent.append((topic, number, info))
                if number % 100 == 0:
                    while not (client.lost.wait(0.002) or is_acknowledged(info)):
                        pass
                    counts[name] = number
            assert client.lost.wait(END)
            for topic, number, info in sent:
                if is_acknowledged(info):
                    acknowledged[topic] = number
            client.close()

        writers = [threading.Thread(target=write, args=(name,)) for name in range(3)]
        for writer in writers:
            writer.start()
        await_true("much is acknowledged", lambda counts=counts: sum(counts.values()) > 1000)
        served.kill(ROUTER)
        stop.set()
        for writer in writers:
            writer.join(END)
        served.start(ROUTER)
        served.await_ready()
    assert len(acknowledged) > 300
    reader = MqttPeer(("127.0.0.1", served.mqtt), "reader")
    reader.subscribe("kept/#", qos=1)
    reader.publish("end", "", 1)
    reader.subscribe("end")
    found = {}
    await_true(
        "all keys have come",
        lambda: (
            found.update({m.topic: int(m.payload) for m in iter_now(reader.messages) if m.payload})
            or found.keys() >= acknowledged.keys()
        ),
    )
    lost = {t: (n, found[t]) for t, n in acknowledged.items() if found[t] < n}
    assert not lost
    reader.close()


def is_acknowledged(info):
    """Whether PUBACK has come; `info.rc` says that there was no connection any more."""
    return info.rc == 0 and info.is_published()


def iter_now(messages):
    """Yield the messages that are there."""
    while not messages.empty():
        yield messages.get()


def test_a_client_that_waits_for_its_event_gets_it_after_its_acknowledged_publish(shared_cluster):
    with closing(RawWamp(shared_cluster.rawsocket)) as client:
        client.do(SUBSCRIBE, {}, "com.example.own", answer=SUBSCRIBED)
        for number in range(100):
            client.request += 1
            options = {"acknowledge": True, "exclude_me": False, "retain": number % 2 == 0}
            client.send(PUBLISH, client.request, options, "com.example.own", [number])
        got = [client.receive() for _ in range(200)]
    assert [message[4][0] for message in got if message[0] == EVENT] == list(range(100))
    assert sum(message[0] == PUBLISHED for message in got) == 100


def test_data_for_more_shards_is_refused_with_the_way_out(own_cluster):
    cluster = own_cluster(gateways=1, shards=3)
    fox = Fox(cluster)
    fox.prints("put", "com.example.color", "red")
    for process in cluster.processes.values():
        process.terminate()
        process.wait(END)
    code, _, err = fox.run("serve")
    (sentence,) = [line for line in err.splitlines() if line.startswith("fox: ")]
    assert code == 1
    assert "is for 3 shards" in sentence
    assert "`fox reshard --to 1`" in sentence
    assert fox.run("reshard", "--to", "1")[0] == 0
    with fox.start("serve"):
        await_true("it is ready", lambda: ask_health(cluster.run_dir, ROUTER))
        assert fox.prints("get", "com.example.color") == "red\n"


@pytest.mark.parametrize("kind", ["websocket", "web"])
def test_a_taken_port_is_reported_in_one_sentence(shared_cluster, kind):
    fox = Fox(shared_cluster)
    folder = shared_cluster.folder
    elsewhere = {f"FOX_{kind}_DIR": str(folder / f"other-{kind}") for kind in ("RUN", "DATA")}
    free = {name: f"127.0.0.1:{free_port()}" for name in ("GATEWAY_WEBSOCKET", "WEB_ADDRESS")}
    free |= {"GATEWAY_RAWSOCKET": "off", "GATEWAY_MQTT": "off"}
    del free["WEB_ADDRESS" if kind == "web" else "GATEWAY_WEBSOCKET"]
    others = {f"FOX_{name}": value for name, value in free.items()}
    code, _, err = fox.run("serve", **elsewhere, **others)
    assert code == 1
    (sentence,) = err.splitlines()
    port = getattr(shared_cluster, kind)
    assert sentence.startswith(f"fox: Cannot listen at 127.0.0.1:{port}: ")
    # Nothing is left of it.
    assert not any(Path(path).exists() for path in elsewhere.values())
