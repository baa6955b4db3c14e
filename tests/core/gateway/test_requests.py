"""`Requests` offers sessions exactly the interface `Router`."""

import inspect

import pytest
from gateway_harness import GatewayHarness

from fox_shard.gateway.sessions.router import Router

REQUESTS = [name for name, _ in inspect.getmembers(Router, inspect.isfunction) if name[0] != "_"]


def shape(method):
    parameters = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters if one.name != "self"]


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_has_the_signatures_of_router(name):
    assert shape(getattr(GatewayHarness().gateway.requests, name)) == shape(getattr(Router, name))
