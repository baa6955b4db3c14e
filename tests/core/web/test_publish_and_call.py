"""Publishing and calling over HTTP, and what is said of bad requests."""

import asyncio
import base64
import gc

import pytest
from msgspec.msgpack import Ext
from web_sessions import FakeSessions, client, request

from fox_shard.client.failures import (
    ConnectionLost,
    Failure,
    NoAnswer,
    Refused,
    TooSlow,
    Unreachable,
)
from fox_shard.web import make_app
from fox_shard.web.bodies import Bodies
from fox_shard.web.context import Limits
from fox_shard.web.problems import Problem
from fox_shard.web.reading import decoded
from fox_shard.web.sessions import LoginRefused, TooManySessions, Visitor


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


PUBLISH = {"topic": "com.example.a", "args": [1], "kwargs": {"b": 2}}


@pytest.fixture
def sessions():
    return FakeSessions()


def test_a_publish_is_carried_out_with_its_arguments_and_options(sessions):
    body = {**PUBLISH, "options": {"retain": True}}
    answer = request(sessions, "POST", "/api/publish", json=body)
    assert (answer.status_code, answer.json()) == (200, {"id": 64})
    options = {"exclude_me": False, "retain": True}
    assert sessions.asked == [("publish", "com.example.a", [1], {"b": 2}, options)]
    assert sessions.visitors == [Visitor("realm1", "127.0.0.1")]
    assert sessions.open == 0


def test_a_call_is_answered_with_the_arguments_of_the_result(sessions):
    sessions.answers["call"] = ([5], {"unit": "K"})
    body = {"procedure": "com.example.add", "args": [2, 3], "realm": "other"}
    answer = request(sessions, "POST", "/api/call", json=body)
    assert (answer.status_code, answer.json()) == (200, {"args": [5], "kwargs": {"unit": "K"}})
    assert sessions.asked == [("call", "com.example.add", [2, 3], {}, {})]
    assert sessions.visitors[0].realm == "other"


BASIC = base64.b64encode(b"peter@example.com:s3:cret").decode()


@pytest.mark.parametrize(
    ("header", "visitor"),
    [
        (f"Basic {BASIC}", {"name": "peter@example.com", "password": "s3:cret"}),
        ("bearer a.b.c", {"token": "a.b.c"}),
    ],
)
def test_users_log_in_by_basic_and_bearer(sessions, header, visitor):
    headers = {"authorization": header}
    request(sessions, "POST", "/api/publish", json=PUBLISH, headers=headers)
    assert sessions.visitors == [Visitor("realm1", "127.0.0.1", **visitor)]


@pytest.mark.parametrize("header", ["Basic", "Basic ???", "Basic OnB3", "Digest x", "Bearer "])
def test_an_authorization_that_cannot_be_read_is_refused(sessions, header):
    headers = {"authorization": header}
    answer = request(sessions, "POST", "/api/publish", json=PUBLISH, headers=headers)
    assert answer.status_code == 401
    assert "Basic" in answer.headers["www-authenticate"]
    assert sessions.visitors == []


def test_a_visitor_who_is_not_let_in_is_told_so(sessions):
    uri = "wamp.error.authentication_failed"
    sessions.answers["login"] = LoginRefused(uri, "the authentication failed")
    answer = request(sessions, "POST", "/api/publish", json=PUBLISH)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "the authentication failed",
        "error": uri,
    }


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"topic": 5}, "#/topic", "Expected `str`, got `int`."),
        ({"args": []}, "#/topic", "Object missing required field `topic`."),
        ({"topic": "a", "args": {}}, "#/args", "Expected `array`, got `object`."),
        ({"topic": "a", "kwargs": []}, "#/kwargs", "Expected `object`, got `array`."),
        ({"topic": "a", "colour": 1}, "#/colour", "Object contains unknown field `colour`."),
        ([], "#", "Expected `object`, got `array`."),
        (
            {"topic": "a", "options": {"watch": True}},
            "#/options/watch",
            "The option watch needs a session of your own: use WAMP.",
        ),
    ],
)
def test_a_wrong_body_is_refused_with_the_path_of_the_field(sessions, body, pointer, detail):
    answer = request(sessions, "POST", "/api/publish", json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"detail": detail, "pointer": pointer}]
    assert sessions.asked == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"topic": NaN}', b'{"topic": "a"} x']
)
def test_a_body_that_is_not_json_is_refused(sessions, body):
    headers = {"content-type": "application/json"}
    answer = request(sessions, "POST", "/api/publish", content=body, headers=headers)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text
    assert sessions.asked == []


def test_a_body_of_another_media_type_is_refused(sessions):
    headers = {"content-type": "text/plain"}
    answer = request(sessions, "POST", "/api/publish", content=b"{}", headers=headers)
    assert answer.status_code == 415


