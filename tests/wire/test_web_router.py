"""HTTP, MQTT and WAMP at paths of a web application that has the router in its process.

What is true of the HTTP server of a cluster is true of `router.web`: its tests are run here again.
"""

import signal
import threading
from contextlib import closing, suppress

import httpx
import pytest
from cluster import END, await_true
from mounted import APPLICATION, Mounted
from mqtt_peers import PATIENCE, MqttPeer, MQTTv31, MQTTv311, Refused
from test_http import (
    PETER,
    configured,
    publication,
    stream,
    test_a_message_that_is_too_long_in_messagepack_ends_no_session,  # noqa: F401
    test_a_reader_that_reads_nothing_is_given_up_and_nobody_else_is_affected,  # noqa: F401
    test_a_token_logs_in_whom_it_names,  # noqa: F401
    test_an_event_reaches_subscribers_of_both_protocols_and_of_http,  # noqa: F401
    test_an_unknown_realm_is_told_so,  # noqa: F401
    test_anonymous_readers_see_what_their_role_may,  # noqa: F401
    test_bytes_arrive_as_bytes,  # noqa: F401
    test_failed_logins_count_for_the_address_of_the_client,  # noqa: F401
    test_keys_are_written_under_conditions,  # noqa: F401
    test_only_one_of_many_conditional_writes_succeeds,  # noqa: F401
    test_rows_of_tables_are_read_and_written,  # noqa: F401
    test_users_and_roles_are_those_of_the_gateways,  # noqa: F401
)
from user_file import PASSWORD, ticket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

BODY = {"topic": "com.example.chat", "args": ["hello"]}


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    config, users = configured(folder)
    with Mounted(
        config=config,
        FOX_USERS=str(users),
        FOX_WEB_SLOW_TIMEOUT="1",
        FOX_GATEWAY_MAX_MESSAGE_SIZE="1048576",
    ) as made:
        yield made


@pytest.fixture
def cluster(mounted, request):
    sizes = request.node.log_sizes = mounted.sizes()
    yield mounted
    mounted.check(sizes)


@pytest.fixture
def http(cluster):
    with cluster.http(PETER) as client:
        yield client


def test_wrong_requests_are_told_what_is_wrong(http):
    wrong = http.post("/api/publish", content="{", headers={"content-type": "application/json"})
    assert (wrong.status_code, "valid JSON" in wrong.json()["detail"]) == (400, True)
    field = http.post("/api/publish", json={"topic": 1}).json()
    assert field["errors"][0]["pointer"] == "#/topic"
    assert http.post("/api/publish", data=BODY).status_code == 415
    too_long = http.post("/api/publish", json={**BODY, "args": ["x" * (1 << 20)]})
    assert too_long.status_code == 413
    nothing = http.get("/nothing")
    assert nothing.headers["content-type"] == "application/problem+json"
    assert "GET /fox/api/docs" in nothing.json()["detail"]


@pytest.mark.parametrize("path", ["/wss", "/wss/"])
async def test_autobahn_joins_at_a_path_of_the_application(cluster, wamp, path):
    peter = await wamp.join("web", "msgpack", path=path, authenticator=ticket())
    await peter.register(lambda a, b: a + b, "com.example.add")
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{cluster.web}/fox", auth=PETER, timeout=30
    ) as http:
        asked = {"procedure": "com.example.add", "args": [2, 3]}
        assert (await http.post("/api/call", json=asked)).json()["args"] == [5]


@pytest.mark.parametrize("protocol", [MQTTv31, MQTTv311])
def test_paho_speaks_mqtt_over_the_websocket_of_the_application(cluster, http, protocol):
    """At each quality of service, with keys and large payloads, and with a will."""
    login = {"user": "peter", "password": PASSWORD}
    place = ("127.0.0.1", cluster.web)
    will = {"topic": "com/example/device/will", "payload": b"gone", "qos": 1}
    device = MqttPeer(
        place, "device", transport="websockets", protocol=protocol, will=will, **login
    )
    with closing(
        MqttPeer(place, "reader", transport="websockets", protocol=protocol, **login)
    ) as reader:
        http.put("/api/keys/com.example.device.kept", json="kept")
        assert reader.subscribe(("com/example/device/#", 2)) == [2]
        assert reader.take(1) == [("com/example/device/kept", b'"kept"', 0, True)]
        for qos in (0, 1, 2):
            device.publish("com/example/device/a", f"{qos}", qos)
        # paho tells of a message at QoS 2 when that is released, so others may overtake it.
        assert [payload for _, payload, _, _ in reader.take(3)] == [b"0", b"1", b"2"]
        large = bytes(range(256)) * 2000
        device.publish("com/example/device/a", large, 1)
        assert [payload for _, payload, _, _ in reader.take(1)] == [large]
        # Many at once.
        numbers = [str(number).encode() for number in range(2000)]
        for number in numbers:
            device.offer("com/example/device/many", number, 1, retain=False)
        assert [payload for _, payload, _, _ in reader.take(2000)] == numbers
        device.cut()
        assert reader.take(1) == [("com/example/device/will", b"gone", 1, False)]
        device.close()


