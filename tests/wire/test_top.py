"""fox top, at a running server."""

import fcntl
import json
import re
import signal
import struct
import termios

import pytest
from cluster import await_true
from programs import FOX, PATIENCE, AtTerminal, Fox

COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9]m")


@pytest.fixture
def fox(cluster):
    return Fox(cluster)


def resize(terminal, columns, lines):
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def live(fox, *options, **environment):
    command = ["sh", "-c", 'stty cols 80 rows 24; exec "$@"', "sh", *FOX, "top", *options]
    return AtTerminal(command, {**fox.environment, "TERM": "xterm-256color", **environment})


def test_one_picture_is_text(fox):
    def picture():
        """Return what is printed once all is well: a process may be slow to answer."""
        said = fox.prints("top", "--once", "--interval", "0.5", "--sort", "name")
        return said if "all well" in said else None

    said = await_true("all is well", picture)
    assert "\x1b" not in said
    names = re.findall(r"^((?:gateway|shard)-\d|coordinator) +ok ", said, re.MULTILINE)
    assert (names[0], names[-1]) == ("gateway-0", "coordinator")
    assert re.search(r"^realm1 ", said, re.MULTILINE)


def test_what_is_published_is_a_rate(cluster, fox):
    with fox.start("top", "--json", "--interval", "0.5") as top:
        seen = json.loads(top.line())
        while {one["status"] for one in seen["processes"]} != {"ok"}:
            seen = json.loads(top.line())  # a process may be slow to answer
        assert all(one["memory"] > 1 << 20 for one in seen["processes"] if one["name"] != "web")
        fox.prints("pub", "top.rates", "--lines", stdin="x\n" * 100)
        total = 0.0
        while total == 0:
            seen = json.loads(top.line())
            total = seen["rates"]["publishes"]
        assert seen["realms"][0]["name"] == "realm1"
        top.signal(signal.SIGINT)
        assert top.end()[0] == 130


def test_the_live_view_fills_the_terminal_takes_keys_and_ends(fox):
    with live(fox) as terminal:
        terminal.await_shown("q quit")
        assert b"coordinator" in terminal.shown
        assert b"RESTARTS" in terminal.shown
        assert COLOUR.search(terminal.shown)
        terminal.shown = b""
        resize(terminal, 100, 40)
        terminal.await_shown("q quit")
        terminal.type("m")
        terminal.type("q")
        assert terminal.process.wait(PATIENCE) == 0


def test_ctrl_c_ends_the_live_view(fox):
    with live(fox) as terminal:
        terminal.await_shown("q quit")
        terminal.type("\x03")
        assert terminal.process.wait(PATIENCE) == 0


def test_there_are_no_colours_if_nobody_wants_them(fox):
    with live(fox, NO_COLOR="1") as terminal:
        terminal.await_shown("q quit")
        assert not COLOUR.search(terminal.shown)


def test_a_terminal_that_cannot_is_refused_in_words(fox):
    with live(fox, TERM="dumb") as terminal:
        terminal.await_shown("A terminal of the kind 'dumb' (TERM) cannot show a live view")
        assert terminal.process.wait(PATIENCE) == 2
    code, _, err = fox.run("top")
    assert (code, err) == (2, "fox: The live view needs a terminal: say --once, or --json.\n")


def test_without_a_server_that_is_said(fox, tmp_path):
    code, out, err = fox.run("top", "--once", FOX_RUN_DIR=str(tmp_path))
    assert (code, out) == (69, "")
    assert "answers. Does the server run?" in err
