"""The states of a WAMP session (WAMP #session-statechart), from HELLO to GOODBYE.

Owns: which message is legal when, how a session begins and ends. Never: what a request means (see
`requests`), how messages are framed.

A transport (`gateway.transports`) has these duties:

* The transport makes one `WampConversation` per connection once the serializer is agreed on.
  `frame` turns a message's bytes into the bytes to send. `hangup` ends the transport properly
  (WebSocket: a Close frame with code 1000, then the connection; RawSocket: the connection).
* The transport calls `message(data, now)` once for each whole message, and
  `connection_lost(now)` once when the connection is gone, even after `hangup`. Neither raises, and
  both do nothing after the session's end.
* The transport does not time out a client that never says HELLO, because the session does.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, final

from msgspec import Struct

from fox_shard.backplane.frames import ANONYMOUS, CALLER_PASSTHRU, Identity
from fox_shard.errors import PayloadSizeExceeded, ProtocolViolation, Refusal
from fox_shard.gateway.auth import login
from fox_shard.gateway.auth.claims import Attempt, Authenticated
from fox_shard.gateway.auth.refusals import AuthenticationFailed
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.session import CONNECTION_LOST
from fox_shard.gateway.wamp import hello, requests
from fox_shard.gateway.wamp import messages as wamp
from fox_shard.gateway.wamp.event_encoder import NO_LIMIT
from fox_shard.gateway.wamp.serializer import Serializer
from fox_shard.gateway.wamp.session import MAX_ERROR_TEXT, WampSession
from fox_shard.gateway.wamp.unread import SURELY_FEW, UnreadRequest, check_containers

Handlers = dict[type[Struct], Callable[["WampConversation", Any], None]]

GOODBYE_AND_OUT: Final = "wamp.close.goodbye_and_out"


@final
class WampConversation(WampSession):
    """A WAMP session with its states, which receives the client's messages."""

    __slots__ = ("_attempt", "_handlers", "_hangup", "_transport")

    def __init__(
        self,
        router: Router,
        connection: Connection,
        serializer: Serializer,
        frame: Callable[[bytes], bytes],
        hangup: Callable[[], None],
        transport: str,
        encoder_key: Hashable,
        *,
        limit: int = NO_LIMIT,
    ) -> None:
        """transport: its name. limit: bytes of the longest message that the client takes."""
        super().__init__(router, connection, serializer, frame, encoder_key, limit)
        self._hangup = hangup
        self._transport = transport
        self._handlers = WAITING
        # While the client is to prove who it is.
        self._attempt: Attempt | None = None
        router.timers.gathered(
            router.now + router.settings.handshake_timeout, self._handshake_timed_out
        )

    # From the transport

    def message(self, data: bytes, now: float) -> None:
        """Handle one message of the client."""
        handlers = self._handlers
        if handlers is ENDED:
            return
        try:
            try:
                if len(data) > SURELY_FEW:
                    most = self.router.settings.max_containers
                    check_containers(self.serializer.encoding, data, most)
                message = self.serializer.read(data)
            except UnreadRequest as unread:
                if handlers is not OPEN:
                    raise
                self.traffic.others += 1
                requests.unread(self, unread)
                return
            handler = handlers.get(type(message))
            if handler is None:
                raise self._unexpected(message)
            handler(self, message)
        except ProtocolViolation as violation:
            if handlers is CLOSING:
                # While closing, all else is ignored (WAMP #session-closing).
                return
            self.router.limit_counts.add(violation.limit)
            self.abort(violation.uri, violation.message)

    def connection_lost(self, now: float) -> None:
        """End the session, because the connection is gone."""
        self._end_session(CONNECTION_LOST)

    def _unexpected(self, message: Struct) -> ProtocolViolation:
        """Return the violation for a message that is not legal in the present state."""
        number = next(key for key, kind in wamp.TYPES.items() if kind is type(message))
        name = wamp.NAMES[number]
        if self._begins:
            return ProtocolViolation(f"received {name} before the session was established")
        return ProtocolViolation(f"received {name} after the session was established")

    # Beginning and end

    @property
    def _begins(self) -> bool:
        """Whether the session has not begun yet."""
        return any(self._handlers is table for table in (WAITING, CHALLENGED, VERIFYING))

    def hello_received(self, message: wamp.Hello) -> None:
        """Handle [HELLO, Realm|uri, Details|dict]."""
        announced = hello.read_details(self.serializer, message)
        router = self.router
        name = message.realm
        if name is None:
            name = router.authentication.assigned_realm or None
        router.open_realm(name)
        try:
            self.realm = hello.find_realm(router.realms, name)
            claim = hello.claim_of(
                self.realm, announced, self.connection, self._transport, router.wall
            )
            begun = login.begin(router.authentication, claim)
        except Refusal as refusal:
            about = refusal.about if isinstance(refusal, AuthenticationFailed) else ""
            self.abort(refusal.uri, refusal.message, about=about)
            return
        self._abilities = (
            hello.callee_features(announced)
            | hello.caller_features(announced)
            | hello.passthru_roles(announced)
        )
        if self._abilities & hello.PASSTHRU["caller"]:
            self.call_flags = CALLER_PASSTHRU
        if isinstance(begun, Authenticated):
            self._welcome(begun)
            return
        self._attempt = begun
        self._handlers = VERIFYING
        begun.prepare(self._prepared)

    def _prepared(self, outcome: Authenticated | Refusal | None) -> None:
        """Send the challenge, unless there is nothing to prove, or the client has left."""
        if self._attempt is not None:
            self.id = self._attempt.session
        if outcome is not None:
            self._verified(outcome)
        elif self._handlers is VERIFYING and self._attempt is not None:
            self._challenge(self._attempt)

    def _challenge(self, attempt: Attempt) -> None:
        """Send [CHALLENGE, AuthMethod|string, Extra|dict]."""
        self._handlers = CHALLENGED
        if not self.send((wamp.CHALLENGE, attempt.method, attempt.extra)):
            self.abort(PayloadSizeExceeded.uri, "CHALLENGE is longer than this client takes")

    def authenticate_received(self, message: wamp.Authenticate) -> None:
        """Handle [AUTHENTICATE, Signature|string, Extra|dict]."""
        assert self._attempt is not None
        extra = self.serializer.dictionary(
            bytes(message.extra), dict[str, Any], "AUTHENTICATE.Extra"
        )
        self._handlers = VERIFYING
        self._attempt.answer(message.signature, extra, self._verified)

    def _verified(self, outcome: Authenticated | Refusal) -> None:
        """Begin or abort the session, unless the client has left meanwhile."""
        attempt, self._attempt = self._attempt, None
        if self._handlers is not VERIFYING or attempt is None:
            return
        if isinstance(outcome, Refusal):
            self.abort(outcome.uri, outcome.message, about=attempt.description)
        else:
            self._welcome(outcome)

    def _welcome(self, who: Authenticated) -> None:
        """Open the session, and send [WELCOME, Session|id, Details|dict]."""
        if who.realm:
            self.realm = self.router.realms[who.realm]
        self.authid = who.authid
        self.authrole = who.authrole
        self.expires = who.expires
        identity = Identity(self.authid, self.authrole)
        self.caller = None if identity == ANONYMOUS else identity
        self._handlers = OPEN
        self.router.session_opened(
            self,
            protocol=self.serializer.subprotocol,
            transport=self._transport,
            authmethod=who.method,
            authprovider=who.provider,
        )
        details = hello.welcome(self.realm.name, who)
        if not self.send((wamp.WELCOME, self.id, details)):
            # The features alone exceed RawSocket's smallest limit.
            details["roles"] = {role: {} for role in details["roles"]}
            if not self.send((wamp.WELCOME, self.id, details)):
                self.abort(PayloadSizeExceeded.uri, "WELCOME is longer than this client takes")

    def goodbye_received(self, message: wamp.Goodbye) -> None:
        """Handle [GOODBYE, Details|dict, Reason|uri], the client's own or its answer to ours."""
        self.serializer.check_dictionary(bytes(message.details), "GOODBYE.Details")
        if self._handlers is OPEN:
            self._end_session("GOODBYE", graceful=True)
            self.send((wamp.GOODBYE, {}, GOODBYE_AND_OUT))
        self._handlers = ENDED
        self._hangup()

    def abort_received(self, _message: wamp.Abort) -> None:
        """Handle [ABORT, Details|dict, Reason|uri], which is not answered (WAMP #abort)."""
        self._end_session("ABORT")
        self._hangup()

    def abort(self, uri: str, message: str, *, about: str = "") -> None:
        """End the session at once with ABORT (WAMP #protocol-errors). about: more for the log."""
        reason = f"{uri}: {message[:MAX_ERROR_TEXT]}" + (f" ({about})" if about else "")
        if self._begins:
            self.connection.refused = reason
        self._end_session(reason)
        self._send_last(wamp.ABORT, message, uri)
        self._hangup()

    def end(self, reason: str, message: str) -> None:
        """End the session for the router: send GOODBYE and await the client's answer."""
        if self._begins:
            self.abort(reason, message)
        elif self._handlers is OPEN:
            self._end_session(reason)
            self._handlers = CLOSING
            self._send_last(wamp.GOODBYE, message, reason)
            router = self.router
            router.timers.at(
                router.now + router.settings.handshake_timeout, self._goodbye_timed_out
            )

    def _send_last(self, kind: int, message: str, uri: str) -> None:
        """Send ABORT or GOODBYE, without the sentence if there is none, or if it is too long."""
        details = {"message": message[:MAX_ERROR_TEXT]} if message else {}
        if not self.send((kind, details, uri)):
            self.send((kind, {}, uri))

    def _end_session(self, reason: str, *, graceful: bool = False) -> None:
        was_open = self._handlers is OPEN
        self._handlers = ENDED
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        if was_open:
            self.router.session_ended(self, reason, graceful=graceful)

    def _handshake_timed_out(self, now: float) -> None:
        """Abort if HELLO or AUTHENTICATE has not come in time, or has not been checked."""
        if self._begins:
            self.router.limit_counts.add("handshake_timeout")
            seconds = self.router.settings.handshake_timeout
            missing = "HELLO" if self._handlers is WAITING else "right AUTHENTICATE"
            self.abort(ProtocolViolation.uri, f"no {missing} came in {seconds:g} seconds")

    def _goodbye_timed_out(self, now: float) -> None:
        """Hang up if the answer to our GOODBYE has not come in time."""
        if self._handlers is CLOSING:
            self._handlers = ENDED
            self._hangup()


