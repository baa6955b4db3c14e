"""`fox serve` with everything of the configuration that is more than the server's own code.

Reducers, an authenticator and an authorizer in Python, and a webhook, in one process.
"""

import json

import pytest
from cluster import await_true, write_config
from programs import Fox
from served import ROUTER, Served
from webhook_target import Target

CONFIGURATION = """
[[realm]]
name = "realm1"
authenticator = "functions:authenticate"

[[realm.role]]
name = "guest"
authorizer = "functions:may"

[[realm.reducer]]
pattern = "sums.#"
function = "functions:add"

[[realm.webhook]]
name = "sums"
topic = "sums.#"
url = "{}/sums"
longest_delay = 1
"""

MODULE = """
def authenticate(realm, authid, details):
    return "guest" if details["ticket"] == "open sesame" else None


def may(session, action, uri):
    return not uri.startswith("closed.")


def add(args, kwargs, details):
    if args[0] == "odd":
        raise ValueError("odd")
    return (details.retained or 0) + args[0]
"""


@pytest.fixture
def target():
    with Target() as target:
        yield target


@pytest.fixture
def served(tmp_path, target):
    config = write_config(tmp_path, CONFIGURATION.format(target.url), functions=MODULE)
    with Served(config=config) as served:
        yield served


def of_guest(served, *command, exits=0):
    """Run a command as guest; return what it prints."""
    fox = Fox(served)
    fox.environment["FOX_PASSWORD"] = "open sesame"
    code, out, error = fox.run(*command, "--user", "ann")
    assert code == exits, error
    return out if exits == 0 else error


def well(served):
    await_true("the worker is well", lambda: served.health("worker").get("status") == "ok")


def becomes(served, topic, value):
    def is_so():
        fox = Fox(served)
        fox.environment["FOX_PASSWORD"] = "open sesame"
        code, out, _ = fox.run("get", topic, "--user", "ann")
        return code == 0 and json.loads(out) == value

    await_true(f"{topic} is {value}", is_so)


def test_functions_and_webhooks_run_and_survive_the_end_of_the_process(served, target):
    well(served)
    assert "worker" in Fox(served).prints("health")
    target.will("/sums", 500)
    for number in (1, "odd", 2):
        of_guest(served, "pub", "sums.a", str(number))
    becomes(served, "sums.a", 3)
    assert "may not publish" in of_guest(served, "pub", "closed.a", "1", exits=1)
    await_true("it is posted", lambda: len(target.requests) > 1)
    served.restart()
    well(served)
    assert served.processes[ROUTER].poll() is None
    target.will("/sums", 200)
    of_guest(served, "pub", "sums.a", "4")
    becomes(served, "sums.a", 7)
    await_true("all are posted", lambda: target.values("/sums", "sums.a") == [1, "odd", 2, 4])
