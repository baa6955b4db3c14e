"""Node programs of tests/wire/js: their packages, and running them.

Owns: installing the packages once for all test workers. Never: what the programs do.
"""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

JS = Path(__file__).parent / "js"
INSTALL = 300.0
"""Seconds that npm may take."""


def modules():
    """Install the packages if they are missing or others are wanted, and return their folder.

    Without Node the test is skipped; in CI it fails.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        reason = "node and npm are not installed (Debian packages nodejs, npm)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    installed = JS / "node_modules" / ".package-lock.json"
    with (JS / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = JS / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
            done = subprocess.run(
                ["npm", "ci", "--loglevel=error"],
                cwd=JS,
                capture_output=True,
                text=True,
                timeout=INSTALL,
                check=False,
            )
            assert done.returncode == 0, f"npm ci: {done.stdout}\n{done.stderr}"
    return JS / "node_modules"


def run(program, *arguments, timeout=60, environment=None):
    """Run tests/wire/js/<program> to its end, and return its last line, decoded from JSON.

    environment: variables besides those of the test.
    """
    modules()
    done = subprocess.run(
        ["node", str(JS / program), *map(str, arguments)],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{program}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])
