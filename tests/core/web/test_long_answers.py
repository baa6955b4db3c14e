"""Answers that their clients do not read are bounded in number, and are given up."""

import asyncio

from web_sessions import WALL, FakeSessions, key

from fox_shard.web import make_app
from fox_shard.web.bodies import PIECE
from fox_shard.web.context import Limits

VALUE = "x" * 3 * PIECE


class Client:
    """A client that asks for one key, and reads when it is told to."""

    def __init__(self, app, address="192.0.2.7"):
        self.taken = []
        self.begun, self.reads = asyncio.Event(), asyncio.Event()
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/keys/com.a",
            "client": (address, 1),
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")],
        }
        self.task = asyncio.create_task(app(scope, self.receive, self.send))

    async def receive(self):
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message):
        self.taken.append(message)
        self.begun.set()
        if message["type"] == "http.response.body" and message.get("more_body"):
            await self.reads.wait()

    @property
    def status(self):
        return self.taken[0]["status"]

    @property
    def body(self):
        return b"".join(one.get("body", b"") for one in self.taken)


def run(conversation, **limits):
    async def within_time():
        sessions = FakeSessions()
        sessions.keys = [key("com.a", 640, VALUE)]
        async with asyncio.timeout(30):
            await conversation(make_app(sessions, Limits(**limits), lambda: WALL))

    asyncio.run(within_time())


def test_a_client_gets_no_more_of_an_answer_than_it_has_room_for():
    async def conversation(app):
        client = Client(app)
        await client.begun.wait()
        await asyncio.sleep(0)
        assert len(client.body) == PIECE
        client.reads.set()
        await client.task
        assert client.body == b'"' + VALUE.encode() + b'"'
        assert not client.taken[-1]["more_body"]

    run(conversation)


def test_the_answers_that_an_address_has_not_read_are_bounded():
    async def conversation(app):
        first = Client(app)
        await first.begun.wait()
        second, other = Client(app), Client(app, "192.0.2.8")
        await second.task
        assert second.status == 429
        await other.begun.wait()
        assert other.status == 200
        first.reads.set()
        await first.task
        third = Client(app)
        await third.begun.wait()
        assert third.status == 200
        for client in (third, other):
            client.reads.set()
            await client.task

    run(conversation, bodies=4 * 4 * PIECE)


def test_an_answer_that_is_not_read_is_given_up_and_its_room_given_back():
    async def conversation(app):
        first = Client(app)
        await first.task
        assert len(first.body) == PIECE  # the web server closes a connection that is not complete
        second = Client(app)
        second.reads.set()
        await second.task
        assert second.status == 200

    run(conversation, bodies=4 * 4 * PIECE, slow_timeout=0.05)
