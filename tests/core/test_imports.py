"""No module of the package imports itself, not even through other modules.

Imports in functions and for types count too: a circle that only they keep open is still a circle.
The import of a module counts as an import of the packages that contain it, because their `__init__`
runs first. The packages that contain the importing module are left out: they are loaded already.
"""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "fox_shard"


def modules():
    """Return the source of each module of the package, by the module's name."""
    found = (ROOT / PACKAGE).rglob("*.py")
    paths = ((path.relative_to(ROOT).with_suffix("").parts, path) for path in found)
    return {
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts): path.read_text()
        for parts, path in paths
    }


def meanings_of(source):
    """Yield the meanings of each import, likeliest first: `from a import b` is `a.b` or `a`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((name.name,) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((f"{node.module}.{name.name}", node.module) for name in node.names)


def packages(name):
    """Return the packages that contain the module."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def imports(sources):
    """Return, for each module, the modules that it imports."""
    graph = {}
    for name, source in sources.items():
        found = {
            next((one for one in meanings if one in sources), None)
            for meanings in meanings_of(source)
        } - {None}
        run = {package for one in found for package in packages(one) if package in sources}
        graph[name] = (found | (run - packages(name))) - {name}
    return graph


def circles(graph):
    """Return the circles, each a sorted list of modules that import each other (Tarjan)."""
    order, lowest, stack, found = {}, {}, [], []

    def visit(name):
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            at = stack.index(name)
            circle = sorted(stack[at:])
            del stack[at:]
            if len(circle) > 1:
                found.append(circle)

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"p.a": "import p.b", "p.b": ""}, []),
        ({"p.a": "import p.b", "p.b": "import p.a"}, [["p.a", "p.b"]]),
        ({"p.a": "from p import b", "p.b": "from p.a import x"}, [["p.a", "p.b"]]),
        ({"p.a": "def f():\n import p.b", "p.b": "if T:\n from p import a"}, [["p.a", "p.b"]]),
        ({"p.a": "import p.b", "p.b": "import p.c", "p.c": "import p.a"}, [["p.a", "p.b", "p.c"]]),
        # A package that imports its own module is no circle; a module that imports its package is.
        ({"p": "from p.a import x", "p.a": "import p.b", "p.b": ""}, []),
        ({"p": "from p.a import x", "p.a": "from p import y"}, [["p", "p.a"]]),
        # An import from outside runs the package of the imported module first.
        ({"q": "import p.a", "p": "import p.b", "p.a": "", "p.b": "import q"}, [["p", "p.b", "q"]]),
    ],
)
def test_a_circle_is_found(sources, found):
    assert circles(imports(sources)) == found


def test_no_module_imports_itself_even_through_others():
    sources = modules()
    assert len(sources) > 150
    assert circles(imports(sources)) == []


def test_every_file_of_tests_has_a_name_of_its_own():
    """Two of one name cannot be collected together."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, number in names.items() if number > 1] == []


@pytest.mark.parametrize("name", ["shard", "coordinator"])
def test_a_process_that_has_no_clients_loads_nothing_that_is_for_clients(name):
    code = f"import sys, fox_shard.runtime.{name}_process; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"fox_shard.runtime.{name}_process" in loaded
    assert loaded.isdisjoint({"fox_shard.gateway.core", "cryptography", "jwt", "websockets"})
