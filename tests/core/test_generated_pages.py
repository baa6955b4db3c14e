"""The pages that are made from the sources say what these say, and errors.md names every reason."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import commands_page  # noqa: E402
import error_reference  # noqa: E402


def test_the_page_is_as_the_sources_are():
    same = error_reference.PAGE.read_text() == error_reference.page()
    assert same, "say `python tools/error_reference.py`: the sources have changed"


def test_the_table_of_all_commands_is_as_the_parsers_are():
    same = commands_page.table() in commands_page.PAGE.read_text()
    assert same, "say `python tools/commands_page.py`: the parsers have changed"


def test_it_has_every_error_and_reason_of_the_server():
    text = "".join(path.read_text() for path in (ROOT / "fox_shard").rglob("*.py"))
    named = set(re.findall(r'"(fox\.(?:error|close)\.\w+)"', text))
    named |= set(re.findall(r'"(wamp\.(?:close\.\w+|registration\.revoked))"', text))
    listed = set(re.findall(r"^\| `([a-z_.]+)`", error_reference.page(), re.MULTILINE))
    assert named <= listed
