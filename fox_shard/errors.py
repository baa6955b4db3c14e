"""Refusals: what a client is told when its request cannot be carried out.

Owns: error URIs (WAMP) beside reason codes (MQTT 5), so that a gateway translates without a switch.
Never: imports from the rest of the project.
"""


class Refusal(Exception):
    """A request that is answered with an error; the session goes on.

    The message is a sentence for a person: what was wrong and what would be right.
    """

    uri = "wamp.error.runtime_error"
    reason = 0x80

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else self.uri


class InvalidUri(Refusal):
    uri = "wamp.error.invalid_uri"
    reason = 0x90


class InvalidArgument(Refusal):
    uri = "wamp.error.invalid_argument"
    reason = 0x83


class NotAuthorized(Refusal):
    uri = "wamp.error.not_authorized"
    reason = 0x87


class NoSuchRealm(Refusal):
    uri = "wamp.error.no_such_realm"
    reason = 0x86


class NoSuchProcedure(Refusal):
    uri = "wamp.error.no_such_procedure"
    reason = 0x90


class NoSuchSubscription(Refusal):
    uri = "wamp.error.no_such_subscription"
    reason = 0x11


class NoSuchRegistration(Refusal):
    uri = "wamp.error.no_such_registration"


class NoSuchSession(Refusal):
    uri = "wamp.error.no_such_session"


class ProcedureAlreadyExists(Refusal):
    uri = "wamp.error.procedure_already_exists"


class ProcedureExistsWithDifferentPolicy(Refusal):
    uri = "wamp.error.procedure_exists_with_different_invocation_policy"


class Canceled(Refusal):
    uri = "wamp.error.canceled"


class Timeout(Refusal):
    uri = "wamp.error.timeout"


class Unavailable(Refusal):
    uri = "wamp.error.unavailable"
    reason = 0x88


class UnavailableStore(Refusal):
    uri = "fox.error.unavailable_store"
    reason = 0x97


class ConditionFailed(Refusal):
    """publication: the id of the key's present value, 0: there is no key."""

    uri = "fox.error.condition_failed"
    reason = 0x83

    def __init__(self, message: str, publication: int) -> None:
        super().__init__(message)
        self.publication = publication


class HistoryGap(Refusal):
    """oldest: the lowest publication id from which on the history is complete."""

    uri = "fox.error.history_gap"
    reason = 0x80

    def __init__(self, message: str, oldest: int) -> None:
        super().__init__(message)
        self.oldest = oldest


class OptionNotAllowed(Refusal):
    uri = "wamp.error.option_not_allowed"


class InvalidPayload(Refusal):
    uri = "fox.error.invalid_payload"
    reason = 0x99


class QueueFull(Refusal):
    uri = "fox.error.queue_full"
    reason = 0x97


class SlowConsumer(Refusal):
    uri = "fox.error.slow_consumer"
    reason = 0x97


class ProtocolViolation(Exception):
    """A peer broke its protocol: its connection ends, nobody else's.

    reason: MQTT 5 DISCONNECT code; WAMP answers ABORT `wamp.error.protocol_violation`.
    """

    uri = "wamp.error.protocol_violation"

    def __init__(self, message: str, reason: int = 0x82) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
