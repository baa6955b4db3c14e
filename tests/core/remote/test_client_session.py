"""The WAMP client: its results for each answer, and how it notices that none will come."""

import json
import os
import socket
import threading
import time
from contextlib import closing

import pytest
from scripted_router import GOODBYE, WELCOME, joined, router
from websockets.server import ServerProtocol

from fox_shard.client import ConnectionLost, Event, NoAnswer, Refused, Session, Unreachable


def test_a_publication_is_acknowledged():
    with router(WELCOME, 16, [17, 1, 42], 6, GOODBYE) as played:
        with Session(played.url, "realm1") as session:
            assert session.id == 7
            assert session.publish("a.b", [1], {"retain": True}) == 42
        hello, publish, goodbye = played.received
    assert hello[1] == "realm1"
    assert publish == [16, 1, {"retain": True, "acknowledge": True}, "a.b", [1]]
    assert goodbye[2] == "wamp.close.close_realm"


def test_a_replay_ends_when_the_router_revokes_the_subscription():
    with joined(
        32,
        [33, 1, 5],
        [36, 5, 8, {"retained": True, "topic": "a.b"}, [1], {"k": 2}],
        [36, 6, 9, {}],  # for another subscription
        [36, 5, 9, {"topic": "a.c", "removed": "weak"}],
        [35, 0, {"subscription": 5, "reason": "wamp.close.normal"}],
        6,
        GOODBYE,
    ) as session:
        subscription = session.subscribe("a.*", {"snapshot": True})
        assert list(subscription.replay()) == [
            Event("a.b", 8, [1], {"k": 2}, "", {"retained": True, "topic": "a.b"}),
            Event("a.c", 9, [], {}, "weak", {"topic": "a.c", "removed": "weak"}),
        ]
        assert subscription.over


def test_events_that_come_before_an_answer_are_kept():
    script = [32, [33, 1, 5], 16, [36, 5, 8, {}, ["x"]], [17, 2, 42], 6, GOODBYE]
    with joined(*script) as session:
        subscription = session.subscribe("a", {})
        assert session.publish("b", [1], {}) == 42
        assert subscription.next(until=0) == Event("a", 8, ["x"], {}, "")
        assert subscription.next(until=0) is None


def test_a_refusal_has_the_routers_sentence_and_the_session_goes_on():
    error = [8, 16, 1, {}, "fox.error.condition_failed", ["it is there"], {"publication": 3}]
    with joined(16, error, 16, [8, 16, 2, {}, "x.y"], 6, GOODBYE) as session:
        with pytest.raises(Refused, match="it is there") as refused:
            session.publish("a", [1], {})
        assert refused.value.uri == "fox.error.condition_failed"
        assert refused.value.kwargs == {"publication": 3}
        with pytest.raises(Refused, match=r"x\.y"):
            session.publish("a", [1], {})


def test_a_wait_may_end_at_a_time_or_when_a_file_becomes_readable():
    reading, writing = os.pipe()
    with joined(16, 32, [33, 2, 5], 6, GOODBYE) as session:
        with pytest.raises(NoAnswer):
            session.publish("a", [1], {}, until=time.monotonic())
        subscription = session.subscribe("a", {})
        os.close(writing)
        assert subscription.next(unless=reading) is None
    os.close(reading)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ([3, {"message": "there is no realm 'x'"}, "wamp.error.no_such_realm"], "no realm 'x'"),
        ([3, {}, "wamp.error.no_such_realm"], "wamp.error.no_such_realm"),
        ([4, "ticket", {}], "something else than WELCOME"),
    ],
)
def test_a_router_may_refuse_the_session(answer, sentence):
    with router(answer) as played, pytest.raises(Unreachable, match=sentence):
        Session(played.url, "x")


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ([6, {}, "wamp.close.system_shutdown"], "ended the session: wamp.close.system_shutdown"),
        ([3, {"message": "bad"}, "wamp.error.protocol_violation"], "ended the session: bad"),
    ],
)
def test_a_router_may_end_the_session(last, sentence):
    with (
        pytest.raises(ConnectionLost, match=sentence),
        joined(32, [33, 1, 5], last) as session,
    ):
        session.subscribe("a", {}).next()


def test_a_closed_connection_is_lost():
    with pytest.raises(ConnectionLost, match="is lost"), joined() as session:
        session.publish("a", [1], {})


def silent(listener, greeting):
    """Accept one connection, send a greeting, and then nothing until the connection is closed."""

    def play():
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(4096)
            connection.sendall(greeting(request))
            while connection.recv(4096):
                pass

    thread = threading.Thread(target=play)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("greeting", "sentence"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "HTTP 503 Service"),
        (b"\x7f\xf0\x00\x00\r\n\r\n", "like something else"),
    ],
)
def test_a_server_that_is_no_router_is_reported(greeting, sentence):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = silent(listener, lambda request: greeting)
        with pytest.raises(Unreachable, match=sentence):
            Session(f"ws://127.0.0.1:{listener.getsockname()[1]}/ws", "realm1")
        thread.join()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "nonsense", "ws://", "ws://a:99999/", "ws://[::1/"]
)
def test_an_address_must_be_that_of_a_websocket(url):
    with pytest.raises(Unreachable, match="is not the address of a WebSocket"):
        Session(url, "realm1")


def test_an_address_at_which_nobody_listens_is_unreachable():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="Connection refused"):
            Session(f"ws://127.0.0.1:{taken.getsockname()[1]}/ws", "realm1")


def test_a_router_that_shows_no_sign_of_life_is_lost():
    def greeting(request):
        server = ServerProtocol(subprotocols=["wamp.2.json"])
        server.receive_data(request)
        server.send_response(server.accept(server.events_received()[0]))
        server.send_text(json.dumps(WELCOME).encode())
        return b"".join(server.data_to_send())

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = silent(listener, greeting)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        with (
            pytest.raises(ConnectionLost, match="does not answer any more"),
            Session(url, "realm1", patience=0.2) as session,
        ):
            session.receive()
        thread.join()


def test_a_router_that_is_only_quiet_is_not_lost():
    with joined(6, GOODBYE, patience=1.0) as session:
        assert not session.receive(until=time.monotonic() + 1.5)
