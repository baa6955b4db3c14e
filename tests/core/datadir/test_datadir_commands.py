"""fox reshard, fox dump, fox load: arguments, messages, exit codes, and files of dumps."""

import io
import json
import os
import subprocess
import sys

import pytest
from stored_rows import fill, key_rows, stored_rows, will_rows

from fox_shard.cli import main
from fox_shard.store.layout import Layout, hold_shared

KEYS = key_rows(100)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Give each test a folder of its own as working directory, with 100 keys in two shards."""
    for name in ("FOX_CONFIG", "FOX_SHARDS", "FOX_GATEWAYS", "FOX_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "fox.toml").touch()
    fill(tmp_path / "data", 2, {**KEYS, **will_rows(10)})
    return tmp_path


@pytest.fixture
def elsewhere(folder, monkeypatch):
    """Configure another data folder for the rest of the test."""
    monkeypatch.setenv("FOX_DATA_DIR", "elsewhere")
    return folder / "elsewhere"


# fox reshard


def test_reshard_reports_what_it_did_and_what_to_do_next(folder, capsys):
    assert main(["reshard", "--to", "1"]) == 0
    assert Layout.read(folder / "data").shards == 1
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first.endswith(
        " of 110 keys, wills and recorded events were moved, from 2 to 1 shards (shard 0: 110)."
    )
    assert second == 'Now set FOX_SHARDS="1" where it says 2, and start.'
    assert err == ""


def test_reshard_to_the_present_number_moves_nothing(capsys):
    assert main(["reshard", "--to", "2"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "The data is for 2 shards already: nothing is to be moved."


def test_reshard_reports_in_json(capsys):
    assert main(["reshard", "--to", "1", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["old"], told["new"], told["per_shard"], told["dry_run"]) == (2, 1, [110], True)


def test_a_dry_run_moves_nothing(folder, capsys):
    assert main(["reshard", "--to", "1", "--dry-run"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert " of 110 keys, wills and recorded events would be moved, from 2 to 1 shards " in line
    assert Layout.read(folder / "data").shards == 2


@pytest.mark.parametrize("count", ["0", "65", "many"])
def test_reshard_refuses_an_impossible_number_of_shards(count, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["reshard", "--to", count])
    assert exit_.value.code == 2
    assert "--to" in capsys.readouterr().err


# fox dump, fox load


@pytest.mark.parametrize("form", ["jsonl", "msgpack"])
def test_a_dump_can_be_loaded_into_another_folder(folder, elsewhere, monkeypatch, capsys, form):
    monkeypatch.setenv("FOX_DATA_DIR", "data")
    assert main(["dump", "--format", form, "keys.dump"]) == 0
    assert capsys.readouterr() == ("", "100 keys were dumped.\n")
    assert not (folder / "keys.dump.part").exists()
    monkeypatch.setenv("FOX_DATA_DIR", "elsewhere")
    monkeypatch.setenv("FOX_SHARDS", "3")
    assert main(["load", "keys.dump"]) == 0
    said = "Keys: 100 new, 0 replaced, 0 there already.\n"
    assert capsys.readouterr() == (said, "")
    assert main(["load", "keys.dump", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"new": 0, "replaced": 0, "same": 100}
    assert Layout.read(elsewhere).shards == 3
    assert stored_rows(elsewhere)[0] == KEYS


@pytest.mark.parametrize("arguments", [["dump"], ["dump", "-"]])
def test_a_dump_goes_to_standard_output_as_json_lines(arguments, capsysbinary):
    assert main(arguments) == 0
    out, err = capsysbinary.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert len(records) == 102
    assert records[-1] == {"record": "end", "keys": 100}
    assert err == b"100 keys were dumped.\n"


def test_a_dump_can_be_read_from_standard_input(elsewhere, monkeypatch, capsysbinary):
    monkeypatch.setenv("FOX_DATA_DIR", "data")
    main(["dump"])
    dumped = capsysbinary.readouterr().out
    monkeypatch.setenv("FOX_DATA_DIR", "elsewhere")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(dumped)))
    assert main(["load", "-"]) == 0
    assert stored_rows(elsewhere)[0] == KEYS


def test_load_replaces_values_only_with_the_option_replace(folder, capsys):
    main(["dump", "keys.jsonl"])
    text = (folder / "keys.jsonl").read_text()
    (folder / "keys.jsonl").write_text(text.replace('"args":[5]', '"args":[6]'))
    capsys.readouterr()
    assert main(["load", "keys.jsonl"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fox: Nothing was loaded: 1 of 100 keys are there with other values")
    assert main(["load", "--replace", "keys.jsonl"]) == 0
    said = "Keys: 0 new, 1 replaced, 99 there already.\n"
    assert capsys.readouterr().out == said


def test_a_dump_that_fails_leaves_the_existing_file(folder, monkeypatch, capsys):
    (folder / "keys").write_text("precious")
    monkeypatch.setenv("FOX_DATA_DIR", "none")
    assert main(["dump", "keys"]) == 1
    assert capsys.readouterr().err == f"fox: Nothing is stored in {folder}/none yet.\n"
    assert (folder / "keys").read_text() == "precious"
    assert not (folder / "keys.part").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["load", "none"], "fox: Cannot read none: No such file or directory.\n"),
        (["dump", "none/keys"], "fox: Cannot write none/keys: No such file or directory.\n"),
        (
            ["load", "conf/fox.toml"],
            "fox: This is no dump of fox-shard: it does not begin with its header.\n",
        ),
        (
            ["reshard", "--to", "3"],
            "fox: The files in {data} are in use, by a shard that runs or by another `fox` "
            "command: stop the server, then try again.\n",
        ),
    ],
)
def test_each_failure_is_reported_in_one_sentence(arguments, sentence, folder, capsys):
    with hold_shared(folder / "data", wait=False):
        assert main(arguments) == 1
    assert capsys.readouterr() == ("", sentence.format(data=folder / "data"))


def test_the_reader_of_a_dump_may_close_the_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fox_shard", "dump"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
