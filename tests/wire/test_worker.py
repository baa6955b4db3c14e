"""Reducers that the configuration names: built-in ones, and Python functions in the worker."""

import os
import signal
import subprocess
import sys

import pytest
from cluster import END, Cluster, ask_health, await_true, write_config
from programs import Fox

CONFIGURATION = """
[reducer]
timeout = 4.0

[gateway]
max_message_size = 100_000

[[realm]]
name = "realm1"

[[realm.reducer]]
pattern = "counted.#"
function = "sum"
field = "amount"
destination = "total"

[[realm.reducer]]
pattern = "words.#"
function = "folding:longest"

[[realm.reducer]]
pattern = "odd.#"
function = "folding:odd"
concurrency = 2
"""

MODULE = """
import time
from pathlib import Path

from fox_shard.worker import Retry

tried = set()


def longest(args, kwargs, details):
    return max(details.retained or "", args[0], key=len)


def odd(args, kwargs, details):
    value = args[0]
    if value == "raise":
        raise ValueError("odd")
    if value == "nonsense":
        return object()
    if value == "huge":
        return "x" * 20_000_000
    if value == "retry" and details.publication not in tried:
        tried.add(details.publication)
        raise Retry
    if value == "hang":
        flag = Path(__file__).with_name("hung")
        if not flag.exists():
            flag.touch()
            time.sleep(60)
    return [*(details.retained or []), value]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    config = write_config(tmp_path_factory.mktemp("folding"), CONFIGURATION, folding=MODULE)
    with Cluster(config=config) as cluster:
        cluster.start("worker")
        yield cluster


def well(cluster):
    await_true("the worker is well", lambda: cluster.health("worker").get("status") == "ok")


def value_of(fox, topic):
    code, out, _ = fox.run("get", topic)
    return out.strip() if code == 0 else None


def becomes(fox, topic, value):
    await_true(f"{topic} is {value}", lambda: value_of(fox, topic) == value)


def publish(fox, topic, *values):
    """Publish plain events."""
    code = (
        "import sys\n"
        "from fox_shard.client import Session\n"
        "url, topic, *values = sys.argv[1:]\n"
        "with Session(url, 'realm1') as session:\n"
        "    for value in values:\n"
        "        session.publish(topic, [value], {})\n"
    )
    url = f"ws://127.0.0.1:{fox.environment['FOX_GATEWAY_WEBSOCKET'].rpartition(':')[2]}/ws"
    subprocess.run([sys.executable, "-c", code, url, topic, *values], check=True)


def test_built_in_reducers_fold_events_of_all_shards(cluster):
    fox = Fox(cluster)
    for number in range(6):
        fox.prints("put", f"counted.{number}", '{"amount": "0.10"}')
    becomes(fox, "total", "0.60")


def test_functions_fold_events(cluster):
    well(cluster)
    fox = Fox(cluster)
    fox.prints("put", "plain.start", "1")
    publish(fox, "words.a", "fox", "shard", "ox")
    becomes(fox, "words.a", "shard")


def test_a_function_that_fails_costs_its_event_only(cluster):
    well(cluster)
    fox = Fox(cluster)
    publish(fox, "odd.a", "one", "raise", "nonsense", "huge", "retry", "two")
    becomes(fox, "odd.a", '["one","retry","two"]')
    assert '"failed":3' in fox.prints("reducers", "--json")


def test_a_function_that_hangs_holds_up_its_topic_until_the_worker_is_started_anew(cluster):
    well(cluster)
    fox = Fox(cluster)
    publish(fox, "odd.b", "hang", "after")
    publish(fox, "odd.c", "meanwhile")
    becomes(fox, "odd.c", '["meanwhile"]')
    becomes(fox, "odd.b", '["hang","after"]')
    worker = cluster.processes["worker"]
    assert worker.wait(END) == 1
    assert "folding:odd does not come to an end" in cluster.log()
    cluster.start("worker")
    well(cluster)


def test_the_worker_comes_back_and_goes_on(cluster):
    well(cluster)
    fox = Fox(cluster)
    cluster.kill("worker")
    publish(fox, "words.b", "while", "it was", "away")
    cluster.start("worker")
    becomes(fox, "words.b", "it was")
    worker = cluster.processes["worker"]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(END) == 0
    assert ask_health(cluster.run_dir, "worker") == {}
    cluster.start("worker")
    well(cluster)


def worker_of(folder, text, **settings):
    """Run a worker with that configuration to its end; return its exit code and error."""
    config = write_config(folder, text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FOX_")}
    done = subprocess.run(
        [sys.executable, "-m", "fox_shard", "worker", "--config", config],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=END,
        check=False,
    )
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("no_such_module:f", "the module no_such_module cannot be imported (ModuleNotFoundError:"),
        ("broken:f", "the module broken cannot be imported (ZeroDivisionError: "),
        ("os:no_such_function", "os has no function no_such_function."),
        ("os:name", "os has no function name."),
    ],
)
def test_a_function_that_cannot_be_loaded_is_told_in_one_sentence(tmp_path, function, says):
    (tmp_path / "broken.py").write_text("1 / 0")
    text = f'[[realm]]\nname = "realm1"\n[[realm.reducer]]\npattern = "a"\nfunction = "{function}"'
    code, error = worker_of(tmp_path, text)
    assert code == 1
    assert error.startswith(f"fox: The reducer {function} cannot be loaded: ")
    assert says in error
    assert len(error.splitlines()) == 1


def test_without_functions_the_worker_waits_to_be_stopped(shared_cluster):
    shared_cluster.start("worker")
    try:
        well(shared_cluster)
        assert "worker" not in Fox(shared_cluster).prints("health")
    finally:
        code = shared_cluster.finish("worker")
    assert code == 0
