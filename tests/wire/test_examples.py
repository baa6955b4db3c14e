"""The programs in examples/, run as their docstrings say, except for the ports."""

import os
import re
import signal
import socket
import sys
from contextlib import closing

import pytest
from cluster import ROOT
from programs import PATIENCE, AtTerminal, Fox, Program, of_script

from bench.ports import free_port
from fox_shard.client import Session

EXAMPLES = ROOT / "examples"
WORDS = "com.example.words.of."


@pytest.fixture
def example(cluster):
    """Return a function that starts a program, e.g. `example("lock", "store")`."""

    def start(name, *arguments):
        command = [
            sys.executable,
            EXAMPLES / f"{name}.py",
            "--url",
            f"ws://127.0.0.1:{cluster.websocket}/ws",
        ]
        if name == "configuration":
            command += ["--mqtt-port", cluster.mqtt]
        if name == "invoices/till":
            command[2:] = ["--mqtt-port", cluster.mqtt]
        # A program imports what is in its own folder.
        environment = of_script()
        return Program([*command, *arguments], environment)

    return start


def number_in(line):
    return int(re.search(r"\d+$", line)[0])


def test_presence_shows_who_is_connected(example):
    with example("presence", "ann") as ann:
        assert ann.line() == "here: ann"
        with example("presence", "bob") as bob:
            assert ann.line() == "here: ann, bob"
            while bob.line() != "here: ann, bob":
                pass  # the two keys come in any order
            os.kill(bob.pid, signal.SIGKILL)
            assert ann.line() == "here: ann"


def test_leader_is_followed_when_it_is_killed(example):
    with example("leader", "ann") as ann:
        lines = ann.lines(2)
        term = number_in(lines[0])
        assert sorted(lines) == [f"I lead in term {term}", f"ann leads in term {term}"]
        with example("leader", "bob") as bob:
            assert bob.line() == f"ann leads in term {term}"
            os.kill(ann.pid, signal.SIGKILL)
            assert bob.line() == "nobody leads"
            lines = bob.lines(2)
            following = number_in(lines[0])
            assert following > term
            assert sorted(lines) == [
                f"I lead in term {following}",
                f"bob leads in term {following}",
            ]


def test_lock_keeps_a_former_holder_from_writing(cluster, example):
    fox = Fox(cluster)
    with (
        example("lock", "store") as store,
        example("lock", "writer", "ann") as ann,
        example("lock", "writer", "bob") as bob,
    ):
        assert store.line() == "the store is open"
        first, second = (ann, bob) if lock_holder(fox) == "ann" else (bob, ann)
        names = {ann: "ann", bob: "bob"}
        assert first.line() == f"{names[first]} has the lock; Enter: write"
        fox.prints("put", "com.example.store.lock", "--delete")
        assert second.line() == f"{names[second]} has the lock; Enter: write"
        second.say()
        assert second.line() == "written"
        assert store.line() == f"stored: {names[second]} was here"
        assert second.end()[:2] == (0, "")
        first.say()
        assert re.fullmatch(r"refused: (\d+) is over, (\d+) has written", first.line())
        assert first.line() == "the lock was not mine any more"
        assert first.end()[:2] == (0, "")


def lock_holder(fox):
    """Return the value of the lock's key, as soon as there is one."""
    with fox.start("watch", "com.example.store.lock") as watch:
        return watch.line().split("\t")[1].strip('"')


