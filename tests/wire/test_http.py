"""HTTP: publishing, calling, keys and event streams, for users of all gateways."""

import base64
import json
import shutil
import signal
import socket
import threading
import time
from contextlib import closing, contextmanager

import httpx
import jwt
import pytest
from cluster import END, ROOT, START, await_true, write_config
from user_file import PASSWORD, UserFile, ticket
from web_cluster import WebCluster

TOML = """
[auth]
max_failures = 20

[[realm]]
name = "realm1"
anonymous = true
[[realm.history]]
topic = "com.example.recorded"
match = "prefix"
[realm.jwt]
key = "secret"
algorithms = ["HS256"]
issuer = "https://id.example.com/"
[[realm.role]]
name = "backend"
[[realm.role.rule]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
[[realm.role]]
name = "anonymous"
[[realm.role.rule]]
uri = "com.example.public"
match = "prefix"
allow = ["subscribe"]

[[realm]]
name = "accounts"
anonymous = true
schema = "schema.json"
"""

PETER = ("peter", PASSWORD)
SECRET = "0123456789abcdef0123456789abcdef"


class PetersCluster(WebCluster):
    """A broker with the HTTP server, and with users. root: what is before its paths."""

    root = ""

    def http(self, auth=PETER, **arguments):
        return super().http(auth, **arguments)


def configured(folder):
    """Write the configuration and the users of these tests; return the paths of both files."""
    config = write_config(folder, TOML)
    secret = folder / "conf" / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    shutil.copy(ROOT / "conf" / "schema.json", folder / "conf")
    users = UserFile(folder, config)
    users.add("peter", "backend")
    return config, users.path


@pytest.fixture(scope="module")
def web_cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    config, users = configured(folder)
    with PetersCluster(
        config=config,
        FOX_USERS=str(users),
        FOX_WEB_SLOW_TIMEOUT="1",
        FOX_GATEWAY_MAX_MESSAGE_SIZE="1048576",
        FOX_WEB_TRUSTED_PROXIES="127.0.0.1",
    ) as made:
        yield made


@pytest.fixture
def cluster(web_cluster, request):
    sizes = request.node.log_sizes = web_cluster.sizes()
    yield web_cluster
    web_cluster.check(sizes)


@pytest.fixture
def http(cluster):
    with cluster.http() as client:
        yield client


