"""A WAMP session: joining a realm, publishing with an answer, reading events.

Owns: requests and their answers, events by subscription. Never: sockets (see `connection`), the
use of events.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import inf
from types import TracebackType
from typing import Any, Final, Self, final

import msgspec
from msgspec import Struct

from fox_shard.client.connection import Connection
from fox_shard.client.event import Event, event_of
from fox_shard.client.failures import ConnectionLost, LoginFailed, NoAnswer, Refused, Unreachable
from fox_shard.client.login import Answer, Login
from fox_shard.client.tls import SYSTEM, Tls
from fox_shard.gateway.wamp import messages as wamp

SUBPROTOCOL: Final = "wamp.2.json"

ANSWER: Final = 15.0
"""Seconds for an answer that does not depend on other sessions."""

AT_A_TIME: Final = 100
"""Calls of one procedure that are under way at the same time."""

FAREWELL: Final = 2.0
"""Seconds for the router's answer to GOODBYE."""

ROLES: Final = {
    "publisher": {"features": {"publisher_exclusion": True}},
    "caller": {"features": {"progressive_call_results": True}},
    "callee": {"features": {"pattern_based_registration": True, "shared_registration": True}},
    "subscriber": {
        "features": {"pattern_based_subscription": True, "subscription_revocation": True}
    },
}


class Invocation(Struct, frozen=True):
    """One INVOCATION. request: its id, for the answer."""

    request: int
    details: dict[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]


@final
class Subscription:
    """A subscription with the events that have not been read yet.

    over: the router has revoked the subscription, as at the end of a snapshot.
    """

    __slots__ = ("_session", "events", "over", "topic")

    def __init__(self, session: "Session", topic: str) -> None:
        self._session = session
        self.topic = topic
        self.events: deque[Event] = deque()
        self.over = False

    def next(self, until: float = inf, unless: int | None = None) -> Event | None:
        """Wait for the next event and return it.

        Returns None if the subscription is over, or the wait ends as in `Connection.receive`.
        Raises ConnectionLost.
        """
        while not self.events and not self.over:
            if not self._session.receive(until, unless):
                return None
        return self.events.popleft() if self.events else None

    def replay(self) -> Iterator[Event]:
        """Yield the events of a snapshot until it is over. Raises ConnectionLost, NoAnswer."""
        while (event := self.next(time.monotonic() + ANSWER)) is not None:
            yield event
        if not self.over:
            raise NoAnswer(
                f"The router has not sent the end of {self.topic!r} within {ANSWER:g} s."
            )


