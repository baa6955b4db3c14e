"""The tutorials of docs/, followed from the first line to the last on a fresh server."""

import shutil
import sys
from contextlib import contextmanager

import node
import pytest
from cluster import ROOT, await_true
from newcomer import Newcomer
from playwright.sync_api import expect
from programs import Program
from supervised import Supervised
from windows import PATIENCE, window

from bench.measure import listening
from bench.ports import free_port

CONF = ROOT / "conf"


def page(name):
    return (ROOT / "docs" / name).read_text()


def changed(config, settings):
    """Return the configuration with the changes that the page asks for."""
    schema, reducer = settings
    assert config.count('\nschema = ""') == 1
    return config.replace('schema = ""', schema.strip()) + reducer


class Accountant(Newcomer):
    """Follows the tutorial about invoices, which begins with changes of the configuration."""

    def __init__(self, folder):
        """folder: for the changed configuration."""
        super().__init__()
        self._conf = folder
        self._settings = []

    def start_server(self):
        (self._conf / "schema.json").write_text((CONF / "schema.json").read_text())
        config = self._conf / "fox.toml"
        config.write_text(changed((CONF / "fox.toml").read_text(), self._settings))
        return Supervised(config=config)

    def settle(self, language, text):
        match language:
            case "json":
                assert text == (CONF / "schema.json").read_text()
            case "toml":
                self._settings.append(text)
            case _:
                super().settle(language, text)


class Visitor(Newcomer):
    """Follows a tutorial whose server is as the project has it."""

    def start_server(self):
        return Supervised(gateways=1, shards=2)

    def settle(self, language, text):
        if language != "python":  # which the tests run as they run the blocks of all pages
            super().settle(language, text)


def needs_mosquitto():
    if shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not installed (Debian package mosquitto-clients)")


def test_the_invoices_are_added_up_as_it_is_printed(tmp_path):
    needs_mosquitto()
    with Accountant(tmp_path) as newcomer:
        newcomer.follow(page("tutorial-invoices.md"))
    assert len(newcomer.commands) > 15


@contextmanager
def served(newcomer):
    """Serve the newcomer's folder as the page says, at another port, and return the address."""
    shutil.copy(node.modules() / "autobahn-browser" / "autobahn.min.js", newcomer.folder)
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with Program(command, newcomer.environment, newcomer.folder):
        await_true("the folder is served", lambda: listening(port))
        yield f"http://127.0.0.1:{port}"


def climate_is(page, *rows):
    """Look whether the page shows these rows, in any order, and no others."""
    expect(page.locator("tbody tr")).to_have_count(len(rows), timeout=PATIENCE)
    for row in rows:
        expect(page.get_by_role("row", name=row, exact=True)).to_be_visible(timeout=PATIENCE)


def test_the_devices_make_a_table_as_it_is_printed(chromium):
    needs_mosquitto()
    with Visitor() as newcomer:
        newcomer.follow(page("tutorial-devices.md"))
        with (
            served(newcomer) as address,
            window(chromium, f"{address}/climate.html") as climate,
        ):
            climate_is(climate, "attic 28 28 1", "kitchen 22.5 22.5 1")
            newcomer.enter(reading("t4", "kitchen", 24.5), "")
            climate_is(climate, "attic 28 28 1", "kitchen 23.5 24.5 2")
            newcomer.enter("mosquitto_pub -q 1 -r -n -t reading/t3", "")
            climate_is(climate, "kitchen 23.5 24.5 2")
    assert len(newcomer.commands) > 8


def reading(device, room, celsius):
    """Return the command that publishes a reading, as the page prints it."""
    row = f'{{"device": "{device}", "room": "{room}", "celsius": {celsius}}}'
    return f"mosquitto_pub -q 1 -t reading -m '{row}'"


def test_the_locks_are_taken_and_lost_as_it_is_printed():
    with Visitor() as newcomer:
        newcomer.follow(page("tutorial-locks.md"))
    assert len(newcomer.commands) > 8
