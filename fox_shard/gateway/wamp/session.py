"""A WAMP session: what the router sends to one client, whatever its transport and serializer.

Owns: every message that the router sends once the session is open. Never: what clients request (see
`requests`), which message is legal when (see `states`), how messages are framed.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final

from fox_shard.backplane.attributes import is_passthru
from fox_shard.backplane.frames import (
    ANONYMOUS,
    CALLER_PASSTHRU,
    CONTINUATION,
    CONTINUES,
    DISCLOSE_CALLER,
    CallError,
    Event,
    Identity,
    Interrupt,
    Publish,
    Reduce,
    Refused,
    Result,
)
from fox_shard.backplane.frames import PROGRESS as WANTS_PROGRESS
from fox_shard.backplane.frames import Call as CallFrame
from fox_shard.backplane.refusals import call_error
from fox_shard.documents.payloads import as_value, transcode
from fox_shard.documents.payloads import encode as encode_payload
from fox_shard.errors import FeatureNotSupported, PayloadSizeExceeded, ProtocolViolation, Refusal
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.gateway.wamp import messages as wamp
from fox_shard.gateway.wamp.event_encoder import event_encoder_of
from fox_shard.gateway.wamp.hello import (
    CANCELING,
    PARTS,
    PASSTHRU,
    PROGRESS,
    REROUTING,
    REVOCATION,
    SENDS_PARTS,
    TIMEOUT,
)
from fox_shard.gateway.wamp.progressive_calls import ProgressiveCalls
from fox_shard.gateway.wamp.serializer import Serializer

MAX_ERROR_TEXT: Final = 400
"""Characters of an error's text, which may quote the client; longer texts are cut off."""

REFUSED: Final = {1: wamp.PUBLISH, 5: wamp.SUBSCRIBE, 10: wamp.REGISTER, 12: wamp.UNREGISTER}
"""Tag of the refused frame → type code of the request."""


NO_REQUESTS: set[int] = set()
"""The set shared by all sessions that have had no such request; never added to."""

FORGOTTEN: Final = 1000
"""How many invocations there are at least before those that are over are looked for."""


