"""Which build `fox run` uses, and which modules may be compiled."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fox_shard.compiled import (
    INTERPRETED,
    MANIFEST,
    Build,
    Manifest,
    chosen,
    digest,
    hot_modules,
    use,
)

ROOT = Path(__file__).parents[2]
PYTHON = sys.implementation.cache_tag


def write_sources(package):
    (package / "inside").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inside" / "a.py").write_text("A = 1\n")


def write_manifest(package, sources, python=PYTHON):
    package.mkdir(parents=True, exist_ok=True)
    manifest = Manifest("2.4.1", python, sources, 149)
    (package / MANIFEST).write_text(json.dumps(manifest._asdict()))


@pytest.fixture
def package(tmp_path):
    """Sources of a package, of which there is a compiled build."""
    write_sources(tmp_path / "fox_shard")
    folder = tmp_path / "build" / "compiled"
    write_manifest(folder / "fox_shard", digest(tmp_path / "fox_shard"))
    return tmp_path / "fox_shard"


def test_sources_without_a_build_are_interpreted(tmp_path):
    write_sources(tmp_path / "fox_shard")
    assert chosen({}, tmp_path / "fox_shard") == Build("interpreted")


def test_a_build_of_these_sources_is_used(package):
    folder = package.parent / "build" / "compiled"
    words = f"compiled (mypyc 2.4.1, 149 modules), in {folder}"
    assert chosen({}, package) == Build(words, folder)


def test_a_package_that_is_compiled_itself_needs_no_other(package):
    compiled = package.parent / "build" / "compiled" / "fox_shard"
    assert chosen({INTERPRETED: "yes"}, compiled) == Build("compiled (mypyc 2.4.1, 149 modules)")


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_a_build_of_other_sources_is_not_used(package, change):
    module = package / "inside" / "a.py"
    match change:
        case "edit":
            module.write_text("A = 2\n")
        case "add":
            (package / "inside" / "b.py").touch()
        case "remove":
            module.unlink()
        case "rename":
            module.rename(package / "inside" / "b.py")
    folder = package.parent / "build" / "compiled"
    stale = f"{folder} was made from other sources, so it is not used: say `make compile`."
    assert chosen({}, package) == Build("interpreted", None, stale)


def test_a_build_for_another_python_is_not_used(package):
    write_manifest(package.parent / "build" / "compiled" / "fox_shard", digest(package), "other-1")
    build = chosen({}, package)
    assert (build.words, build.folder) == ("interpreted", None)
    assert f"was made for other-1, and this is {PYTHON}" in build.stale


def test_a_variable_says_that_no_build_is_used(package):
    assert chosen({INTERPRETED: "yes"}, package) == Build(
        "interpreted, because FOX_INTERPRETED is set"
    )


@pytest.mark.parametrize(("before", "after"), [({}, "{}"), ({"PYTHONPATH": "/a"}, "{}:/a")])
def test_python_finds_the_build_that_is_used_before_the_working_directory(
    tmp_path, before, after, monkeypatch
):
    write_sources(tmp_path / "sources" / "fox_shard")
    write_sources(tmp_path / "built" / "fox_shard")
    environ = dict(before)
    use(Build("", tmp_path / "built"), environ)
    assert environ["PYTHONPATH"] == after.format(tmp_path / "built")
    done = subprocess.run(
        [sys.executable, "-m", "fox_shard.inside.a"],
        cwd=tmp_path / "sources",
        env={**os.environ, **environ, "PYTHONVERBOSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path}/built/fox_shard" in done.stderr
    assert f"{tmp_path}/sources/fox_shard" not in done.stderr


def test_nothing_is_changed_for_sources():
    environ = {}
    use(Build("interpreted"), environ)
    assert environ == {}


def classes(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ClassDef):
            yield node, {ast.unparse(base).rpartition(".")[2] for base in node.bases}


BUILTIN = {"bytearray", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"}


# What mypyc refuses, or compiles to something else without a word.
@pytest.mark.parametrize("path", hot_modules(ROOT))
def test_a_compiled_module_has_only_classes_that_mypyc_can_compile(path):
    for node, bases in classes(path):
        assert not bases & {"Struct", "BaseProtocol", "BufferedProtocol"}, node.name
        assert not bases & BUILTIN, f"mypyc cannot compile {node.name}, which is a builtin type"
        assert not node.keywords, f"mypyc drops the class keywords of {node.name}"
        text = {element.value for element in ast.walk(node) if isinstance(element, ast.Constant)}
        assert "__weakref__" not in text, f"{node.name} has no weak references when compiled"


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ('modules = ["fox_shard/b"]\ninterpreted = []', "there is no fox_shard/b.py"),
        (
            'modules = ["fox_shard/inside/*"]\ninterpreted = ["fox_shard/b"]',
            "fox_shard/b.py is not in modules",
        ),
    ],
)
def test_a_module_that_is_not_there_is_a_mistake(tmp_path, settings, mistake):
    write_sources(tmp_path / "fox_shard")
    (tmp_path / "pyproject.toml").write_text(f"[tool.fox-shard.compile]\n{settings}\n")
    with pytest.raises(ValueError, match=mistake):
        hot_modules(tmp_path)
