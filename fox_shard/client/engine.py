"""The engine of a client with asyncio: it performs what the core wants, and connects again.

Owns: tasks, the connection, futures of requests, time. Never: what a request means (see `core`),
what programs call (see `realm`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from math import inf
from typing import Any, Final, Protocol, final

from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.effects import (
    Answered,
    Arrived,
    Effect,
    Failed,
    Hangup,
    Interrupted,
    Invoked,
    Joined,
    Lost,
    Over,
    Progressed,
    Prove,
    Send,
)
from fox_shard.client.failures import ConnectionLost, Failure, LoginFailed, Unreachable
from fox_shard.client.inbox import Buffer, Inbox
from fox_shard.client.login import Answer
from fox_shard.client.transport import Dial, Transport

_log = logging.getLogger("fox.client")

UNSENT: Final = 1 << 18
"""Bytes that may wait to be sent before programs wait with further requests."""

FAREWELL: Final = 2.0
"""Seconds for the last messages, and for the router's answer to GOODBYE."""

ENDED: Final = "The client has ended."

Make = Callable[[int], list[Effect]]
"""Asks the core for something, with a ticket."""


class Invocations(Protocol):
    """Who calls the functions of a program."""

    def invoked(self, effect: Invoked) -> None:
        """Begin to call a function."""

    def interrupted(self, request: int) -> None:
        """Stop a function that runs."""


