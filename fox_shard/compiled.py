"""Whether the modules that run are compiled: `make compile`, and wheels built with FOX_COMPILE=1.

Owns: the file that says what was compiled from what, and which build `fox run` uses. Never:
compiling (setup.py).

A build is used only if it was made from the sources that are there, for this Python.
"""

import hashlib
import json
import os
import sys
import tomllib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final, NamedTuple

MANIFEST: Final = "compiled.json"
"""File in the folder of the package, if some of its modules are compiled."""

INTERPRETED: Final = "FOX_INTERPRETED"
"""If this variable is set, `fox run` does not use a compiled build."""

PACKAGE: Final = Path(__file__).parent


class Manifest(NamedTuple):
    """What says the file in a compiled build."""

    mypyc: str
    python: str
    """Of which Python, as in `sys.implementation.cache_tag`."""
    sources: str
    """`digest` of what it was made from."""
    modules: int

    @classmethod
    def read(cls, package: Path) -> "Manifest | None":
        """Return that of the package in this folder; None: it is not compiled."""
        path = package / MANIFEST
        return cls(**json.loads(path.read_text())) if path.exists() else None

    def __str__(self) -> str:
        return f"compiled (mypyc {self.mypyc}, {self.modules} modules)"


def hot_modules(root: Path) -> list[str]:
    """Return the paths of the modules to compile, as pyproject.toml in that folder says, sorted.

    Raises ValueError if it names one that is not there.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["fox-shard"]["compile"]
    found: set[str] = set()
    for pattern in settings["modules"]:
        paths = {str(path.relative_to(root)) for path in root.glob(f"{pattern}.py")}
        if not paths:
            raise ValueError(f"pyproject.toml: tool.fox-shard.compile: there is no {pattern}.py")
        found |= {path for path in paths if not path.endswith("__init__.py")}
    left_out = {f"{name}.py" for name in settings["interpreted"]}
    if unknown := left_out - found:
        named = min(unknown)
        raise ValueError(f"pyproject.toml: tool.fox-shard.compile: {named} is not in modules")
    return sorted(found - left_out)


def digest(package: Path) -> str:
    """Return a checksum of all sources of the package in this folder."""
    hashed = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        hashed.update(f"{path.relative_to(package)} {len(text)}\n".encode())
        hashed.update(text)
    return hashed.hexdigest()


def build_of_this_process() -> str:
    """Return "compiled" or "interpreted", for logs."""
    return "compiled" if (PACKAGE / MANIFEST).exists() else "interpreted"


class Build(NamedTuple):
    """Which build of the package `fox run` uses."""

    words: str
    """What it is."""
    folder: Path | None = None
    """Where it is; None: it is the package that this process has imported."""
    stale: str = ""
    """The sentence that says why there is a compiled one that is not used; "": there is none."""


def chosen(environ: MutableMapping[str, str], package: Path = PACKAGE) -> Build:
    """Choose between this package and the compiled one in build/ beside it."""
    manifest = Manifest.read(package)
    if manifest is not None:
        return Build(str(manifest))
    folder = package.parent / "build" / "compiled"
    manifest = Manifest.read(folder / package.name)
    if manifest is None:
        return Build("interpreted")
    if environ.get(INTERPRETED):
        return Build(f"interpreted, because {INTERPRETED} is set")
    python = sys.implementation.cache_tag
    if manifest.python != python:
        why = f"was made for {manifest.python}, and this is {python}"
    elif manifest.sources != digest(package):
        why = "was made from other sources"
    else:
        return Build(f"{manifest}, in {folder}", folder)
    return Build("interpreted", None, f"{folder} {why}, so it is not used: say `make compile`.")


def use(build: Build, environ: MutableMapping[str, str]) -> None:
    """Let Python processes with this environment import the package of that build."""
    if build.folder is None:
        return
    rest = environ.get("PYTHONPATH")
    environ["PYTHONPATH"] = f"{build.folder}{os.pathsep}{rest}" if rest else str(build.folder)
    # Otherwise `python -m` would look in the working directory first, where the sources may be.
    environ["PYTHONSAFEPATH"] = "1"
