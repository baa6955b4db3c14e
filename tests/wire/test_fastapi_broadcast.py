"""examples/fastapi_broadcast.py with two workers: in a browser, and worker by worker."""

import os
import tempfile
from pathlib import Path

import browser
import node
import pytest
from cluster import ROOT
from web_servers import GUNICORN, UVICORN, serving

EXAMPLES = str(ROOT / "examples")
SERVERS = {
    "uvicorn": (*UVICORN, "--workers", "2", "--app-dir", EXAMPLES),
    "gunicorn": (*GUNICORN, "-w", "2", "--chdir", EXAMPLES),
}
TOPIC = "com.example.news"


@pytest.fixture(params=SERVERS)
def server(request, cluster):
    environment = {**os.environ, "FOX_RUN_DIR": str(cluster.run_dir)}
    with tempfile.TemporaryDirectory() as folder:
        command = SERVERS[request.param]
        with serving(Path(folder), command, "fastapi_broadcast:app", environment) as server:
            yield server


def test_what_is_said_in_one_window_is_shown_in_all(server):
    url = f"http://127.0.0.1:{server.port}/"
    texts = [f"first at {server.port}", f"<b>second</b> at {server.port}"]
    one, other, late = node.run("broadcast.cjs", browser.executable(), url, *texts)
    # At first, windows are shown what another test has said last.
    assert one[-2:] == other[-2:] == texts
    assert late == texts[1:]


def test_each_worker_reaches_the_websockets_of_both_and_all_other_clients(server, mqtt):
    listener = mqtt.connect()
    one, other = server.pages_of_two_workers()
    with one, other:
        for page in (one, other):
            page.subscribe(TOPIC)
        listener.subscribe(TOPIC.replace(".", "/"))
        for worker in (one.worker, other.worker):
            text = f"said in worker {worker}"
            assert server.request("POST", "/say", {"text": text}, worker=worker)[0] == 200
            assert one.event() == other.event() == text
            listener.until(TOPIC.replace(".", "/"))
