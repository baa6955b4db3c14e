"""`GET /api/status`: who is told how the server is, and what."""

import asyncio

import pytest
from web_sessions import FakeSessions, client

from fox_shard.client.failures import Refused
from fox_shard.web import make_app
from fox_shard.web.context import Limits
from fox_shard.web.status import process_of

CALLS = [4000, 0, 0, 0, 0, 2, *[0] * 12]
"""Two calls of 2 ms each."""

GATEWAY = {
    "name": "gateway-0",
    "status": "ok",
    "pid": 7,
    "cores": 0.25,
    "memory": 1 << 20,
    "links": {"shard-0": True, "shard-1": False},
    "sessions": 3,
    "metrics": {
        "age": 1.5,
        "counters": {"dropped": 2, "refused.max_calls": 1},
        "realms": {
            "realm1": {"publishes": 10, "mqtt.bytes_in": 99},
            "com.example": {"calls": 4},
        },
        "histograms": {"call_seconds": CALLS},
        "gauges": {"sessions": 3},
    },
}


class Processes:
    """A source of one process, which counts how often it was asked."""

    def __init__(self):
        self.asked = 0

    async def processes(self):
        self.asked += 1
        return [dict(GATEWAY)]


def ask(sessions, query="", source=None):
    async def run():
        app = make_app(sessions, Limits(), lambda: 1.0, processes=source)
        async with client(sessions, app=app) as http:
            return await http.get(f"/api/status{query}")

    return asyncio.run(run())


def test_a_process_has_its_own_metrics_and_those_of_each_realm():
    found = process_of(GATEWAY)
    assert found.counters == {"dropped": 2, "refused.max_calls": 1}
    assert found.gauges == {"sessions": 3}
    assert found.histograms == {"call_seconds": CALLS}
    assert found.realms == {
        "realm1": {"publishes": 10, "mqtt.bytes_in": 99},
        "com.example": {"calls": 4},
    }
    assert (found.unlinked, found.age, found.about) == (["shard-1"], 1.5, {"sessions": 3})


def test_a_process_that_is_down_has_the_reason_only():
    found = process_of({"name": "shard-0", "status": "down", "reason": "no answer"})
    assert (found.status, found.cores, found.about) == ("down", None, {"reason": "no answer"})


def test_who_may_call_the_procedure_is_told():
    sessions, source = FakeSessions(), Processes()
    answer = ask(sessions, source=source)
    assert answer.status_code == 200
    assert sessions.asked == [("call", "fox.status", [], {}, {})]
    (process,) = answer.json()["processes"]
    assert (process["name"], process["realms"]["com.example"]) == ("gateway-0", {"calls": 4})
    # One bucket for each bound, one above them, and the sum before all.
    assert len(answer.json()["bounds"]) + 2 == len(process["histograms"]["call_seconds"])


def test_users_of_another_realm_are_told_the_numbers_of_theirs_only():
    (process,) = ask(FakeSessions(), "?realm=com.example", Processes()).json()["processes"]
    assert process["realms"] == {"com.example": {"calls": 4}}


def test_nobody_else_is_told_anything():
    sessions, source = FakeSessions(), Processes()
    sessions.answers["call"] = Refused("wamp.error.not_authorized", ["no"])
    assert ask(sessions, source=source).status_code == 403
    assert source.asked == 0


def test_without_a_source_there_is_nothing_to_tell():
    assert ask(FakeSessions()).status_code == 404


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"),
        ("/dashboard/app.js", "text/javascript"),
        ("/dashboard/views/keys.js", "text/javascript"),
        ("/dashboard/vendor/preact-htm.js", "text/javascript"),
        ("/dashboard/style.css", "text/css"),
        ("/dashboard/icon.svg", "image/svg+xml"),
        ("/dashboard/settings.json", "application/json"),
    ],
)
def test_the_files_of_the_dashboard_may_load_nothing_from_elsewhere(path, media_type):
    async def run():
        async with client(FakeSessions()) as http:
            found = await http.get(path)
            again = await http.get(path, headers={"if-none-match": found.headers["etag"]})
            return found, again

    found, again = asyncio.run(run())
    assert (found.status_code, again.status_code) == (200, 304)
    assert found.headers["content-type"].startswith(media_type)
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/dashboard/__init__.py", "/dashboard/", "/dashboard/../app.py"])
def test_other_files_of_the_folder_are_not_served(path):
    async def run():
        async with client(FakeSessions()) as http:
            return (await http.get(path)).status_code

    assert asyncio.run(run()) == 404
