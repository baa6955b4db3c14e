"""Resharding, dumps and loads of a data folder: real processes, real files."""

import json
import shutil
import subprocess
import sys
from contextlib import closing

import pytest
from cluster import END, ROOT, Cluster, await_true
from mqtt_peers import MqttPeers
from raw_wamp import EVENT, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBED, at_gateway
from threads import Thread

RETAIN = {"acknowledge": True, "retain": True}
FEW, MANY = 300, 40_000
AT_A_TIME = 500


@pytest.fixture
def start(tmp_path):
    """Start brokers on this test's data folder, `start(shards)`; all of them end with the test.

    The numbers of shards are what is tested here: the first test has four among others.
    """
    made = []

    def start(shards, data_dir=tmp_path / "data", **settings):
        made.append(Cluster(shards=shards, FOX_DATA_DIR=str(data_dir), **settings))
        return made[-1]

    yield start
    for cluster in made:
        if cluster.folder.exists():
            cluster.stop()


def publish(cluster, numbers, stem="moved"):
    """Publish keys; return {topic: (value, publication id)} as acknowledged."""
    keys = {}
    with closing(at_gateway(cluster, 0)) as client:
        for first in range(0, len(numbers), AT_A_TIME):
            sent = {}
            for number in numbers[first : first + AT_A_TIME]:
                client.request += 1
                sent[client.request] = f"{stem}.k{number}", number
                client.send(PUBLISH, client.request, RETAIN, sent[client.request][0], [number])
            while sent:
                reply = client.receive()
                assert reply[0] == PUBLISHED, reply
                topic, number = sent.pop(reply[1])
                keys[topic] = number, reply[2]
    return keys


def keys_of(cluster, stem="moved"):
    """Return the keys that a new subscriber is shown: {topic: (value, publication id)}."""
    with closing(at_gateway(cluster, cluster.gateways - 1)) as client:
        options = {"match": "prefix", "get_retained": True, "snapshot": True}
        client.send(SUBSCRIBE, 1, options, f"{stem}.")
        assert client.receive()[0] == SUBSCRIBED
        keys = {}
        while (message := client.receive())[0] == EVENT:
            assert message[3]["topic"] not in keys
            keys[message[3]["topic"]] = message[4][0], message[2]
        assert message[:2] == [UNSUBSCRIBED, 0]
        return keys


