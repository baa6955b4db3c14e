"""HTTP at a path of a web application: the router's own sessions, without any socket."""

import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fox_shard import FoxRouter, RouterError

PATIENCE = 30.0
OFF = {f"gateway.{kind}": "off" for kind in ("websocket", "rawsocket", "mqtt")}


@asynccontextmanager
async def folder_with(text):
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        file = Path(name) / "conf" / "fox.toml"
        file.parent.mkdir()
        file.write_text(text)
        yield file


@asynccontextmanager
async def application(text="", mount=lambda web: mounted(web), **more):
    """Run an application whose router has HTTP; yields the router and an HTTP client."""
    async with folder_with(text) as file, asyncio.timeout(PATIENCE):
        router = FoxRouter(file, {**OFF, **more})
        app = mount(router.web)
        async with router, client(app) as http:
            yield router, http


def mounted(web):
    return Starlette(routes=[Route("/", home), Mount("/fox", web)])


async def home(_request):
    return PlainTextResponse("home")


def client(app, **more):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", **more)


def running(body):
    asyncio.run(body())


class Streaming:
    """A reader of an event stream, as a web server calls the application for it."""

    def __init__(self, app, path, query):
        self._sent, self._gone = asyncio.Queue(), asyncio.Event()
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1:8000")],
            "client": ("127.0.0.1", 4711),
            "server": ("127.0.0.1", 8000),
        }
        self._task = asyncio.create_task(app(self._scope, self._receive, self._sent.put))

    async def _receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def next(self):
        """Return the next part of the answer, b"" at its end."""
        while (message := await self._sent.get())["type"] != "http.response.body":
            assert message["status"] == 200, message
        return message["body"]

    async def leave(self):
        self._gone.set()
        await self._task


def test_a_mounted_router_publishes_calls_and_keeps_keys():
    async def body():
        async with application() as (router, http):
            assert (await http.get("/")).text == "home"
            realm, events = router.realm("realm1"), asyncio.Queue()
            await realm.register("com.example.add", lambda a, b: a + b)
            await realm.subscribe("com.example.a", events.put_nowait)
            asked = {"topic": "com.example.a", "args": [1]}
            answer = await http.post("/fox/api/publish", json=asked)
            event = await events.get()
            assert (answer.json(), event.args) == ({"id": event.publication}, [1])
            asked = {"procedure": "com.example.add", "args": [2, 3]}
            answer = await http.post("/fox/api/call", json=asked)
            assert answer.json() == {"args": [5], "kwargs": {}}

            # Compare-and-set: one of two that have read the same value writes.
            key = "/fox/api/keys/com.example.door"
            first = await http.put(key, json="open", headers={"If-None-Match": "*"})
            etag = first.headers["etag"]
            answers = [
                await http.put(key, json=value, headers={"If-Match": etag})
                for value in ("closed", "locked")
            ]
            assert [one.status_code for one in answers] == [200, 412]
            assert answers[1].headers["etag"] == answers[0].headers["etag"] != etag
            assert (await http.get(key)).json() == "closed"

    running(body)


def test_the_frames_between_the_parts_of_the_process_are_looked_at():
    async def body():
        async with application() as (router, http):
            realm = router.realm("realm1")
            looking = asyncio.create_task(http.get("/fox/api/frames"))
            while not looking.done():
                await realm.publish("seen.door", ["a secret"], acknowledge=True)
            look = (await looking).json()
            kinds = {(one["process"], one["peer"], one["kind"]) for one in look["counts"]}
            assert {
                ("gateway-0", "shard-0", "publish"),
                ("shard-0", "gateway-0", "published"),
            } <= kinds
            assert "seen.door" in {one["topic"] for one in look["frames"]}
            assert "a secret" not in json.dumps(look)
            # As many as the taps of processes show at most.
            assert len(look["frames"]) <= 200

    running(body)


def test_paths_in_answers_begin_with_that_of_the_mount():
    async def body():
        async with application() as (_, http):
            assert 'src="dashboard/app.js"' in (await http.get("/fox/")).text
            assert (await http.get("/fox/dashboard/app.js")).status_code == 200
            parts = (await http.get("/fox/api/status")).json()["processes"]
            assert {one["name"] for one in parts} >= {"gateway-0", "shard-0", "coordinator"}
            document = (await http.get("/fox/api/openapi.json")).json()
            assert document["servers"] == [{"url": "/fox"}]
            page = (await http.get("/fox/api/docs")).text
            assert "PUT /fox/api/keys/{topic}" in page
            missing = await http.get("/fox/elsewhere")
            assert (missing.status_code, "GET /fox/api/docs" in missing.json()["detail"]) == (
                404,
                True,
            )

    running(body)