def test_an_mqtt_client_that_is_not_let_in_is_told_so(cluster):
    place = ("127.0.0.1", cluster.web)
    with pytest.raises(Refused) as refused:
        MqttPeer(place, "device", transport="websockets", user="peter", password="wrong")
    assert refused.value.args[0] == 134  # paho's for "bad user name or password"


CONNECT = bytes.fromhex("100d00044d51545404020000000161")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([b"\xf0\x00"], 1000),  # no packet of a client
        (["text"], 1003),
        ([b"\x10" + bytes((1 << 20) + 1)], 1009),
        # Packets may be cut anywhere, and several be in one message.
        ([CONNECT[:5], CONNECT[5:] + b"\xc0\x00\xe0\x00"], 1000),
    ],
)
def test_mqtt_closes_as_the_listener_does(cluster, sent, code):
    """The same at the listener's own port and at the application's."""
    closed = []
    for port in (cluster.websocket, cluster.web):
        address = f"ws://127.0.0.1:{port}/mqtt"
        with connect(address, subprotocols=["mqtt"], compression=None, max_size=None) as client:
            for message in sent:
                client.send(message)
            received = []
            with suppress(ConnectionClosed):
                while True:
                    received.append(client.recv(PATIENCE))
            closed.append((client.protocol.close_code, b"".join(received)))
    assert closed[0] == closed[1]
    assert closed[0][0] == code


@pytest.mark.parametrize(
    ("path", "options", "status", "said"),
    [
        ("/mqtt", {}, 400, "Ask for one of the subprotocols mqtt, mqttv3.1."),
        ("/mqtt", {"subprotocols": ["wamp.2.json"]}, 400, "Ask for one of the subprotocols"),
        ("/wss", {"subprotocols": ["mqtt"]}, 400, "Ask for one of the subprotocols wamp"),
        (
            "/mqtt",
            {"subprotocols": ["mqtt"], "origin": "https://attacker.example"},
            403,
            "gateway.allowed_origins",
        ),
    ],
)
def test_a_websocket_that_is_not_opened_is_answered_in_words(cluster, path, options, status, said):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{cluster.web}{path}", **options)
    answer = refused.value.response
    assert (answer.status_code, said in answer.body.decode()) == (status, True)


def test_an_application_that_blocks_holds_up_its_clients_and_ends_none(cluster, http):
    """Requests that came meanwhile are answered behind it, and streams go on."""
    with stream(cluster, "topic=com.example.chat") as following:
        blocked = threading.Thread(
            target=httpx.get,
            args=(f"http://127.0.0.1:{cluster.web}/block?seconds=3",),
            kwargs={"timeout": 30},
        )
        blocked.start()
        id_ = publication(http.post("/api/publish", json=BODY))
        assert following()["id"] == str(id_)
        blocked.join()
        id_ = publication(http.post("/api/publish", json=BODY))
        assert following()["id"] == str(id_)


def test_the_end_of_the_web_server_ends_streams():
    """uvicorn waits for them, and tells the application only then."""
    made = Mounted()
    try:
        with stream(made, "topic=a", auth=None) as following:
            made.processes[APPLICATION].send_signal(signal.SIGTERM)
            assert following() is None
        assert made.processes[APPLICATION].wait(END) in (0, -signal.SIGTERM)
        assert "Traceback" not in made.log({}, 10_000)
    finally:
        made.stop()


class WithoutLifespan(Mounted):
    """The application of somebody who has forgotten the router's lifespan."""

    options = ("--lifespan", "off")

    def await_ready(self, unless=lambda: None):
        def answers():
            unless()
            with suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{self.web}/fox/api/docs")
            return None

        self.answer = await_true("the web server answers", answers)


def test_a_missing_lifespan_is_told_in_words():
    with WithoutLifespan() as made:
        problem = made.answer.json()
        assert (problem["status"], "router.lifespan" in problem["detail"]) == (503, True)
        for path, subprotocol in (("/wss", "wamp.2.json"), ("/mqtt", "mqtt")):
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://127.0.0.1:{made.web}{path}", subprotocols=[subprotocol])
            answer = refused.value.response
            assert answer.status_code == 503
            assert b"router.lifespan" in answer.body
