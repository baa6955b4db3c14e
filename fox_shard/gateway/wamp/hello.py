"""HELLO and WELCOME: which realm a client joins, and what it is told.

Owns: the checks of HELLO, the details of WELCOME. Never: the session's states.
"""

from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from fox_shard.errors import NoSuchRealm, ProtocolViolation
from fox_shard.gateway.auth.claims import Authenticated, Claim
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.wamp.messages import CLIENT_ROLES, ROUTER_ROLES, Hello
from fox_shard.gateway.wamp.serializer import Serializer
from fox_shard.topics.topic import check_topic
from fox_shard.version import __version__

PROGRESS: Final = 1
CANCELING: Final = 2
PARTS: Final = 32
REROUTING: Final = 64
TIMEOUT: Final = 128
REVOCATION: Final = 512
"""Bits for the features of a callee."""

SENDS_PARTS: Final = 256
"""Bit: the client has announced progressive call invocations as a caller."""

PASSTHRU: Final = {"publisher": 4, "caller": 8, "callee": 16}
"""Role → bit: the client has announced payload passthru mode for the role."""


class Role(Struct, gc=False):
    """HELLO.Details.roles.<role>: the features that the client announces for a role."""

    features: dict[str, Any] | UnsetType = UNSET


class Roles(Struct, gc=False):
    """HELLO.Details.roles. Other roles than these are ignored (WAMP #extensibility)."""

    publisher: Role | UnsetType = UNSET
    subscriber: Role | UnsetType = UNSET
    caller: Role | UnsetType = UNSET
    callee: Role | UnsetType = UNSET


class Details(Struct, gc=False):
    """HELLO.Details, as far as the router uses them."""

    roles: Roles
    authmethods: list[str] | None = None
    authid: str | None = None
    authextra: dict[str, Any] | None = None


def read_details(serializer: Serializer, message: Hello) -> Details:
    """Decode HELLO.Details. Raises ProtocolViolation, also if they name no role of a client."""
    details: Details = serializer.dictionary(bytes(message.details), Details, "HELLO.Details")
    if all(getattr(details.roles, role) is UNSET for role in CLIENT_ROLES):
        raise ProtocolViolation(
            "HELLO.Details.roles: a client has at least one role of publisher, subscriber, caller, "
            "callee"
        )
    return details


def find_realm(realms: dict[str, Realm], name: str | None) -> Realm:
    """Return the realm that the client joins. name: None if it names none, and is assigned none.

    Raises NoSuchRealm or InvalidUri.
    """
    if name is None:
        raise NoSuchRealm("HELLO names no realm, and there are several to choose from")
    realm = realms.get(name)
    if realm is None:
        check_topic(name, reserved_ok=True)
        raise NoSuchRealm(f"there is no realm {name!r}")
    return realm


def claim_of(
    realm: Realm, details: Details, connection: Connection, transport: str, wall: float
) -> Claim:
    """Return who the client says it is. transport: its name. wall: seconds since 1970."""
    bearer, connection.bearer = connection.bearer, ""
    return Claim(
        realm=realm.name,
        methods=details.authmethods or (),
        name=details.authid,
        address=connection.host,
        peer=connection.peer,
        transport=transport,
        access=connection.access,
        extra=details.authextra or {},
        bearer=bearer,
        wall=wall,
    )


def _features(details: Details, role: str) -> dict[str, Any]:
    """Return the features that the client announces for a role, with their values."""
    announced: Role | UnsetType = getattr(details.roles, role)
    if announced is UNSET or announced.features is UNSET:
        return {}
    return announced.features


def callee_features(details: Details) -> int:
    """Return the bits of what the client has announced as a callee.

    The specification wants callees with progressive results to announce canceling, too
    (WAMP #rpc-progressive-call-results). autobahn-js announces progressive results alone, and has
    them; so neither feature depends on the other here. Canceling has two spellings in the
    specification.
    """
    features = _features(details, "callee")
    spellings = ("call_canceling", "call_cancelling")
    bits = CANCELING if any(features.get(name) is True for name in spellings) else 0
    if bits and features.get("progressive_call_invocations") is True:
        # Without canceling it counts as not announced (WAMP #rpc-progressive-call-invocations).
        bits |= PARTS
    for name, bit in (
        ("progressive_call_results", PROGRESS),
        ("call_reroute", REROUTING),
        ("call_timeout", TIMEOUT),
        ("registration_revocation", REVOCATION),
    ):
        bits |= bit if features.get(name) is True else 0
    return bits


def caller_features(details: Details) -> int:
    """Return the bit of what the client has announced as a caller."""
    announced = _features(details, "caller").get("progressive_call_invocations") is True
    return SENDS_PARTS if announced else 0


def passthru_roles(details: Details) -> int:
    """Return the bits of PASSTHRU for the roles that announced payload passthru mode."""
    bits = 0
    for name, bit in PASSTHRU.items():
        bits |= bit if _features(details, name).get("payload_passthru_mode") is True else 0
    return bits


def welcome(realm: str, who: Authenticated) -> dict[str, Any]:
    """Return WELCOME.Details."""
    details = {
        "realm": realm,
        "authid": who.authid,
        "authrole": who.authrole,
        "authmethod": who.method,
        "authprovider": who.provider,
        "agent": f"fox-shard/{__version__}",
        "roles": ROUTER_ROLES,
    }
    return {**details, "authextra": who.extra} if who.extra else details