def _counted(
    handler: Callable[[WampConversation, Any], None],
) -> Callable[[WampConversation, Any], None]:
    """Return a handler that also counts the message; the gateway itself counts PUBLISH and CALL."""

    def handle(session: WampConversation, message: Struct) -> None:
        handler(session, message)
        session.traffic.others += 1

    return handle


# The messages that a client may send in each state (WAMP #session-statechart). The table in
# `WampConversation._handlers` is the state.
WAITING: Final[Handlers] = {
    wamp.Hello: _counted(WampConversation.hello_received),
    wamp.Abort: WampConversation.abort_received,
}
CHALLENGED: Final[Handlers] = {
    wamp.Authenticate: _counted(WampConversation.authenticate_received),
    wamp.Abort: WampConversation.abort_received,
}
VERIFYING: Final[Handlers] = {
    wamp.Abort: WampConversation.abort_received,
}
OPEN: Final[Handlers] = {
    wamp.Publish: requests.publish,
    wamp.Call: requests.call,
    wamp.Yield: _counted(requests.yield_),
    wamp.Error: _counted(requests.error),
    wamp.Subscribe: _counted(requests.subscribe),
    wamp.Unsubscribe: _counted(requests.unsubscribe),
    wamp.Register: _counted(requests.register),
    wamp.Unregister: _counted(requests.unregister),
    wamp.Cancel: _counted(requests.cancel),
    wamp.Goodbye: _counted(WampConversation.goodbye_received),
    wamp.Abort: _counted(WampConversation.abort_received),
}
CLOSING: Final[Handlers] = {
    wamp.Goodbye: WampConversation.goodbye_received,
    wamp.Abort: WampConversation.abort_received,
}
ENDED: Final[Handlers] = {}
