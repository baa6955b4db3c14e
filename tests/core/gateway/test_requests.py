"""`Requests` and its guard offer sessions exactly the interface `Router`."""

import inspect

import pytest
from gateway_harness import GatewayHarness

from fox_shard.gateway.asking_guard import AskingGuard
from fox_shard.gateway.guard import Guard
from fox_shard.gateway.sessions.router import Router

REQUESTS = [name for name, _ in inspect.getmembers(Router, inspect.isfunction) if name[0] != "_"]


def shape(method):
    parameters = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters if one.name != "self"]


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_has_the_signatures_of_router(name):
    assert shape(getattr(GatewayHarness().gateway.requests, name)) == shape(getattr(Router, name))


GUARDED = [name for name, _ in inspect.getmembers(Guard, inspect.isfunction) if name in REQUESTS]


@pytest.mark.parametrize("name", GUARDED)
def test_the_guard_has_the_same_signatures(name):
    assert shape(getattr(Guard, name)) == shape(getattr(Router, name))


def test_all_guarded_requests_may_wait_for_an_authorizer():
    assert {name for name in dir(AskingGuard) if name[0] != "_"} == set(GUARDED)


def test_what_the_guard_lets_pass_needs_no_permission():
    # A new request has to be put here, or into the guard.
    free = {"session_opened", "session_ended", "open_realm", "slow", "cancel", "unregister"}
    free |= {"unsubscribe", "yield_", "invocation_error"}
    # Further parts of a call that has been checked, and its end.
    free |= {"continue_call", "give_up_call"}
    checked_in_place = {"subscribe", "set_will"}
    assert free | checked_in_place | set(GUARDED) == set(REQUESTS)
