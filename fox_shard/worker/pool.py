"""The threads of one Python function that is a reducer.

Owns: calling the function for one event after the other, beside the event loop, and whether a call
does not come to an end. Never: sessions; what a function means (see `functions`).

Each function has as many threads as events it may have at once, so that one that hangs holds up no
other. They are daemons, and so do not hold up the end of their process.
"""

import asyncio
import threading
import time
from queue import SimpleQueue
from typing import Any, Final, final

from msgspec import Raw, msgpack

from fox_shard.client import Refused
from fox_shard.client.callee import CallDetails
from fox_shard.errors import LimitExceeded
from fox_shard.worker.functions import FAILED, MAX_TEXT, Answer, Details, Loaded, call

AROUND: Final = 64
"""Bytes of a message around a result."""


class _Call:
    """One call. canceled: nobody waits for its end any more."""

    __slots__ = ("args", "canceled", "details", "future", "kwargs")

    def __init__(self, args: list[Any], kwargs: dict[str, Any], details: Details) -> None:
        self.args = args
        self.kwargs = kwargs
        self.details = details
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.canceled = False

    def finish(self, answer: Answer) -> None:
        """Tell whoever waits."""
        if not self.future.done():
            self.future.set_result(answer)


@final
class FunctionPool:
    """The threads of one function, from the first event to the end of the process."""

    def __init__(self, loaded: Loaded) -> None:
        self.reducer = loaded.reducer
        self._function = loaded.function
        self._longest = loaded.longest - AROUND
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        # Thread -> when its present call has begun, in monotonic seconds.
        self._running: dict[int, float] = {}

    @property
    def name(self) -> str:
        """The function's name."""
        return self.reducer.function

    async def reduce(self, args: list[Any], kwargs: dict[str, Any], told: CallDetails) -> Any:  # noqa: ANN401 (whatever the function returns)
        """Call the function for an event, and return its result. Raises Refused."""
        self._start()
        details = Details(told.topic, told.publication, told.retained)
        call = _Call(args, kwargs, details)
        self._calls.put(call)
        try:
            answer = await call.future
        finally:
            call.canceled = True
        if answer.uri:
            named = {"after": answer.after} if answer.after else {}
            raise Refused(answer.uri, [answer.value], named)
        return answer.value

    def hangs(self, patience: float) -> bool:
        """Whether a call has not come to an end for so many seconds."""
        longest_ago = min([*self._running.values()], default=time.monotonic())
        return time.monotonic() - longest_ago > patience

    def stop(self) -> None:
        """Begin no further calls. The threads end with the calls that they have begun."""
        for _ in self._threads:
            self._calls.put(None)

    def _start(self) -> None:
        if self._threads:
            return
        for number in range(self.reducer.concurrency):
            name = f"{self.name} {number}"
            thread = threading.Thread(target=self._run, args=(number,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    # In the threads

    def _run(self, number: int) -> None:
        while (one := self._calls.get()) is not None:
            if one.canceled:
                continue
            self._running[number] = time.monotonic()
            answer = self._written(call(self._function, one.args, one.kwargs, one.details))
            del self._running[number]
            try:
                self._loop.call_soon_threadsafe(one.finish, answer)
            except RuntimeError:
                return  # The process ends.

    def _written(self, answer: Answer) -> Answer:
        """Return the answer with its value encoded, so that the event loop need not do that.

        A gateway would end the session of whoever sends it a message that is too long.
        """
        if answer.uri:
            return answer
        try:
            encoded = msgpack.encode(answer.value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return Answer(f"the result cannot be sent: {error}"[:MAX_TEXT], FAILED)
        if len(encoded) > self._longest:
            return Answer(
                f"the result has {len(encoded)} bytes, of at most {self._longest} "
                "(gateway.max_message_size): the key is unchanged",
                LimitExceeded.uri,
            )
        return Answer(Raw(encoded))