def command(cluster, *arguments, data_dir=None, shards=None):
    """Run a fox command in the broker's environment; return the finished process."""
    environment = cluster.environment(**cluster.settings)
    if data_dir is not None:
        environment["FOX_DATA_DIR"] = str(data_dir)
    if shards is not None:
        environment["FOX_SHARDS"] = str(shards)
    return subprocess.run(
        [sys.executable, "-m", "fox_shard", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_keys_keep_their_ids_under_any_number_of_shards(start):
    cluster = start(2)
    keys = publish(cluster, range(FEW))
    assert keys_of(cluster) == keys
    cluster.end()
    for count, shards in enumerate((3, 1, 4), 1):
        cluster = start(shards)
        assert keys_of(cluster) == keys
        highest = max(publication for _, publication in keys.values())
        new = publish(cluster, range(count * FEW, count * FEW + 10))
        assert all(publication > highest for _, publication in new.values())
        keys |= new
        # A key from before gets a new value, whatever shard it belongs to now.
        keys |= publish(cluster, range(count, FEW, 10))
        assert keys_of(cluster) == keys
        cluster.end()


def spawn(cluster, name, shards):
    """Start a process of that broker, which has ended, with another number of shards."""
    environment = cluster.environment(**{**cluster.settings, "FOX_SHARDS": str(shards)})
    return subprocess.Popen(
        cluster.command(name),
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_resharding_that_is_killed_is_done_again(start, tmp_path):
    cluster = start(2)
    keys = publish(cluster, range(MANY))
    cluster.end()
    data, manifest = tmp_path / "data", tmp_path / "data" / "manifest.json"
    before = manifest.read_bytes()
    saved = tmp_path / "saved"
    shutil.copytree(data, saved)
    killed = 0
    for _ in range(20):
        shard = spawn(cluster, "shard-0", 3)
        making = data / "generation-2" / "shard-0.sqlite.new"
        while not making.exists() and shard.poll() is None and manifest.read_bytes() == before:
            pass
        shard.kill()
        shard.communicate(timeout=END)
        if manifest.read_bytes() == before:
            killed += 1
            if killed == 2:
                break
        else:  # the resharding was finished before the kill
            shutil.rmtree(data)
            shutil.copytree(saved, data)
    assert killed == 2
    shutil.rmtree(saved)
    # The old generation is still there, for an operator who decides against the resharding.
    cluster = start(2)
    keys |= publish(cluster, range(10))
    assert keys_of(cluster) == keys
    cluster.end()
    cluster = start(3)
    assert keys_of(cluster) == keys
    assert json.loads(manifest.read_bytes())["shards"] == 3
    assert [path.name for path in data.glob("generation-*")] == ["generation-2"]
    cluster.end()


def test_no_resharding_begins_while_a_shard_still_runs(start, tmp_path):
    cluster = start(2)
    keys = publish(cluster, range(FEW))
    stopped = [*cluster.gateway_names, "coordinator", "shard-0"]
    for name in stopped:
        cluster.processes[name].terminate()
        assert cluster.processes[name].wait(END) == 0
    before = (tmp_path / "data" / "manifest.json").read_bytes()
    shard = spawn(cluster, "shard-0", 3)
    _, said = shard.communicate(timeout=END)
    assert shard.returncode == 1
    (sentence,) = [line for line in said.splitlines() if " INFO " not in line]
    assert sentence.startswith(f"fox: The files in {tmp_path / 'data'} are in use, by a shard that")
    done = command(cluster, "reshard", "--to", "3")
    assert (done.returncode, done.stderr.splitlines()) == (1, [sentence])
    assert (tmp_path / "data" / "manifest.json").read_bytes() == before
    # The other processes of the new layout wait for the resharding, and end on SIGTERM.
    waiting = spawn(cluster, "gateway-0", 3)
    assert "waiting_for_resharding" in waiting.stderr.readline()
    waiting.terminate()
    waiting.communicate(timeout=END)
    for name in reversed(stopped):
        cluster.start(name)
    cluster.await_ready()
    assert keys_of(cluster) == keys


def test_wills_of_sessions_that_ended_with_the_broker_are_published_after_a_resharding(start):
    cluster = start(2, FOX_BACKPLANE_PEER_TIMEOUT="4", FOX_BACKPLANE_HEARTBEAT="0.2")
    peers = MqttPeers(cluster)
    topics = [f"moved/k{number}" for number in range(6)]
    for topic in topics:
        will = {"topic": topic, "payload": "7", "qos": 1, "retain": True}
        peers.connect(f"mortal-{topic[-1]}", will=will)
    # A will is stored, at the latest, when a later key of the same shard is.
    publish(cluster, range(100, 150))
    for name in cluster.names[::-1]:
        cluster.kill(name)
    peers.close()
    cluster.remove()
    cluster = start(3, FOX_BACKPLANE_PEER_TIMEOUT="4", FOX_BACKPLANE_HEARTBEAT="0.2")
    wanted = {topic.replace("/", ".") for topic in topics}
    await_true("the wills are published", lambda: wanted <= set(keys_of(cluster)))
    cluster.end()


@pytest.mark.parametrize("form", ["jsonl", "msgpack"])
def test_a_dump_of_a_running_broker_is_loaded_into_another(start, tmp_path, form):
    cluster = start(2)
    keys = publish(cluster, range(FEW))
    file, fresh = tmp_path / "dump", tmp_path / "fresh"
    stopping, meanwhile = [], {}

    def go_on():
        for number in range(1000):
            if stopping:
                return
            meanwhile.update(publish(cluster, range(FEW + number, FEW + number + 1)))

    thread = Thread(go_on)
    await_true("it is under way", lambda: meanwhile)
    keys |= dict(meanwhile)
    done = command(cluster, "dump", "--format", form, str(file))
    stopping.append(True)
    thread.done()
    assert done.returncode == 0, done.stderr
    keys_then = keys_of(cluster)
    done = command(cluster, "load", str(file))
    assert done.returncode == 1
    assert "are in use" in done.stderr
    done = command(cluster, "load", str(file), data_dir=fresh, shards=3)
    assert done.returncode == 0, done.stderr
    other = start(3, data_dir=fresh)
    found = keys_of(other)
    assert keys.items() <= found.items()
    assert found.items() <= keys_then.items()
    other.end()
    cluster.end()
