"""Logging: what goes to the log at which level."""

import logging

import pytest

from fox_shard.config import Config, Log
from fox_shard.runtime.logs import set_up_logging


@pytest.fixture(autouse=True)
def unchanged():
    """Restore the logging of the tests themselves."""
    root, library = logging.getLogger(), logging.getLogger("websockets")
    before = root.level, root.handlers[:], library.level
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    library.setLevel(before[2])


@pytest.mark.parametrize("level", ["debug", "info"])
def test_the_headers_and_queries_of_clients_are_never_logged(level):
    """At debug level the library logs them: cookies, and tokens in the query."""
    set_up_logging(Config(log=Log(level=level)))
    assert logging.getLogger("fox").isEnabledFor(getattr(logging, level.upper()))
    for side in ("server", "client"):
        assert not logging.getLogger(f"websockets.{side}").isEnabledFor(logging.INFO)


def test_an_event_is_one_line_whatever_a_client_has_sent(capsys):
    """Not the beginning of another one, nor a command for the terminal of whoever reads it."""
    set_up_logging(Config())
    reason = "500 \x1b[31m\x9b\n2026-11-29 INFO forged\u202e\udcff"
    logging.getLogger("fox").info("refused", extra={"fox": {"reason": reason, "process": "web"}})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.endswith(r"reason=500 \x1b[31m\x9b\n2026-11-29 INFO forged\u202e\udcff")
