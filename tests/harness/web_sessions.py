"""Sessions for the HTTP side that answer as a test says, and an HTTP client of the application.

Owns: what was asked of them. Never: a router.
"""

import asyncio
from contextlib import asynccontextmanager

import httpx

from fox_shard.client.event import Event
from fox_shard.web import make_app
from fox_shard.web.context import Limits

WALL = 1_800_000_000.0


class FakeSessions:
    """One session for all visitors.

    asked: what was asked of it. answers: by verb, a value, or an exception, or a function of what
    was asked. keys: events that a snapshot shows. live: queues of events, by subscription.
    """

    def __init__(self):
        self.visitors, self.asked = [], []
        self.answers = {"publish": 64, "call": ([], {})}
        self.keys, self.live = [], []
        self.open = 0

    @asynccontextmanager
    async def shared(self, visitor):
        self.visitors.append(visitor)
        if isinstance(refusal := self.answers.get("login"), Exception):
            raise refusal
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    own = shared

    async def publish(self, topic, args, kwargs, options):
        return await self._answer("publish", topic, args, kwargs, options)

    async def call(self, procedure, args, kwargs, options):
        return await self._answer("call", procedure, args, kwargs, options)

    async def _answer(self, verb, *asked):
        self.asked.append((verb, *asked))
        answer = self.answers[verb]
        if callable(answer):
            answer = answer(*asked)
            if asyncio.iscoroutine(answer):
                answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def subscribe(self, topic, options):
        self.asked.append(("subscribe", topic, options))
        answer = self.answers.get("subscribe")
        if callable(answer):
            answer = answer(topic, options)
        if isinstance(answer, Exception):
            raise answer
        if options.get("snapshot"):
            yield self._snapshot()
            return
        queue = asyncio.Queue()
        self.live.append(queue)
        yield self._events(queue)

    async def _snapshot(self):
        for event in self.keys:
            yield event

    async def _events(self, queue):
        while (event := await queue.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


def key(topic, publication, *args, removed="", **kwargs):
    return Event(topic, publication, [*args], kwargs, removed)


def recorded(topic, publication, *args):
    return Event(topic, publication, [*args], {}, "", {"recorded": True})


def request(sessions, method, path, limits=None, **arguments):
    """Send one request to an application with these sessions; return the answer."""

    async def run():
        async with client(sessions, limits) as http:
            return await http.request(method, path, **arguments)

    return asyncio.run(run())


def client(sessions, limits=None, app=None):
    app = app or make_app(sessions, limits or Limits(), lambda: WALL)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8088")
