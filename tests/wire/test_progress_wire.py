"""Long work of the commands, at a terminal: a bar while it lasts, and nothing of it in pipes."""

import os

import pytest
from programs import FOX, AtTerminal, Fox
from served import Served
from stored_rows import fill, key_rows

from fox_shard.progress import STRIDE

SCHEMA = "conf/schema.json"
ROWS = 3


@pytest.fixture(scope="module")
def shared_served():
    with Served() as served:
        fox = Fox(served)
        fox.prints("schema", "set", SCHEMA, "--wait")
        for number in range(ROWS):
            row = f'{{"date": "2026-11-{number:02}", "customer": "acme", "amount": "1"}}'
            fox.prints("put", "invoice", row)
        yield served


@pytest.fixture
def cluster(shared_served):
    return shared_served


def shown(command, environment, until):
    """Return what a terminal shows until it shows this text."""
    with AtTerminal([*FOX, *command], environment) as terminal:
        terminal.await_shown(until)
        return terminal.shown.decode()


@pytest.mark.parametrize(
    ("command", "bar", "result"),
    [
        (("schema", "set", SCHEMA, "--wait"), "steps of the shards", "\n"),
        (("tables", "verify"), "rows of invoice:", "are wrong"),
    ],
)
def test_commands_for_a_server_show_how_far_they_are(cluster, command, bar, result):
    environment = Fox(cluster).environment
    assert bar in shown(command, environment, result)
    assert bar not in shown([*command, "--quiet"], environment, result)
    Fox(cluster).prints(*command)  # nothing on standard error


@pytest.fixture
def environment(tmp_path):
    """That of commands for a data folder with more keys than are counted in one step."""
    fill(tmp_path / "data", 2, key_rows(STRIDE + 1))
    names = {name: text for name, text in os.environ.items() if not name.startswith("FOX_")}
    (tmp_path / "fox.toml").touch()
    return {
        **names,
        "FOX_CONFIG": str(tmp_path / "fox.toml"),
        "FOX_DATA_DIR": str(tmp_path / "data"),
        "FOX_RUN_DIR": str(tmp_path / "run"),
    }


@pytest.mark.parametrize(
    ("command", "bar", "result"),
    [
        (("reshard", "--to", "3"), "rows:", "were moved"),
        (("reshard", "--to", "3", "--dry-run"), "rows:", "would be moved"),
        (("dump", "FOLDER/keys.jsonl"), "keys:", "were dumped"),
        (("load", "FOLDER/dump.jsonl"), "rows that are there:", "there already"),
        (("load", "FOLDER/dump.jsonl"), "bytes of the dump:", "there already"),
    ],
)
def test_commands_for_a_folder_show_how_far_they_are(environment, tmp_path, command, bar, result):
    command = [word.replace("FOLDER", str(tmp_path)) for word in command]
    dump = ["dump", str(tmp_path / "dump.jsonl")]
    shown([*dump, "--quiet"], environment, "were dumped")
    assert bar not in shown([*command, "--quiet"], environment, result)
    if command[0] == "reshard":
        shown(("reshard", "--to", "2", "--quiet"), environment, "shards")
    assert bar in shown(command, environment, result)


def test_a_dump_that_is_printed_has_no_bar_between_its_lines(environment):
    assert "keys:" not in shown(("dump",), environment, "were dumped")
