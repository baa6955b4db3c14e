"""The log in an application, whose formatter knows nothing of an event's fields."""

import io
import logging

import pytest

from fox_shard import FoxRouter
from fox_shard.config import Config
from fox_shard.runtime.logs import set_up_logging

OFF = {f"gateway.{kind}": "off" for kind in ("websocket", "rawsocket", "mqtt")}


@pytest.fixture
def root():
    """The root logger, which is afterwards as it was before."""
    root, websockets = logging.getLogger(), logging.getLogger("websockets")
    before = root.level, [*root.handlers], websockets.level
    yield root
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    websockets.setLevel(before[2])


def said(handler):
    """Return what a handler of the application prints of one event."""
    log = logging.getLogger("fox")
    log.addHandler(handler)
    log.error("client_refused", extra={"fox": {"address": "::1:2", "reason": "100 % full"}})
    log.removeHandler(handler)
    return handler.stream.getvalue()


def test_a_message_has_its_fields_however_many_routers_there_are(root):
    for _ in range(2):
        FoxRouter(settings=OFF)
    handler = logging.StreamHandler(io.StringIO())
    assert said(handler) == "client_refused address=::1:2 reason=100 % full\n"


def test_lines_of_the_server_have_them_once(root):
    FoxRouter(settings=OFF)
    set_up_logging(Config())
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(root.handlers[0].formatter)
    assert said(handler).endswith("client_refused address=::1:2 reason=100 % full\n")
    assert said(handler).count("address=") == 2  # two lines
