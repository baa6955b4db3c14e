"""The package: what its source distribution has, and its wheel in an empty environment."""

import email
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest
from cluster import END, ROOT, Places
from packages import build, copy_sources, outside, run


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the sources, of which the package is built."""
    copy = tmp_path_factory.mktemp("copy") / "sources"
    copy_sources(copy)
    return copy


@pytest.fixture(scope="module")
def packages(sources, tmp_path_factory):
    """The source distribution, and the wheel that is built of it."""
    out = tmp_path_factory.mktemp("dist")
    build(sources, out)
    (archive,), (wheel,) = out.glob("fox_shard-*.tar.gz"), out.glob("fox_shard-*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def wheel(packages):
    return packages[1]


@pytest.fixture(scope="module")
def unpacked(packages, tmp_path_factory):
    """The folder of the source distribution."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(packages[0]) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """The bin/ of a virtual environment with the package, and nothing else, in it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "-q", wheel)
    return folder / "bin"


def test_the_wheel_has_the_dashboard_and_the_licences_of_what_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    folder = ROOT / "fox_shard" / "web" / "dashboard"
    files = [
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert {str(path.relative_to(ROOT)) for path in files} <= {*names}
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {
        "LICENSE",
        "LICENSE-htm",
        "LICENSE-preact",
    }


def test_the_wheel_has_what_users_need_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "fox_shard/starter/fox.conf" in names
    assert "fox_shard/starter/prometheus/alerts.yml" in names
    assert "fox_shard/tap/command.py" in names
    assert not [name for name in names if name.startswith(("fox_shard/testing", "tests"))]


def test_the_source_distribution_has_all_sources(sources, unpacked):
    """In place of the link to conf/ it has a copy of that."""

    def files(folder):
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    made = {"PKG-INFO", "setup.cfg"}
    starter = {f"fox_shard/starter/{name}" for name in files(sources / "conf")}
    more = files(unpacked) - files(sources) - made - starter
    assert {name for name in more if ".egg-info/" not in name} == set()
    assert files(sources) - files(unpacked) == set()


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("pytest", "-q", "tests/core/topics", "tests/core/test_conf_files.py"),
    ],
    ids=lambda command: command[0],
)
def test_the_source_distribution_is_all_that_developing_needs(unpacked, command):
    environment = {**outside(), "PYTHONPATH": "."}
    # What mypy knows of these sources it need not find out anew.
    environment["MYPY_CACHE_DIR"] = str(ROOT / ".mypy_cache")
    run(sys.executable, "-m", *command, cwd=unpacked, env=environment)


def test_a_package_index_shows_the_page(packages, wheel):
    run(sys.executable, "-m", "twine", "check", "--strict", *packages)
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["License-Expression"] == "MIT AND Apache-2.0"  # of the dashboard's parts
    targets = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())
    assert [one for one in targets if not one.startswith(("https://", "http://", "#"))] == []


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
