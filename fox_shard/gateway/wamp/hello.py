"""HELLO and WELCOME: which realm a client joins, and what it is told.

Owns: the checks of HELLO, the details of WELCOME. Never: the session's states.
"""

from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from fox_shard import __version__
from fox_shard.errors import NoSuchRealm, ProtocolViolation, Refusal
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.wamp.messages import CLIENT_ROLES, ROUTER_ROLES, Hello
from fox_shard.gateway.wamp.serializer import Serializer
from fox_shard.topics.topic import check_topic

AUTHMETHOD: Final = "anonymous"
AUTHPROVIDER: Final = "static"
AUTHROLE: Final = "anonymous"
AUTHID: Final = "anonymous"
"""The authid of every session, whatever HELLO asks for: all clients are anonymous."""

PROGRESS: Final = 1
CANCELING: Final = 2
"""Bits for the features of a callee."""

PASSTHRU: Final = {"publisher": 4, "caller": 8, "callee": 16}
"""Role → bit: the client has announced payload passthru mode for the role."""


class NoMatchingAuthMethod(Refusal):
    """The client accepts none of the router's authentication methods."""

    uri = "wamp.error.no_matching_auth_method"
    reason = 0x8C


class Role(Struct, gc=False):
    """HELLO.Details.roles.<role>: the features that the client announces for a role."""

    features: dict[str, Any] | UnsetType = UNSET


class Details(Struct, gc=False):
    """HELLO.Details, as far as the router uses them."""

    roles: dict[str, Role]
    authmethods: list[str] | None = None
    authid: str | None = None


def read_details(serializer: Serializer, message: Hello) -> Details:
    """Decode HELLO.Details. Raises ProtocolViolation, also if they name no role of a client."""
    details: Details = serializer.dictionary(bytes(message.details), Details, "HELLO.Details")
    if not CLIENT_ROLES & details.roles.keys():
        raise ProtocolViolation(
            "HELLO.Details.roles: a client has at least one role of publisher, subscriber, caller, "
            "callee"
        )
    return details


def admit(realms: dict[str, Realm], message: Hello, details: Details) -> Realm:
    """Return the realm that the client joins.

    Raises NoSuchRealm, InvalidUri or NoMatchingAuthMethod.
    """
    name = message.realm
    if name is None:
        raise NoSuchRealm("HELLO names no realm, and an anonymous client is assigned none")
    realm = realms.get(name)
    if realm is None:
        check_topic(name, reserved_ok=True)
        raise NoSuchRealm(f"there is no realm {name!r}")
    if details.authmethods and AUTHMETHOD not in details.authmethods:
        raise NoMatchingAuthMethod(f"the only authmethod here is {AUTHMETHOD!r}")
    return realm


def callee_features(details: Details) -> int:
    """Return the bits PROGRESS and CANCELING, as the callee announced them.

    The specification wants callees with progressive results to announce canceling, too
    (WAMP #rpc-progressive-call-results). autobahn-js announces progressive results alone, and has
    them; so neither feature depends on the other here.
    """
    callee = details.roles.get("callee")
    features = callee.features if callee is not None and callee.features is not UNSET else {}
    canceling = CANCELING if features.get("call_canceling") is True else 0
    progress = PROGRESS if features.get("progressive_call_results") is True else 0
    return canceling | progress


def passthru_roles(details: Details) -> int:
    """Return the bits of PASSTHRU for the roles that announced payload passthru mode."""
    bits = 0
    for name, bit in PASSTHRU.items():
        role = details.roles.get(name)
        if role is not None and role.features is not UNSET:
            bits |= bit if role.features.get("payload_passthru_mode") is True else 0
    return bits


def welcome(realm: str, authid: str, authrole: str) -> dict[str, Any]:
    """Return WELCOME.Details."""
    return {
        "realm": realm,
        "authid": authid,
        "authrole": authrole,
        "authmethod": AUTHMETHOD,
        "authprovider": AUTHPROVIDER,
        "agent": f"fox-shard/{__version__}",
        "roles": ROUTER_ROLES,
    }
