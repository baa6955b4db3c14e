"""The wheel, installed into an empty environment: `fox init`, and a server in an empty folder."""

import os
import shutil
import signal
import subprocess
import sys
import venv
import zipfile

import pytest
from cluster import END, ROOT, Places

INSTALLING = 300.0
"""Seconds for installing the package with everything that it needs."""

SOURCES = (
    *("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"),
    *("conf", "fox_shard", "tools"),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from a copy, so that what other builds have left does not get into it."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "users.toml")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", out, copy)
    (found,) = out.glob("fox_shard-*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """The bin/ of a virtual environment with the package, and nothing else, in it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "-q", wheel)
    return folder / "bin"


def run(*command, env=None, **more):
    """Run a command without the paths that lead to the build under test."""
    hidden = ("PYTHONPATH", "PYTHONSAFEPATH")
    environment = {name: text for name, text in (env or os.environ).items() if name not in hidden}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=INSTALLING,
        check=False,
        env=environment,
        **more,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_what_users_need_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "fox_shard/starter/fox.conf" in names
    assert "fox_shard/tap/command.py" in names
    assert not [name for name in names if name.startswith(("fox_shard/testing", "tests"))]


def test_a_server_starts_in_an_empty_folder(programs):
    server = Places(2, 4)
    # As a user has it: neither this project nor its environment are in sight.
    environment = {
        name: value
        for name, value in server.environment().items()
        if name not in ("FOX_CONFIG", "FOX_RUN_DIR", "FOX_DATA_DIR", "PYTHONPATH", "PYTHONSAFEPATH")
    }
    environment["PATH"] = f"{programs}:/usr/bin:/bin"

    def fox(*arguments):
        return run(programs / "fox", *arguments, cwd=server.folder, env=environment)

    try:
        for path in server.folder.iterdir():
            shutil.rmtree(path)
        assert "supervisord -c conf/fox.conf" in fox("init")
        conf = server.folder / "conf" / "fox.conf"
        conf.write_text(conf.read_text().replace('FOX_SHARDS="2"', 'FOX_SHARDS="4"'))
        with (server.folder / "said.log").open("wb") as said:
            process = subprocess.Popen(
                [str(programs / "supervisord"), "-c", "conf/fox.conf"],
                cwd=server.folder,
                env=environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        try:
            server.await_ready()
            fox("put", "a.b", "hello")
            assert fox("get", "a.b") == "hello\n"
            assert len(fox("health").splitlines()) == 7
            assert "Show the frames" in fox("tap", "--help")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(END)
        assert process.returncode == 0
    finally:
        server.remove()