@final
class Session:
    """A joined WAMP session, which leaves at the end of its `with` block.

    id: the session id. All methods raise ConnectionLost.
    """

    __slots__ = ("_connection", "_registrations", "_request", "_subscriptions", "id")

    def __init__(
        self,
        url: str,
        realm: str,
        patience: float = 20.0,
        login: Login | None = None,
        tls: Tls = SYSTEM,
    ) -> None:
        """Connect and join. patience: seconds of silence after which the session counts as lost.

        login: None: as an anonymous client. tls: with wss.

        Raises Unreachable if no router answers at `url`, or the router refuses the session.
        """
        self._connection = Connection(url, SUBPROTOCOL, patience, tls)
        self._request = 0
        self._subscriptions: dict[int, Subscription] = {}
        self._registrations: dict[int, Callable[[Invocation], None]] = {}
        try:
            self.id = self._join(realm, login)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if not isinstance(error, ConnectionLost):
                self._leave()
        except ConnectionLost:
            pass  # The session has ended either way.
        finally:
            self._connection.close()

    def publish(
        self,
        topic: str,
        args: list[Any],
        options: dict[str, Any],
        *,
        kwargs: dict[str, Any] | None = None,
        until: float | None = None,
    ) -> int:
        """Publish with acknowledgement, and return the publication id.

        kwargs: None: no keyword arguments. until: when to stop waiting, in monotonic seconds
        (`inf`: never); None: after `ANSWER` seconds. Raises Refused, NoAnswer; after NoAnswer the
        event may still be published.
        """
        named = [] if kwargs is None else [kwargs]
        request = self._ask(wamp.PUBLISH, {**options, "acknowledge": True}, topic, args, *named)
        (publication,) = self._answer(wamp.PUBLISHED, request, until)
        return int(publication)

    def call(self, procedure: str, *args: object, **named: object) -> list[Any]:
        """Call a procedure, and return the arguments of its result. Raises Refused, NoAnswer."""
        return self.result_of(procedure, *args, **named)[0]

    def result_of(
        self, procedure: str, *args: object, **named: object
    ) -> tuple[list[Any], dict[str, Any]]:
        """Call a procedure; return the arguments and keyword arguments of its result.

        Raises Refused, NoAnswer.
        """
        return self.call_with(procedure, list(args), named, {})

    def call_with(
        self,
        procedure: str,
        args: list[Any],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        *,
        progress: Callable[[list[Any], dict[str, Any]], None] | None = None,
        until: float | None = None,
    ) -> tuple[list[Any], dict[str, Any]]:
        """Call a procedure with options; return the arguments and keyword arguments of its result.

        progress: called with each progressive result. until: as for `publish`. Raises Refused,
        NoAnswer.
        """
        request = self._ask(wamp.CALL, options, procedure, args, kwargs)
        while True:
            details, *result = self._answer(wamp.RESULT, request, until)
            found = list(result[0]) if result else [], result[1] if len(result) > 1 else {}
            if progress is None or not details.get("progress"):
                return found
            progress(*found)

    def call_all(self, procedure: str, calls: Sequence[list[Any]]) -> Iterator[list[Any] | Refused]:
        """Call a procedure once for each list of arguments; yield the results in that order.

        Some of the calls are under way at the same time. Raises NoAnswer.
        """
        for at in range(0, len(calls), AT_A_TIME):
            some = calls[at : at + AT_A_TIME]
            requests = [self._ask(wamp.CALL, {}, procedure, args) for args in some]
            answers: dict[int, list[Any] | Refused] = {}
            until = time.monotonic() + ANSWER
            while len(answers) < len(requests):
                match self._read(until):
                    case None:
                        raise NoAnswer("The router has not answered in time.")
                    case [wamp.RESULT, int(request), _, *result] if request in requests:
                        answers[request] = list(result[0]) if result else []
                    case [wamp.ERROR, _, int(request), _, uri, *rest] if request in requests:
                        answers[request] = Refused(uri, *rest)
                    case message:
                        self._take(message)
            yield from (answers[request] for request in requests)

    def subscribe(self, topic: str, options: dict[str, Any]) -> Subscription:
        """Subscribe, and return the subscription. Raises Refused, NoAnswer."""
        request = self._ask(wamp.SUBSCRIBE, options, topic)
        (subscription,) = self._answer(wamp.SUBSCRIBED, request)
        return self._subscriptions.setdefault(subscription, Subscription(self, topic))

    def register(
        self, procedure: str, options: dict[str, Any], invoked: Callable[[Invocation], None]
    ) -> None:
        """Register a procedure. Raises Refused, NoAnswer.

        invoked: called with each invocation; `yield_` or `invocation_error` answers.
        """
        request = self._ask(wamp.REGISTER, options, procedure)
        (registration,) = self._answer(wamp.REGISTERED, request)
        self._registrations[registration] = invoked

    def yield_(self, request: int, *args: object) -> None:
        """Answer an invocation with a result."""
        self._send(wamp.YIELD, request, {}, args)

    def invocation_error(self, request: int, uri: str, args: list[Any]) -> None:
        """Answer an invocation with an error."""
        self._send(wamp.ERROR, wamp.INVOCATION, request, {}, uri, args)

    def receive(self, until: float = inf, unless: int | None = None) -> bool:
        """Handle one message; return False if the wait ends as in `Connection.receive`."""
        message = self._read(until, unless)
        if message is None:
            return False
        self._take(message)
        return True

    def _join(self, realm: str, login: Login | None) -> int:
        attempt = login.begin() if login is not None else None
        details = attempt.details if attempt is not None else {}
        self._send(wamp.HELLO, realm, {"roles": ROLES, "agent": "fox", **details})
        answer = self._read(time.monotonic() + ANSWER)
        match answer:
            case [wamp.CHALLENGE, method, dict(extra)] if attempt and method in attempt.methods:
                proof = attempt.answer(method, extra)
                if not isinstance(proof, Answer):
                    raise LoginFailed("A blocking client cannot await a token.")
                self._send(wamp.AUTHENTICATE, proof.signature, proof.extra)
                answer = self._read(time.monotonic() + ANSWER)
        match answer:
            case [wamp.WELCOME, int(session), dict(details), *_]:
                if attempt is not None:
                    attempt.check(details)
                return session
            case [wamp.ABORT, dict(details), str(reason), *_]:
                why = details.get("message", reason)
                raise Unreachable(f"The router does not let us into {realm!r}: {why}.")
            case None:
                raise Unreachable("The router does not answer to HELLO.")
            case _:
                raise Unreachable("The router answers HELLO with something else than WELCOME.")

    def _leave(self) -> None:
        """Say GOODBYE, and wait for the answer, by which the router has ended the session."""
        self._send(wamp.GOODBYE, {}, "wamp.close.close_realm")
        until = time.monotonic() + FAREWELL
        while (message := self._read(until)) is not None and message[0] != wamp.GOODBYE:
            pass

    def _ask(self, kind: int, *rest: object) -> int:
        self._request += 1
        self._send(kind, self._request, *rest)
        return self._request

    def _answer(self, kind: int, request: int, until: float | None = None) -> list[Any]:
        """Wait for the answer to a request, and return its fields after the request id."""
        if until is None:
            until = time.monotonic() + ANSWER
        while (message := self._read(until)) is not None:
            match message:
                case [answer, number, *rest] if answer == kind and number == request:
                    return rest
                case [wamp.ERROR, _, number, _, uri, *rest] if number == request:
                    raise Refused(uri, *rest)
                case _:
                    self._take(message)
        raise NoAnswer("The router has not answered in time.")

    def _take(self, message: list[Any]) -> None:
        match message:
            case [wamp.EVENT, number, publication, details, *payload]:
                subscription = self._subscriptions.get(number)
                if subscription is not None:
                    event = event_of(subscription.topic, publication, details, *payload)
                    subscription.events.append(event)
            case [wamp.INVOCATION, request, number, details, *payload]:
                invoked = self._registrations.get(number)
                if invoked is not None:
                    args = payload[0] if payload else []
                    kwargs = payload[1] if len(payload) > 1 else {}
                    invoked(Invocation(request, details, args, kwargs))
            case [wamp.UNSUBSCRIBED, 0, {"subscription": number}]:  # WAMP #subscription-revocation
                subscription = self._subscriptions.pop(number, None)
                if subscription is not None:
                    subscription.over = True
            case [wamp.GOODBYE | wamp.ABORT, details, reason, *_]:
                why = details.get("message", reason)
                raise ConnectionLost(f"The router has ended the session: {why}.")
            case _:
                pass  # An answer that came too late.

    def _send(self, *message: object) -> None:
        self._connection.send(msgspec.json.encode(message))

    def _read(self, until: float, unless: int | None = None) -> list[Any] | None:
        data = self._connection.receive(until, unless)
        if data is None:
            return None
        message: list[Any] = msgspec.json.decode(data, type=list[Any])
        return message
