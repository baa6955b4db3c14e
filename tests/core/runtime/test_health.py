"""How `fox health` prints what the processes answer."""

import fcntl
import json
import socketserver
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from fox_shard.backplane.attached import name_of
from fox_shard.runtime.health import check_health, shortages

NO_WEB = SimpleNamespace(address=None)

ANSWERS = {
    "gateway-0": {
        "name": "gateway-0",
        "status": "ok",
        "links": {"shard-0": True, "coordinator": True},
        "sessions": 3,
        "refused": {"max_filters": 2, "connects_per_second": 120},
        "cores": 0.42,
        "pid": 1,
        "listening": {},
    },
    "shard-0": {"name": "shard-0", "status": "degraded", "links": {"coordinator": False}},
}


@pytest.fixture
def run_dir():
    """A run directory in which the processes of `ANSWERS` answer once each."""
    with tempfile.TemporaryDirectory() as folder:
        servers = [answering(Path(folder) / f"{name}.health", ANSWERS[name]) for name in ANSWERS]
        yield folder
        for server in servers:
            server.shutdown()
            server.server_close()


def answering(path, answer):
    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    server = socketserver.UnixStreamServer(str(path), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def test_each_process_has_a_line_with_what_its_limits_have_refused(run_dir, capsys):
    web = SimpleNamespace(address=None)
    config = SimpleNamespace(gateways=1, shards=1, run_dir=run_dir, realms=(), web=web)
    assert check_health(config) == 1
    assert capsys.readouterr().out.splitlines() == [
        "gateway-0    status=ok sessions=3 refused=max_filters:2,connects_per_second:120 cpu=42%",
        "shard-0      status=degraded not linked to coordinator",
        "coordinator  status=down",
    ]


def test_attached_gateways_are_listed_and_do_not_count(run_dir, capsys):
    config = SimpleNamespace(gateways=1, shards=0, run_dir=run_dir, realms=(), web=NO_WEB)
    name = name_of(5)
    links = {"shard-0": True, "coordinator": False, "gateway-x1": False}
    server = answering(
        Path(run_dir) / "coordinator.health", {"status": "ok", "links": {"gateway-x1": False}}
    )
    guest = answering(Path(run_dir) / f"{name}.health", {"status": "degraded", "links": links})
    with (Path(run_dir) / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert check_health(config) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "coordinator  status=ok",
        f"{name} status=degraded not linked to coordinator",
    ]
    for one in (server, guest):
        one.shutdown()
        one.server_close()


@pytest.mark.parametrize(
    ("shares", "cores", "said"),
    [
        ({"gateway-0": 0.5, "gateway-1": 0.4, "shard-0": 0.3, "coordinator": 0.0}, 4, []),
        ({"gateway-0": 0.9, "gateway-1": 0.95, "shard-0": 0.3}, 4, ["All gateways are busy"]),
        ({"gateway-0": 0.9, "gateway-1": 0.1, "shard-0": 0.3}, 4, ["One gateway is busy"]),
        ({"gateway-0": 0.2, "shard-0": 0.99}, 4, ["All shards are busy"]),
        ({"gateway-0": 0.9, "shard-0": 0.95}, 2.0, ["The 2 cores of this machine are used up"]),
        ({"gateway-0": 0.9, "shard-0": 0.5}, 1.5, ["The 1.5 cores of this machine are used up"]),
        ({}, 2, []),
    ],
)
def test_what_there_is_too_little_of_is_said(shares, cores, said):
    sentences = list(shortages(shares, cores))
    assert len(sentences) == len(said)
    assert all(map(str.startswith, sentences, said))
