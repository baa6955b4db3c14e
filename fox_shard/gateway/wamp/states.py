"""The states of a WAMP session (WAMP #session-statechart), from HELLO to GOODBYE.

Owns: which message is legal when, how a session begins and ends. Never: what a request means (see
`requests`), how messages are framed.

What a transport does (`gateway.transports`):

* It makes one `Conversation` for each connection once the serializer is agreed on. `frame` makes a
  message's bytes the bytes to send, `hangup` ends the transport properly (for a WebSocket: a Close
  frame with code 1000, then the connection; for RawSocket: the connection).
* It calls `message(data, now)` once for each whole message, and `lost(now)` once when the
  connection is gone, even after `hangup`. Neither raises. After the end both do nothing.
* It does not time out a client that is silent at first: the session does.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, final

from msgspec import Struct

from fox_shard.errors import ProtocolViolation, Refusal
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.session import CONNECTION_LOST
from fox_shard.gateway.wamp import hello, requests
from fox_shard.gateway.wamp import messages as wamp
from fox_shard.gateway.wamp.event_encoder import NO_LIMIT
from fox_shard.gateway.wamp.serializer import Serializer
from fox_shard.gateway.wamp.session import SENTENCE, PayloadSizeExceeded, WampSession

Handlers = dict[type[Struct], Callable[["Conversation", Any], None]]

GOODBYE_AND_OUT: Final = "wamp.close.goodbye_and_out"


@final
class Conversation(WampSession):
    """A WAMP session with its state: the receiver of the client's messages."""

    __slots__ = ("_handlers", "_hangup", "_transport")

    def __init__(
        self,
        router: Router,
        connection: Connection,
        serializer: Serializer,
        frame: Callable[[bytes], bytes],
        hangup: Callable[[], None],
        transport: str,
        flavour_key: Hashable,
        *,
        limit: int = NO_LIMIT,
    ) -> None:
        """transport: its name. limit: bytes of the longest message that the client takes."""
        super().__init__(router, connection, serializer, frame, flavour_key, limit)
        self._hangup = hangup
        self._transport = transport
        self._handlers = WAITING
        router.timers.at(router.now + router.settings.handshake_timeout, self._waited)

    # From the transport

    def message(self, data: bytes, now: float) -> None:
        """Take one message."""
        handlers = self._handlers
        if handlers is ENDED:
            return
        try:
            message = self.serializer.read(data)
            handler = handlers.get(type(message))
            if handler is None:
                raise self._unexpected(message)
            handler(self, message)
        except ProtocolViolation as violation:
            if handlers is CLOSING:
                # Whatever it is, it is not the answer to our GOODBYE (WAMP #session-closing).
                return
            self.abort(violation.uri, violation.message)

    def lost(self, now: float) -> None:
        """The connection is gone."""
        self._leave(CONNECTION_LOST)

    def _unexpected(self, message: Struct) -> ProtocolViolation:
        number = next(key for key, kind in wamp.TYPES.items() if kind is type(message))
        name = wamp.NAMES[number]
        if self._handlers is WAITING:
            return ProtocolViolation(f"received {name} before the session was established")
        return ProtocolViolation(f"received {name} after the session was established")

    # Beginning and end

    def greet(self, message: wamp.Hello) -> None:
        """[HELLO, Realm|uri, Details|dict]"""
        wishes = hello.read_details(self.serializer, message)
        try:
            self.realm = hello.admit(self.router.realms, message, wishes)
        except Refusal as refusal:
            self.abort(refusal.uri, refusal.message)
            return
        self.authid = hello.AUTHID
        self.authrole = hello.AUTHROLE
        self._abilities = hello.abilities(wishes)
        self._handlers = OPEN
        self.router.attach(
            self,
            protocol=self.serializer.subprotocol,
            transport=self._transport,
            authmethod=hello.AUTHMETHOD,
            authprovider=hello.AUTHPROVIDER,
        )
        details = hello.welcome(self.realm.name, self.authid, self.authrole)
        if not self.send((wamp.WELCOME, self.id, details)):
            # The features alone are more than RawSocket's smallest limit.
            details["roles"] = {role: {} for role in details["roles"]}
            if not self.send((wamp.WELCOME, self.id, details)):
                self.abort(PayloadSizeExceeded.uri, "WELCOME is longer than this client takes")

    def leave(self, message: wamp.Goodbye) -> None:
        """[GOODBYE, Details|dict, Reason|uri], the client's or its answer to ours."""
        self.serializer.dictionary(bytes(message.details), dict, "GOODBYE.Details")
        if self._handlers is OPEN:
            self._leave("GOODBYE", graceful=True)
            self.send((wamp.GOODBYE, {}, GOODBYE_AND_OUT))
        self._handlers = ENDED
        self._hangup()

    def aborted(self, _message: wamp.Abort) -> None:
        """[ABORT, Details|dict, Reason|uri]. Is not answered (WAMP #abort)."""
        self._leave("ABORT")
        self._hangup()

    def abort(self, uri: str, message: str) -> None:
        """End the session at once (WAMP #protocol-errors)."""
        self._leave(f"{uri}: {message[:SENTENCE]}")
        self._send_last(wamp.ABORT, message, uri)
        self._hangup()

    def end(self, reason: str, message: str) -> None:
        """The router ends the session: GOODBYE, and the client's answer is awaited."""
        if self._handlers is WAITING:
            self.abort(reason, message)
        elif self._handlers is OPEN:
            self._leave(reason)
            self._handlers = CLOSING
            self._send_last(wamp.GOODBYE, message, reason)
            router = self.router
            router.timers.at(router.now + router.settings.handshake_timeout, self._parted)

    def _send_last(self, kind: int, message: str, uri: str) -> None:
        if not self.send((kind, {"message": message[:SENTENCE]}, uri)):
            self.send((kind, {}, uri))

    def _leave(self, reason: str, *, graceful: bool = False) -> None:
        attached = self._handlers is OPEN
        self._handlers = ENDED
        if attached:
            self.router.detach(self, reason, graceful=graceful)

    def _waited(self, now: float) -> None:
        """The time for HELLO is over."""
        if self._handlers is WAITING:
            seconds = self.router.settings.handshake_timeout
            self.abort(ProtocolViolation.uri, f"no HELLO came in {seconds:g} seconds")

    def _parted(self, now: float) -> None:
        """The time for the answer to our GOODBYE is over."""
        if self._handlers is CLOSING:
            self._handlers = ENDED
            self._hangup()


def _counted(
    handler: Callable[[Conversation, Any], None],
) -> Callable[[Conversation, Any], None]:
    """The same, and the message is counted, as the gateway does with PUBLISH and CALL."""

    def handle(session: Conversation, message: Struct) -> None:
        handler(session, message)
        session.traffic.others += 1

    return handle


# Which messages a client may send when (WAMP #session-statechart): a table for each state, which is
# what `Conversation._handlers` is. AUTHENTICATE answers a CHALLENGE, which there is none of.
WAITING: Final[Handlers] = {
    wamp.Hello: _counted(Conversation.greet),
    wamp.Abort: Conversation.aborted,
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
    wamp.Goodbye: _counted(Conversation.leave),
    wamp.Abort: _counted(Conversation.aborted),
}
CLOSING: Final[Handlers] = {
    wamp.Goodbye: Conversation.leave,
    wamp.Abort: Conversation.aborted,
}
ENDED: Final[Handlers] = {}