def test_a_token_is_refused_in_words_where_there_are_none():
    async def body():
        async with application() as (_, http):
            shown = {"Authorization": "Bearer a.b.c"}
            answer = await http.get("/fox/api/keys/com.example.a", headers=shown)
            assert (answer.status_code, answer.json()["detail"]) == (
                401,
                "this realm knows no tokens",
            )

    running(body)


def test_the_dashboard_has_a_slash_at_its_end_also_where_a_mount_does_without():
    def mount(web):
        return Litestar(route_handlers=[asgi("/fox", is_mount=True, copy_scope=True)(web)])

    async def body():
        async with application(mount=mount) as (_, http):
            answer = await http.get("/fox")
            assert (answer.status_code, answer.headers["location"]) == (307, "/fox/")
            assert 'src="dashboard/app.js"' in (await http.get("/fox/")).text

    running(body)


@pytest.mark.parametrize("cuts_off", [False, True])
def test_a_proxy_may_have_cut_off_what_the_application_has_as_its_root_path(cuts_off):
    """Or not: uvicorn puts `--root-path` before the path again."""

    def mount(web):
        app = mounted(web)

        async def with_root(scope, receive, send):
            await app({**scope, "root_path": "/shop"}, receive, send)

        return with_root

    async def body():
        async with application(mount=mount) as (_, http):
            before = "" if cuts_off else "/shop"
            answer = await http.put(f"{before}/fox/api/keys/a.b", json=1)
            assert answer.status_code == 200, answer.text
            document = (await http.get(f"{before}/fox/api/openapi.json")).json()
            assert document["servers"] == [{"url": "/shop/fox"}]

    running(body)


TABLES = """
[[realm]]
name = "realm1"
schema = "schema.json"
"""

SCHEMA = {
    "room": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "seats": {"type": "integer"}},
        "primary_key": ["name"],
    }
}


def test_a_row_has_its_path_below_the_mount():
    async def body():
        async with folder_with(TABLES) as file:
            (file.parent / "schema.json").write_text(json.dumps(SCHEMA))
            router = FoxRouter(file, OFF)
            app = Starlette(routes=[Mount("/api/tables/room", router.web)])
            async with asyncio.timeout(PATIENCE), router, client(app) as http:
                asked = {"topic": "room", "args": [{"name": "a/b", "seats": 4}]}
                answer = await http.post("/api/tables/room/api/publish", json=asked)
                assert answer.status_code == 200, answer.text
                answer = await http.get("/api/tables/room/api/tables/room/a%2Fb")
                assert (answer.status_code, answer.json()) == (200, {"name": "a/b", "seats": 4})

    running(body)


def test_a_missing_lifespan_is_told_in_words():
    async def body():
        router = FoxRouter(settings={**OFF, "run_dir": "/nowhere", "data_dir": "/nowhere"})
        async with client(mounted(router.web)) as http:
            answer = await http.get("/fox/api/keys/com.example.door")
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert "router.lifespan" in answer.json()["detail"]

    running(body)


def test_after_the_end_of_the_router_there_is_no_answer_either():
    async def body():
        async with application() as (router, http):
            assert (await http.put("/fox/api/keys/a.b", json=1)).status_code == 200
            assert len(router.gateway.admission._of_address) == 1
            await router.stop()
            answer = await http.get("/fox/api/keys/a.b")
            assert (answer.status_code, "has stopped" in answer.json()["detail"]) == (503, True)

    running(body)


def test_a_router_that_starts_again_answers_again():
    async def body(router):
        app = mounted(router.web)
        async with asyncio.timeout(PATIENCE), router, client(app) as http:
            # Nothing is left of the former event loop, whose timers are gone.
            assert not router.web._looking
            reader = Streaming(router.web, "/api/events", "topic=com.example.chat")
            assert (await reader.next()).startswith(b"retry: ")
            answer = await http.post("/fox/api/publish", json={"topic": "com.example.chat"})
            assert answer.status_code == 200
            assert b"com.example.chat" in await reader.next()
            await reader.leave()

    with tempfile.TemporaryDirectory(prefix="fox-") as folder:
        own = {"data_dir": f"{folder}/data", "run_dir": f"{folder}/run"}
        router = FoxRouter(settings={**OFF, **own})
        for _ in range(2):
            asyncio.run(body(router))


