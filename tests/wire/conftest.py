"""Tests with real processes and clients: the broker that most of them share, and async tests."""

import asyncio
import inspect
import signal
from contextlib import AsyncExitStack

import pytest
from chromium import launched
from cluster import SHOWN, Cluster
from mqtt_peers import MqttPeers
from wamp_peers import WampPeers

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what is in its background like this, and all processes below inherit it; but
    # commands end by Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PATIENCE = 90.0
"""Seconds for one async test, on a busy machine, too."""

PROMISES = {
    "test_abuse": "a client that sends nonsense, or reads nothing, harms only itself",
    "test_chaos": "acknowledged publishes survive killed processes",
    "test_commands": "keys and locks from the shell",
    "test_history_wire": "recorded events can be read and followed",
    "test_http": "publishing, keys and event streams over HTTP",
    "test_interoperability": "MQTT clients find what they expect of a server",
    "test_javascript": "the client libraries of browsers",
    "test_locks": "one holder at a time, in order",
    "test_meta_events": "what begins and ends is told once",
    "test_order": "events and calls arrive in the order of sending",
    "test_python_client": "programs with asyncio, whose connections are lost",
    "test_readme": "the examples of README.md",
    "test_reports": "StatsD and `$SYS`",
    "test_reshard_wire": "a change of the number of shards",
    "test_served": "the same promises from one process",
    "test_shared_keys": "conditions, expiry, weak keys",
    "test_store_trouble": "full disks and damaged files",
    "test_supervisord": "a process that ends is restarted",
    "test_syncs": "acknowledged publishes are on the disk",
    "test_translation": "WAMP and MQTT clients on one topic space",
    "test_views": "subscribers that get the keys first",
    "test_wamp_calls": "remote procedure calls",
    "test_wamp_meta": "what is registered and subscribed to",
    "test_wamp_sessions": "sessions and the session meta API",
    "test_zmqtap_attached": "a look inside running processes",
}
"""Promises with one file each, run by `make test`; other files here are left to `make test-all`."""


COMPILED = ("test_order", "test_shared_keys", "test_translation", "test_wamp_calls")
"""Promises that `make test-all` shows of the compiled build, too, besides all other files."""


def pytest_itemcollected(item):
    if item.path.stem not in PROMISES:
        item.add_marker("more")
    if item.path.stem in COMPILED:
        item.add_marker("compiled")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test that is a coroutine, after entering those of its fixtures that can be entered."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def run():
        async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
            for value in arguments.values():
                if hasattr(value, "__aenter__"):
                    await stack.enter_async_context(value)
            await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the broker logged during a test that failed."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Cluster):
                since = getattr(item, "log_sizes", {})
                report.sections.append(("the broker's logs", value.log(since, SHOWN)))
    return report


@pytest.fixture(scope="session")
def shared_cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster, request):
    """The broker of all tests of this worker: 2 gateways, 4 shards.

    A file whose tests need another broker has a fixture of this name, which `wamp` and `mqtt` use.
    """
    sizes = request.node.log_sizes = shared_cluster.sizes()
    yield shared_cluster
    shared_cluster.check(sizes)


@pytest.fixture
def own_cluster(request):
    """Make brokers for this test alone: `own_cluster(gateways=2, shards=4, FOX_…="…")`."""
    made = []

    def make(**arguments):
        made.append(Cluster(**arguments))
        request.node.funcargs["made_cluster"] = made[-1]
        return made[-1]

    yield make
    for cluster in made:
        if cluster.folder.exists():
            cluster.stop()


@pytest.fixture
def wamp(cluster):
    """The maker of autobahn-python sessions, which leave at the end of the test."""
    return WampPeers(cluster)


@pytest.fixture
def mqtt(cluster):
    """The maker of paho-mqtt clients, which disconnect at the end of the test."""
    peers = MqttPeers(cluster)
    yield peers
    peers.close()


@pytest.fixture(scope="module")
def chromium():
    """A browser for tests that are no coroutines, as Playwright has an event loop of its own."""
    with launched() as chromium:
        yield chromium