def test_configuration_reaches_the_device(cluster, example):
    with example("configuration", "watch") as watch:
        with example("configuration", "set", "lamp", "level=3", 'color="red"') as change:
            assert change.end()[0] == 0
        assert watch.line() == 'lamp should have {"level": 3, "color": "red"}'
        with example("configuration", "device", "lamp") as lamp:
            assert lamp.line() == 'lamp applies {"level":3,"color":"red"}'
            assert watch.line() == 'lamp has {"level": 3, "color": "red"}'
            with example("configuration", "set", "lamp", "level=null") as change:
                assert change.end()[0] == 0
            assert lamp.line() == 'lamp applies {"color":"red"}'
        assert sorted(watch.lines(2)) == [
            'lamp has {"color": "red"}',
            'lamp should have {"color": "red"}',
        ]
    # Other tests use the same broker, and expect no other keys there.
    for key in ("com.example.wanted.lamp", "com.example.applied.lamp"):
        Fox(cluster).prints("put", key, "--delete")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("level", "'level' is no SETTING=JSON, such as level=3"),
        ("=3", "'=3' is no SETTING=JSON, such as level=3"),
        ("color=red", "'red' is no JSON; text needs quotes: 'color=\"red\"'"),
    ],
)
def test_configuration_without_a_value_says_how_it_is_used(example, setting, says):
    with example("configuration", "set", "lamp", setting) as change:
        code, out, err = change.end()
    assert (code, out) == (2, "")
    assert err.startswith("usage: configuration.py set ")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("presence", "ann"),
        ("leader", "ann"),
        ("lock", "store"),
        ("word_count", "watch"),
        ("configuration", "watch"),
        ("configuration", "device", "lamp"),
        ("invoices/totals",),
        ("invoices/till", "ann"),
        ("invoices/office", "write", "acme", "1"),
    ],
    ids=" ".join,
)
def test_without_a_server_a_program_says_so_in_a_sentence(arguments):
    name, *rest = arguments
    port = free_port()
    is_mqtt = name == "invoices/till" or "device" in rest
    place = ("--mqtt-port", port) if is_mqtt else ("--url", f"ws://127.0.0.1:{port}/ws")
    command = [sys.executable, EXAMPLES / f"{name}.py", *place, *rest]
    out, err, code = ended(Program(command, of_script()))
    assert (out, code) == ("", 1)
    assert re.fullmatch(rf"Cannot connect to .*127\.0\.0\.1:{port}.*: Connection refused\..*", err)


@pytest.mark.parametrize("arguments", [("lock", "store"), ("word_count", "watch")], ids=" ".join)
def test_ctrl_c_ends_a_program_that_tries_to_connect_again(arguments):
    name, *rest = arguments
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        nobody.settimeout(PATIENCE)
        url = f"ws://127.0.0.1:{nobody.getsockname()[1]}/ws"
        command = [sys.executable, EXAMPLES / f"{name}.py", "--url", url, *rest]
        with Program(command, of_script()) as program:
            for _ in range(3):  # whether anybody answers; and the program's own attempts
                nobody.accept()[0].close()
            program.signal(signal.SIGINT)
            code, out, err = program.end()
    assert (code, out) == (-signal.SIGINT, "")
    assert "Traceback" not in err


def test_every_example_tells_how_to_run_it():
    for path in EXAMPLES.glob("*.py"):
        if path.name != "keys.py":
            told = path.read_text().split('"""')[1]
            served = re.search(rf"\.venv/bin/uvicorn --app-dir examples .*{path.stem}:app", told)
            assert served or f".venv/bin/python examples/{path.name}" in told


def test_the_page_of_invoices_tells_how_to_run_each_program():
    page = (EXAMPLES / "invoices" / "README.md").read_text()
    for path in (EXAMPLES / "invoices").glob("*.py"):
        assert f"    .venv/bin/python examples/invoices/{path.name}" in page
        assert f"| `{path.name}` |" in page


@pytest.fixture
def no_schema_afterwards(cluster):
    """Erase the tables of the invoices, which other tests do not expect."""
    yield
    fox = Fox(cluster)
    for topic in fox.prints("keys", "com.example.invoice.#").splitlines():
        fox.prints("put", topic, "--delete")
    with Session(f"ws://127.0.0.1:{cluster.websocket}/ws", "realm1") as session:
        session.call("fox.schema.set", {})


def ended(program):
    """Wait for the end of a program; return what it printed, its errors, and its exit code."""
    with program:
        code, out, err = program.end()
    return out.strip(), err.strip(), code