def test_the_end_of_the_router_ends_event_streams():
    async def body():
        async with application() as (router, http):
            reader = Streaming(router.web, "/api/events", "topic=com.example.chat")
            assert (await reader.next()).startswith(b"retry: ")
            asked = {"topic": "com.example.chat", "args": ["hello"]}
            await http.post("/fox/api/publish", json=asked)
            assert b'"args":["hello"]' in await reader.next()
            await router.stop()
            while await reader.next():
                pass

    running(body)


def test_a_stream_ends_its_session_with_its_reader():
    async def body():
        async with application() as (router, _):
            reader = Streaming(router.web, "/api/events", "topic=com.example.chat")
            await reader.next()
            realm = router.realm("realm1")
            assert (await realm.call("wamp.session.count")).value == 2
            await reader.leave()
            while (await realm.call("wamp.session.count")).value > 1:
                pass
            assert not router.gateway.admission._count

    running(body)


ROLES = """
[[realm]]
name = "realm1"
[[realm.role]]
name = "anonymous"
[[realm.role.rule]]
uri = "com.example.open"
allow = ["publish"]
[[realm]]
name = "closed"
anonymous = false
"""


def test_visitors_have_the_roles_and_limits_of_clients_without_a_user():
    async def body():
        async with application(ROLES, **{"gateway.max_connections": 1}) as (_, http):
            statuses = []
            for topic, realm in (
                ("com.example.open", ""),
                ("com.example.closed", ""),
                ("com.example.open", "nowhere"),
                ("com.example.open", "closed"),
            ):
                asked = {"topic": topic, "realm": realm}
                statuses.append((await http.post("/fox/api/publish", json=asked)).status_code)
            # The second session is one connection too many, in whichever realm.
            assert statuses == [200, 403, 503, 503]

    running(body)


@pytest.mark.parametrize(
    ("url", "headers", "status"),
    [
        ("http://127.0.0.1:8000", {}, 200),
        ("http://127.0.0.1:8000", {"host": "attacker.example"}, 421),
        ("http://127.0.0.1:8000", {"origin": "https://attacker.example"}, 403),
        ("http://127.0.0.1:8000", {"host": "a.example", "origin": "https://a.example"}, 200),
        ("http://127.0.0.1:8000", {"origin": "http://localhost:9"}, 200),
        # The web server is reached from elsewhere.
        ("http://192.0.2.1:8000", {}, 200),
        ("http://192.0.2.1:8000", {"host": "fox.example", "origin": "https://fox.example"}, 200),
        ("http://192.0.2.1:8000", {"host": "fox.example", "origin": "http://localhost"}, 403),
    ],
)
def test_which_pages_may_send_requests_depends_on_where_they_come_to(url, headers, status):
    async def body():
        allowed = {"gateway.allowed_origins": ["https://a.example"]}
        async with application(**allowed) as (router, _):
            host, _, port = url.partition("://")[2].partition(":")
            app = mounted(router.web)

            async def at_server(scope, receive, send):
                await app({**scope, "server": (host, int(port))}, receive, send)

            async with client(at_server, headers=headers) as http:
                answer = await http.put("/fox/api/keys/a.b", json=1)
                assert answer.status_code == status, answer.text

    running(body)


def test_keys_of_signed_requests_that_cannot_be_read_are_told_at_the_start():
    async def body():
        async with folder_with("") as file:
            router = FoxRouter(file, {**OFF, "web.keys": "conf/missing.toml"})
            assert router.web is router.web
            with pytest.raises(RouterError, match=r"Cannot read web\.keys"):
                await router.start()
            late = FoxRouter(file, {**OFF, "web.keys": "conf/missing.toml"})
            async with asyncio.timeout(PATIENCE), late:
                with pytest.raises(RouterError, match=r"Cannot read web\.keys"):
                    _ = late.web

    running(body)


def test_a_router_whose_http_nobody_uses_does_not_load_the_framework():
    code = """if True:
        import asyncio, sys, tempfile
        from fox_shard import FoxRouter
        async def main():
            with tempfile.TemporaryDirectory(prefix="fox-") as folder:
                own = {"data_dir": f"{folder}/data", "run_dir": f"{folder}/run"}
                off = {f"gateway.{kind}": "off" for kind in ("websocket", "rawsocket", "mqtt")}
                async with FoxRouter(settings={**own, **off}) as router:
                    router.wamp, router.mqtt
        asyncio.run(main())
        print(*sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"starlette", "uvicorn"}.isdisjoint(done.stdout.split())
