"""A WAMP session: what the router says to one client, whatever its transport and serializer.

Owns: every message that the router sends once the session is open. Never: what clients ask (see
`requests`), which message is legal when (see `states`), how messages are framed.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final

from fox_shard.backplane.frames import PROGRESS as WANTS_PROGRESS
from fox_shard.backplane.frames import Call as CallFrame
from fox_shard.backplane.frames import CallError, Event, Interrupt, Refused, Result
from fox_shard.backplane.refusals import call_error
from fox_shard.documents.payloads import encode as encode_payload
from fox_shard.documents.payloads import transcode
from fox_shard.errors import Refusal
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.gateway.wamp import messages as wamp
from fox_shard.gateway.wamp.event_encoder import WampFlavour, flavour_of
from fox_shard.gateway.wamp.hello import CANCELING, PROGRESS
from fox_shard.gateway.wamp.serializer import Serializer

SENTENCE: Final = 400
"""Characters of an error's text; it may quote what the client sent."""

REFUSED: Final = {1: wamp.PUBLISH, 5: wamp.SUBSCRIBE, 10: wamp.REGISTER, 12: wamp.UNREGISTER}
"""Tag of the refused frame → type of the request."""


class PayloadSizeExceeded(Refusal):
    uri = "wamp.error.payload_size_exceeded"
    reason = 0x95


NOTHING: set[int] = set()
"""Shared by all sessions that expect no answer; never added to."""


