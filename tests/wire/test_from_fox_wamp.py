"""The blocks of docs/from-fox-wamp.md: each runs as it is printed, except for ports.

The root `conftest.py` runs those Python blocks that need no web server.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import node
import pytest
from certificates import Authority
from cluster import END, ROOT, Places, await_true, write_config
from served import Served

from bench.measure import listening
from fox_shard.config import load

PAGE = (ROOT / "docs" / "from-fox-wamp.md").read_text()
IN_A_SESSION = """\
'use strict';
delete globalThis.WebSocket;
const autobahn = require('autobahn');
function join() {
  const connection = new autobahn.Connection({url: URL, realm: 'realm1', max_retries: 0});
  return new Promise((resolve, reject) => {
    connection.onopen = (session) => resolve({session, connection});
    connection.onclose = (reason, details) => reject(new Error(`${reason} ${details.reason}`));
    connection.open();
  });
}
async function example(session, connection) {
BLOCK}
join().then(async ({session, connection}) => {
  connection.onclose = () => {};
  await example(session, connection);
  if (CLOSE) connection.close();
}).catch((error) => { console.error(error); process.exit(1); });
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def block(language, containing):
    (found,) = [text for text in blocks(language) if containing in text]
    return found


def printed(text):
    """Return what the comments behind `console.log` say that the block prints."""
    return re.findall(r"console\.log\(.*\); // (.*)$", text, re.MULTILINE)


def run_in_node(folder, program, **environment):
    """Run a program with the packages of tests/wire/js; return its lines."""
    (folder / "program.cjs").write_text(program)
    for name, target in (("node_modules", node.modules()), ("examples", ROOT / "examples")):
        if not (folder / name).exists():
            (folder / name).symlink_to(target)
    done = subprocess.run(
        ["node", "program.cjs"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def in_a_session(text, url, *, close=True):
    program = IN_A_SESSION.replace("URL", repr(url)).replace("CLOSE", "true" if close else "false")
    return program.replace("BLOCK", text)


@pytest.fixture(scope="module")
def shared_served():
    with Served() as served:
        yield served


@pytest.fixture
def cluster(shared_served, request):
    sizes = request.node.log_sizes = shared_served.sizes()
    yield shared_served
    shared_served.check(sizes)


OF_CLIENTS = [text for text in blocks("js") if "5000" not in text and "chat." not in text]


@pytest.mark.parametrize("text", OF_CLIENTS, ids=lambda text: printed(text)[0])
def test_what_clients_do_runs_as_printed(cluster, tmp_path, text):
    here = text.replace("127.0.0.1:1883", f"127.0.0.1:{cluster.mqtt}")
    program = in_a_session(here, f"ws://127.0.0.1:{cluster.websocket}/wss")
    assert run_in_node(tmp_path, program) == printed(text)


def test_every_block_is_run():
    """No language is used on the page whose blocks nobody runs, except for fox-wamp's own."""
    languages = set(re.findall(r"^```(\w+)", PAGE, re.MULTILINE))
    assert languages == {"js", "python", "toml", "javascript"}
    assert len(OF_CLIENTS) == 6
    assert all("FoxRouter(" in text or "httpsServer" in text for text in blocks("javascript"))


@contextmanager
def uvicorn(places, command, **files):
    """Run the command of the page in a folder with these modules, at a free port."""
    for name, text in files.items():
        (places.folder / f"{name}.py").write_text(text)
    port = places.websocket
    program, *arguments = command.replace("5000", str(port)).split()
    assert program == "uvicorn"
    with (places.folder / "uvicorn.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            cwd=places.folder,
            env={
                # The listeners of the server have ports that other servers may have.
                **places.environment(),
                "FOX_GATEWAY_WEBSOCKET": "off",
                "PYTHONPATH": str(ROOT),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        await_true("uvicorn listens", lambda: listening(port) or process.poll() is not None)
        yield port
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.wait(END)
    finally:
        process.kill()
        process.wait()
        print((places.folder / "uvicorn.log").read_text())


@pytest.fixture
def places():
    made = Places(1, 1)
    yield made
    made.remove()


def commands():
    return re.findall(r"^    (uvicorn .*)$", PAGE, re.MULTILINE)


def test_a_web_application_has_the_router_at_its_own_port(places):
    plain, _ = commands()
    text = block("js", "ws:localhost:5000/wss")
    with uvicorn(places, plain, application=block("python", "Hello World!")) as port:
        program = f"delete globalThis.WebSocket;\n{text.replace('5000', str(port))}"
        assert run_in_node(places.folder, program) == printed(text)


def test_a_web_application_has_the_router_behind_its_tls(places):
    _, with_tls = commands()
    text = block("js", "ws:localhost:5000/wss")
    authority = certificate(places.folder)
    with uvicorn(places, with_tls, application=block("python", "Hello World!")) as port:
        program = text.replace("ws:localhost:5000", f"wss:localhost:{port}")
        program = f"delete globalThis.WebSocket;\n{program}"
        environment = {"NODE_EXTRA_CA_CERTS": str(authority.path)}
        assert run_in_node(places.folder, program, **environment) == printed(text)


def certificate(folder):
    """Make config/server.crt and config/server.key; return the authority."""
    (folder / "config").mkdir()
    authority = Authority(folder / "config")
    pem, _ = authority.sign("server", "localhost")
    pem.rename(pem.with_suffix(".crt"))
    return authority


def test_the_listener_with_tls_is_one(tmp_path):
    certificate(tmp_path)
    file = write_config(tmp_path, block("toml", "listener"))
    (listener,) = load(file, {}).listeners
    assert str(listener.address) == "127.0.0.1:5443"


def test_the_chat_serves_its_clients(places):
    plain, _ = commands()
    text = block("js", "chat.messages")
    chat = block("python", "chat.messages")
    with uvicorn(places, plain.replace("application", "chat"), chat=chat) as port:
        program = in_a_session(text, f"ws://127.0.0.1:{port}/wss", close=False)
        assert run_in_node(places.folder, program) == printed(text)


def test_the_authorizer_is_asked(own_served, tmp_path):
    config = block("toml", "authorizer")
    served = own_served(config, rules=block("python", "def may"))
    asking = """\
const errors = await Promise.all(['sys.user.info.joe', 'com.example.a'].map((topic) =>
  session.subscribe(topic, () => {}).then(() => null, (refused) => refused.error)));
console.log(errors.join());
"""
    program = in_a_session(asking, f"ws://127.0.0.1:{served.websocket}/ws")
    assert run_in_node(tmp_path, program) == ["wamp.error.not_authorized,"]


@pytest.fixture
def own_served(tmp_path_factory):
    made = []

    def make(text, **modules):
        folder = tmp_path_factory.mktemp("configured")
        made.append(Served(config=write_config(folder, text, **modules)))
        return made[-1]

    yield make
    for served in made:
        served.stop()
