"""Full and read-only disks, damaged files (architecture.md: When a process dies)."""

import json
import shutil
import subprocess
import sys
import urllib.request
from contextlib import closing

import pytest
from cluster import ROOT, Cluster, Places, await_true
from mqtt_peers import PATIENCE, MqttPeers
from raw_wamp import (
    CALL,
    ERROR,
    EVENT,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    UNSUBSCRIBED,
    YIELD,
    at_gateway,
)
from small_disks import small_disk

from fox_shard.backplane.placement import Placement

UNAVAILABLE = "fox.error.unavailable_store"
RETAIN = {"acknowledge": True, "retain": True}
SHARDS = 4
PLACE = Placement(SHARDS)
TOPICS = [
    next(t for t in map("trouble.t{}".format, range(100)) if PLACE.shard_of("realm1", t) == shard)
    for shard in range(SHARDS)
]
"""One topic of each shard."""


# Full disks


@pytest.fixture(scope="module")
def disk():
    with small_disk(8) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(disk):
    """A broker with its data on the small disk, which writes only when a test publishes."""
    data_dir = str(disk.folder / "data")
    with Cluster(shards=SHARDS, FOX_DATA_DIR=data_dir, FOX_MQTT_SYS_INTERVAL="0") as made:
        yield made


@pytest.fixture
def full(disk, cluster):
    """The small disk, full until the end of the test unless the test makes room."""
    disk.fill()
    yield disk
    if disk.is_full:
        disk.make_room()
    with closing(at_gateway(cluster, 0)) as client:
        for topic in TOPICS:
            await_true(f"{topic} is stored", lambda topic=topic: attempt(client, topic) == "")


@pytest.fixture
def client(cluster):
    with closing(at_gateway(cluster, 0)) as made:
        yield made


@pytest.fixture
def devices(cluster):
    peers = MqttPeers(cluster)
    yield peers
    peers.close()


def attempt(client, topic, value="attempt", options=RETAIN):
    """Publish; return the URI of the error, "" if there was none."""
    client.request += 1
    client.send(PUBLISH, client.request, options, topic, [value])
    reply = client.receive()
    if reply[0] == PUBLISHED:
        return ""
    assert reply[:3] == [ERROR, PUBLISH, client.request]
    assert len(reply[5][0]) > 10, "no sentence"
    return reply[4]


def keys_of(cluster):
    """Return the keys that a new subscriber is shown: {topic: value}."""
    with closing(at_gateway(cluster, 1)) as reader:
        reader.request += 1
        options = {"match": "prefix", "snapshot": True}
        reader.send(SUBSCRIBE, reader.request, options, "trouble.")
        keys = {}
        while True:
            message = reader.receive()
            if message[0] == UNSUBSCRIBED:
                return keys
            if message[0] == EVENT:
                keys[message[3]["topic"]] = message[4][0]


