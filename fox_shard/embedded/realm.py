"""A realm as an application uses it that has the router in its own process.

Owns: requests and their answers, and the session's end. Never: bytes (see `local_connection`);
calling the application's functions (see `subscriptions`, `registrations`); what an option means,
which is the same for every WAMP client.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from msgspec import msgpack

from fox_shard.client.failures import Refused
from fox_shard.client.results import NOTHING, Result
from fox_shard.config import Address, Listener
from fox_shard.embedded.errors import RouterError
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.embedded.registrations import Function, Registration, Registrations
from fox_shard.embedded.subscriptions import EventFunction, Subscription, Subscriptions
from fox_shard.gateway.clients.access import Access
from fox_shard.gateway.wamp import messages as wamp

ROLES: Final = {
    "publisher": {"features": {"publisher_exclusion": True}},
    "subscriber": {
        "features": {"pattern_based_subscription": True, "subscription_revocation": True}
    },
    "caller": {"features": {"call_canceling": True}},
    "callee": {
        "features": {
            "call_canceling": True,
            "shared_registration": True,
            "registration_revocation": True,
        }
    },
}

PEER: Final = "application:0"

ACCESS: Final = Access(
    listener=Listener(protocol="rawsocket", address=Address("application", 0)), application=True
)

Connect = Callable[[Client], LocalConnection]


@final
class RouterRealm:
    """A session in one realm of the router, without a socket. It joins when it is first used.

    It may do everything, whatever roles there are, and has the authid `fox.application`. Options
    are those of WAMP and of docs/semantics.md, by name. All methods are for the event loop's
    thread, and raise RouterError once the session has ended. Values are what MessagePack can hold;
    else TypeError, OverflowError or ValueError is raised.
    """

    def __init__(self, name: str, connect: Connect) -> None:
        self.name = name
        self._connect = connect
        self._connection: LocalConnection | None = None
        self._joined: asyncio.Future[None] | None = None
        self._why_over = ""
        self._last_request = 0
        # Request -> who waits for the answer, and what is done at once when it comes.
        self._requests: dict[int, tuple[asyncio.Future[list[Any]], Callable[[int], None]]] = {}
        self._subscriptions = Subscriptions()
        self._registrations = Registrations(self._answer)
        self._handlers: dict[int, Callable[..., None]] = {
            wamp.WELCOME: self._welcome,
            wamp.ABORT: self._aborted,
            wamp.GOODBYE: self._goodbye,
            wamp.ERROR: self._on_error,
            wamp.EVENT: self._on_event,
            wamp.INVOCATION: self._on_invocation,
            wamp.INTERRUPT: self._on_interrupt,
            wamp.UNSUBSCRIBED: self._on_unsubscribed,
            wamp.UNREGISTERED: self._on_unregistered,
        }

    @property
    def over(self) -> bool:
        """Whether the session has ended; `FoxRouter.realm` then returns another one."""
        return bool(self._why_over)

    # What the application asks

    async def publish(
        self,
        topic: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NOTHING,
        **options: Any,  # noqa: ANN401 - of WAMP
    ) -> int | None:
        """Publish, and return the publication id with `acknowledge=True`, else None at once.

        Raises Refused with `acknowledge=True`. The realm's own subscriptions get the event only
        with `exclude_me=False`.
        """
        payload = (topic, list(args), dict(kwargs))
        if options.get("acknowledge"):
            (publication,) = await self._ask(wamp.PUBLISH, options, *payload)
            return int(publication)
        await self._ready()
        self._last_request += 1
        self._send(wamp.PUBLISH, self._last_request, options, *payload)
        return None

    async def call(
        self,
        procedure: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NOTHING,
        **options: Any,  # noqa: ANN401 - of WAMP
    ) -> Result:
        """Call a procedure. Raises Refused with the callee's error, or the router's.

        If the task that awaits the call is canceled, so is the call.
        """
        answer = await self._ask(wamp.CALL, options, procedure, list(args), dict(kwargs))
        return Result(*answer[1:])

    async def register(
        self,
        pattern: str,
        function: Function,
        **options: Any,  # noqa: ANN401 - of WAMP
    ) -> Registration:
        """Register a procedure. Raises Refused.

        function: called with the arguments of each call, in the event loop; it may be async, and
        calls do not wait for one another. It returns the result, and a `Result` if there are
        several arguments. Its exceptions become errors, and `Refused` the error that it says.
        """
        registration = Registration(function, self._unregister)
        await self._ask(
            wamp.REGISTER,
            options,
            pattern,
            at_once=lambda number: self._registrations.add(number, registration),
        )
        return registration

    async def subscribe(
        self,
        pattern: str,
        function: EventFunction,
        **options: Any,  # noqa: ANN401 - of WAMP
    ) -> Subscription:
        """Subscribe. Raises Refused.

        function: called with each `Event`, in the event loop; it may be async, and gets an event
        when it has done with the one before.
        """
        subscription = Subscription(pattern, function, self._unsubscribe)
        await self._ask(
            wamp.SUBSCRIBE,
            options,
            pattern,
            # The first events may come in the same turn.
            at_once=lambda number: self._subscriptions.add(number, subscription),
        )
        return subscription

    async def _unsubscribe(self, subscription: Subscription) -> None:
        if self._subscriptions.remove(subscription):
            await self._ask(wamp.UNSUBSCRIBE, subscription.id)

    async def _unregister(self, registration: Registration) -> None:
        await self._ask(wamp.UNREGISTER, registration.id)
        self._registrations.remove(registration.id)

    async def _ask(
        self, kind: int, *rest: object, at_once: Callable[[int], None] = lambda number: None
    ) -> list[Any]:
        """Send a request, and return the fields of its answer behind the request id.

        at_once: called with the first field, before anything that comes later. Raises Refused.
        """
        await self._ready()
        self._last_request += 1
        request = self._last_request
        self._send(kind, request, *rest)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._requests[request] = answer, at_once
        try:
            return await answer
        except asyncio.CancelledError:
            if kind == wamp.CALL and self._requests.pop(request, None) is not None:
                self._send(wamp.CANCEL, request, {"mode": "kill"})
            raise

    async def _ready(self) -> None:
        """Join if that has not happened, and wait until the gateway reads."""
        self._check()
        if self._connection is None:
            self._joined = asyncio.get_running_loop().create_future()
            self._connection = self._connect(
                Client(
                    PEER,
                    ACCESS,
                    "wamp.2.msgpack",
                    self._on_message,
                    self._on_closed,
                    lambda: self._subscriptions.waiting,
                )
            )
            self._send(wamp.HELLO, self.name, {"roles": ROLES, "agent": "FoxRouter"})
        assert self._joined is not None
        await asyncio.shield(self._joined)
        await self._connection.writable()
        self._check()

    def _check(self) -> None:
        if self._why_over:
            raise RouterError(self._why_over)

    # What the router says

    def _on_message(self, message: bytes) -> None:
        kind, *fields = msgpack.decode(message)
        if kind == wamp.EVENT:
            fields.append(len(message))
        handle: Callable[..., None] = self._handlers.get(kind, self._on_answer)
        handle(*fields)

    def _on_answer(self, request: int, *fields: Any) -> None:  # noqa: ANN401
        if len(fields) > 1 and isinstance(fields[0], dict) and fields[0].get("progress"):
            return  # Nobody has asked for progressive results.
        answer, at_once = self._requests.pop(request, (None, None))
        if answer is None or at_once is None or answer.done():
            return  # Nobody waits for it any more.
        if fields and isinstance(fields[0], int):
            at_once(fields[0])
        answer.set_result(list(fields))

    def _on_error(
        self,
        _kind: int,
        request: int,
        _details: object,
        uri: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NOTHING,
    ) -> None:
        answer, _ = self._requests.pop(request, (None, None))
        if answer is not None and not answer.done():
            answer.set_exception(Refused(uri, args, kwargs))

    def _on_event(
        self,
        number: int,
        publication: int,
        details: dict[str, Any],
        *rest: Any,  # noqa: ANN401
    ) -> None:
        *payload, size = rest
        self._subscriptions.event(number, publication, details, payload, size)

    def _on_invocation(
        self,
        request: int,
        number: int,
        _details: object,
        *payload: Any,  # noqa: ANN401
    ) -> None:
        self._registrations.invocation(request, number, list(payload))

    def _on_interrupt(self, request: int, _options: object) -> None:
        self._registrations.interrupt(request)

    def _on_unsubscribed(self, request: int, details: Mapping[str, Any] = NOTHING) -> None:
        if request:
            self._on_answer(request)
        else:
            self._subscriptions.revoked(details["subscription"])

    def _on_unregistered(self, request: int, details: Mapping[str, Any] = NOTHING) -> None:
        if request:
            self._on_answer(request)
        else:
            self._registrations.remove(details["registration"])

    def _answer(self, *message: object) -> None:
        """Send the answer to a call, unless the session has ended."""
        if not self.over:
            self._send(*message)

    def _send(self, *message: object) -> None:
        assert self._connection is not None
        self._connection.send(msgpack.encode(message))

    # The session's beginning and end

    def _welcome(self, _session: int, _details: object) -> None:
        assert self._joined is not None
        self._joined.set_result(None)

    def _aborted(self, details: dict[str, Any], uri: str, *_: object) -> None:
        sentence = details.get("message", "")
        if self._joined is not None and not self._joined.done():
            self._joined.set_exception(Refused(uri, [sentence]))
            self._joined.exception()  # Perhaps nobody awaits it any more.
        self._end(f"The session in {self.name} has ended ({uri}): {sentence}.")

    def _goodbye(self, details: dict[str, Any], uri: str, *_: object) -> None:
        sentence = details.get("message", "")
        self._end(f"The session in {self.name} has ended ({uri}): {sentence}.")
        self._send(wamp.GOODBYE, {}, "wamp.close.goodbye_and_out")

    def _on_closed(self) -> None:
        self._end(f"The session in {self.name} has ended.")

    def _end(self, why: str) -> None:
        """Let nobody wait any more."""
        self._why_over = self._why_over or why
        waiting: list[asyncio.Future[Any]] = [answer for answer, _ in self._requests.values()]
        self._requests.clear()
        if self._joined is not None:
            waiting.append(self._joined)
        for answer in waiting:
            if not answer.done():
                answer.set_exception(RouterError(self._why_over))
                answer.exception()  # Perhaps nobody awaits it any more.
        self._subscriptions.end_all()
        self._registrations.end_all()
