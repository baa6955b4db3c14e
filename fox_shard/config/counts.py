"""The numbers of processes, which are set in fox.conf because supervisord needs them too.

Owns: what fox.conf says of them, and which fox.conf is meant. Never: supervisord's other settings.
"""

import configparser
import re
from pathlib import Path
from typing import Final

_PAIR: Final = re.compile(r"""(FOX_\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s,"';]+))\s*(?:,|\Z)""")


def fox_conf_of(config_file: Path) -> Path:
    """The one beside the configuration file, or else that of the working directory's conf/."""
    beside = config_file.with_name("fox.conf")
    return beside if beside.exists() else Path("conf/fox.conf")


def counts_of(fox_conf: Path) -> dict[str, str]:
    """The FOX_ variables that supervisord gives to the processes.

    So `fox health` and `fox config` in a shell, which supervisord did not start, count the same
    gateways and shards. A value made from a %(…)s expansion is left out: only supervisord knows it.
    """
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        parser.read(fox_conf, encoding="utf-8")
        line = parser.get("supervisord", "environment", fallback="")
    except (OSError, configparser.Error, ValueError):
        # supervisord itself refuses such a file, in its own words.
        return {}
    pairs = {name: "".join(values) for name, *values in _PAIR.findall(line)}
    return {name: value for name, value in pairs.items() if "%" not in value}
