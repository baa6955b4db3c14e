"""WAMP's messages: type codes, the shapes of client messages, and the features we announce.

Owns: the vocabulary (WAMP #messages). Never: bytes, sessions.

Options, details and arguments stay `Raw`, as the client encoded them. A message with too few or too
many elements, or with an element of a wrong type, does not decode (WAMP #no-polymorphism).
"""

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Raw, Struct

HELLO: Final = 1
WELCOME: Final = 2
ABORT: Final = 3
CHALLENGE: Final = 4
AUTHENTICATE: Final = 5
GOODBYE: Final = 6
ERROR: Final = 8
PUBLISH: Final = 16
PUBLISHED: Final = 17
SUBSCRIBE: Final = 32
SUBSCRIBED: Final = 33
UNSUBSCRIBE: Final = 34
UNSUBSCRIBED: Final = 35
EVENT: Final = 36
CALL: Final = 48
CANCEL: Final = 49
RESULT: Final = 50
REGISTER: Final = 64
REGISTERED: Final = 65
UNREGISTER: Final = 66
UNREGISTERED: Final = 67
INVOCATION: Final = 68
INTERRUPT: Final = 69
YIELD: Final = 70

NAMES: Final = {
    number: name
    for name, number in list(globals().items())
    if name.isupper() and isinstance(number, int)
}
"""Type code → name of every message type, including those that only routers send."""

Id = Annotated[int, Meta(ge=1, le=1 << 53)]
"""An integer from 1 to 2^53 (WAMP #ids)."""

ABSENT: Final = Raw(b"")
"""Absent arguments."""


class Hello(Struct, array_like=True, tag=HELLO, forbid_unknown_fields=True, gc=False):
    """[HELLO, Realm|uri, Details|dict]. realm: None if the client leaves the choice to us."""

    realm: str | None
    details: Raw


class Abort(Struct, array_like=True, tag=ABORT, forbid_unknown_fields=True, gc=False):
    """[ABORT, Details|dict, Reason|uri, Arguments|list, ArgumentsKw|dict]"""

    details: Raw
    reason: str
    args: Raw = ABSENT
    kwargs: Raw = ABSENT


class Authenticate(Struct, array_like=True, tag=AUTHENTICATE, forbid_unknown_fields=True, gc=False):
    """[AUTHENTICATE, Signature|string, Extra|dict]"""

    signature: str
    extra: Raw


class Goodbye(Struct, array_like=True, tag=GOODBYE, forbid_unknown_fields=True, gc=False):
    """[GOODBYE, Details|dict, Reason|uri]"""

    details: Raw
    reason: str


class Error(Struct, array_like=True, tag=ERROR, forbid_unknown_fields=True, gc=False):
    """[ERROR, REQUEST.Type|int, REQUEST.Request|id, Details|dict, Error|uri, Arguments|list, …]"""

    request_type: int
    request: Id
    details: Raw
    error: str
    args: Raw = ABSENT
    kwargs: Raw = ABSENT


class Publish(Struct, array_like=True, tag=PUBLISH, forbid_unknown_fields=True, gc=False):
    """[PUBLISH, Request|id, Options|dict, Topic|uri, Arguments|list, ArgumentsKw|dict]"""

    request: Id
    options: Raw
    topic: str
    args: Raw = ABSENT
    kwargs: Raw = ABSENT


class Subscribe(Struct, array_like=True, tag=SUBSCRIBE, forbid_unknown_fields=True, gc=False):
    """[SUBSCRIBE, Request|id, Options|dict, Topic|uri]"""

    request: Id
    options: Raw
    topic: str


class Unsubscribe(Struct, array_like=True, tag=UNSUBSCRIBE, forbid_unknown_fields=True, gc=False):
    """[UNSUBSCRIBE, Request|id, SUBSCRIBED.Subscription|id]"""

    request: Id
    subscription: Id


class Call(Struct, array_like=True, tag=CALL, forbid_unknown_fields=True, gc=False):
    """[CALL, Request|id, Options|dict, Procedure|uri, Arguments|list, ArgumentsKw|dict]"""

    request: Id
    options: Raw
    procedure: str
    args: Raw = ABSENT
    kwargs: Raw = ABSENT


class Cancel(Struct, array_like=True, tag=CANCEL, forbid_unknown_fields=True, gc=False):
    """[CANCEL, CALL.Request|id, Options|dict]"""

    request: Id
    options: Raw


class Register(Struct, array_like=True, tag=REGISTER, forbid_unknown_fields=True, gc=False):
    """[REGISTER, Request|id, Options|dict, Procedure|uri]"""

    request: Id
    options: Raw
    procedure: str


class Unregister(Struct, array_like=True, tag=UNREGISTER, forbid_unknown_fields=True, gc=False):
    """[UNREGISTER, Request|id, REGISTERED.Registration|id]"""

    request: Id
    registration: Id


class Yield(Struct, array_like=True, tag=YIELD, forbid_unknown_fields=True, gc=False):
    """[YIELD, INVOCATION.Request|id, Options|dict, Arguments|list, ArgumentsKw|dict]"""

    request: Id
    options: Raw
    args: Raw = ABSENT
    kwargs: Raw = ABSENT


Message: TypeAlias = (
    Hello
    | Abort
    | Authenticate
    | Goodbye
    | Error
    | Publish
    | Subscribe
    | Unsubscribe
    | Call
    | Cancel
    | Register
    | Unregister
    | Yield
)

MessageWithArguments: TypeAlias = Publish | Call | Yield | Error | Abort
"""The messages that have arguments."""

TYPES: Final[dict[int, type[Struct]]] = {
    HELLO: Hello,
    ABORT: Abort,
    AUTHENTICATE: Authenticate,
    GOODBYE: Goodbye,
    ERROR: Error,
    PUBLISH: Publish,
    SUBSCRIBE: Subscribe,
    UNSUBSCRIBE: Unsubscribe,
    CALL: Call,
    CANCEL: Cancel,
    REGISTER: Register,
    UNREGISTER: Unregister,
    YIELD: Yield,
}

CLIENT_ROLES: Final = frozenset(("publisher", "subscriber", "caller", "callee"))
"""The roles of clients (WAMP #client-role-and-feature-announcement)."""

ROUTER_ROLES: Final = {
    "broker": {
        "features": {
            "event_history": True,
            "event_retention": True,
            "payload_passthru_mode": True,
            "pattern_based_subscription": True,
            "publication_trustlevels": True,
            "publisher_exclusion": True,
            "publisher_identification": True,
            "session_meta_api": True,
            "subscriber_blackwhite_listing": True,
            "subscription_meta_api": True,
            "subscription_revocation": True,
        }
    },
    "dealer": {
        "features": {
            "call_canceling": True,
            "call_reroute": True,
            "call_timeout": True,
            "call_trustlevels": True,
            "caller_identification": True,
            "pattern_based_registration": True,
            "payload_passthru_mode": True,
            "progressive_call_invocations": True,
            "progressive_call_results": True,
            "registration_meta_api": True,
            "registration_revocation": True,
            "session_meta_api": True,
            "shared_registration": True,
            "testament_meta_api": True,
        }
    },
}
"""WELCOME.Details.roles: the features that the router supports."""
