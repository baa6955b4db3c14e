"""Sessions at a router: one WAMP session over a connection of its own, which ends with that.

Owns: how a visitor logs in, and what the router says when it does not let the visitor in. Never:
where routers are, how long a session is kept.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, final

import msgspec

from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.event import Event
from fox_shard.client.failures import ConnectionLost, Failure, Unreachable
from fox_shard.client.login import Login, Ticket, Token
from fox_shard.client.streams import EventStream
from fox_shard.client.transport import Transport
from fox_shard.gateway.wamp import messages as wamp
from fox_shard.web.sessions import LoginRefused, MessageTooLong, Visitor

ENVELOPE: Final = 64
"""Bytes of a message besides its topic, options and arguments."""

NO_METHOD: Final = "wamp.error.no_matching_auth_method"

DialFor = Callable[[Visitor], Awaitable[Transport]]
"""Opens a connection on behalf of a visitor. Raises Unreachable."""


@final
class _Listening:
    """A connection that notes why the router does not let us in. refusal: URI and sentence."""

    def __init__(self, transport: Transport, longest: int) -> None:
        """longest: bytes of a message."""
        self._transport = transport
        self.longest: float = longest
        self._begun = False
        self.refusal: tuple[str, str] | None = None

    async def send(self, data: bytes) -> None:
        await self._transport.send(data)

    async def receive(self) -> bytes:
        data = await self._transport.receive()
        if not self._begun:
            match msgspec.msgpack.decode(data):
                case [wamp.WELCOME, *_]:
                    self._begun = True
                case [wamp.ABORT, dict(details), str(reason), *_]:
                    self.refusal = reason, str(details.get("message", reason))
        return data

    async def close(self) -> None:
        await self._transport.close()


@final
class RouterSession:
    """An `OpenSession`."""

    def __init__(self, engine: Engine, longest: int) -> None:
        """longest: bytes of a message; the router ends a session that sends a longer one."""
        self._engine = engine
        self._longest = longest

    @property
    def is_alive(self) -> bool:
        """Whether requests can use it."""
        return self._engine.session != 0

    async def publish(
        self, topic: str, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> int:
        """Publish with acknowledgement, and return the publication id."""
        options = {**options, "acknowledge": True}
        self._check_length(topic, args, kwargs, options)
        core = self._engine.core
        (publication,) = await self._ask(
            lambda ticket: core.publish(ticket, topic, args, kwargs, options)
        )
        return int(publication)

    async def call(
        self, procedure: str, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Call; return the arguments and keyword arguments. Canceling it cancels the call."""
        self._check_length(procedure, args, kwargs, options)
        core = self._engine.core
        found, named = await self._ask(
            lambda ticket: core.call(ticket, procedure, args, kwargs, options)
        )
        return found, named

    @asynccontextmanager
    async def subscribe(
        self, topic: str, options: dict[str, Any]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Subscribe, and unsubscribe at the end."""
        self._check_alive()
        async with EventStream(self._engine, topic, options, stays=False) as stream:
            yield aiter(stream)

    async def close(self) -> None:
        """End it."""
        await self._engine.stop()

    async def _ask(self, make: Callable[[int], list[Any]]) -> list[Any]:
        engine = self._engine
        self._check_alive()
        await engine.ready()
        ticket = engine.new_ticket()
        try:
            return await engine.answer(ticket, make)
        except asyncio.CancelledError:
            engine.perform(engine.core.abandon(ticket))
            raise

    def _check_length(self, *fields: object) -> None:
        try:
            length = len(msgspec.msgpack.encode(fields))
        except (TypeError, OverflowError, ValueError, RecursionError) as error:
            raise Failure(f"This cannot be sent in MessagePack: {error}.") from error
        if length + ENVELOPE > self._longest:
            raise MessageTooLong(
                f"The message would have more than {self._longest} bytes in MessagePack "
                "(gateway.max_message_size)."
            )

    def _check_alive(self) -> None:
        if not self.is_alive:
            raise ConnectionLost("The session is over.")


@final
class Router:
    """Opens sessions. buffer: bytes of events that may wait in one session to be read."""

    def __init__(
        self, dial: DialFor, chance: Callable[[], float], buffer: int, longest: int
    ) -> None:
        """chance: returns random numbers from 0 to 1. longest: see `RouterSession`."""
        self._longest = longest
        self._dial = dial
        self._chance = chance
        self._buffer = buffer

    async def open(self, visitor: Visitor) -> RouterSession:
        """Log in. Raises LoginRefused and Unreachable."""
        listening: list[_Listening] = []

        async def dial() -> Transport:
            if listening:
                # The connection is lost, and the session with it: whoever has it closes it.
                await asyncio.Event().wait()
            listening.append(_Listening(await self._dial(visitor), self._longest))
            return listening[0]

        core = ClientCore(visitor.realm, _login(visitor), self._chance)
        engine = Engine(core, dial, Backoff(self._chance), self._buffer)
        try:
            await engine.start()
        except Unreachable:
            refusal = listening[0].refusal if listening else None
            if refusal is not None:
                uri, sentence = refusal
                if visitor.token and uri == NO_METHOD:
                    # Which methods there are is of no use to an HTTP client.
                    sentence = "this realm knows no tokens"
                raise LoginRefused(uri, sentence) from None
            raise
        return RouterSession(engine, self._longest)


def _login(visitor: Visitor) -> Login | None:
    if visitor.role:
        return None  # The gateway knows already.
    if visitor.name:
        # The gateway checks it, in a thread, or asks an authenticator.
        return Ticket(visitor.name, visitor.password)
    return Token(visitor.token) if visitor.token else None
