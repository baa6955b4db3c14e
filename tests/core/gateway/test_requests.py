"""The door of a gateway, and the interface by which sessions know it."""

import inspect

import pytest
from gateway_harness import GatewayStage

from fox_shard.gateway.sessions.router import Router

REQUESTS = [name for name, _ in inspect.getmembers(Router, inspect.isfunction) if name[0] != "_"]


def shape(method):
    parameters = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters if one.name != "self"]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_door_takes_what_a_session_may_ask(name):
    assert shape(getattr(GatewayStage().gateway.requests, name)) == shape(getattr(Router, name))
