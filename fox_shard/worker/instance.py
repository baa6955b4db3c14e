"""One realm's Python functions, as instances of reducers at a running server.

Owns: the session, the threads in which functions run. Never: what functions mean.

The session belongs to one thread. Each function has as many threads as events it may have at once,
so that one that hangs holds up no other.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, final

from fox_shard.client import Failure, Invocation, Session
from fox_shard.client.login import Login
from fox_shard.config import Reducer
from fox_shard.worker.functions import FAILED, MAX_TEXT, Answer, Details, Loaded, call

_log = logging.getLogger("fox")

RETURN: Final = 0.5
"""Seconds until a lost connection is opened again."""

LOOK: Final = 1.0
"""Seconds between two looks for functions that hang."""


@final
class Pool:
    """The threads of one function."""

    def __init__(self, loaded: Loaded, answered: Callable[[int, int, Answer], None]) -> None:
        """answered(generation, request, answer): called from any of the threads."""
        self._function = loaded.function
        self._answered = answered
        self._events: SimpleQueue[tuple[int, Invocation]] = SimpleQueue()
        for number in range(loaded.reducer.concurrency):
            name = f"{loaded.reducer.function} {number}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, generation: int, event: Invocation) -> None:
        """Let a thread call the function for an event. generation: of the connection."""
        self._events.put((generation, event))

    def _run(self) -> None:
        while True:
            generation, event = self._events.get()
            shown = event.details
            details = Details(shown["topic"], shown["publication"], shown["retained"])
            answer = call(self._function, event.args, event.kwargs, details)
            self._answered(generation, event.request, answer)


@final
class RealmInstance:
    """One realm's functions. `run` is the body of a thread."""

    def __init__(
        self,
        url: str,
        realm: str,
        functions: list[Loaded],
        timeout: float,
        login: Login | None = None,
    ) -> None:
        """timeout: seconds after which the server asks again (`reducer.timeout`).

        login: None: as an anonymous client.
        """
        self._login = login
        self._url = url
        self._realm = realm
        self._functions = functions
        self._timeout = timeout
        self._answers: SimpleQueue[tuple[int, int, Answer]] = SimpleQueue()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._stopping = threading.Event()
        # Of each connection; answers for an earlier one are thrown away.
        self._generation = 0
        # Request -> (function, when it was called).
        self._out: dict[int, tuple[str, float]] = {}
        self._pools = [Pool(loaded, self._answered) for loaded in functions]
        self.registered = False
        # Why the process has to end; "": it has not.
        self.failure = ""

    # From other threads

    def stop(self) -> None:
        """Leave the session, and let `run` end."""
        self._stopping.set()
        self._wake()

    def _answered(self, generation: int, request: int, answer: Answer) -> None:
        self._answers.put((generation, request, answer))
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._writing, b"x")

    # In the session's thread

    def run(self) -> None:
        """Serve until `stop`, or until something fails that a new process might do better."""
        try:
            while not self._over:
                self._connect()
        except Exception as error:  # noqa: BLE001 - the process begins anew
            _log.critical("failed", exc_info=error)
            self.failure = f"{type(error).__name__}: {error}"

    def _connect(self) -> None:
        try:
            with Session(self._url, self._realm, login=self._login) as session:
                self._serve(session)
        except Failure as error:
            if not self._over:
                why = {"process": "worker", "reason": error.sentence}
                _log.warning("not_connected", extra={"fox": why})
                self._stopping.wait(RETURN)
        finally:
            self.registered = False

    @property
    def _over(self) -> bool:
        return self._stopping.is_set() or bool(self.failure)

    def _serve(self, session: Session) -> None:
        self._generation += 1
        self._out.clear()
        for loaded, pool in zip(self._functions, self._pools, strict=True):
            self._register(session, loaded.reducer, pool)
        self.registered = True
        while not self._over:
            session.receive(time.monotonic() + LOOK, self._reading)
            with suppress(BlockingIOError):
                os.read(self._reading, 1 << 16)
            self._send_answers(session)
            self._look()

    def _register(self, session: Session, reducer: Reducer, pool: Pool) -> None:
        def invoked(event: Invocation) -> None:
            self._out[event.request] = (reducer.function, time.monotonic())
            pool.submit(self._generation, event)

        options: dict[str, Any] = {
            "reducer": True,
            "match": reducer.match,
            "invoke": "roundrobin",
            "durable": reducer.function,
            "concurrency": reducer.concurrency,
        }
        if reducer.destination:
            options["mission"] = reducer.destination
        session.register(reducer.pattern, options, invoked)

    def _send_answers(self, session: Session) -> None:
        while not self._answers.empty():
            generation, request, answer = self._answers.get()
            if generation != self._generation:
                continue
            self._out.pop(request, None)
            try:
                if answer.uri:
                    session.invocation_error(request, answer.uri, [answer.value])
                else:
                    session.yield_(request, answer.value)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                what = f"the result cannot be sent as JSON: {error}"[:MAX_TEXT]
                session.invocation_error(request, FAILED, [what])

    def _look(self) -> None:
        """Give up if a function does not come to an end long after it was asked again."""
        for function, since in self._out.values():
            if time.monotonic() - since > 2 * self._timeout + LOOK:
                self.failure = f"the function {function} does not come to an end"
            return  # The others were called later.
