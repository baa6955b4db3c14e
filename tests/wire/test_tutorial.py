"""docs/tutorial-invoices.md, followed from the first line to the last on a fresh server."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import ROOT, await_true
from programs import Program
from supervised import Supervised

PAGE = (ROOT / "docs" / "tutorial-invoices.md").read_text()
CONF = ROOT / "conf"

PATIENCE = 60.0
"""Seconds for one command."""


def blocks():
    """Yield (language, text, words before it) for each block of the page."""
    end = 0
    for block in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        yield block[1], block[2], PAGE[end : block.start()]
        end = block.end()


def steps(console):
    """Return (command, what it prints) for each command of a block."""
    before, *parts = re.split(r"^\$ (.*)\n", console, flags=re.MULTILINE)
    assert before == ""
    return list(zip(parts[::2], parts[1::2], strict=True))


def without_ids(text):
    """Return the text without publication ids, which are others each time."""
    return re.sub(r"^\d{15,16}\b", "(a publication id)", text, flags=re.MULTILINE)


def changed(config, settings):
    """Return the configuration with the changes that the page asks for."""
    schema, reducer = settings
    assert config.count('\nschema = ""') == 1
    return config.replace('schema = ""', schema.strip()) + reducer


class Newcomer:
    """Does what the page says, in the folder of a server, and compares what is printed."""

    def __init__(self, folder):
        """folder: for the changed configuration."""
        self.folder = folder
        self.settings = []
        self.broker = None
        self.watch = None
        self.commands = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.watch is not None:
            self.watch.__exit__()
        if self.broker is not None:
            self.broker.stop()

    def start_server(self):
        (self.folder / "schema.json").write_text((CONF / "schema.json").read_text())
        config = self.folder / "fox.toml"
        config.write_text(changed((CONF / "fox.toml").read_text(), self.settings))
        self.broker = Supervised(config=config)
        os.symlink(Path(sys.executable).parent.parent, self.broker.folder / ".venv")

    def follow(self):
        for language, text, words in blocks():
            match language:
                case "json":
                    assert text == (CONF / "schema.json").read_text()
                case "toml":
                    self.settings.append(text)
                case "python":
                    self.save(text, *re.findall(r"Save this as `(\w+\.py)`", words))
                case "console":
                    for command, prints in steps(text):
                        self.enter(command, prints)
                case "text":
                    lines = text.splitlines()
                    assert self.watch.lines(len(lines)) == lines
                case _:
                    raise AssertionError(f"nobody knows what to do with {language}")

    def save(self, text, name):
        assert "127.0.0.1:8080" in text
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.broker.websocket}")
        (self.broker.folder / name).write_text(text)

    def enter(self, command, prints):
        """Enter a command into a shell; one that watches gets a shell of its own."""
        if self.broker is None:
            self.start_server()
        self.commands.append(command)
        expected = without_ids(prints)
        if command.startswith(".venv/bin/fox table watch"):
            self.watch = Program(
                ["sh", "-c", f"cd {self.broker.folder}; exec {command}"], self.environment
            )
        elif re.match(r"\.venv/bin/fox (get|keys|table) ", command):
            # Totals are a moment behind what has been published.
            await_true(f"{command} prints {expected}", lambda: self.printed_by(command) == expected)
        else:
            assert self.printed_by(command) == expected, command

    def printed_by(self, command):
        """Run a command to its end, and return what it prints, without publication ids."""
        done = subprocess.run(
            ["sh", "-c", command.replace("mosquitto_pub", f"mosquitto_pub -p {self.broker.mqtt}")],
            cwd=self.broker.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return without_ids(done.stdout)

    @property
    def environment(self):
        # The numbers of processes are in conf/fox.conf.
        return {**self.broker.environment(), "FOX_SHARDS": str(self.broker.shards)}


def test_the_tutorial_works_as_it_is_printed(tmp_path):
    if shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not installed (Debian package mosquitto-clients)")
    with Newcomer(tmp_path) as newcomer:
        newcomer.follow()
    assert len(newcomer.commands) > 15
