"""setuptools as the backend of the build, with what compiling needs if FOX_COMPILE=1.

Owns: which packages a build needs. Never: the build (setup.py).
"""

import os
import tomllib
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, str | list[str] | None]


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    """Return what must be installed before: to compile, mypyc reads the types of all imports."""
    needed = build_meta.get_requires_for_build_wheel(config_settings)
    if os.environ.get("FOX_COMPILE") != "1":
        return needed
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    mypy = [one for one in project["optional-dependencies"]["dev"] if one.startswith("mypy")]
    return [*needed, *project["dependencies"], *mypy]
