"""The core of a client: one program's dealings with a realm, over all its connections.

Owns: the handshake, requests and their answers, whom a message is for. Never: sockets, tasks,
clocks; how subscriptions and registrations outlive a connection (see `standing`).

Every method returns effects, in order. `now` is in monotonic seconds. What cannot be encoded raises
TypeError, OverflowError or ValueError, and then nothing has changed.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final, TypeAlias, final

import msgspec

from fox_shard.client.effects import (
    Answered,
    Effect,
    Failed,
    Hangup,
    Interrupted,
    Invoked,
    Joined,
    Lost,
    Progressed,
    Prove,
    Send,
)
from fox_shard.client.failures import ConnectionLost, LoginFailed, Refused
from fox_shard.client.login import Answer, Attempt, Login
from fox_shard.client.standing import Standing
from fox_shard.gateway.wamp import messages as wamp

_PASSTHRU: Final = {"payload_passthru_mode": True}

ROLES: Final = {
    "publisher": {"features": {"publisher_exclusion": True, **_PASSTHRU}},
    "caller": {"features": {"progressive_call_results": True, "call_canceling": True, **_PASSTHRU}},
    "callee": {
        "features": {
            "progressive_call_results": True,
            "call_canceling": True,
            "call_reroute": True,
            "pattern_based_registration": True,
            "shared_registration": True,
            "registration_revocation": True,
            **_PASSTHRU,
        }
    },
    "subscriber": {
        "features": {
            "pattern_based_subscription": True,
            "subscription_revocation": True,
            **_PASSTHRU,
        }
    },
}

Kwargs: TypeAlias = Mapping[str, Any] | None

ERASED: Final = {"retain": True, "acknowledge": True}
"""The options with which a key is erased that nobody waits for any more."""


@final
class _Request:
    """A publish or call under way. erases: on PUBLISHED, erase the key with that id again."""

    __slots__ = ("erases", "is_call", "ticket", "topic")

    def __init__(self, ticket: int, topic: str, *, is_call: bool) -> None:
        self.ticket = ticket
        self.topic = topic
        self.is_call = is_call
        self.erases = False


@final
class ClientCore:
    """One program in a realm. session: the id of the present session; 0: there is none."""

    def __init__(self, realm: str, login: Login | None, chance: Callable[[], float]) -> None:
        """login: None: as an anonymous client. chance: returns random numbers from 0 to 1."""
        self._realm = realm
        self._login = login
        # How the client logs in on the present connection.
        self._attempt: Attempt | None = None
        # Bytes of the longest message that can be sent.
        self.longest: float = inf
        self.session = 0
        self._connected = False
        # Why this client leaves; "": it does not.
        self._leaving = ""
        self._next_request = 0
        # Request id -> request; ticket -> request id.
        self._requests: dict[int, _Request] = {}
        self._by_ticket: dict[int, int] = {}
        # Ids of invocations that are not answered.
        self._invocations: set[int] = set()
        self._standing = Standing(self._ask, chance)

    @property
    def deadline(self) -> float:
        """When `tick` must be called; monotonic seconds."""
        return self._standing.deadline if self.session else inf

    # The connection

    def opened(self) -> list[Effect]:
        """Begin a session on a new connection."""
        self._connected = True
        self._next_request = 0
        self._attempt = None if self._login is None else self._login.begin()
        details = self._attempt.details if self._attempt is not None else {}
        hello = [wamp.HELLO, self._realm, {"roles": ROLES, "agent": "fox-shard", **details}]
        return [self._send(hello)]

    def lost(self, why: str) -> list[Effect]:
        """Note that the connection is lost, and with it whatever is under way. why: a sentence."""
        if not self._connected:
            return []
        self._connected = False
        self.session = 0
        effects: list[Effect] = [Lost(why)]
        effects += [Interrupted(request) for request in sorted(self._invocations)]
        self._invocations.clear()
        for request in self._requests.values():
            if request.ticket:
                effects.append(Failed(request.ticket, ConnectionLost(why)))
        self._requests.clear()
        self._by_ticket.clear()
        return effects + self._standing.lost(why)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        return self._standing.tick(now) if self.session else []

    def leave(self, why: str) -> list[Effect]:
        """End the session; the router's answer is a `Hangup`. why: a sentence for who waits."""
        if not self.session:
            return [Hangup(why)]
        self._leaving = why
        return [self._send([wamp.GOODBYE, {}, "wamp.close.close_realm"])]

    # Requests

    def publish(
        self, ticket: int, topic: str, args: Sequence[Any], kwargs: Kwargs, options: dict[str, Any]
    ) -> list[Effect]:
        """Publish. The ticket is told of the answer, if the options say `acknowledge`.

        Without a session, that fails at once, as nothing is sent in another session.
        """
        if not self.session:
            return _no_session(ticket if options.get("acknowledge", False) else 0)
        request = self._number()
        sent = self._send([wamp.PUBLISH, request, options, topic, *_payload(args, kwargs)])
        if options.get("acknowledge", False):
            self._note(request, _Request(ticket, topic, is_call=False))
        return [sent]

    def call(
        self,
        ticket: int,
        procedure: str,
        args: Sequence[Any],
        kwargs: Kwargs,
        options: dict[str, Any],
    ) -> list[Effect]:
        """Call a procedure. Without a session, that fails at once."""
        if not self.session:
            return _no_session(ticket)
        request = self._number()
        sent = self._send([wamp.CALL, request, options, procedure, *_payload(args, kwargs)])
        self._note(request, _Request(ticket, procedure, is_call=True))
        return [sent]

    def abandon(self, ticket: int, *, erase: bool = False) -> list[Effect]:
        """Forget a request whose answer nobody waits for any more. A call is canceled.

        erase: if it is a publish that is still let through, its key is erased again.
        """
        request = self._by_ticket.pop(ticket, None)
        if request is None:
            return []
        found = self._requests[request]
        found.ticket = 0
        if found.is_call:
            del self._requests[request]
            return [self._send([wamp.CANCEL, request, {"mode": "killnowait"}])]
        found.erases = erase
        return []

    def subscribe(
        self, ticket: int, pattern: str, options: dict[str, Any], *, stays: bool
    ) -> list[Effect]:
        """Subscribe. stays: over lost connections, too. Raises Failure (see `Standing`)."""
        return self._standing.subscribe(ticket, pattern, options, stays=stays)

    def unsubscribe(self, ticket: int, answer: int = 0) -> list[Effect]:
        """End a subscription. answer: the ticket that is told when the router has ended it."""
        return self._standing.unsubscribe(ticket, answer)

    def register(self, ticket: int, procedure: str, options: dict[str, Any]) -> list[Effect]:
        """Register a procedure, for all sessions."""
        return self._standing.register(ticket, procedure, options)

    def unregister(self, ticket: int, answer: int = 0) -> list[Effect]:
        """End a registration. answer: as for `unsubscribe`."""
        return self._standing.unregister(ticket, answer)

    def yields(
        self, request: int, args: Sequence[Any], kwargs: Kwargs, *, progress: bool, ticket: int = 0
    ) -> list[Effect]:
        """Answer an invocation with a result; with progress, others follow. ticket: see `Send`."""
        if request not in self._invocations:
            # Nobody waits for the answer any more.
            return [Answered(ticket, [])] if ticket else []
        options = {"progress": True} if progress else {}
        sent = self._send([wamp.YIELD, request, options, *_payload(args, kwargs)], ticket)
        if not progress:
            self._invocations.discard(request)
        return [sent]

    def refuses(self, request: int, uri: str, args: Sequence[Any], kwargs: Kwargs) -> list[Effect]:
        """Answer an invocation with an error."""
        if request not in self._invocations:
            return []
        message = [wamp.ERROR, wamp.INVOCATION, request, {}, uri, *_payload(args, kwargs)]
        sent = self._send(message)
        self._invocations.discard(request)
        return [sent]

    # Messages

    def received(self, data: bytes, now: float) -> list[Effect]:
        """Take a message of the router."""
        try:
            message = msgspec.msgpack.decode(data, type=list[Any])
            found = self._take(message, len(data), now) if self.session else self._join(message)
        except (msgspec.MsgspecError, TypeError, ValueError, LookupError) as error:
            return [Hangup(f"The router has sent what is no message: {error}.")]
        return found

    def _join(self, message: list[Any]) -> list[Effect]:
        match message:
            case [wamp.CHALLENGE, str(method), dict(extra)] if (
                self._attempt is not None and method in self._attempt.methods
            ):
                return self._challenged(self._attempt, method, extra)
            case [wamp.WELCOME, int(session), dict(details)]:
                return self._welcomed(session, details)
            case [wamp.ABORT, dict(details), str(reason), *_]:
                why = details.get("message", reason)
                return [Hangup(f"The router does not let us into {self._realm!r}: {why}.")]
            case _:
                return [Hangup("The router answers HELLO with something else than WELCOME.")]

    def _challenged(self, attempt: Attempt, method: str, extra: dict[str, Any]) -> list[Effect]:
        if not attempt.is_quick(method):
            return [Prove(attempt, method, extra)]
        answer = attempt.answer(method, extra)
        assert isinstance(answer, Answer)
        return self.proves(attempt, answer)

    def proves(self, attempt: Attempt, answer: Answer | LoginFailed) -> list[Effect]:
        """Answer a challenge (see `Prove`). A failure is told to the router, and hangs up."""
        if attempt is not self._attempt or not self._connected or self.session:
            return []  # It was for an earlier connection.
        if isinstance(answer, LoginFailed):
            return self._disbelieve(answer)
        return [self._send([wamp.AUTHENTICATE, answer.signature, answer.extra])]

    def _disbelieve(self, error: LoginFailed) -> list[Effect]:
        # The sentence is for the program; a router that is none learns nothing from it.
        abort = [wamp.ABORT, {}, "wamp.error.authentication_failed"]
        return [self._send(abort), Hangup(str(error))]

    def _welcomed(self, session: int, details: dict[str, Any]) -> list[Effect]:
        if self._attempt is not None:
            try:
                self._attempt.check(details)
            except LoginFailed as error:
                return self._disbelieve(error)
        self.session = session
        return [Joined(session, details), *self._standing.joined()]

    def _take(self, message: list[Any], size: int, now: float) -> list[Effect]:
        match message:
            case [wamp.EVENT, int(number), int(publication), dict(details), *payload]:
                return self._standing.event(number, publication, details, payload, size)
            case [wamp.RESULT, int(request), dict(details), *payload]:
                return self._result(request, details, payload, size)
            case [wamp.PUBLISHED, int(request), int(publication)]:
                return self._published(request, publication)
            case [wamp.INVOCATION, int(request), int(number), dict(details), *payload]:
                return self._invocation(request, number, details, payload)
            case [wamp.INTERRUPT, int(request), *_]:
                return [Interrupted(request)] if request in self._invocations else []
            case [wamp.ERROR, int(), int(request), _, str(uri), *rest]:
                return self._error(request, uri, rest, now)
            case [wamp.GOODBYE | wamp.ABORT, dict(details), reason, *_]:
                return self._goodbye(str(details.get("message", reason)))
            case _:
                return self._standing.answer(message)

    def _result(
        self, request: int, details: dict[str, Any], payload: list[Any], size: int
    ) -> list[Effect]:
        found = self._requests.get(request)
        if found is None:
            return []  # It was canceled.
        args, kwargs = _arguments(payload)
        if details.get("progress"):
            return [Progressed(found.ticket, args, kwargs, size)]
        self._forget(request)
        return [Answered(found.ticket, [args, kwargs])]

    def _published(self, request: int, publication: int) -> list[Effect]:
        found = self._requests.get(request)
        if found is None:
            return []
        self._forget(request)
        if not found.erases:
            return [Answered(found.ticket, [publication])] if found.ticket else []
        # Nobody waits for the answer; if it is that the key is not ours any more, all is well.
        erased = {**ERASED, "when_id": publication}
        return [self._send([wamp.PUBLISH, self._number(), erased, found.topic])]

    def _invocation(
        self, request: int, number: int, details: dict[str, Any], payload: list[Any]
    ) -> list[Effect]:
        ticket = self._standing.registered(number)
        if not ticket:
            # It has just been unregistered.
            uri, sentence = "wamp.error.no_such_procedure", "The procedure has been unregistered."
            return [self._send([wamp.ERROR, wamp.INVOCATION, request, {}, uri, [sentence]])]
        self._invocations.add(request)
        args, kwargs = _arguments(payload)
        return [Invoked(ticket, request, details, args, kwargs)]

    def _error(self, request: int, uri: str, rest: list[Any], now: float) -> list[Effect]:
        found = self._requests.get(request)
        if found is None:
            return self._standing.refused(request, Refused(uri, *_arguments(rest)), now)
        self._forget(request)
        if not found.ticket:
            return []
        return [Failed(found.ticket, Refused(uri, *_arguments(rest)))]

    def _goodbye(self, why: str) -> list[Effect]:
        if self._leaving:
            return [Hangup(self._leaving)]
        return [
            self._send([wamp.GOODBYE, {}, "wamp.close.goodbye_and_out"]),
            Hangup(f"The router has ended the session: {why}."),
        ]

    def _ask(self, kind: int, *fields: object) -> tuple[int, Effect]:
        """Make a request of `Standing`, and return its id."""
        request = self._number()
        return request, self._send([kind, request, *fields])

    def _send(self, message: list[Any], ticket: int = 0) -> Send:
        data = msgspec.msgpack.encode(message)
        if len(data) > self.longest:
            raise ValueError(
                f"a message has at most {self.longest} bytes (gateway.max_message_size)"
            )
        return Send(data, ticket, is_goodbye=message[0] == wamp.GOODBYE)

    def _number(self) -> int:
        self._next_request += 1
        return self._next_request

    def _note(self, request: int, found: _Request) -> None:
        self._requests[request] = found
        self._by_ticket[found.ticket] = request

    def _forget(self, request: int) -> None:
        found = self._requests.pop(request)
        self._by_ticket.pop(found.ticket, None)


def _no_session(ticket: int) -> list[Effect]:
    return [Failed(ticket, ConnectionLost("The session has ended."))] if ticket else []


def _payload(args: Sequence[Any], kwargs: Kwargs) -> list[Any]:
    if kwargs:
        return [list(args), dict(kwargs)]
    return [list(args)] if args else []


def _arguments(payload: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    args = payload[0] if payload and payload[0] is not None else []
    kwargs = payload[1] if len(payload) > 1 and payload[1] is not None else {}
    return list(args), dict(kwargs)
