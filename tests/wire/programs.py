"""Programs that a test starts, talks to and ends.

Owns: their processes, their lines, and how long to wait. Never: what the programs do.
"""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time

from cluster import ROOT

PATIENCE = 30.0
FOX = (sys.executable, "-m", "fox_shard")


def alive(pid):
    """Whether a process of that id runs, and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def of_script():
    """Return the environment of a script that imports what lies beside it.

    The compiled build is found by PYTHONPATH, and PYTHONSAFEPATH keeps the sources from being found
    before it; but it hides the script's own folder, too.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


def not_under_nohup():
    """Let SIGHUP end the process again: nohup makes all processes started under it ignore it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Program:
    """A process whose standard output is read by lines, and which the end of `with` kills."""

    def __init__(self, command, environment, folder=ROOT):
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=not_under_nohup,
        )
        self._read = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    @property
    def pid(self):
        return self.process.pid

    def line(self):
        """Return the next line that the program prints; fail if it ends before."""
        end = time.monotonic() + PATIENCE
        out = self.process.stdout.fileno()
        while b"\n" not in self._read:
            ready, _, _ = select.select([out], [], [], max(0, end - time.monotonic()))
            assert ready, f"nothing more within {PATIENCE} s, after {self._read!r}"
            part = os.read(out, 4096)
            assert part, f"it has ended: {self.process.stderr.read().decode()}"
            self._read += part
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def say(self, line=""):
        """Write a line to its standard input."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """Wait for the end; return (exit code, rest of standard output, standard error)."""
        code = self.process.wait(PATIENCE)
        rest = self._read + self.process.stdout.read()
        return code, rest.decode(), self.process.stderr.read().decode()


class AtTerminal:
    """A process in a session of its own, with a terminal whose other end is here."""

    def __init__(self, command, environment):
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.master)

    def type(self, text):
        os.write(self.master, text.encode())

    def await_shown(self, text):
        """Read until the terminal has shown the text."""
        end = time.monotonic() + PATIENCE
        while text.encode() not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} is not in {self.shown!r}"
            self.shown += os.read(self.master, 4096)


class Fox:
    """The fox command with the configuration of one cluster."""

    def __init__(self, cluster):
        self.environment = cluster.environment(**cluster.settings)

    def start(self, *arguments, **environment):
        return Program([*FOX, *arguments], {**self.environment, **environment})

    def run(self, *arguments, stdin="", **environment):
        """Run a command to its end; return (exit code, standard output, standard error)."""
        done = subprocess.run(
            [*FOX, *(str(part) for part in arguments)],
            cwd=ROOT,
            env={**self.environment, **environment},
            input=stdin.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def prints(self, *arguments, **more):
        """Run a command that must succeed without errors; return what it prints."""
        code, out, err = self.run(*arguments, **more)
        assert (code, err) == (0, "")
        return out