@final
class Engine:
    """Runs a core, from `start` to `stop`. buffer: what arrives for the program's readers."""

    def __init__(self, core: ClientCore, dial: Dial, backoff: Backoff, buffer: int) -> None:
        """backoff: times between two tries to connect. buffer: bytes (see `Buffer`)."""
        self.buffer = Buffer(buffer)
        self.invocations: Invocations
        # Of WELCOME, in the present or last session.
        self.details: dict[str, Any] = {}
        self.core = core
        self._dial = dial
        self._backoff = backoff
        self._tickets = count(1)
        self._futures: dict[int, asyncio.Future[list[Any]]] = {}
        # Ticket -> what is told of an answer that comes when whoever waits has been canceled.
        self._late: dict[int, Callable[[list[Any]], None]] = {}
        self._inboxes: dict[int, Inbox[Any]] = {}
        # Ticket -> what is told that a registration or subscription has ended.
        self.on_over: dict[int, Callable[[Failure | None], None]] = {}
        self._outgoing: deque[Send] = deque()
        self._unsent = 0
        self._wakes_writer = asyncio.Event()
        self._drained = asyncio.Event()
        self._joined = asyncio.Event()
        self._hangup: asyncio.Event = asyncio.Event()
        self._why = ""
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._proving: asyncio.Task[None] | None = None
        self._ever_joined = False
        # Why there has never been a session.
        self._failure: Unreachable | None = None
        self._performers: dict[type[Effect], Callable[[Any], None]] = {
            Send: self._send,
            Arrived: self._arrived,
            Answered: self._answered,
            Failed: self._failed,
            Progressed: self._progressed,
            Over: self._over,
            Invoked: self._invoked,
            Interrupted: self._interrupted,
            Joined: self._has_joined,
            Lost: self._is_lost,
            Hangup: self._hangs_up,
            Prove: self._proves,
        }

    @property
    def over(self) -> bool:
        """Whether the client has ended, or could not join at all."""
        return self._stopping

    @property
    def session(self) -> int:
        """The id of the present session; 0: there is none."""
        return self.core.session

    # From start to stop

    def begin(self) -> None:
        """Begin to connect and join, unless that has happened. Raises Failure after the end."""
        if self._stopping:
            raise self._failure or ConnectionLost(self._why or ENDED)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def start(self) -> None:
        """Connect and join. Raises Unreachable."""
        self.begin()
        try:
            await self._joined.wait()
        except BaseException:
            await self.stop()
            raise
        if self._failure is not None:
            raise self._failure

    async def stop(self, why: str = ENDED, *, leaves: bool = True) -> None:
        """Leave the realm and end everything. why: for who waits. leaves: say goodbye."""
        self._stopping = True
        task = self._task
        if task is None:
            self._why = why
            return
        if self.core.session and leaves:
            self.perform(self.core.leave(why))
            await asyncio.wait((task,), timeout=FAREWELL)
        if not task.done():
            self._why = why
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        """Serve connections, one after the other, until the client stops or cannot join at all."""
        try:
            transport = await self._dial()
            await self._serve(transport)
            if not self._ever_joined:
                raise Unreachable(self._why)
            while not self._stopping:
                transport = await self._connect_again()
                await self._serve(transport)
        except Unreachable as error:
            self._failure, self._why = error, str(error)
        except Exception:
            _log.exception("The client has failed.")
            raise
        finally:
            self._end()

    async def _connect_again(self) -> Transport:
        while True:
            wait = self._backoff.next()
            _log.warning("%s The next try is in %.1f s.", self._why, wait)
            await asyncio.sleep(wait)
            try:
                return await self._dial()
            except Unreachable as error:
                self._why = str(error)

    async def _serve(self, transport: Transport) -> None:
        """Serve a connection until it is lost."""
        self._hangup.clear()
        self.core.longest = transport.longest
        writer = asyncio.create_task(self._write(transport))
        self.perform(self.core.opened())
        try:
            await self._read(transport)
        except ConnectionLost as error:
            self.perform(self.core.lost(str(error)))
        finally:
            self._finish_writing()
            await asyncio.wait((writer,), timeout=FAREWELL)
            writer.cancel()
            if self._proving is not None:
                self._proving.cancel()
            self._forget_unsent()
            await transport.close()
        if writer.done() and not writer.cancelled():
            writer.result()  # What nobody expected is not forgotten.

    async def _read(self, transport: Transport) -> None:
        """Take messages. Returns when the core hangs up. Raises ConnectionLost."""
        loop = asyncio.get_running_loop()
        while not self._hangup.is_set():
            await self.buffer.has_room()
            # The message has no name here, so that it is forgotten when it has been taken apart.
            self.perform(self.core.received(await transport.receive(), loop.time()))

    async def _write(self, transport: Transport) -> None:
        """Send messages, until the core has hung up and nothing is left."""
        while True:
            while not self._outgoing:
                if self._hangup.is_set():
                    return
                self._wakes_writer.clear()
                await self._wakes_writer.wait()
            sent = self._outgoing[0]
            try:
                await transport.send(sent.data)
            except ConnectionLost:
                return  # Whoever reads is told, too.
            if not self._outgoing or self._outgoing[0] is not sent:
                continue
            self._outgoing.popleft()
            self._count_sent(sent)
            if sent.ticket:
                self._resolve(sent.ticket, [])

    def _finish_writing(self) -> None:
        self._hangup.set()
        self._wakes_writer.set()

    def _count_sent(self, sent: Send) -> None:
        self._unsent -= len(sent.data)
        if self._unsent <= UNSENT:
            self._drained.set()

    def _forget_unsent(self) -> None:
        """Forget what was not sent: nothing of an old session may be sent in a new one."""
        unsent = sum(not sent.is_goodbye for sent in self._outgoing)
        if unsent:
            messages = "message was" if unsent == 1 else "messages were"
            _log.warning("%d %s not sent any more.", unsent, messages)
        while self._outgoing:
            sent = self._outgoing.popleft()
            self._count_sent(sent)
            future = self._futures.get(sent.ticket)
            if future is not None and not future.done():
                future.set_exception(ConnectionLost(self._why))

    def _end(self) -> None:
        """Fail whatever waits: there will be no other session."""
        self._stopping = True
        self._joined.set()
        if self._timer is not None:
            self._timer.cancel()
        error = self._failure or ConnectionLost(self._why or ENDED)
        self.perform(self.core.lost(str(error)))
        for future in self._futures.values():
            if not future.done():
                future.set_exception(error)
        for inbox in [*self._inboxes.values()]:
            inbox.finish(error)

    # What programs ask for

    def new_ticket(self) -> int:
        """Return the ticket of a further request."""
        return next(self._tickets)

    async def ready(self) -> None:
        """Wait until there is a session, and not too much to be sent. Raises Failure."""
        self.begin()
        while not self.core.session or self._unsent > UNSENT:
            await self._joined.wait()
            self.begin()
            if self._unsent > UNSENT:
                self._drained.clear()
                await self._drained.wait()
                self.begin()

    async def answer(
        self,
        ticket: int,
        make: Make,
        *,
        asks: bool = True,
        late: Callable[[list[Any]], None] = lambda fields: None,
    ) -> list[Any]:
        """Ask for something, and wait for the answer. Raises Failure.

        asks: the answer is a message, which may be behind others that have not been read. late:
        called with an answer that has come just before, or just after, whoever waits for it was
        canceled.
        """
        self.begin()
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        effects = make(ticket)
        self._futures[ticket] = future
        self._late[ticket] = late
        if asks:
            self.buffer.asks()
        try:
            self.perform(effects)
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                late(future.result())
            raise
        finally:
            del self._futures[ticket], self._late[ticket]
            if asks:
                self.buffer.answered()

    async def ended(self, make: Make) -> None:
        """End a subscription or registration; return when the router has, or there is none."""
        if not self._stopping:
            await self.answer(self.new_ticket(), make)

    def open_inbox(
        self, ticket: int, give_up: Callable[[], None], *, asks: bool = False
    ) -> Inbox[Any]:
        """Return where the events of a subscription, or the parts of a result, will arrive.

        give_up, asks: as for `Inbox`.
        """
        inbox: Inbox[Any] = Inbox(self.buffer, give_up, asks=asks)
        self._inboxes[ticket] = inbox
        return inbox

    def close_inbox(self, ticket: int) -> None:
        """Forget an inbox and what is in it."""
        inbox = self._inboxes.pop(ticket, None)
        if inbox is not None:
            inbox.close()

    # What the core wants

    def perform(self, effects: list[Effect]) -> None:
        """Perform effects of the core."""
        performers = self._performers
        for effect in effects:
            performers[type(effect)](effect)
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.core.deadline != inf and not self._stopping:
            self._timer = loop.call_at(self.core.deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.perform(self.core.tick(asyncio.get_running_loop().time()))

    def _send(self, effect: Send) -> None:
        self._outgoing.append(effect)
        self._unsent += len(effect.data)
        self._wakes_writer.set()

    def _arrived(self, effect: Arrived) -> None:
        inbox = self._inboxes.get(effect.ticket)
        if inbox is not None:
            inbox.put(effect.event, effect.size)

    def _answered(self, effect: Answered) -> None:
        self._resolve(effect.ticket, effect.fields)

    def _failed(self, effect: Failed) -> None:
        future = self._futures.get(effect.ticket)
        if future is not None and not future.done():
            future.set_exception(effect.error)

    def _progressed(self, effect: Progressed) -> None:
        inbox = self._inboxes.get(effect.ticket)
        if inbox is not None:
            inbox.put((effect.args, effect.kwargs), effect.size)

    def _over(self, effect: Over) -> None:
        inbox = self._inboxes.get(effect.ticket)
        if inbox is not None:
            inbox.finish(effect.error)
        on_over = self.on_over.pop(effect.ticket, None)
        if on_over is not None:
            on_over(effect.error)

    def _invoked(self, effect: Invoked) -> None:
        self.invocations.invoked(effect)

    def _interrupted(self, effect: Interrupted) -> None:
        self.invocations.interrupted(effect.request)

    def _proves(self, effect: Prove) -> None:
        self._proving = asyncio.create_task(self._prove(effect))

    async def _prove(self, effect: Prove) -> None:
        attempt = effect.attempt
        try:
            found = await asyncio.to_thread(attempt.answer, effect.method, effect.extra)
            answer: Answer | LoginFailed = found if isinstance(found, Answer) else await found
        except LoginFailed as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - such as no memory for a hash
            _log.exception("The challenge cannot be answered.")
            answer = LoginFailed(f"The challenge cannot be answered: {error!r}.")
        self.perform(self.core.proves(attempt, answer))

    def _has_joined(self, effect: Joined) -> None:
        self._ever_joined = True
        self.details = effect.details
        self._backoff.reset()
        self._joined.set()

    def _is_lost(self, effect: Lost) -> None:
        self._why = effect.why
        if not self._stopping:
            self._joined.clear()

    def _hangs_up(self, effect: Hangup) -> None:
        self.perform(self.core.lost(effect.why))
        self._finish_writing()

    def _resolve(self, ticket: int, fields: list[Any]) -> None:
        future = self._futures.get(ticket)
        if future is None:
            return
        if future.cancelled():
            # The task that waits has been canceled, but has not run since.
            self._late[ticket](fields)
        elif not future.done():
            future.set_result(fields)