class WampSession(Session):
    """An open WAMP session. `states.WampConversation` adds its beginning and its end."""

    __slots__ = (
        "_abilities",
        "_frame",
        "_limit",
        "_takes_passthru",
        "call_flags",
        "caller",
        "parts",
        "router",
        "serializer",
        "subscribed_to",
        "unanswered",
    )

    def __init__(
        self,
        router: Router,
        connection: Connection,
        serializer: Serializer,
        frame: Callable[[bytes], bytes],
        encoder_key: Hashable,
        limit: int,
    ) -> None:
        """frame: turns a message's bytes into the bytes to send.

        encoder_key: equal for sessions whose `frame` and `limit` do the same, so that an event is
        encoded once for all of them; so `frame` must not depend on the connection.
        limit: bytes of the longest message that the client takes.
        """
        super().__init__(connection)
        self.router = router
        self.serializer = serializer
        self.encoder = event_encoder_of(serializer, frame, encoder_key, limit)
        self._frame = frame
        self._limit = limit
        self._abilities = 0
        # Flags of all its `Call`s.
        self.call_flags = 0
        # Invocations whose callers take results in payload passthru mode; some may be over.
        self._takes_passthru: set[int] = NO_REQUESTS
        # Who calls, as `Call` has it.
        self.caller: Identity | None = None
        # Its calls in several parts; None: it has had none.
        self.parts: ProgressiveCalls | None = None
        # Subscription id -> the subscription's name on this gateway, for UNSUBSCRIBE.
        self.subscribed_to: dict[int, str] | None = None
        # Acknowledged publishes that are not answered yet. A restarted shard may answer one twice.
        self.unanswered: set[int] = NO_REQUESTS

    def send(self, head: tuple[Any, ...], args: bytes = b"", kwargs: bytes = b"") -> bool:
        """Send a message; return False, without sending, if it is longer than the client takes."""
        message = self.serializer.write(head, args, kwargs)
        if len(message) > self._limit:
            return False
        self.connection.write(self._frame(message))
        return True

    def refuse(self, request_type: int, request: int, refusal: Refusal) -> None:
        """Send [ERROR, REQUEST.Type|int, Request|id, Details|dict, Error|uri, [message]]."""
        self.router.limit_counts.add(refusal.limit)
        self._refuse(request_type, request, refusal.uri, refusal.message)

    def _refuse(
        self,
        request_type: int,
        request: int,
        uri: str,
        message: str,
        named: dict[str, int] | None = None,
    ) -> None:
        """Send an ERROR, without arguments if it would be too long. named: its ArgumentsKw."""
        args = self.serializer.write((message[:MAX_ERROR_TEXT],))
        kwargs = encode_payload([], named, self.serializer.encoding)[1] if named else b""
        if not self.send((wamp.ERROR, request_type, request, {}, uri), args, kwargs):
            self.send((wamp.ERROR, request_type, request, {}, uri))

    def deliver(self, event: Event, granted_qos: int) -> None:
        """Do nothing. This is never called, because WAMP subscriptions are granted QoS 0."""

    def published(self, requests: list[int], publications: list[int]) -> None:
        """Send [PUBLISHED, PUBLISH.Request|id, Publication|id] for each unanswered request."""
        unanswered = self.unanswered
        for request, publication in zip(requests, publications, strict=True):
            if request in unanswered:
                unanswered.remove(request)
                self.send((wamp.PUBLISHED, request, publication))

    def expect_published(self, request: int) -> None:
        """Note that `published` or `refused` is to answer that request, once."""
        if self.unanswered is NO_REQUESTS:
            self.unanswered = set()
        self.unanswered.add(request)

    def refused(self, refused: Refused) -> None:
        """Send [ERROR, …] for a PUBLISH, REGISTER or UNREGISTER."""
        kind = REFUSED[refused.kind]
        if kind == wamp.PUBLISH:
            if refused.request not in self.unanswered:
                return
            self.unanswered.remove(refused.request)
        named = {"publication": refused.publication} if refused.publication >= 0 else {}
        self._refuse(kind, refused.request, refused.uri, refused.message, named)

    def subscribed(self, request: int, subscription: Subscription, retained: list[Event]) -> None:
        """Send [SUBSCRIBED, SUBSCRIBE.Request|id, Subscription|id], then the retained keys."""
        if self.subscribed_to is None:
            self.subscribed_to = {}
        self.subscribed_to[subscription.id] = subscription.name
        self.send((wamp.SUBSCRIBED, request, subscription.id))
        self.more_keys(retained, subscription, 0)

    def more_keys(self, events: list[Event], subscription: Subscription, granted_qos: int) -> None:
        """Send more retained keys of a subscription (see `Session.more_keys`)."""
        for event in events:
            chunk = self.encoder.retained(event, subscription)
            if chunk:
                self.connection.write(chunk)

    def not_subscribed(self, request: int, uri: str, message: str, oldest: int) -> None:
        """Send [ERROR, SUBSCRIBE, Request|id, Details|dict, Error|uri, [message], {oldest}].

        Only a gap in the history has an oldest event.
        """
        named = {"oldest": oldest} if oldest else None
        self._refuse(wamp.SUBSCRIBE, request, uri, message, named)

    def unsubscribed_early(self, request: int, subscription: Subscription) -> None:
        """Send [SUBSCRIBED, SUBSCRIBE.Request|id, Subscription|id]; UNSUBSCRIBED follows."""
        self.send((wamp.SUBSCRIBED, request, subscription.id))

    def subscription_revoked(self, subscription: Subscription, reason: str) -> None:
        """Send [UNSUBSCRIBED, 0, Details|dict] (WAMP #pubsub-subscription-revocation)."""
        if self.subscribed_to is not None:
            self.subscribed_to.pop(subscription.id, None)
        details = {"subscription": subscription.id, "reason": reason}
        self.send((wamp.UNSUBSCRIBED, 0, details))

    def registered(self, request: int, registration: int) -> None:
        """Send [REGISTERED, REGISTER.Request|id, Registration|id]."""
        self.send((wamp.REGISTERED, request, registration))

    def unregistered(self, request: int) -> None:
        """Send [UNREGISTERED, UNREGISTER.Request|id]."""
        self.send((wamp.UNREGISTERED, request))

    def revoked(self, registration: int, reason: str) -> None:
        """Send [UNREGISTERED, 0, Details|dict], if the callee has announced revocations.

        Others must not get any (WAMP #rpc-registration-revocation).
        """
        if self._abilities & REVOCATION:
            details = {"registration": registration, "reason": reason}
            self.send((wamp.UNREGISTERED, 0, details))

    def invocation(self, request: int, registration: int, call: CallFrame) -> None:
        """Send [INVOCATION, Request|id, REGISTERED.Registration|id, Details|dict, …]."""
        if call.flags & CONTINUES and not self._abilities & PARTS:
            sentence = "the callee has not announced progressive_call_invocations and canceling"
            self.fail(request, FeatureNotSupported(sentence))
            return
        details = self._details_of(registration, call)
        head = (wamp.INVOCATION, request, registration, details)
        if call.flags & CALLER_PASSTHRU:
            self._note_passthru(request)
        try:
            if call.attributes is not None:
                self._check_callee(call.attributes)
                details.update(self.serializer.attributes(call.attributes))
            self._carry(head, call)
        except Refusal as refusal:
            self.fail(request, refusal)
            if call.flags & CONTINUATION:
                # The callee has the parts before this one, and waits for more.
                self.send((wamp.INTERRUPT, request, {"mode": "killnowait", "reason": refusal.uri}))

    def _details_of(self, registration: int, call: CallFrame) -> dict[str, Any]:
        """Return INVOCATION.Details, without attributes that are passed on."""
        details: dict[str, Any] = {}
        if call.flags & CONTINUES:
            details["progress"] = True
        if call.timeout and self._abilities & TIMEOUT:
            details["timeout"] = call.timeout
        register = self.registrations.get(registration) if self.registrations else None
        # The session may have unregistered meanwhile.
        if register is None or register.pattern[0] != "=":
            details["procedure"] = call.procedure
        if call.flags & WANTS_PROGRESS and self._abilities & PROGRESS:
            details["receive_progress"] = True
        wanted = call.flags & DISCLOSE_CALLER or (register is not None and register.disclose)
        if wanted:
            caller = call.caller or ANONYMOUS
            details["caller"] = call.session
            details["caller_authid"] = caller.authid
            details["caller_authrole"] = caller.authrole
        return details

    @property
    def reroutes(self) -> bool:
        """Whether the client, as a callee, has announced call rerouting."""
        return bool(self._abilities & REROUTING)

    def begin_parts(self, request: int, procedure: str, *, passthru: bool) -> None:
        """Note that further parts of a call follow. Raises ProtocolViolation if none may."""
        if not self.sends_parts:
            raise ProtocolViolation(
                "CALL: the option progress, but the caller has not announced "
                "progressive_call_invocations in HELLO"
            )
        self._progressive_calls().begin(request, procedure, passthru=passthru)

    def parts_refused(self, request: int) -> None:
        """Note that a call of which further parts follow was refused."""
        if self.sends_parts:
            self._progressive_calls().refused(request)

    @property
    def sends_parts(self) -> bool:
        """Whether the client, as a caller, has announced progressive call invocations."""
        return bool(self._abilities & SENDS_PARTS)

    def _progressive_calls(self) -> ProgressiveCalls:
        if self.parts is None:
            self.parts = ProgressiveCalls(self.router.settings.max_calls)
        return self.parts

    def _check_callee(self, packed: bytes) -> None:
        """Raise FeatureNotSupported for a passthru payload that this callee has not announced."""
        if not self._abilities & PASSTHRU["callee"] and is_passthru(packed):
            raise FeatureNotSupported("the callee has not announced payload_passthru_mode")

    def _note_passthru(self, request: int) -> None:
        """Note that the caller of an invocation takes results in payload passthru mode."""
        if self._takes_passthru is NO_REQUESTS:
            self._takes_passthru = set()
        running = self.invocations or {}
        if len(self._takes_passthru) > 2 * len(running) + FORGOTTEN:
            self._takes_passthru.intersection_update(running)
        self._takes_passthru.add(request)

    def check_passthru(self, role: str) -> None:
        """Raise ProtocolViolation unless the client has announced the mode for the role."""
        if not self._abilities & PASSTHRU[role]:
            raise ProtocolViolation(
                f"ppt_scheme: the {role} has not announced payload_passthru_mode in HELLO"
            )

    def check_caller(self, request: int) -> None:
        """Raise FeatureNotSupported if an invocation's caller takes no passthru payload."""
        if request not in self._takes_passthru:
            raise FeatureNotSupported("the caller has not announced payload_passthru_mode")

    def reduction(self, request: int, reduce: Reduce) -> None:
        """Send [INVOCATION, Request|id, REGISTERED.Registration|id, Details|dict, …] of an event.

        Its details have the event's topic and publication id, and what is retained at the key.
        """
        event, retained = reduce.event, None
        topic = event.publish.topic
        try:
            if reduce.retained is not None:
                value = as_value(*reduce.retained, self.serializer.encoding)
                retained = self.serializer.embedded(value)
            details = {
                "procedure": topic,
                "topic": topic,
                "publication": event.publication,
                "retained": retained,
            }
            head = (wamp.INVOCATION, request, reduce.registration, details)
            self._carry(head, event.publish)
        except Refusal as refusal:
            self.fail(request, refusal)

    def interrupt(self, request: int, interrupt: Interrupt) -> bool:
        """Send [INTERRUPT, INVOCATION.Request|id, Options|dict] (WAMP #rpc-call-canceling).

        A callee that has not announced canceling is not interrupted, as in mode `skip`. In mode
        `kill` the shard waits for the callee's answer, so the invocation is failed here instead.
        """
        if self._abilities & CANCELING:
            options = {"mode": interrupt.mode, "reason": interrupt.reason}
            return self.send((wamp.INTERRUPT, request, options))
        if interrupt.mode == "kill":
            self.router.invocation_error(self, request, interrupt.reason, 0, b"", b"")
        return False

    def result(self, result: Result) -> None:
        """Send [RESULT, CALL.Request|id, Details|dict, …]."""
        if self.parts is not None and not result.progress:
            self.parts.ended(result.request)
        details: dict[str, Any] = {"progress": True} if result.progress else {}
        if result.attributes is not None:
            details.update(self.serializer.attributes(result.attributes))
        try:
            self._carry((wamp.RESULT, result.request, details), result)
        except Refusal as refusal:
            # The call must be answered, unless this result is progressive and the answer follows.
            if not result.progress:
                self.refuse(wamp.CALL, result.request, refusal)

    def call_error(self, error: CallError) -> None:
        """Send [ERROR, CALL, CALL.Request|id, Details|dict, Error|uri, …]."""
        if self.parts is not None:
            self.parts.ended(error.request)
        details: dict[str, Any] = {}
        if error.attributes is not None:
            details.update(self.serializer.attributes(error.attributes))
        head = (wamp.ERROR, wamp.CALL, error.request, details, error.uri)
        try:
            self._carry(head, error)
        except Refusal:
            self.send(head)

    def fail(self, request: int, refusal: Refusal) -> None:
        """Answer an invocation with an error for its caller, in the callee's place."""
        error = call_error(0, 0, refusal)
        self.router.invocation_error(
            self, request, error.uri, error.encoding, error.args, error.kwargs
        )

    def _carry(
        self, head: tuple[Any, ...], frame: CallFrame | Publish | Result | CallError
    ) -> None:
        """Send a message with a frame's arguments, in this session's encoding.

        Raises InvalidPayload, PayloadSizeExceeded.
        """
        args, kwargs = frame.args, frame.kwargs
        encoding = self.serializer.encoding
        if frame.encoding != encoding:
            args, kwargs = transcode(frame.encoding, args, kwargs, encoding)
        if not self.send(head, args, kwargs):
            raise PayloadSizeExceeded(f"the message has more than {self._limit} bytes")
