"""The tutorials of docs/, followed from the first line to the last on a fresh server."""

import shutil

import pytest
from cluster import ROOT
from newcomer import Newcomer
from supervised import Supervised

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


def test_the_devices_make_a_table_as_it_is_printed():
    needs_mosquitto()
    with Visitor() as newcomer:
        newcomer.follow(page("tutorial-devices.md"))
    assert len(newcomer.commands) > 8


def test_the_locks_are_taken_and_lost_as_it_is_printed():
    with Visitor() as newcomer:
        newcomer.follow(page("tutorial-locks.md"))
    assert len(newcomer.commands) > 8