def test_bytes_are_strings_as_wamp_writes_them(sessions):
    sessions.answers["call"] = ([[b"\xff", "x"]], {"b": b""})
    body = {
        "procedure": "a",
        "args": ["\0/w==", {"b": ["\0"]}, "\0?", "x"],
        "kwargs": {"c": "\0AA=="},
    }
    answer = request(sessions, "POST", "/api/call", json=body)
    assert sessions.asked[0][2:4] == ([b"\xff", {"b": [b""]}, "\0?", "x"], {"c": b"\0"})
    assert answer.json() == {"args": [["\0/w==", "x"]], "kwargs": {"b": "\0"}}


@pytest.mark.parametrize("value", [Ext(5, b"x"), deep(5000)])
def test_a_result_that_is_no_json_is_a_problem(sessions, value):
    sessions.answers["call"] = ([value], {})
    answer = request(sessions, "POST", "/api/call", json={"procedure": "a"})
    assert answer.status_code == 502


def test_an_error_whose_arguments_are_no_json_is_told_without_them(sessions):
    sessions.answers["call"] = Refused("com.example.stale", [Ext(5, b"x")])
    answer = request(sessions, "POST", "/api/call", json={"procedure": "a"})
    assert (answer.status_code, answer.json()["args"]) == (422, [])


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(sessions, announced):
    async def parts():
        for _ in range(100):
            yield b"x" * 100

    content = b"x" * 10_000 if announced else parts()
    headers = {"content-type": "application/json"}
    limits = Limits(body=1000)
    answer = request(sessions, "POST", "/api/publish", limits, content=content, headers=headers)
    assert answer.status_code == 413
    assert "gateway.max_message_size" in answer.json()["detail"]


def test_bodies_under_way_have_bounded_memory_and_an_address_a_part_of_it(sessions):
    bodies = Bodies(1000)
    bodies.take("a", 250)
    with pytest.raises(Problem, match="of your address") as refusal:
        bodies.take("a", 1)
    assert refusal.value.status == 429
    for address in "bcd":
        bodies.take(address, 250)
    with pytest.raises(Problem, match="Too many bodies are") as refusal:
        bodies.take("e", 1)
    assert refusal.value.status == 503
    bodies.give_back("a", 250)
    bodies.take("e", 250)


def test_a_realm_that_cannot_be_is_no_matter_of_passwords(sessions):
    sessions.answers["login"] = LoginRefused("wamp.error.invalid_uri", "' ' is not a URI")
    answer = request(sessions, "POST", "/api/publish", json=PUBLISH)
    assert answer.status_code == 400
    assert "www-authenticate" not in answer.headers


def test_a_long_name_of_a_field_is_not_repeated(sessions):
    body = PUBLISH | {"x" * 100_000: 1}
    answer = request(sessions, "POST", "/api/publish", json=body)
    assert answer.status_code == 400
    assert "unknown field `xxx" in answer.json()["detail"]
    assert len(answer.content) < 1000


def test_no_garbage_is_looked_for_while_a_body_is_read(sessions):
    """A body may have millions of lists; that none of them is garbage took seconds to find out."""
    rounds = []
    gc.callbacks.append(lambda phase, info: rounds.append(phase))
    try:
        decoded(b"[%b[]]" % (b"[]," * 200_000), list, 1_000_000)
        during = len(rounds)
    finally:
        gc.callbacks.pop()
    assert during <= 2  # one round may begin when all is read
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/publish", b'{"topic":"a","args":[%b[]]}' % (b"{}," * 99)),
        ("POST", "/api/call", b'{"procedure":"a","x":[%b[]]}' % (b"[]," * 99)),
        ("PUT", "/api/keys/a", b"[%b[]]" % (b"[]," * 100)),
    ],
)
def test_a_body_of_too_many_lists_is_refused_before_they_are_made(sessions, method, path, body):
    headers = {"content-type": "application/json"}
    limits = Limits(containers=100)
    answer = request(sessions, method, path, limits=limits, content=body, headers=headers)
    assert answer.status_code == 400
    assert "100 lists and objects (gateway.max_containers)" in answer.json()["detail"]
    assert sessions.asked == []


