"""The configuration of a server in one process.

Owns: which file is read, and that there are one gateway and one shard. Never: settings.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from fox_shard.config import Config, load_with_origins

DEFAULT_FILE: Final = Path("conf/fox.toml")

_ONE_OF_EACH: Final = {"FOX_GATEWAYS": "1", "FOX_SHARDS": "1"}
"""What overrides the file and the environment, where the numbers are meant for a cluster."""


class Configured(NamedTuple):
    """A configuration, with the file that it is from, which need not exist."""

    config: Config
    file: Path

    @property
    def folder(self) -> Path:
        """The folder to which paths are relative, and in which Python functions are sought."""
        return self.file.absolute().parent.parent


def configure(
    file: str | os.PathLike[str] | None,
    settings: Mapping[str, object],
    environ: Mapping[str, str],
) -> Configured:
    """Read the configuration of a server in one process. Raises ConfigError.

    file: None: $FOX_CONFIG, or else conf/fox.toml if there is one, or else the defaults. settings:
    by path; these override the file and `environ`.
    """
    named = file or environ.get("FOX_CONFIG")
    path = Path(named) if named else DEFAULT_FILE
    texts = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in settings.items()
    }
    config, _ = load_with_origins(path, {**environ, **_ONE_OF_EACH}, texts, required=bool(named))
    return Configured(config, path)
