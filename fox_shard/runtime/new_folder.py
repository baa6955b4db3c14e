"""`fox init`: a folder in which a server can run.

Owns: which files it begins with. Never: what they configure (see conf/).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

STARTER = Path(__file__).resolve().parent.parent / "starter"
"""The files with which a folder begins: conf/ of the project, which the package carries along."""

FILES = (
    "fox.conf",
    "fox.toml",
    "schema.json",
    "fox-shard.service",
    "grafana/fox-shard.json",
    "prometheus/alerts.yml",
    "prometheus/prometheus.yml",
)

_VENV = "%(here)s/../.venv/bin"
"""Where fox.conf looks for the interpreter first."""


def make_folder(folder: Path) -> int:
    """Make conf/, run/ and data/ in a folder, and say what to do next. Returns the exit code.

    Nothing is overwritten. The processes will use the interpreter that runs this, so that they find
    this package whoever starts supervisord.
    """
    conf = folder / "conf"
    there = [str(conf / name) for name in FILES if (conf / name).exists()]
    if there:
        print(f"fox: {', '.join(there)} exists; nothing was written.", file=sys.stderr)
        return 1
    try:
        conf.mkdir(parents=True, exist_ok=True)
        for name in ("run", "data"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        for name in FILES:
            text = (STARTER / name).read_text()
            (conf / name).parent.mkdir(exist_ok=True)
            (conf / name).write_text(_of_folder(text, folder.resolve()))
    except OSError as error:
        print(f"fox: {error.filename} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    for line in _next_steps(folder):
        print(line)
    return 0


def _of_folder(text: str, folder: Path) -> str:
    """Return the text of a file with the places that are right for this folder."""
    programs = Path(sys.prefix) / "bin"
    if programs != folder / ".venv" / "bin":
        text = text.replace(_VENV, str(programs))
    return text.replace("/srv/fox-shard/.venv/bin", str(programs)).replace(
        "/srv/fox-shard", str(folder)
    )


def _next_steps(folder: Path) -> Iterator[str]:
    yield f"{folder / 'conf'} has the configuration. Start the server:"
    yield ""
    if folder.resolve() != Path.cwd():
        yield f"    cd {folder}"
    yield "    supervisord -c conf/fox.conf"
    yield ""
    yield "(`fox run` does the same, and checks first whether the ports are free.)"
