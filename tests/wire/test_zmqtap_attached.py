"""zmqtap, attached to and detached from a running broker under load, any number of times."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import pytest
from cluster import END, ROOT, START
from raw_wamp import EVENT, PUBLISH, SUBSCRIBE, SUBSCRIBED, at_gateway
from threads import Thread

TOPIC = "tapped.topic"


@contextmanager
def load(cluster):
    """Publish events, 50 at a time; after the block, all of them must have arrived in order."""
    publisher, subscriber = at_gateway(cluster, 0), at_gateway(cluster, 1)
    over = threading.Event()
    sent = 0
    subscriber.do(SUBSCRIBE, {}, TOPIC, answer=SUBSCRIBED)

    def publish():
        nonlocal sent
        while not over.is_set():
            numbers = range(sent, sent + 50)
            frames = [publisher.frame(PUBLISH, n + 1, {}, TOPIC, [n]) for n in numbers]
            publisher.sock.sendall(b"".join(frames))
            sent += 50
            over.wait(0.002)
        publisher.send(PUBLISH, sent + 1, {}, TOPIC, ["end"])

    def receive():
        expected = 0
        while True:
            kind, _, _, _, args = subscriber.receive()
            assert kind == EVENT
            if args == ["end"]:
                break
            assert args == [expected]
            expected += 1
        assert expected == sent > 0

    with closing(publisher), closing(subscriber):
        threads = [Thread(publish), Thread(receive)]
        yield
        over.set()
        for thread in threads:
            thread.done()


@contextmanager
def zmqtap(cluster, *arguments):
    """Attach zmqtap, which gives its output; after the block, detach it with SIGINT (Ctrl-C)."""
    tap = subprocess.Popen(
        [sys.executable, "tools/zmqtap", "--run-dir", str(cluster.run_dir), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(START, tap.kill)
    timer.start()
    try:
        yield tap.stdout
        tap.send_signal(signal.SIGINT)
        _, complaints = tap.communicate(timeout=END)
        assert "Traceback" not in complaints, complaints
        # What the test reads may have come before the other processes were attached.
        assert "zmqtap: attached to " in complaints
    finally:
        timer.cancel()
        tap.kill()
        tap.wait(END)
        tap.stdout.close()
        tap.stderr.close()


def until(lines, condition):
    for line in lines:
        if condition(line):
            return line
    raise AssertionError("zmqtap has ended")


def test_zmqtap_attaches_and_detaches_under_load_and_nothing_is_lost(cluster):
    with load(cluster):
        for _ in range(3):
            with zmqtap(cluster, "--json", "--kind", "publish,event") as lines:
                # Each batch is shown once, by the process that sends it.
                missing = {("gateway", "publish"), ("shard", "event")}
                for line in lines:
                    seen = json.loads(line)
                    assert seen["kind"] in ("publish", "event")
                    if TOPIC in line:
                        missing.discard((seen["process"].split("-")[0], seen["kind"]))
                    if not missing:
                        break
                assert not missing


def test_zmqtap_filters_by_topic_pattern(cluster):
    with load(cluster), zmqtap(cluster, "--topic", "tapped/#", "--process", "gateway-*") as lines:
        line = until(lines, lambda line: " publish " in line)
    assert "gateway-0" in line
    assert "realm1 tapped.topic" in line


@pytest.mark.parametrize(
    ("arguments", "sign"), [(["--count"], "publish"), (["--raw"], "gateway-0"), ([], " event ")]
)
def test_zmqtap_has_other_forms_of_output(cluster, arguments, sign):
    with load(cluster), zmqtap(cluster, *arguments) as lines:
        until(lines, lambda line: sign in line)


def test_zmqtap_waits_for_a_broker_that_does_not_run_yet(tmp_path):
    tap = subprocess.Popen(
        [sys.executable, "tools/zmqtap", "--run-dir", str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with tap:
        assert f"no process runs in {tmp_path}: waiting for one to start" in tap.stderr.readline()
        tap.send_signal(signal.SIGINT)
        assert "Traceback" not in tap.stderr.read()


def test_zmqtap_reports_a_process_that_has_gone_and_attaches_to_its_successor(own_cluster):
    cluster = own_cluster()
    shards = set(cluster.shard_names)
    with attached(cluster, "shard-*") as said:

        def said_of_each():
            """Return the next lines, one for each shard, which may come in any order."""
            return {said() for _ in shards}

        assert said_of_each() == {f"zmqtap: attached to {shard}" for shard in shards}
        for shard in shards:
            cluster.kill(shard)
        assert said_of_each() == {f"zmqtap: {shard} has gone" for shard in shards}
        assert said().startswith(f"zmqtap: no process shard-* runs in {cluster.run_dir}: waiting")
        for shard in shards:
            cluster.start(shard)
        assert said_of_each() == {f"zmqtap: attached to {shard}" for shard in shards}
    for shard in shards:
        cluster.kill(shard)
        # The file that is left of the shard's tap counts for nothing.
        assert (cluster.run_dir / "tap" / shard).exists()
    with attached(cluster, "shard-*") as said:
        assert said().startswith(f"zmqtap: no process shard-* runs in {cluster.run_dir}: waiting")


@contextmanager
def attached(cluster, processes):
    """Attach zmqtap, and give a function that returns the next line of its standard error."""
    command = [sys.executable, "tools/zmqtap", "--run-dir", cluster.run_dir, "--process", processes]
    tap = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(START, tap.kill)
    timer.start()
    with tap:
        yield lambda: tap.stderr.readline().rstrip()
        tap.send_signal(signal.SIGINT)
    timer.cancel()
