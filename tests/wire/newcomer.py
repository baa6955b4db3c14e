"""Somebody who follows a page of docs/ from the first line to the last, on a fresh server.

Owns: saving its files, entering its commands, comparing what they print. Never: what pages say.

A block is a file if the words before it say "save this as `name`". A block in `console` has
commands, and what each prints; one that goes on gets a shell of its own. A block in `text` has what
the first of these that watches prints next.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from cluster import await_true
from programs import Program

PATIENCE = 60.0
"""Seconds for one command."""

ENDLESS = r"mosquitto_sub |\.venv/bin/fox (tables? watch|watch|sub) "
"""Commands that end only with Ctrl-C, and get a shell of their own like those with `&`."""


def blocks(page):
    """Yield (language, text, words before it) for each block of the page."""
    end = 0
    for block in re.finditer(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield block[1], block[2], page[end : block.start()]
        end = block.end()


def steps(console):
    """Return (command, what it prints) for each command of a block."""
    before, *parts = re.split(r"^\$ (.*)\n", console, flags=re.MULTILINE)
    assert before == ""
    return list(zip(parts[::2], parts[1::2], strict=True))


def without_ids(text):
    """Return the text without publication ids, which are others each time."""
    return re.sub(r"^\d{15,16}\b", "(a publication id)", text, flags=re.MULTILINE)


class Newcomer:
    """Does what a page says, in the folder of a server, and compares what is printed."""

    def __init__(self):
        self.broker = None
        self.commands = []
        # (command, its process) of those with a shell of their own.
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _, program in self.running:
            program.__exit__()
        if self.broker is not None:
            self.broker.stop()

    def start_server(self):
        """Return the server, which is needed when the first command is entered."""
        raise NotImplementedError

    def settle(self, language, text):
        """Do what the page says to do with a block that is neither a file nor entered."""
        raise AssertionError(f"nobody knows what to do with {language}: {text}")

    def follow(self, page):
        """Do all that the page says."""
        for language, text, words in blocks(page):
            self.read(words)
            if saved := re.findall(r"[Ss]ave\s+this\s+as\s+`([\w./]+)`", words):
                self.save(text, *saved)
            elif language == "console":
                for command, prints in steps(text):
                    self.enter(command, prints)
            elif language == "text":
                lines = text.splitlines()
                # Keys that are there before come in any order.
                assert sorted(self.watching.lines(len(lines))) == sorted(lines)
            else:
                self.settle(language, text)

    def read(self, words):
        """Do what the words before a block say; of most pages that is nothing."""

    @property
    def watching(self):
        """The program that watches."""
        return next(program for command, program in self.running if re.match(ENDLESS, command))

    def save(self, text, name):
        """Save a file as it is printed, but for the port."""
        self._need_server()
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.broker.websocket}")
        (self.broker.folder / name).write_text(text)

    def enter(self, command, prints):
        """Enter a command, and compare what it prints."""
        self._need_server()
        self.commands.append(command)
        expected = without_ids(prints)
        if command.endswith(" &") or re.match(ENDLESS, command):
            self.run(command.removesuffix(" &"))
        elif killed := re.fullmatch(r"pkill -9 -f '(.*)'", command):
            self.kill(killed[1])
        elif re.match(r"\.venv/bin/fox (get|keys|tables?|lock) ", command):
            # What follows from a publish, or from a death, is a moment behind it.
            await_true(f"{command} prints {expected}", lambda: self.printed_by(command) == expected)
        else:
            assert self.printed_by(command) == expected, command

    def run(self, command):
        """Run a command in a shell of its own; the page goes on when it has begun its work."""
        program = Program(
            ["sh", "-c", f"exec {self._here(command)}"], self.environment, self.folder
        )
        self.running.append((command, program))
        if client := re.search(r" -i (\w+) ", command):
            sessions = ".venv/bin/fox sessions list"
            await_true("it has connected", lambda: client[1] in self.printed_by(sessions).split())

    def kill(self, words):
        """Kill the process of whose command these words are a part; it alone."""
        (found,) = [running for running in self.running if words in running[0]]
        _, program = found
        self.running.remove(found)
        program.__exit__()

    def printed_by(self, command):
        """Run a command to its end, and return what it prints, without publication ids."""
        done = subprocess.run(
            ["sh", "-c", self._here(command)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return without_ids(done.stdout)

    @property
    def folder(self):
        return self.broker.folder

    @property
    def environment(self):
        # The numbers of processes are in conf/fox.conf.
        return {**self.broker.environment(), "FOX_SHARDS": str(self.broker.shards)}

    def _need_server(self):
        if self.broker is None:
            self.broker = self.start_server()
            os.symlink(Path(sys.executable).parent.parent, self.broker.folder / ".venv")

    def _here(self, command):
        return re.sub(r"^mosquitto_(pub|sub)", rf"mosquitto_\1 -p {self.broker.mqtt}", command)
