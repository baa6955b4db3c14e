"""The package as users get it, and commands that see nothing of the build under test.

Owns: building from a copy of the sources; the environment of such commands. Never: what is in it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cluster import ROOT

INSTALLING = 300.0
"""Seconds for installing the package with everything that it needs."""

NO_SOURCES = (
    *(".git", ".venv", "build", "data", "dist", "node_modules", "users.toml", ".peers"),
    *("*.egg-info", "__pycache__", ".*_cache", ".hypothesis", ".coverage*", "*.sock", "*.lock"),
)
"""What lies in a working copy and belongs to nobody else (see .gitignore)."""


def copy_sources(copy):
    """Copy the sources, so that what other builds have left does not get into the package."""
    shutil.copytree(ROOT, copy, symlinks=True, ignore=_no_sources)


def _no_sources(folder, names):
    if Path(folder) == ROOT / "run":
        # A server that has run here has left sockets.
        return {name for name in names if name != ".gitkeep"}
    return shutil.ignore_patterns(*NO_SOURCES)(folder, names)


def build(sources, out, *kinds):
    """Build the wheel and the source distribution, or only these kinds: `--wheel`."""
    run(sys.executable, "-m", "build", *kinds, "--outdir", out, sources)


def outside():
    """Return the environment without what leads to the build under test."""
    hidden = ("PYTHONPATH", "PYTHONSAFEPATH", "TESTED_BUILD")
    return {name: text for name, text in os.environ.items() if name not in hidden}


def run(*command, env=None, **more):
    """Run a command, and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=INSTALLING,
        check=False,
        env=outside() if env is None else env,
        **more,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
