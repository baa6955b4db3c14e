"""How the server was in the last minutes: what is kept of it, and who is told."""

import asyncio

import pytest
from web_sessions import FakeSessions, client

from fox_shard.client.failures import Refused
from fox_shard.web import make_app
from fox_shard.web.context import Limits
from fox_shard.web.recent_states import MOST_BYTES, PERIOD, SPAN, RecentStates


def health(name="gateway-0", publishes=0, **more):
    realms = {"realm1": {"publishes": publishes}, "com.example": {"calls": 4}}
    metrics = {
        "age": 1.0,
        "counters": {"cpu_milliseconds": 5},
        "gauges": {"sessions": 3},
        "histograms": {"call_seconds": [0, 0]},
        "realms": realms,
    }
    about = {"name": name, "status": "ok", "pid": 7, "cores": 0.5, "memory": 9}
    return {**about, "links": {"shard-0": False}, "uptime": 3, "metrics": metrics, **more}


class Server:
    """A source of processes, and the time."""

    def __init__(self):
        self.now, self.healths = 1000.0, [health()]

    async def processes(self):
        return self.healths


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def recent(server):
    return RecentStates(server, lambda: server.now)


def run(*coroutines):
    async def each():
        return [await one for one in coroutines]

    return asyncio.run(each())


def test_what_rates_are_computed_from_is_kept_and_nothing_else(recent):
    run(recent.look())
    (state,) = recent.after(0.0)
    (process,) = state.processes
    assert state.at == 1000.0
    assert (process.name, process.status, process.pid, process.cores) == (
        "gateway-0",
        "ok",
        7,
        0.5,
    )
    assert process.counters == {"cpu_milliseconds": 5}
    assert process.histograms == {"call_seconds": [0, 0]}
    assert process.realms["realm1"] == {"publishes": 0}
    assert (process.gauges, process.about) == ({}, {})


def test_states_are_kept_for_some_minutes(server, recent):
    for _ in range(100):
        run(recent.look())
        server.now += PERIOD
    kept = [state.at for state in recent.after(0.0)]
    assert kept == sorted(kept)
    assert kept[0] == server.now - PERIOD - SPAN
    assert kept[-1] == server.now - PERIOD
    assert [state.at for state in recent.after(kept[-3])] == kept[-2:]


def test_a_server_with_very_many_realms_keeps_fewer_states(server, recent):
    realms = {f"realm-{number}": {"publishes": 1} for number in range(10_000)}
    for _ in range(20):
        server.healths = [health()]
        server.healths[0]["metrics"]["realms"] = realms
        run(recent.look())
        server.now += PERIOD
    assert 1 <= len(recent.after(0.0)) < 20
    assert recent.bytes <= MOST_BYTES


def test_one_state_that_is_too_large_is_not_kept(server, recent):
    server.healths = [health(f"gateway-{number}") for number in range(10_000)]
    run(recent.look())
    assert (recent.after(0.0), recent.bytes) == ([], 0)


def ask(server, sessions, query="", looks=2):
    async def body():
        app = make_app(sessions, Limits(), lambda: server.now, processes=server)
        for _ in range(looks):
            await app.recent_states.look()
            server.now += PERIOD
        async with client(sessions, app=app) as http:
            return await http.get(f"/api/status/recent{query}")

    return asyncio.run(body())


def test_administrators_are_told(server):
    sessions = FakeSessions()
    answer = ask(server, sessions).json()
    assert [state["at"] for state in answer["states"]] == [1000.0, 1000.0 + PERIOD]
    assert answer["states"][0]["processes"][0]["realms"]["com.example"] == {"calls": 4}
    assert sessions.asked == [("call", "fox.status", [], {}, {})]
    assert len(answer["bounds"]) > 10


def test_states_after_the_last_one_that_is_known(server):
    answer = ask(server, FakeSessions(), "?after=1000")
    assert [state["at"] for state in answer.json()["states"]] == [1000.0 + PERIOD]
    assert ask(server, FakeSessions(), "?after=soon").status_code == 400


def test_users_of_another_realm_are_told_the_numbers_of_theirs_only(server):
    answer = ask(server, FakeSessions(), "?realm=com.example").json()
    for state in answer["states"]:
        assert state["processes"][0]["realms"] == {"com.example": {"calls": 4}}


def test_nobody_else_is_told_anything(server):
    sessions = FakeSessions()
    sessions.answers["call"] = Refused("wamp.error.not_authorized", ["no"])
    assert ask(server, sessions).status_code == 403
