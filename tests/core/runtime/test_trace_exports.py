"""Whether spans leave a process, and what is said where OpenTelemetry is missing."""

import sys

import pytest

from fox_shard.config import Config, Tracing
from fox_shard.errors import StartError
from fox_shard.runtime.trace_exports import tracing_of

CONFIG = Config(tracing=Tracing(endpoint="http://127.0.0.1:4318/v1/traces"))


class Node:
    name = "gateway-0"
    tracer = None

    def trace(self, tracer):
        self.tracer = tracer


@pytest.fixture
def _no_module(monkeypatch):
    monkeypatch.delitem(sys.modules, "fox_shard.runtime.tracing", raising=False)


@pytest.mark.usefixtures("_no_module")
def test_without_an_endpoint_nothing_is_looked_at_and_no_library_is_loaded():
    node = Node()
    assert tracing_of(Config(), node) is None
    assert node.tracer is None
    assert "fox_shard.runtime.tracing" not in sys.modules


def test_with_an_endpoint_all_frames_are_looked_at():
    node = Node()
    tracing = tracing_of(CONFIG, node)
    assert node.tracer is not None
    tracing.close()


@pytest.mark.usefixtures("_no_module")
def test_a_missing_library_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartError, match=r"^tracing\.endpoint is set, .*fox-shard\[otel\]"):
        tracing_of(CONFIG, Node())
