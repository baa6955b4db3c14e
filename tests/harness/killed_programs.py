"""Programs that kill themselves at a given step of their work on a folder, as a power cut would.

Owns: what a step is. Never: the work.
"""

import subprocess
import sys

STEPS = ("os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "sqlite3.connect")
"""What Python's audit hooks tell of files, each of which is a step."""

PRELUDE = """
import os, signal, sys
from pathlib import Path
folder, left = sys.argv[1], int(sys.argv[2])
watched = sys.argv[3:]

def step():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    if event in watched and folder in os.fsdecode(arguments[0]):
        step()

sys.addaudithook(watch)
"""


def run_killed(work, folder, steps, data=None, watched=STEPS):
    """Run the program `work` until it has made so many steps; return its exit code.

    work: has the names of the prelude; may call `step` itself. data: its standard input.
    """
    command = [sys.executable, "-c", f"{PRELUDE}\n{work}", str(folder), str(steps), *watched]
    return subprocess.run(command, input=data, check=False).returncode