@contextmanager
def stream(cluster, query, auth=PETER, **headers):
    """Read an event stream; yields a function that returns the next event's fields."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    with (
        cluster.http(auth) as client,
        client.stream("GET", f"/api/events?{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_lines()

        def following():
            fields = {}
            for line in lines:
                if not line and fields:
                    return fields
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
            return None

        assert following()["retry"]
        yield following


def publication(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_an_event_reaches_subscribers_of_both_protocols_and_of_http(cluster, http, mqtt):
    device = mqtt.connect(user="peter", password=PASSWORD)
    device.subscribe("com/example/chat")
    with stream(cluster, "topic=com.example.chat") as following:
        body = {"topic": "com.example.chat", "args": ["hello"]}
        id_ = publication(http.post("/api/publish", json=body))
        event = following()
        assert event["id"] == str(id_)
        assert json.loads(event["data"]) == {
            "topic": "com.example.chat",
            "publication": id_,
            "args": ["hello"],
            "kwargs": {},
        }
    assert device.receive().payload == b'"hello"'


async def test_a_procedure_is_called_at_any_gateway(cluster, wamp):
    for gateway in (0, 1):
        callee = await wamp.join(authenticator=ticket(), gateway=gateway)
        await callee.register(lambda a, b: a + b, f"com.example.add{gateway}")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{cluster.web}", auth=PETER) as http:
        for gateway in (0, 1):
            body = {"procedure": f"com.example.add{gateway}", "args": [2, 3]}
            answer = await http.post("/api/call", json=body)
            assert (answer.status_code, answer.json()) == (200, {"args": [5], "kwargs": {}})


def test_keys_are_written_under_conditions(http):
    path = "/api/keys/com.example.setting"
    assert http.get(path).status_code == 404
    made = http.put(path, json={"on": True}, headers={"If-None-Match": "*"})
    first = made.headers["etag"]
    assert http.put(path, json=1, headers={"If-None-Match": "*"}).status_code == 412
    shown = http.get(path)
    assert (shown.json(), shown.headers["etag"]) == ({"on": True}, first)
    assert http.get(path, headers={"If-None-Match": first}).status_code == 304
    second = http.put(path, json={"on": False}, headers={"If-Match": first}).headers["etag"]
    stale = http.put(path, json={"on": 1}, headers={"If-Match": first})
    assert (stale.status_code, stale.headers["etag"]) == (412, second)
    listed = http.get("/api/keys?topic=com.example.set&match=prefix").json()
    key = {"topic": "com.example.setting", "publication": int(second.strip('"'))}
    assert listed == {"keys": [{**key, "value": {"on": False}}], "more": False}
    assert http.delete(path, headers={"If-Match": first}).status_code == 412
    assert http.delete(path, headers={"If-Match": second}).status_code == 200
    assert http.get(path).status_code == 404


def test_only_one_of_many_conditional_writes_succeeds(cluster, http):
    path = "/api/keys/com.example.counter"
    http.put(path, json=0)

    def count():
        with cluster.http() as client:
            for _ in range(5):
                while True:
                    shown = client.get(path)
                    condition = {"If-Match": shown.headers["etag"]}
                    written = client.put(path, json=shown.json() + 1, headers=condition)
                    if written.status_code == 200:
                        break
                    assert written.status_code == 412

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert http.get(path).json() == 20


def test_bytes_arrive_as_bytes(http, mqtt):
    device = mqtt.connect(user="peter", password=PASSWORD)
    device.publish("com/example/blob", b"\xff\x00", qos=1, retain=True)
    assert http.get("/api/keys/com.example.blob").json() == "\0/wA="
    http.put("/api/keys/com.example.other", json="\0/wA=")
    device.subscribe("com/example/other")
    assert device.receive().payload == b"\xff\x00"


@pytest.mark.parametrize(
    ("auth", "topic", "status"),
    [
        (PETER, "com.example.public", 200),
        (None, "com.example.public", 403),
        (("peter", "wrong"), "com.example.public", 401),
        (("nobody", "wrong"), "com.example.public", 401),
    ],
)
def test_users_and_roles_are_those_of_the_gateways(cluster, auth, topic, status):
    with cluster.http(auth) as client:
        answer = client.post("/api/publish", json={"topic": topic})
        assert answer.status_code == status
        if status != 200:
            assert answer.json()["error"].startswith("wamp.error.")


def test_anonymous_readers_see_what_their_role_may(cluster):
    with cluster.http(None) as client:
        assert client.get("/api/keys/com.example.public").status_code == 404
        assert client.get("/api/keys/com.example.secret").status_code == 403
        assert client.get("/api/events?topic=com.example.secret").status_code == 403


def bearer(**more):
    claims = {
        "iss": "https://id.example.com/",
        "sub": "ann",
        "role": "backend",
        "exp": time.time() + 60,
        **more,
    }
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


def test_a_token_logs_in_whom_it_names(cluster):
    with cluster.http(None) as client:
        body = {"topic": "com.example.by/token"}
        assert publication(client.post("/api/publish", json=body, headers=bearer()))
        for wrong in (bearer(exp=1), bearer(iss="x"), {"Authorization": "Bearer x.y.z"}):
            answer = client.post("/api/publish", json=body, headers=wrong)
            assert answer.status_code == 401
            assert "www-authenticate" in answer.headers


def test_rows_of_tables_are_read_and_written(cluster):
    with cluster.http(None) as client:
        for customer, amount in (("A. & B./C", "1.50"), ("acme", "2.00")):
            row = {"date": "2026-11-29", "customer": customer, "amount": amount}
            body = {"topic": "invoice", "args": [row], "realm": "accounts"}
            publication(client.post("/api/publish", json=body))
        query = {"realm": "accounts", "limit": 1}
        page = client.get("/api/tables/invoice", params=query).json()
        assert (len(page["rows"]), page["more"]) == (1, True)
        query["after"] = json.dumps(page["after"])
        (other,) = client.get("/api/tables/invoice", params=query).json()["rows"]
        assert {page["rows"][0]["customer"], other["customer"]} == {"A. & B./C", "acme"}
        path = "/api/tables/invoice/2026-11-29/A.%20%26%20B.%2FC?realm=accounts"
        shown = client.get(path)
        assert shown.json()["amount"] == "1.50"
        assert shown.headers["etag"]
        names = client.get("/api/tables?realm=accounts").json()["tables"]
        assert {one["table"] for one in names} == {"invoice", "detail"}
        total = "/api/tables/detail/acme?realm=accounts"
        await_true("the aggregate is there", lambda: client.get(total).status_code == 200)
        row = {"date": "2026-11-29", "customer": "acme", "amount": 5}
        body = {"topic": "invoice", "args": [row], "realm": "accounts"}
        refused = client.post("/api/publish", json=body)
        assert (refused.status_code, refused.json()["error"]) == (400, "fox.error.invalid_payload")


def test_an_unknown_realm_is_told_so(http):
    answer = http.post("/api/publish", json={"topic": "a", "realm": "nowhere"})
    assert (answer.status_code, answer.json()["error"]) == (404, "wamp.error.no_such_realm")


def test_a_stream_goes_on_over_a_killed_gateway_and_misses_nothing(cluster, http):
    topic = "com.example.recorded.a"
    sent, seen, last = [], [], {}

    def publish(number):
        await_true(
            "the event is published",
            lambda: http.post("/api/publish", json={"topic": topic, "args": [number]}).is_success,
        )
        sent.append(number)

    def read(most):
        with stream(cluster, f"topic={topic}", **last) as following:
            for _ in range(most):
                event = following()
                if event is None or event.get("event") == "end":
                    return
                last["last_event_id"] = event["id"]
                seen.append(json.loads(event["data"])["args"][0])

    last["last_event_id"] = "0"
    for number in range(5):
        publish(number)
    read(3)
    for name in cluster.gateway_names:
        reader = threading.Thread(target=read, args=(1000,))
        reader.start()
        await_true("the stream is there", lambda: cluster.health("web")["streams"] == 1)
        publish(len(sent))
        await_true("all is read", lambda: seen == sent)
        other = next(one for one in cluster.gateway_names if one != name)
        cluster.restart(name)
        publish(len(sent))
        # If the stream was at the other gateway, it goes on.
        await_true("all is read", lambda reader=reader: seen == sent or not reader.is_alive())
        if reader.is_alive():
            cluster.restart(other)
        reader.join(START)
        assert not reader.is_alive()
        cluster.await_ready()
    publish(len(sent))
    reader = threading.Thread(target=read, args=(len(sent) - len(seen),))
    reader.start()
    reader.join(START)
    assert seen == sent


def test_a_reader_that_reads_nothing_is_given_up_and_nobody_else_is_affected(cluster, http):
    topic = "com.example.flood"
    request = (
        f"GET {cluster.root}/api/events?topic={topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Basic {base64.b64encode(':'.join(PETER).encode()).decode()}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", cluster.web))) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(request.encode())
        assert slow.recv(12) == b"HTTP/1.1 200"
        with stream(cluster, f"topic={topic}") as following:
            await_true("both are there", lambda: cluster.health("web")["streams"] == 2)
            count = 0
            while cluster.health("web")["streams"] == 2:
                publication(
                    http.post("/api/publish", json={"topic": topic, "args": ["x" * 100_000]})
                )
                assert len(following()["data"]) > 100_000
                count += 1
            assert count < 1000
            publication(http.post("/api/publish", json={"topic": topic, "args": ["end"]}))
            assert "end" in following()["data"]


def test_a_message_that_is_too_long_in_messagepack_ends_no_session(cluster, http):
    """Floats are longer there, and the gateway would end the session of a longer message."""
    sessions = cluster.health("web")["sessions"]
    body = {"topic": "com.example.long", "args": [[1.5] * 200_000]}
    answer = http.post("/api/publish", json=body)
    assert answer.status_code == 413, answer.text
    assert "gateway.max_message_size" in answer.json()["detail"]
    assert http.get("/api/keys/com.example.none").status_code == 404
    assert cluster.health("web")["sessions"] <= max(1, sessions)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /" + b"x" * 100_000,
        b"POST /api/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n"
        b"Content-Type: application/json\r\n\r\n",
    ],
)
def test_nonsense_is_refused(cluster, http, sent):
    with closing(socket.create_connection(("127.0.0.1", cluster.web))) as client:
        client.settimeout(30)
        client.sendall(sent)
        answer = b""
        while data := client.recv(65536):
            answer += data
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 401"))
    assert http.get("/api/keys/com.example.none").status_code == 404


def test_failed_logins_count_for_the_address_of_the_client(cluster):
    """A proxy that is trusted says which that is, so one client cannot shut out the others."""

    def logs_in(address, password):
        headers = {"X-Forwarded-For": address}
        with cluster.http(("peter", password), headers=headers) as client:
            return client.get("/api/keys/com.example.none").status_code == 404

    assert logs_in("192.0.2.9", PASSWORD)
    for _ in range(60):
        assert not logs_in("192.0.2.10", "wrong")
    assert not logs_in("192.0.2.10", PASSWORD)
    assert logs_in("192.0.2.11", PASSWORD)


def test_the_end_of_the_server_ends_streams():
    cluster = WebCluster()
    try:
        with stream(cluster, "topic=a", auth=None) as following:
            cluster.processes["web"].send_signal(signal.SIGTERM)
            assert following() is None
        assert cluster.processes["web"].wait(END) == 0
        assert "Traceback" not in (cluster.folder / "web.log").read_text()
    finally:
        cluster.stop()