@pytest.mark.parametrize("status", [200, 403])
def test_a_body_takes_memory_until_its_request_is_answered(sessions, status):
    if status == 403:
        sessions.answers["publish"] = Refused("wamp.error.not_authorized", ["no"])
    limits = Limits(bodies=4 * 100)

    async def run():
        async with client(sessions, limits) as http:
            answers = [await http.post("/api/publish", json=PUBLISH) for _ in range(10)]
            large = await http.post("/api/publish", json={**PUBLISH, "args": ["x" * 100]})
            return {one.status_code for one in answers}, large.status_code

    assert asyncio.run(run()) == ({status}, 429)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Refused("wamp.error.not_authorized", ["no"]), 403),
        (Refused("wamp.error.no_such_procedure"), 404),
        (Refused("wamp.error.invalid_uri", ["no"]), 400),
        (Refused("wamp.error.invalid_argument", ["no"]), 400),
        (Refused("fox.error.invalid_payload", ["no"]), 400),
        (Refused("fox.error.condition_failed", ["no"], {"publication": 128}), 412),
        (Refused("fox.error.limit_exceeded", ["no"]), 429),
        (Refused("fox.error.queue_full", ["no"]), 503),
        (Refused("wamp.error.unavailable", ["no"]), 503),
        (Refused("wamp.error.timeout", ["no"]), 504),
        (Refused("wamp.error.runtime_error", ["no"]), 500),
        (Refused("com.example.stale", ["no", 7], {"by": 3}), 422),
        (NoAnswer("secret"), 504),
        (ConnectionLost("secret"), 503),
        (Unreachable("secret"), 503),
        (TooSlow("secret"), 503),
        (TooManySessions("There are too many."), 503),
        (Failure("This cannot be sent."), 400),
        (ValueError("secret"), 500),
    ],
)
@pytest.mark.parametrize("verb", ["publish", "call"])
def test_failures_are_problem_details(sessions, verb, failure, status):
    sessions.answers[verb] = failure
    body = {"topic" if verb == "publish" else "procedure": "com.example.a"}
    answer = request(sessions, "POST", f"/api/{verb}", json=body)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert "secret" not in answer.text
    if isinstance(failure, Refused):
        told = answer.json()
        assert told["error"] == failure.uri
        assert (told["args"], told["kwargs"]) == ([*failure.arguments], failure.kwargs)
    if status == 412:
        assert answer.headers["etag"] == '"128"'


def test_a_router_that_does_not_answer_is_not_waited_for_for_ever(sessions):
    async def silent(*_):
        await asyncio.Event().wait()

    for verb, name in (("publish", "topic"), ("call", "procedure")):
        sessions.answers[verb] = silent
        limits = Limits(answer_timeout=0.01)
        answer = request(sessions, "POST", f"/api/{verb}", limits, json={name: "a"})
        assert answer.status_code == 504
    assert sessions.open == 0


def test_a_client_that_hangs_up_cancels_its_call(sessions):
    canceled = []

    async def silent(*_):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            canceled.append(True)
            raise

    sessions.answers["call"] = silent
    messages = iter(
        [{"type": "http.request", "body": b'{"procedure": "a"}'}, {"type": "http.disconnect"}]
    )

    async def receive():
        return next(messages)

    async def send(_):
        pass

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/call",
        "query_string": b"",
        "headers": headers,
    }
    asyncio.run(make_app(sessions)(scope, receive, send))
    assert canceled == [True]


@pytest.mark.parametrize(
    ("headers", "limits", "status"),
    [
        ({}, {}, 200),
        ({"origin": "http://localhost:3000"}, {}, 200),
        ({"origin": "https://evil.example"}, {}, 403),
        ({"origin": "null"}, {}, 403),
        ({"origin": "https://good.example"}, {"origins": ("https://good.example",)}, 200),
        ({"sec-fetch-site": "cross-site"}, {}, 403),
        ({"sec-fetch-site": "same-origin"}, {}, 200),
        # A name of the web that leads to 127.0.0.1.
        ({"host": "evil.example:8088"}, {}, 421),
        ({"host": "good.example"}, {"origins": ("https://good.example",)}, 200),
        ({"host": "fox.example"}, {"is_local": False}, 200),
        ({"host": "fox.example", "origin": "https://fox.example"}, {"is_local": False}, 200),
        ({"host": "fox.example", "origin": "http://localhost"}, {"is_local": False}, 403),
    ],
)
def test_pages_of_other_origins_may_not_send_requests(sessions, headers, limits, status):
    answer = request(
        sessions, "POST", "/api/publish", Limits(**limits), json=PUBLISH, headers=headers
    )
    assert answer.status_code == status
    assert len(sessions.asked) == (status == 200)
    shown = headers.get("origin") if status == 200 else None
    assert answer.headers.get("access-control-allow-origin") == shown
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_ask_before_they_send_json(sessions):
    asked = {"access-control-request-method": "PUT"}
    for origin, status in (("http://localhost:1", 204), ("https://evil.example", 403)):
        headers = {**asked, "origin": origin}
        answer = request(sessions, "OPTIONS", "/api/keys/a", headers=headers)
        assert answer.status_code == status
        assert ("access-control-allow-methods" in answer.headers) == (status == 204)


def test_what_there_is_is_described_without_anything_from_elsewhere(sessions):
    async def run():
        async with client(sessions) as http:
            return await http.get("/api/openapi.json"), await http.get("/api/docs")

    described, page = asyncio.run(run())
    document = described.json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]["/api/keys/{topic}"]) == {"get", "put", "delete"}
    assert "PublishBody" in document["components"]["schemas"]
    assert page.status_code == 200
    assert "<code>exact</code> (the default)" in page.text
    assert "src=" not in page.text
    assert "http:" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/api/publish", 405)])
def test_paths_and_methods_that_are_not_there_are_problems_too(sessions, path, status):
    answer = request(sessions, "GET", path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
