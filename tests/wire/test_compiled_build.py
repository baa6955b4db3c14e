"""The compiled build in real processes: what runs, what logs say, what `fox run` chooses."""

import re
import subprocess
import sys
import traceback

import pytest
from cluster import ROOT
from served import Served
from supervised import Supervised

import fox_shard
from fox_shard.compiled import PACKAGE, Manifest, chosen, hot_modules
from fox_shard.topics.trie import Trie

pytestmark = pytest.mark.skipif(
    Manifest.read(PACKAGE) is None, reason="the sources are tested, not a compiled build"
)


def test_the_processes_of_the_tests_run_compiled(cluster):
    started = re.findall(r"\bstarted\b.*\bbuild=(\w+)", cluster.log())
    assert started == ["compiled"] * len(cluster.names)


def test_all_hot_modules_are_compiled_and_no_others():
    code = "import sys, pkgutil, importlib, fox_shard\n" + (
        "for one in pkgutil.walk_packages(fox_shard.__path__, 'fox_shard.'):\n"
        "    if not one.name.endswith('__main__'): importlib.import_module(one.name)\n"
        "print(*(n for n, m in sys.modules.items() if n.startswith('fox_shard.')"
        " and m.__file__.endswith('.so')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    compiled = {f"{name.replace('.', '/')}.py" for name in done.stdout.split()}
    assert compiled == set(hot_modules(ROOT))
    assert len(compiled) == Manifest.read(PACKAGE).modules


def test_a_traceback_names_the_line_of_the_source():
    try:
        Trie().add(None, None)
    except AttributeError as error:
        frames = traceback.extract_tb(error.__traceback__)
    assert frames[-1].filename.endswith("fox_shard/topics/trie.py")
    assert frames[-1].line in (ROOT / "fox_shard/topics/trie.py").read_text()


@pytest.mark.parametrize(
    ("variable", "build"), [({}, "compiled"), ({"FOX_INTERPRETED": "1"}, "interpreted")]
)
def test_fox_run_from_the_sources_chooses_the_compiled_build(variable, build, monkeypatch):
    assert chosen({}, ROOT / "fox_shard").folder == PACKAGE.parent
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    broker = Supervised(2, 4, **{"FOX_INTERPRETED": "", **variable})
    try:
        said = broker.said.read_text()
        assert re.findall(r"\bstarted\b.*\bbuild=(\w+)", said) == [build] * 7
        assert broker.fox("version").stdout.startswith(
            f"fox-shard {fox_shard.__version__}, {build}"
        )
    finally:
        assert broker.stop() == 0


@pytest.mark.parametrize(
    ("variable", "build"), [({}, "compiled"), ({"FOX_INTERPRETED": "1"}, "interpreted")]
)
def test_fox_serve_from_the_sources_chooses_the_compiled_build(variable, build, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with Served(**{"FOX_INTERPRETED": "", **variable}) as broker:
        assert re.findall(r"\bstarted\b.*\bbuild=(\w+)", broker.log()) == [build]
