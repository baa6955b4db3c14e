"""The build of wheels and of `make compile`, with the hot modules compiled by mypyc if wanted.

Owns: how modules are compiled. Never: which (pyproject.toml says that); other sources than those
that are interpreted.

FOX_COMPILE=1 compiles; all else about the package is in pyproject.toml.
"""

import json
import os
import sys
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from index_page import for_index  # noqa: E402

from fox_shard.compiled import MANIFEST, Manifest, digest, hot_modules  # noqa: E402

LEVEL = "FOX_COMPILE_LEVEL"
"""Variable with the C compiler's level of optimization.

2 takes almost twice as long as 1, and gains about a hundredth.
"""


class BuildCompiled(build_ext):
    """Compiles the C files of an extension at the same time, and writes what was compiled."""

    def build_extension(self, ext: Extension) -> None:
        """Compile what has changed, as much at a time as there are processors; then link."""

        def compiled(source: str) -> str:
            [made] = self.compiler.object_filenames([source], output_dir=self.build_temp)
            if newer_group([source, *ext.depends], made):
                self.compiler.compile(
                    [source],
                    output_dir=self.build_temp,
                    include_dirs=ext.include_dirs,
                    extra_postargs=ext.extra_compile_args,
                )
            return str(made)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ext.extra_objects = list(pool.map(compiled, [str(source) for source in ext.sources]))
        ext.sources = []
        super().build_extension(ext)

    def run(self) -> None:
        """Build all extensions, and say in a file of the package what was built from what."""
        from mypy.version import __version__ as mypyc

        super().run()
        manifest = Manifest(
            mypyc, sys.implementation.cache_tag, digest(ROOT / "fox_shard"), len(hot_modules(ROOT))
        )
        package = Path(self.build_lib) / "fox_shard"
        (package / MANIFEST).write_text(json.dumps(manifest._asdict()) + "\n")


def compiled_modules() -> Sequence[Any]:
    """Have mypyc write the C files of the hot modules."""
    from mypyc.build import mypycify

    return mypycify(
        hot_modules(ROOT),
        opt_level=os.environ.get(LEVEL, "1"),
        debug_level="0",
        multi_file=True,
        target_dir="build/c",
    )


def index_page() -> str:
    """Return the text that a package index shows; its links lead to `Source` in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return for_index((ROOT / "README.md").read_text(), project.get("urls", {}).get("Source", ""))


# Commands that are run before anything of mypyc is installed.
DESCRIBING = {"dist_info", "egg_info", "sdist"}

if __name__ == "__main__":
    if os.environ.get("FOX_COMPILE") == "1" and DESCRIBING.isdisjoint(sys.argv):
        modules, classes = compiled_modules(), {"build_ext": BuildCompiled}
    else:
        modules, classes = [], {}
    setup(
        ext_modules=modules,
        cmdclass=classes,
        long_description=index_page(),
        long_description_content_type="text/markdown",
    )