def fox(cluster, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "fox_shard", *arguments],
        cwd=ROOT,
        env=cluster.environment(**cluster.settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_publishes_that_need_a_full_disk_are_refused_and_the_rest_goes_on(cluster, client, request):
    for topic in TOPICS:
        assert attempt(client, topic, "kept") == ""
    with closing(at_gateway(cluster, 1)) as subscriber:
        subscriber.do(SUBSCRIBE, {"match": "prefix"}, "trouble.", answer=SUBSCRIBED)
        subscriber.do(REGISTER, {}, "trouble.procedure", answer=REGISTERED)
        request.getfixturevalue("full")
        for number, topic in enumerate(TOPICS):
            assert attempt(client, topic, f"refused {number}") == UNAVAILABLE
            # This publish is not stored either, although the store is tried again meanwhile.
            assert attempt(client, topic, "") == UNAVAILABLE
        for topic in TOPICS:
            assert attempt(client, topic, "plain", {"acknowledge": True}) == ""
            event = subscriber.receive()
            assert (event[0], event[3]["topic"], event[4]) == (EVENT, topic, ["plain"])
        client.request += 1
        client.send(CALL, client.request, {}, "trouble.procedure", ["goes on"])
        invocation = subscriber.receive()
        assert invocation[0] == INVOCATION
        subscriber.send(YIELD, invocation[1], {}, invocation[4])
        assert client.receive() == [RESULT, client.request, {}, ["goes on"]]
    assert keys_of(cluster) == dict.fromkeys(TOPICS, "kept")


@pytest.mark.parametrize("qos", [1, 2])
def test_an_mqtt_client_is_disconnected_instead_of_getting_an_acknowledgement(
    cluster, full, client, devices, qos
):
    device = devices.connect(f"trouble-{qos}", gateway=1)
    reader = devices.connect(f"reader-{qos}", gateway=1)
    reader.subscribe("trouble/#", qos=1)
    topic = TOPICS[qos - 1].replace(".", "/")
    device.publish(topic, "plain", qos=qos)
    info = device.offer(topic, "refused", qos, retain=True)
    assert device.lost.wait(PATIENCE)
    assert not info.is_published()
    again = devices.connect(f"trouble-{qos}", gateway=1)
    again.publish("trouble/end", "", qos=qos)
    seen = [payload for _, payload, _ in reader.until("trouble/end")]
    assert b"plain" in seen
    assert b"refused" not in seen


def test_health_reports_a_full_disk(cluster, full, client):
    for topic in TOPICS:
        assert attempt(client, topic) == UNAVAILABLE
    for gateway in cluster.gateway_names:
        await_true(
            f"{gateway} knows of all shards",
            lambda gateway=gateway: len(cluster.health(gateway).get("stores", ())) == SHARDS,
        )
    done = fox(cluster, "health")
    assert done.returncode == 1
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for shard in cluster.shard_names:
        assert "status=degraded" in lines[shard]
        assert f"{shard}.sqlite: database or disk is full" in lines[shard]
    for gateway in cluster.gateway_names:
        assert "status=degraded" in lines[gateway]
    # The gateway serves everything that needs no store.
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.websocket}/healthz") as answer:
        assert answer.status == 200
        health = json.load(answer)
    assert health["status"] == "degraded"
    assert "disk is full" in health["stores"]["shard-0"]


def test_the_broker_recovers_by_itself_when_there_is_room_again(cluster, full, client):
    pids = cluster.pids()
    for number, topic in enumerate(TOPICS):
        assert attempt(client, topic, f"before {number}") == UNAVAILABLE
    full.make_room()
    for topic in TOPICS:
        await_true(f"{topic} is stored", lambda topic=topic: attempt(client, topic, "after") == "")
    cluster.await_ready()
    assert fox(cluster, "health").returncode == 0
    assert cluster.pids() == pids
    assert keys_of(cluster) == dict.fromkeys(TOPICS, "after")


def test_a_shard_starts_on_a_full_disk_with_all_acknowledged_keys(cluster, full, client):
    full.make_room()
    for topic in TOPICS:
        await_true(f"{topic} is stored", lambda topic=topic: attempt(client, topic, "safe") == "")
    full.fill()
    for topic in TOPICS:
        assert attempt(client, topic, "refused") == UNAVAILABLE
    for shard in cluster.shard_names:
        cluster.kill(shard)
    for shard in cluster.shard_names:
        cluster.start(shard)
    for name in cluster.gateway_names:
        await_true(f"{name} is linked", lambda name=name: all(links(cluster, name).values()))
    assert keys_of(cluster) == dict.fromkeys(TOPICS, "safe")
    for topic in TOPICS:
        assert attempt(client, topic, "refused") == UNAVAILABLE
    full.make_room()
    for topic in TOPICS:
        await_true(f"{topic} is stored", lambda topic=topic: attempt(client, topic, "after") == "")
    cluster.await_ready()
    assert keys_of(cluster) == dict.fromkeys(TOPICS, "after")


def links(cluster, name):
    return cluster.health(name).get("links", {"": False})


# Read-only disks. mount refuses to make a disk read-only while a file is open for writing, so only
# a start on such a disk can be tested.


def test_a_shard_refuses_a_read_only_disk_in_one_sentence():
    with small_disk(4) as disk:
        disk.make_read_only()
        for name in ("data", ""):
            refusal = refused_start(disk.folder / name)
            assert "Read-only file system" in refusal
            assert str(disk.folder) in refusal


