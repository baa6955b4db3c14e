"""Refusals: the errors with which the server answers requests that it cannot carry out.

Owns: error URIs (WAMP) beside reason codes (MQTT 5), so that a gateway translates without a switch.
Never: imports from the rest of the project.
"""

from typing import Self


class StartError(Exception):
    """Why a server, or one of its processes, does not start; the message is one sentence."""


class Refusal(Exception):
    """A request that is answered with an error; the session goes on.

    The message is a sentence for a person: what was wrong and what would be right.
    """

    uri = "wamp.error.runtime_error"
    reason = 0x80
    limit = ""
    """The limit that the request exceeds, as it is counted; "": none."""

    def beyond(self, limit: str) -> Self:
        """Return this refusal, which says that the request exceeds that limit."""
        self.limit = limit
        return self

    @property
    def message(self) -> str:
        """The sentence for the client; the URI if the refusal was raised without one."""
        return str(self.args[0]) if self.args else self.uri


class InvalidUri(Refusal):
    """A topic, procedure, pattern or reason is not a legal URI, or is reserved."""

    uri = "wamp.error.invalid_uri"
    reason = 0x90


class InvalidArgument(Refusal):
    """An option or argument has the wrong type or value, or is missing."""

    uri = "wamp.error.invalid_argument"
    reason = 0x83


class NotAuthorized(Refusal):
    """The session may not do what it has asked for."""

    uri = "wamp.error.not_authorized"
    reason = 0x87


class AuthorizationFailed(Refusal):
    """Nobody could say whether the session may do what it has asked for."""

    uri = "wamp.error.authorization_failed"
    reason = 0x87


class NoSuchRealm(Refusal):
    """The client has named a realm that is not configured."""

    uri = "wamp.error.no_such_realm"
    reason = 0x86


class NoSuchProcedure(Refusal):
    """No callee has registered the procedure."""

    uri = "wamp.error.no_such_procedure"
    reason = 0x90


class FeatureNotSupported(Refusal):
    """The peer at the other end has not announced the feature that a message uses."""

    uri = "wamp.error.feature_not_supported"
    reason = 0x83


class NoSuchSubscription(Refusal):
    """The session has no subscription with this id."""

    uri = "wamp.error.no_such_subscription"
    reason = 0x11


class NoSuchRegistration(Refusal):
    """The session has no registration with this id."""

    uri = "wamp.error.no_such_registration"


class NoSuchSession(Refusal):
    """The caller's realm has no session with this id."""

    uri = "wamp.error.no_such_session"


class ProcedureAlreadyExists(Refusal):
    """Another session has registered the procedure and does not share it."""

    uri = "wamp.error.procedure_already_exists"


class ProcedureExistsWithDifferentPolicy(Refusal):
    """The procedure is registered with another invocation policy."""

    uri = "wamp.error.procedure_exists_with_different_invocation_policy"


class NoAvailableCallee(Refusal):
    """All callees that were asked said that they are not available."""

    uri = "wamp.error.no_available_callee"
    reason = 0x97


class Canceled(Refusal):
    """The caller canceled the call, or the callee left before answering."""

    uri = "wamp.error.canceled"


class Timeout(Refusal):
    """The call took longer than its `timeout`."""

    uri = "wamp.error.timeout"


class Unavailable(Refusal):
    """The process that the request needs is down."""

    uri = "wamp.error.unavailable"
    reason = 0x88


class UnavailableStore(Refusal):
    """The shard's store fails, so the publish cannot be stored."""

    uri = "fox.error.unavailable_store"
    reason = 0x97


class ConditionFailed(Refusal):
    """The condition of a publish does not hold.

    publication: the id of the key's current value; 0: there is no key, or none to be shown.
    """

    uri = "fox.error.condition_failed"
    reason = 0x83

    def __init__(self, message: str, publication: int) -> None:
        super().__init__(message)
        self.publication = publication


class HistoryGap(Refusal):
    """Events after a reader's cursor are no longer kept.

    oldest: the lowest publication id from which on the history is complete.
    """

    uri = "fox.error.history_gap"
    reason = 0x80

    def __init__(self, message: str, oldest: int) -> None:
        super().__init__(message)
        self.oldest = oldest


class OptionNotAllowed(Refusal):
    """The session may not use this option."""

    uri = "wamp.error.option_not_allowed"


class InvalidPayload(Refusal):
    """The payload cannot be read, cannot be converted, or is not a valid patch."""

    uri = "fox.error.invalid_payload"
    reason = 0x99


class PayloadSizeExceeded(Refusal):
    """A message is longer than its receiver accepts."""

    uri = "wamp.error.payload_size_exceeded"
    reason = 0x95


class QueueFull(Refusal):
    """Too many calls wait for a procedure (`rpc.queue_limit`, `rpc.queue_bytes`) or a reducer."""

    uri = "fox.error.queue_full"
    reason = 0x97


class AskAgain(Refusal):
    """A reducer is to be asked again about the same event; reducers answer so, the server never."""

    uri = "fox.error.retry"


class NotDelivered(Refusal):
    """A webhook has given an event up; the server's worker answers so, the server never."""

    uri = "fox.error.not_delivered"


class LimitExceeded(Refusal):
    """The request goes beyond a limit of what one session, or one key, may have."""

    uri = "fox.error.limit_exceeded"
    reason = 0x97


class SlowConsumer(Refusal):
    """More bytes than `gateway.outbound_limit` wait for the client, and it takes too few."""

    uri = "fox.error.slow_consumer"
    reason = 0x97


class ProtocolViolation(Exception):
    """A client broke its protocol: its own connection ends, and no other.

    reason: MQTT 5 DISCONNECT code. WAMP answers ABORT `wamp.error.protocol_violation`.
    """

    uri = "wamp.error.protocol_violation"

    def __init__(self, message: str, reason: int = 0x82, limit: str = "") -> None:
        """limit: that the client has exceeded, as it is counted; "": none."""
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.limit = limit
