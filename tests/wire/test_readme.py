"""The client examples of README.md, run as they are printed, except for the ports."""

import re
import shlex
import shutil
import subprocess
import sys
import threading

import node
import pytest
from cluster import ROOT, await_true
from supervised import Supervised

README = (ROOT / "README.md").read_text()
PATIENCE = 60.0
"""Seconds for one program or command, on a busy machine, too."""


def example(language, containing):
    """Return the block in that language that contains a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return found


def at_ports(cluster, text):
    """Return the text with the ports of the test's broker."""
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{cluster.websocket}")
    return text.replace("json.dumps(21.5), qos=1", f"json.dumps(21.5), port={cluster.mqtt}, qos=1")


@pytest.fixture
def program(cluster, tmp_path):
    """Run the WAMP program in Python, and give a function that returns its next line."""
    script = tmp_path / "wamp_program.py"
    script.write_text(at_ports(cluster, example("python", "Component(")))
    process = subprocess.Popen(
        [sys.executable, "-u", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()

    def printed():
        for line in process.stdout:
            if not re.match(r"\d{4}-\d\d-", line):  # a line of autobahn's log
                return line.strip()
        raise AssertionError("the program has ended")

    with process:
        try:
            yield printed
        finally:
            process.kill()
    timer.cancel()


def run(command):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def publish_with_paho(cluster, tmp_path):
    script = tmp_path / "mqtt_program.py"
    script.write_text(at_ports(cluster, example("python", "paho.mqtt.publish.single")))
    run([sys.executable, str(script)])


def test_the_python_examples_work(cluster, program, tmp_path):
    assert program() == "2 + 3 = 5"
    publish_with_paho(cluster, tmp_path)
    assert program() == "it is 21.5 °C"


def test_the_mosquitto_commands_work(cluster, program):
    if shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not installed (Debian package mosquitto-clients)")
    assert program() == "2 + 3 = 5"
    commands = re.findall(r"^    (mosquitto_(?:pub|sub) .*)$", README, re.MULTILINE)
    sub, pub = (f"{command} -p {cluster.mqtt}" for command in commands)
    assert pub.startswith("mosquitto_pub")
    listener = subprocess.Popen(
        ["sh", "-c", f"exec {sub} -C 1 -W {PATIENCE:.0f}"], stdout=subprocess.PIPE, text=True
    )
    with listener:
        # Publish until the listener has subscribed; it takes one event, the program each of them.
        while listener.poll() is None:
            run(["sh", "-c", pub])
            assert program() == "it is 21.5 °C"
        assert listener.stdout.read() == "com/example/temperature 21.5\n"


def test_the_example_for_the_browser_works(cluster, program, tmp_path):
    """Node runs the script, with its own `autobahn` in place of the page's first script."""
    assert program() == "2 + 3 = 5"
    publish_with_paho(cluster, tmp_path)
    html = at_ports(cluster, example("html", "autobahn.Connection"))
    (script,) = re.findall(r"<script>\n(.*?)</script>", html, re.DOTALL)
    path = tmp_path / "page.cjs"
    path.write_text(
        "delete globalThis.WebSocket;\n"
        f"globalThis.autobahn = require({str(node.modules() / 'autobahn')!r});\n{script}"
    )
    page = subprocess.Popen(["node", str(path)], stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(PATIENCE, page.kill)
    timer.start()
    with page:
        # The call's result may overtake the event, as calls and events are not ordered.
        lines = [page.stdout.readline().strip() for _ in range(3)]
        page.terminate()
    timer.cancel()
    assert lines[0] == "21.5 °C"
    assert sorted(lines[1:]) == ["22 °C", "5"]
    assert program() == "it is 21.5 °C"
    assert program() == "it is 22 °C"


@pytest.mark.parametrize(
    ("containing", "prints"),
    [
        ("com.example.leader", "fox.error.condition_failed true\n"),
        ("com.example.lock", "true\n"),
    ],
)
def test_the_examples_of_keys_work(containing, prints, cluster, tmp_path):
    body = example("js", containing)
    path = tmp_path / "keys.cjs"
    path.write_text(
        "delete globalThis.WebSocket;\n"
        f"const autobahn = require({str(node.modules() / 'autobahn')!r});\n"
        "const connection = new autobahn.Connection("
        f"{{url: 'ws://127.0.0.1:{cluster.websocket}/ws', realm: 'realm1', max_retries: 0}});\n"
        f"const example = async (session) => {{\n{body}\n}};\n"
        "connection.onopen = async (session) => {\n"
        "await example(session);\nawait example(session);\nconnection.close();\n};\n"
        "connection.open();\n"
    )
    # The example can be repeated: it runs twice in one session, and again in another session.
    for _ in range(2):
        assert run(["node", str(path)]) == 2 * prints


def section(title):
    """Return the indented lines of a section, without the indentation."""
    (text,) = re.findall(rf"^### {title}\n(.*?)^### ", README, re.MULTILINE | re.DOTALL)
    return [line[4:] for line in text.splitlines() if line.startswith("    ")]


def test_the_examples_of_reducers_and_tables_work(tmp_path):
    reducers, tables = section("Reducers"), section("Tables")
    commands = [line for line in reducers + tables if line.startswith(".venv/bin/fox ")]
    conf = ROOT / "conf"
    (tmp_path / "schema.json").write_text((conf / "schema.json").read_text())
    text = (conf / "fox.toml").read_text().replace('schema = ""', 'schema = "schema.json"')
    sections = [line for line in reducers if line not in commands]
    (tmp_path / "fox.toml").write_text("\n".join([text, *sections]))
    broker = Supervised(config=tmp_path / "fox.toml")

    def printed_by(command):
        done = broker.fox(*shlex.split(command)[1:])
        return done.stdout + done.stderr

    try:
        put_payment, get_total, put_invoice, correct_invoice, show_totals = commands
        assert re.fullmatch(r"\d+\n", printed_by(put_payment))
        await_true("the sum is there", lambda: printed_by(get_total) == "12.50\n")
        assert re.fullmatch(r"\d+\tinvoice\.2026-11-02\.acme\n", printed_by(put_invoice))
        assert re.fullmatch(r"\d+\tinvoice\.2026-11-02\.acme\n", printed_by(correct_invoice))
        total = '{"customer":"acme","total":"13.00"}\n'
        await_true("the total is there", lambda: printed_by(show_totals) == total)
    finally:
        broker.stop()