@pytest.mark.usefixtures("no_schema_afterwards")
def test_invoices_show_the_totals_of_what_tills_and_the_office_publish(cluster, example):
    with example("invoices/totals") as totals:
        assert totals.line() == "watching"
        number, _, code = ended(example("invoices/office", "write", "A. & B. #1", "12.50"))
        assert code == 0
        assert totals.line() == "A. & B. #1 1 12.50 12.50 12.50"
        assert ended(example("invoices/office", "correct", number, "13.00")) == ("corrected", "", 0)
        assert totals.line() == "A. & B. #1 1 13.00 13.00 13.00"
        out, err, code = ended(example("invoices/office", "correct", number, "13"))
        assert (out, code) == ("", 1)
        assert err.startswith('fox.error.invalid_payload: "13" does not fit pattern')
        assert ended(example("invoices/office", "cancel", number)) == ("canceled", "", 0)
        assert totals.line() == "com.example.customer.A%2E%20&%20B%2E%20%231 deleted"

        out, _, code = ended(example("invoices/till", "ann", "--count", "20", "--pause", "0"))
        assert code == 0
        expected = {}
        for line in out.splitlines():
            _, rest = line.split(" ", 1)
            customer, amount = rest.rsplit(" ", 1)
            count, cents = expected.get(customer, (0, 0))
            expected[customer] = count + 1, cents + round(100 * float(amount))
        assert sum(count for count, _ in expected.values()) == 20
        shown = {}
        while shown != expected:
            customer, count, total, _, _ = totals.line().rsplit(" ", 4)
            shown[customer] = int(count), round(100 * float(total))
    out = Fox(cluster).prints("tables", "verify")
    # Midnight may have passed.
    assert re.search(
        "^com.example.day: [12] rows, made of 20 contributions; 0 are wrong$", out, re.M
    )


@pytest.mark.usefixtures("no_schema_afterwards")
def test_invoices_are_drawn_as_a_table_at_a_terminal(cluster, example):
    url = f"ws://127.0.0.1:{cluster.websocket}/ws"
    command = [sys.executable, EXAMPLES / "invoices" / "totals.py", "--url", url]
    with AtTerminal(command, dict(os.environ)) as terminal:
        terminal.await_shown(f"{'customer':20} {'invoices':>12} {'total':>12}")
        assert ended(example("invoices/office", "write", "acme", "7.00"))[2] == 0
        terminal.await_shown(f"{'acme':20} {1:>12} {'7.00':>12}")
        assert ended(example("invoices/office", "write", "acme", "1.50"))[2] == 0
        terminal.await_shown(f"{'acme':20} {2:>12} {'8.50':>12} {'4.25':>12}")
        terminal.type("\x03")
        assert terminal.process.wait(PATIENCE) == 0


def test_word_count_counts_each_word_once(cluster, example):
    with example("word_count", "watch") as watch, example("word_count", "count") as first:
        assert watch.line() == "watching"
        assert first.line() == "counting"
        with example("word_count", "read", "the quick fox and the lazy dog") as read:
            assert read.line() == "7 words"
        once = [f"{word}: 1" for word in ("and", "dog", "fox", "lazy", "quick", "the")]
        assert sorted(watch.lines(7)) == [*once, "the: 2"]
        with example("word_count", "count") as second:
            assert second.line() == "counting"
            os.kill(first.pid, signal.SIGKILL)
            with example("word_count", "read", "the fox") as read:
                assert read.line() == "2 words"
            assert sorted(watch.lines(2)) == ["fox: 2", "the: 3"]
    # Other tests use the same broker, and expect no other keys there.
    fox = Fox(cluster)
    fox.prints("reducers", "remove", "word counts", "--pattern", WORDS, "--match", "prefix")
    for key in fox.prints("keys", f"{WORDS}#").splitlines():
        fox.prints("put", key, "--delete")