class WampSession(Session):
    """See the module. `states.Conversation` adds the session's beginning and its end."""

    __slots__ = (
        "_abilities",
        "_frame",
        "_limit",
        "router",
        "serializer",
        "subscribed_to",
        "unanswered",
    )

    flavour: WampFlavour

    def __init__(
        self,
        router: Router,
        connection: Connection,
        serializer: Serializer,
        frame: Callable[[bytes], bytes],
        flavour_key: Hashable,
        limit: int,
    ) -> None:
        """frame: makes a message's bytes the bytes to send. limit: bytes of the longest message.

        flavour_key: equal where `frame` and `limit` do the same, so that an event is encoded once
        for all those sessions; `frame` must not depend on the connection then.
        """
        super().__init__(connection)
        self.router = router
        self.serializer = serializer
        self.flavour = flavour_of(serializer, frame, flavour_key, limit)
        self._frame = frame
        self._limit = limit
        self._abilities = 0
        # Subscription id -> text of its pattern, what UNSUBSCRIBE is about.
        self.subscribed_to: dict[int, str] | None = None
        # Requests of acknowledged publishes: a shard that restarts may answer one twice.
        self.unanswered: set[int] = NOTHING

    def send(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bool:
        """Send a message. Returns False, and does not, where it is longer than the client takes."""
        message = self.serializer.write(head, args, kwargs)
        if len(message) > self._limit:
            return False
        self.connection.write(self._frame(message))
        return True

    def refuse(self, request_type: int, request: int, refusal: Refusal) -> None:
        """[ERROR, REQUEST.Type|int, REQUEST.Request|id, Details|dict, Error|uri, [message]]"""
        self._refuse(request_type, request, refusal.uri, refusal.message)

    def _refuse(
        self,
        request_type: int,
        request: int,
        uri: str,
        message: str,
        named: dict[str, int] | None = None,
    ) -> None:
        """named: keyword arguments."""
        args = self.serializer.write((message[:SENTENCE],))
        kwargs = encode_payload([], named, self.serializer.encoding)[1] if named else b""
        if not self.send((wamp.ERROR, request_type, request, {}, uri), args, kwargs):
            self.send((wamp.ERROR, request_type, request, {}, uri))

    def deliver(self, event: Event, grant: int) -> None:
        """Does not happen: WAMP subscriptions are granted quality of service 0."""

    def published(self, requests: list[int], publications: list[int]) -> None:
        """[PUBLISHED, PUBLISH.Request|id, Publication|id], one for each."""
        unanswered = self.unanswered
        for request, publication in zip(requests, publications, strict=True):
            if request in unanswered:
                unanswered.remove(request)
                self.send((wamp.PUBLISHED, request, publication))

    def expect_published(self, request: int) -> None:
        """`published` or `refused` is to answer that request, once."""
        if self.unanswered is NOTHING:
            self.unanswered = set()
        self.unanswered.add(request)

    def refused(self, refused: Refused) -> None:
        """[ERROR, …] of PUBLISH, REGISTER or UNREGISTER."""
        kind = REFUSED[refused.kind]
        if kind == wamp.PUBLISH:
            if refused.request not in self.unanswered:
                return
            self.unanswered.remove(refused.request)
        named = {"publication": refused.publication} if refused.publication >= 0 else {}
        self._refuse(kind, refused.request, refused.uri, refused.message, named)

    def subscribed(self, request: int, subscription: Subscription, retained: list[Event]) -> None:
        """[SUBSCRIBED, SUBSCRIBE.Request|id, Subscription|id], then the keys."""
        if self.subscribed_to is None:
            self.subscribed_to = {}
        self.subscribed_to[subscription.id] = subscription.name
        self.send((wamp.SUBSCRIBED, request, subscription.id))
        self.shown(retained, subscription, 0)

    def shown(self, events: list[Event], subscription: Subscription, grant: int) -> None:
        """See `Session`."""
        for event in events:
            chunk = self.flavour.retained(event, subscription)
            if chunk:
                self.connection.write(chunk)

    def not_subscribed(self, request: int, uri: str, message: str, oldest: int) -> None:
        """[ERROR, SUBSCRIBE, SUBSCRIBE.Request|id, Details|dict, Error|uri, [message], {oldest}]"""
        self._refuse(wamp.SUBSCRIBE, request, uri, message, {"oldest": oldest})

    def subscription_revoked(self, subscription: Subscription, reason: str) -> None:
        """[UNSUBSCRIBED, 0, Details|dict] (WAMP #pubsub-subscription-revocation)"""
        if self.subscribed_to is not None:
            self.subscribed_to.pop(subscription.id, None)
        details = {"subscription": subscription.id, "reason": reason}
        self.send((wamp.UNSUBSCRIBED, 0, details))

    def registered(self, request: int, registration: int) -> None:
        """[REGISTERED, REGISTER.Request|id, Registration|id]"""
        self.send((wamp.REGISTERED, request, registration))

    def unregistered(self, request: int) -> None:
        """[UNREGISTERED, UNREGISTER.Request|id]"""
        self.send((wamp.UNREGISTERED, request))

    def revoked(self, registration: int, reason: str) -> None:
        """[UNREGISTERED, 0, Details|dict] (WAMP #rpc-registration-revocation)"""
        details = {"registration": registration, "reason": reason}
        self.send((wamp.UNREGISTERED, 0, details))

    def invocation(self, request: int, registration: int, call: CallFrame) -> None:
        """[INVOCATION, Request|id, REGISTERED.Registration|id, Details|dict, …]"""
        details: dict[str, Any] = {}
        register = self.registrations.get(registration) if self.registrations else None
        # The registration may have been given up meanwhile.
        if register is None or register.pattern[0] != "=":
            details["procedure"] = call.procedure
        if call.flags & WANTS_PROGRESS and self._abilities & PROGRESS:
            details["receive_progress"] = True
        if call.caller is not None:
            details["caller"] = call.session
            details["caller_authid"] = call.caller.authid
            details["caller_authrole"] = call.caller.authrole
        head = (wamp.INVOCATION, request, registration, details)
        try:
            self._carry(head, call)
        except Refusal as refusal:
            self.fail(request, refusal)

    def interrupt(self, request: int, interrupt: Interrupt) -> None:
        """[INTERRUPT, INVOCATION.Request|id, Options|dict] (WAMP #rpc-call-canceling)

        A callee that cannot be canceled is not told, as under the mode `skip`; then nobody waits
        for its answer either.
        """
        if self._abilities & CANCELING:
            options = {"mode": interrupt.mode, "reason": interrupt.reason}
            self.send((wamp.INTERRUPT, request, options))
        elif interrupt.mode == "kill":
            self.router.invocation_error(self, request, interrupt.reason, 0, b"", b"")

    def result(self, result: Result) -> None:
        """[RESULT, CALL.Request|id, Details|dict, …]"""
        details = {"progress": True} if result.progress else {}
        try:
            self._carry((wamp.RESULT, result.request, details), result)
        except Refusal as refusal:
            # The one answer that there is to be, unless it comes later.
            if not result.progress:
                self.refuse(wamp.CALL, result.request, refusal)

    def call_error(self, error: CallError) -> None:
        """[ERROR, CALL, CALL.Request|id, Details|dict, Error|uri, …]"""
        details: dict[str, Any] = {}
        head = (wamp.ERROR, wamp.CALL, error.request, details, error.uri)
        try:
            self._carry(head, error)
        except Refusal:
            self.send(head)

    def fail(self, request: int, refusal: Refusal) -> None:
        """An invocation cannot be carried out: its caller is told."""
        error = call_error(0, 0, refusal)
        self.router.invocation_error(
            self, request, error.uri, error.encoding, error.args, error.kwargs
        )

    def _carry(self, head: tuple[Any, ...], frame: CallFrame | Result | CallError) -> None:
        """Send a message with a frame's arguments.

        Raises InvalidPayload, PayloadSizeExceeded.
        """
        args, kwargs = frame.args, frame.kwargs
        encoding = self.serializer.encoding
        if frame.encoding != encoding:
            args, kwargs = transcode(frame.encoding, args, kwargs, encoding)
        if not self.send(head, args, kwargs):
            raise PayloadSizeExceeded(f"the message has more than {self._limit} bytes")
