"""`fox init`: a folder in which a server can run."""

import sys
import tomllib
from pathlib import Path

import pytest

from fox_shard.cli import main
from fox_shard.runtime.new_folder import FILES, STARTER


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_begins_with_the_files_of_conf(tmp_path, capsys):
    folder = tmp_path / "new" / "server"
    assert main(["init", str(folder)]) == 0
    assert names_in(folder / "conf") == sorted(FILES)
    assert (folder / "conf" / "fox.toml").read_text() == (STARTER / "fox.toml").read_text()
    tomllib.loads((folder / "conf" / "fox.toml").read_text())
    for name in ("run", "data"):
        assert (folder / name).stat().st_mode & 0o777 == 0o700
    said = capsys.readouterr().out
    assert f"    cd {folder}\n    supervisord -c conf/fox.conf\n" in said


def test_the_processes_use_this_interpreter_and_the_unit_this_folder(tmp_path):
    assert main(["init", str(tmp_path)]) == 0
    programs = Path(sys.prefix) / "bin"
    conf = (tmp_path / "conf" / "fox.conf").read_text()
    assert f'environment=PATH="{programs}:%(ENV_PATH)s"' in conf
    assert ".venv" not in conf.replace(str(programs), "").replace("of .venv", "")
    unit = (tmp_path / "conf" / "fox-shard.service").read_text()
    assert f"ExecStart={programs}/fox run\n" in unit
    assert f"WorkingDirectory={tmp_path}\n" in unit
    assert "/srv/fox-shard" not in unit


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_overwritten(name, tmp_path, capsys):
    (tmp_path / "conf" / name).parent.mkdir(parents=True)
    (tmp_path / "conf" / name).write_text("mine")
    assert main(["init", str(tmp_path)]) == 1
    assert f"{tmp_path / 'conf' / name} exists; nothing was written." in capsys.readouterr().err
    assert names_in(tmp_path / "conf") == [name]
    assert (tmp_path / "conf" / name).read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 1
    assert "cannot be written: " in capsys.readouterr().err