def test_a_shard_refuses_a_full_disk_in_one_sentence():
    with small_disk(4) as disk:
        disk.fill()
        refusal = refused_start(disk.folder / "data")
        assert "No space left on device" in refusal or "There is no room" in refusal
        assert str(disk.folder) in refusal


def refused_start(data_dir):
    """Start shard-0 of all in that folder; return the sentence with which it refuses to."""
    places = Places(shards=SHARDS)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fox_shard", "shard", "0", "--config", "conf/fox.toml"],
            cwd=ROOT,
            env=places.environment(FOX_DATA_DIR=str(data_dir), FOX_SHARDS=str(SHARDS)),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        places.remove()
    assert done.returncode == 1, done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert sentence.startswith("fox: ")
    return sentence


# Damaged files

KEYS = 300


@pytest.fixture(scope="module", params=["stopped", "killed"])
def files(request, tmp_path_factory):
    """A data folder with keys, of a broker that was stopped, or killed, which leaves a log."""
    data_dir = tmp_path_factory.mktemp("data")
    cluster = Cluster(shards=SHARDS, FOX_DATA_DIR=str(data_dir))
    with closing(at_gateway(cluster, 0)) as client:
        for number in range(KEYS):
            topic = f"trouble.k{number}"
            assert attempt(client, topic, "x" * 200) == ""
    if request.param == "killed":
        for shard in cluster.shard_names:
            cluster.kill(shard)
    cluster.stop()
    return data_dir


def overwritten(content):
    return b"nothing that SQLite knows" * (len(content) // 25)


def cut_off(content):
    return content[: len(content) // 2]


def spoilt(content):
    """Return the content with every page but the first overwritten."""
    return content[:4096] + b"\xa5" * (len(content) - 4096)


def one_byte(content):
    """Within a value; where the values were in the log, at the end of what is left."""
    place = content.find(b"x" * 200)
    if place < 0:
        place = len(content.rstrip(b"\0")) - 1
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [overwritten, cut_off, spoilt, one_byte])
def test_a_shard_refuses_a_damaged_file_in_one_sentence_and_leaves_it_as_it_is(
    files, tmp_path, damage
):
    data_dir = tmp_path / "data"
    shutil.copytree(files, data_dir)
    path = data_dir / "generation-1" / "shard-0.sqlite"
    path.write_bytes(damage(path.read_bytes()))
    for log in path.parent.glob("shard-0.sqlite-*"):
        log.unlink()  # the log could repair the file
    before = path.read_bytes()
    sentence = refused_start(data_dir)
    assert str(path) in sentence
    assert f"move {data_dir} away" in sentence
    assert path.read_bytes() == before


def test_a_shard_refuses_to_start_without_its_file(files, tmp_path):
    data_dir = tmp_path / "data"
    shutil.copytree(files, data_dir)
    path = data_dir / "generation-1" / "shard-0.sqlite"
    for file in path.parent.glob("shard-0.sqlite*"):
        file.unlink()
    sentence = refused_start(data_dir)
    assert sentence.startswith(f"fox: {path} is missing, and with it all keys of shard 0: bring")
    assert not path.exists()


def test_a_damaged_log_counts_up_to_where_it_is_damaged(files, tmp_path):
    """A power failure may leave a log that was cut off."""
    data_dir = tmp_path / "data"
    shutil.copytree(files, data_dir)
    for log in data_dir.glob("generation-1/*.sqlite-wal"):
        log.write_bytes(cut_off(log.read_bytes()))
    with Cluster(shards=SHARDS, FOX_DATA_DIR=str(data_dir)) as cluster:
        found = keys_of(cluster)
    for shard in range(SHARDS):
        topics = [f"trouble.k{number}" for number in range(KEYS)]
        topics = [topic for topic in topics if PLACE.shard_of("realm1", topic) == shard]
        there = [topic for topic in topics if topic in found]
        assert there == topics[: len(there)], "one is missing that is older than another"
    assert set(found.values()) <= {"x" * 200}
