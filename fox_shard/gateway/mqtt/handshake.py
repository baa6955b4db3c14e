"""The first packet of a connection: which client is admitted, and to which realm.

Owns: the rules for client identifiers and realms. Never: the session that follows.
"""

from typing import Final

from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.mqtt.codec import ConnectRefused, decode
from fox_shard.gateway.mqtt.framing import split
from fox_shard.gateway.mqtt.packets import (
    CONNECT,
    IDENTIFIER_REJECTED,
    LEVEL_31,
    NOT_AUTHORIZED,
    Connect,
)
from fox_shard.gateway.sessions.realm import Realm

CONNECT_LIMIT: Final = 0x60000
"""Bytes of a CONNECT: five strings of 64 KiB fit. A client gets no more memory before that."""


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


def admit(realms: dict[str, Realm], default: str, packet: Connect) -> Realm:
    """Return the realm that the client joins: that of a user name `user@realm`, or the default.

    Raises ConnectRefused if there is no such realm (MQTT 3.2.2.3: not authorized to connect), or if
    the client identifier is empty in MQTT 3.1 (section 3.1), or in 3.1.1 without a clean session
    [MQTT-3.1.3-8]. Client identifiers may be longer than MQTT 3.1's 23 characters.
    """
    if not packet.client_id and (packet.level == LEVEL_31 or not packet.clean_session):
        raise ConnectRefused(IDENTIFIER_REJECTED)
    name = default
    if packet.user_name is not None and "@" in packet.user_name:
        name = packet.user_name.rpartition("@")[2]
    realm = realms.get(name)
    if realm is None:
        raise ConnectRefused(NOT_AUTHORIZED)
    return realm
