"""Events as a stream: `GET /api/events?topic=…`, in the form of server-sent events.

Owns: streams, how many there are, and how each ends. Never: how far a reader has read (see
`position`).

Each stream has a session of its own, so that a slow reader holds up nobody else: what the reader
does not take is not taken from the router.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fox_shard.client.event import Event
from fox_shard.client.failures import Failure, Refused
from fox_shard.web.context import Context, context_of
from fox_shard.web.encoding import Unreadable, as_json
from fox_shard.web.position import Position
from fox_shard.web.problems import AGAIN, Problem, of_failure
from fox_shard.web.reading import document, flag, match_of, parameters, required, visitor_of
from fox_shard.web.room import LONG
from fox_shard.web.sessions import Session

ALIVE: Final = 15.0
"""Seconds of silence after which a comment says that the stream lives."""

RETRY: Final = 1000
"""Milliseconds after which a browser comes again."""

HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect events otherwise
)

PARAMETERS: Final = ("topic", "match", "after", "retained", "filter", "realm")

GAP: Final = "fox.error.history_gap"


@final
class Streams:
    """The streams that there are."""

    def __init__(self, most: int, most_of_address: int) -> None:
        self._most = most
        self._most_of_address = most_of_address
        self._addresses: Counter[str] = Counter()
        self.ending = asyncio.Event()

    def __len__(self) -> int:
        return self._addresses.total()

    def enter(self, address: str) -> None:
        """Count one more. Raises Problem."""
        if self.ending.is_set():
            raise Problem(503, "The server is shutting down.", headers=AGAIN)
        if len(self) >= self._most:
            raise Problem(503, f"There are {self._most} event streams already.", headers=AGAIN)
        if self._addresses[address] >= self._most_of_address:
            sentence = f"There are {self._most_of_address} event streams of your address already."
            raise Problem(429, sentence, headers=AGAIN)
        self._addresses[address] += 1

    def leave(self, address: str) -> None:
        """Count one less."""
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


async def events(request: Request) -> Response:
    """Begin a stream. Whatever refuses it, does so before the answer begins."""
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    context = context_of(request)
    streams: Streams = request.app.state.streams
    found = parameters(request, PARAMETERS)
    topic, match = required(found, "topic"), match_of(found)
    options: dict[str, Any] = {"match": match}
    if (wanted := document(found, "filter")) is not None:
        options["filter"] = wanted
    position = None
    if flag(found, "retained"):
        options["retained"] = True
    else:
        position = _position(request, found, context, exact=_is_topic(topic, match))
    visitor = await visitor_of(request, found.get("realm") or context.limits.realm)
    async with AsyncExitStack() as stack:
        streams.enter(visitor.address)
        stack.callback(streams.leave, visitor.address)
        session = await stack.enter_async_context(context.sessions.own(visitor))
        behind = position if position is not None and position.follows else None
        gap, shown = await _subscribed(stack, session, topic, options, behind)
        stream = stack.pop_all()
        return EventStream(context, visitor.address, streams, stream, shown, position, gap)


async def _subscribed(
    stack: AsyncExitStack,
    session: Session,
    topic: str,
    options: dict[str, Any],
    position: Position | None,
) -> tuple[int, AsyncIterator[Event]]:
    """Subscribe; return the id from which on nothing is missing, 0 if nothing is, and the events.

    position: to go on from; None: events from now on are wanted.
    """
    if position is None:
        return 0, await stack.enter_async_context(session.subscribe(topic, options))
    try:
        options = {**options, "after": position.after()}
        return 0, await stack.enter_async_context(session.subscribe(topic, options))
    except Refused as error:
        oldest = error.kwargs.get("oldest")
        if error.uri != GAP or not isinstance(oldest, int):
            raise
    # A browser would not come again after an answer that is no stream: the reader is told in it.
    position.skip_to(oldest)
    options = {**options, "after": position.after()}
    return oldest, await stack.enter_async_context(session.subscribe(topic, options))


def _is_topic(topic: str, match: str) -> bool:
    components = topic.split(".")
    return match == "exact" and "*" not in components and components[-1] != "#"


def _position(
    request: Request, found: dict[str, str], context: Context, *, exact: bool
) -> Position:
    """Return where the stream begins, by Last-Event-ID or `after`."""
    name = "Last-Event-ID" if request.headers.get("last-event-id") else "after"
    text = request.headers.get("last-event-id") or found.get("after", "")
    if not text:
        return Position.at(context.wall(), exact=exact)
    try:
        return Position.parse(text)
    except ValueError as error:
        raise Problem(400, f"{name}: {error}.", parameter=name) from None


@final
class EventStream(Response):
    """The answer that goes on until its reader leaves, or is too slow, or its session ends."""

    def __init__(
        self,
        context: Context,
        address: str,
        streams: Streams,
        stack: AsyncExitStack,
        shown: AsyncIterator[Event],
        position: Position | None,
        gap: int,
    ) -> None:
        """address: the reader's. stack: what ends with the stream. gap: see `_subscribed`."""
        super().__init__()
        self._context = context
        self._address = address
        self._streams = streams
        self._stack = stack
        self._events = shown
        self._position = position
        self._gap = gap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            writing = asyncio.create_task(self._write(send))
            leaving = asyncio.create_task(_until_disconnected(receive))
            ending = asyncio.create_task(self._streams.ending.wait())
            tasks = (writing, leaving, ending)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            if not writing.cancelled() and (error := writing.exception()) is not None:
                raise error
            if not leaving.cancelled() or (not writing.cancelled() and not writing.result()):
                return  # nobody reads on: the server closes the connection
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send) -> bool:
        """Write until the events end; return False if the reader is too slow."""
        try:
            await self._write_events(send)
        except TimeoutError:
            return False
        return True

    async def _write_events(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS]})
        await self._send(send, self._beginning())
        waiting = asyncio.ensure_future(self._next_text())
        try:
            while True:
                done, _ = await asyncio.wait((waiting,), timeout=ALIVE)
                if not done:
                    await self._send(send, b": alive\n\n")
                    continue
                text = waiting.result()
                if len(text) <= LONG:
                    await self._send(send, text)
                else:
                    await self._send_long(send, text)
                waiting = asyncio.ensure_future(self._next_text())
        except StopAsyncIteration:
            pass
        except Failure as error:
            await self._send(send, _ended(error))
        finally:
            waiting.cancel()

    async def _send(self, send: Send, text: bytes) -> None:
        """Raises TimeoutError if the reader does not take it."""
        async with asyncio.timeout(self._context.limits.slow_timeout):
            await send({"type": "http.response.body", "body": text, "more_body": True})

    async def _send_long(self, send: Send, text: bytes) -> None:
        """Send a long event, of which the web server has a piece at a time."""
        hold = self._context.room.take(self._address, len(text))
        try:
            async with asyncio.timeout(self._context.limits.slow_timeout):
                for at in range(0, len(text), LONG):
                    body = text[at : at + LONG]
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            hold.give_back()

    async def _next_text(self) -> bytes:
        """Return the next event as it is sent; it itself may take much more memory."""
        return self._text(await anext(self._events))

    def _beginning(self) -> bytes:
        text = f"retry: {RETRY}\n"
        if self._gap:
            text += f'event: gap\ndata: {{"oldest":{self._gap}}}\n'
        if self._position is not None:
            text += f"id: {self._position}\n"
        return f"{text}\n".encode()

    def _text(self, event: Event) -> bytes:
        document = {"topic": event.topic, "publication": event.publication}
        if event.removed:
            document["removed"] = event.removed
        try:
            text = as_json(document | {"args": event.args, "kwargs": event.kwargs})
        except Unreadable:
            text = as_json(document | {"removed": "unreadable", "args": [], "kwargs": {}})
        # JSON has no line ends outside of strings, and `\n` inside.
        data = b"data: " + text + b"\n\n"
        if self._position is None:
            return data
        recorded = bool(event.details.get("recorded"))
        self._position.read(event.publication, recorded=recorded)
        return f"id: {self._position}\n".encode() + data


def _ended(error: Failure) -> bytes:
    """Return an event that says why the stream ends."""
    problem = of_failure(error)
    document = {"status": problem.status, "detail": problem.detail}
    return b"event: end\ndata: " + msgspec.json.encode(document) + b"\n\n"


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
