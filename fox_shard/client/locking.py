"""A lock for a program with asyncio: held during a block, which is canceled if the lock is lost.

Owns: taking, watching and releasing the lock. Never: what the block does.
"""

import asyncio
from types import TracebackType
from typing import Any, Final, final

from fox_shard.client.effects import Effect
from fox_shard.client.engine import Engine
from fox_shard.client.event import Event
from fox_shard.client.failures import ConnectionLost, Failure, LockLost, Refused
from fox_shard.client.streams import EventStream

CONDITION_FAILED: Final = "fox.error.condition_failed"

TAKEN: Final = {"acknowledge": True, "retain": True, "weak": True, "when": None, "watch": True}
"""The options of the publish that takes a lock."""


@final
class Lock:
    """A lock, which is the key of that name: `async with realm.lock(name) as token:`.

    The block begins when this session has the lock. token: the fencing token, greater than those
    of all earlier holders. The end of the block releases the lock. If the lock is lost earlier, as
    the session has ended or somebody has changed the key, the block is canceled, and LockLost is
    raised. A connection that is lost while the lock is waited for is not an error: the wait begins
    anew, at the end of the line.
    """

    def __init__(self, engine: Engine, name: str, value: object) -> None:
        self._engine = engine
        self._name = name
        self._value = value
        self._token = 0
        self._lost: LockLost | None = None
        # The session that has the lock.
        self._session = 0
        # Whether the block was canceled, and how often it had been canceled before.
        self._canceled = False
        self._cancelings = 0
        self._changes: EventStream
        self._watcher: asyncio.Task[None]

    async def __aenter__(self) -> int:
        while True:
            try:
                await self._take()
                break
            except ConnectionLost:
                # The key and the waiting publish have ended with the session. If the client has
                # ended, too, this raises.
                await self._engine.ready()
        task = asyncio.current_task()
        assert task is not None
        self._cancelings = task.cancelling()
        self._watcher = asyncio.create_task(self._watch(task))
        # The loss may be behind what the program does not read.
        self._engine.buffer.asks()
        return self._token

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine.buffer.answered()
        self._watcher.cancel()
        self._changes.end()
        if self._lost is None:
            await self._release()
        if self._lost is None:
            return
        if self._is_canceled_by_others(error):
            return
        if error is None or isinstance(error, asyncio.CancelledError | ConnectionLost):
            raise self._lost from error

    def _is_canceled_by_others(self, error: BaseException | None) -> bool:
        """Whether somebody wants the whole task to end, whatever becomes of the lock."""
        if not self._canceled:
            return isinstance(error, asyncio.CancelledError)
        task = asyncio.current_task()
        assert task is not None
        return task.uncancel() > self._cancelings

    async def _take(self) -> None:
        """Wait for the lock. Raises ConnectionLost, Refused."""
        engine = self._engine
        await engine.ready()
        # Before the lock is asked for, so that no later change of the key is missed.
        self._changes = EventStream(engine, self._name, {"retained": True}, stays=False)
        await self._changes.begin()
        ticket = engine.new_ticket()
        try:
            (self._token,) = await engine.answer(
                ticket,
                lambda ticket: engine.core.publish(ticket, self._name, [self._value], None, TAKEN),
                late=lambda fields: engine.perform(self._erasure(0, fields[0])),
            )
            self._session = engine.session
        except BaseException:
            self._changes.end()
            engine.perform(engine.core.abandon(ticket, erase=True))
            raise

    def _erasure(self, ticket: int, token: int) -> list[Effect]:
        """Release the lock, if it is still the one with that token."""
        erased = {"acknowledge": True, "retain": True, "when_id": token}
        return self._engine.core.publish(ticket, self._name, [], None, erased)

    async def _watch(self, holder: "asyncio.Task[Any]") -> None:
        try:
            why = await self._loss()
        except Failure as error:
            why = str(error)
            # It may still be ours, but nobody would notice when it is not.
            self._engine.perform(self._erasure(0, self._token))
        self._lost = LockLost(f"The lock {self._name} is lost: {why}")
        self._canceled = True
        holder.cancel()

    async def _loss(self) -> str:
        """Wait until the key is not ours any more; return a sentence about that."""
        seen = False
        while True:
            event = await self._changes.next()
            if event.publication == self._token and not event.removed:
                seen = True
            elif seen or event.publication > self._token:
                return _why(event)

    async def _release(self) -> None:
        """Erase the key, if it is still ours."""
        engine = self._engine
        try:
            if engine.session != self._session:
                raise ConnectionLost("The session has ended.")
            await engine.answer(
                engine.new_ticket(), lambda ticket: self._erasure(ticket, self._token)
            )
        except ConnectionLost as error:
            # The router releases the lock when it notices the end of the session.
            self._lost = LockLost(f"The lock {self._name} may have been lost: {error}")
        except Refused as error:
            if error.uri != CONDITION_FAILED:
                raise
            self._lost = LockLost(f"The lock {self._name} was lost before the end of its block.")


def _why(event: Event) -> str:
    match event.removed:
        case "":
            return "Somebody has published there."
        case "weak":
            return "The router has ended the session."
        case "expired":
            return "The key has expired."
        case _:
            return "The key was deleted."
