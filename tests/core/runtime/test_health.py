"""How `fox health` prints what the processes answer."""

import json
import socketserver
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from fox_shard.runtime.health import check_health

ANSWERS = {
    "gateway-0": {
        "name": "gateway-0",
        "status": "ok",
        "links": {"shard-0": True, "coordinator": True},
        "sessions": 3,
        "refused": {"max_filters": 2, "connects_per_second": 120},
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
    config = SimpleNamespace(gateways=1, shards=1, run_dir=run_dir)
    assert check_health(config) == 1
    assert capsys.readouterr().out.splitlines() == [
        "gateway-0    status=ok sessions=3 refused=max_filters:2,connects_per_second:120",
        "shard-0      status=degraded not linked to coordinator",
        "coordinator  status=down",
    ]
