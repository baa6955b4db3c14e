"""Requests to a target that does not behave."""

import asyncio
import socket
import threading

import pytest
from webhook_target import HANG, Target

from fox_shard.config import Webhook
from fox_shard.errors import StartError
from fox_shard.worker.webhooks.delivery import Answered, Unanswered
from fox_shard.worker.webhooks.posting import Poster, retry_after

WALL = 1_796_044_531.0


def post(url, **more):
    """Post once, and return what has come of it."""

    async def once():
        poster = Poster(Webhook(name="w", topic="a", url=url, **more))
        try:
            return await poster.post([("webhook-id", "1")], b"{}", WALL)
        finally:
            await poster.close()

    return asyncio.run(once())


class RawTarget:
    """A server that sends what it likes to whoever connects, until that one closes."""

    def __init__(self, *parts, endless=b""):
        self.parts = parts
        self.endless = endless
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        client, _ = self._listening.accept()
        with client:
            try:
                client.recv(1 << 16)
                for part in self.parts:
                    client.sendall(part)
                while self.endless:
                    client.sendall(self.endless)
                while client.recv(1 << 16):
                    pass
            except OSError:
                pass  # It is closed.

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listening.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_the_status_and_what_the_target_asks_for_count():
    with Target() as target:
        target.will("/x", (503, {"Retry-After": "7"}))
        assert post(f"{target.url}/x") == Answered(503, "Service Unavailable", 7.0)


def test_a_target_that_does_not_answer_is_left_when_the_time_is_over():
    with Target() as target:
        target.will("/x", HANG)
        found = post(f"{target.url}/x", timeout=0.2)
    assert found == Unanswered("no answer within 0.2 s (timeout)")


def test_a_target_that_begins_an_answer_and_never_ends_it_is_left_too():
    with RawTarget(b"HTTP/1.1 200 OK\r\nX: ") as target:
        assert isinstance(post(target.url, timeout=0.2), Unanswered)


def test_an_answer_without_end_is_not_read_to_its_end():
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawTarget(head, endless=chunk) as target:
        assert post(target.url) == Answered(200, "OK", 0.0)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\nbegun",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
def test_an_event_is_delivered_by_the_status_whatever_becomes_of_the_body(rest):
    """A target that has taken the event, and then hangs or breaks, does not get it again."""
    with RawTarget(b"HTTP/1.1 200 OK\r\n" + rest) as target:
        assert post(target.url, timeout=0.2) == Answered(200, "OK")


def test_a_head_without_end_is_not_read_to_its_end():
    with RawTarget(b"HTTP/1.1 200 OK\r\n", endless=b"X: " + b"y" * 4000 + b"\r\n") as target:
        assert isinstance(post(target.url), Unanswered)


@pytest.mark.parametrize(
    "answer",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"\0\xff" * 9, b"HTTP/1.1 200 OK\r\nX: "],
)
def test_what_is_no_answer_is_told(answer):
    with RawTarget(answer) as target:
        found = post(target.url, timeout=0.5)
    assert isinstance(found, Unanswered)
    assert len(found.text) <= 200


def test_a_target_that_is_not_there_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = post(f"http://127.0.0.1:{port}/")
    assert isinstance(found, Unanswered)
    assert "ConnectError" in found.text


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1/")
    with Target() as target:
        target.will("/x", 200)
        assert post(f"{target.url}/x") == Answered(200, "OK")


def test_cookies_are_not_kept():
    async def twice(target):
        poster = Poster(Webhook(name="w", topic="a", url=f"{target.url}/x"))
        for _ in range(2):
            await poster.post([("webhook-id", "1")], b"{}", WALL)
        await poster.close()

    with Target() as target:
        target.will("/x", (200, {"Set-Cookie": "a=b"}))
        asyncio.run(twice(target))
        assert ["cookie" in request.headers for request in target.requests] == [False, False]


def test_authorities_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    for file in ("ca.pem", "missing.pem"):
        with pytest.raises(StartError, match='The webhook "w" cannot trust'):
            Poster(
                Webhook(name="w", topic="a", url="https://a.example/", ca_file=f"{tmp_path / file}")
            )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("0", 0),
        ("120", 120),
        ("99999999999999", 999999999),
        ("-1", 0),
        ("1.5", 0),
        ("²", 0),
        ("soon", 0),
        ("Mon, 30 Nov 2026 13:15:41 GMT", 10),
        ("Sun, 29 Nov 2020 13:15:41 GMT", 0),
        ("Sun, 29 Nov 99999 13:15:41 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value, seconds):
    assert retry_after(value, WALL) == pytest.approx(seconds, abs=1)
