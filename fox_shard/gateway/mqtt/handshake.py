"""The first packet of a connection: which client is admitted, and to which realm.

Owns: the rules for client identifiers, realms and user names. Never: whether a password is right
(see `auth`), the session that follows.
"""

from typing import Final

from fox_shard.errors import ProtocolViolation, Refusal
from fox_shard.gateway.auth.certificates import TLS
from fox_shard.gateway.auth.claims import ANONYMOUS, Claim
from fox_shard.gateway.auth.refusals import AuthenticationFailed, NoMatchingAuthMethod
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.mqtt.codec import ConnectRefused, decode
from fox_shard.gateway.mqtt.framing import split
from fox_shard.gateway.mqtt.packets import (
    BAD_USER_NAME_OR_PASSWORD,
    CONNECT,
    IDENTIFIER_REJECTED,
    LEVEL_31,
    NOT_AUTHORIZED,
    SERVER_UNAVAILABLE,
    Connect,
)
from fox_shard.gateway.sessions.realm import Realm

CONNECT_LIMIT: Final = 0x60000
"""Bytes of a CONNECT: five strings of 64 KiB fit. A client gets no more memory before that."""

PASSWORD: Final = "ticket"
"""The authmethod of MQTT clients with a password: WAMP's name for the same proof."""


def read_connect(data: bytes, limit: int) -> tuple[Connect | None, int]:
    """Return the CONNECT at the beginning of the data, and its end; (None, 0) if it is incomplete.

    limit: the largest remaining length allowed. Raises ProtocolViolation [MQTT-3.1.0-1],
    ConnectRefused [MQTT-3.1.2-2].
    """
    if data[0] != CONNECT << 4:
        raise ProtocolViolation("the first packet must be a CONNECT [MQTT-3.1.0-1]")
    body, end = split(data, 0, limit)
    if not body or end > len(data):
        return None, 0
    packet = decode(data[0], data[body:end], 0)
    assert isinstance(packet, Connect)
    return packet, end


def admit(
    realms: dict[str, Realm], default: str, packet: Connect, *, with_users: bool
) -> tuple[Realm, str | None]:
    """Return the realm that the client joins, and its user name without the realm; None: no name.

    What follows the last @ of a user name is the realm if there is one of that name. If there is
    none, the whole is the name of a user in the default realm, such as a mail address; or, if there
    are no users, the client is refused, as the realm must be a mistake.

    Raises ConnectRefused in that case (MQTT 3.2.2.3: not authorized to connect), and if the client
    identifier is empty in MQTT 3.1 (section 3.1), or in 3.1.1 without a clean session
    [MQTT-3.1.3-8]. Client identifiers may be longer than MQTT 3.1's 23 characters.
    """
    if not packet.client_id and (packet.level == LEVEL_31 or not packet.clean_session):
        raise ConnectRefused(IDENTIFIER_REJECTED)
    name = packet.user_name
    if name is None or "@" not in name:
        return realms[default], name
    user, _, last = name.rpartition("@")
    if last in realms:
        return realms[last], user
    if not with_users:
        raise ConnectRefused(NOT_AUTHORIZED)
    return realms[default], name


def realm_of(packet: Connect) -> str | None:
    """Return the name of the realm that the client names, if it names one."""
    name = packet.user_name
    return name.rpartition("@")[2] if name is not None and "@" in name else None


def claim_of(
    realm: Realm,
    name: str | None,
    packet: Connect,
    connection: Connection,
    transport: str,
    *,
    with_users: bool,
) -> Claim:
    """Return who the client says it is: a user with a password, if it names one, and any exist.

    A client without a password, but with a certificate, is the user of the certificate.
    """
    methods: tuple[str, ...] = (ANONYMOUS,)
    bearer, connection.bearer = connection.bearer, ""
    access = connection.access
    certified = access is not None and access.user is not None
    if with_users and certified and packet.password is None:
        methods = (TLS, ANONYMOUS) if name is None else (TLS,)
    elif with_users and name is not None:
        methods = (PASSWORD,)
    return Claim(
        realm=realm.name,
        methods=methods,
        # "@realm" names a realm, and nobody.
        name=name or None if methods[0] == TLS else name,
        address=connection.host,
        # A password says more.
        bearer="" if packet.password else bearer,
        peer=connection.peer,
        transport=transport,
        access=access,
    )


def password_of(packet: Connect) -> str:
    """Return the password; "", which is nobody's, if there is none, or it is no UTF-8."""
    try:
        return (packet.password or b"").decode()
    except UnicodeDecodeError:
        return ""


def return_code(refusal: Refusal) -> int:
    """Return the code of CONNACK for a refused client (MQTT 3.2.2.3)."""
    match refusal:
        case AuthenticationFailed():
            return BAD_USER_NAME_OR_PASSWORD
        case NoMatchingAuthMethod():
            return NOT_AUTHORIZED
        case _:
            return SERVER_UNAVAILABLE
