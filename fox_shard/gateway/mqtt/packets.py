"""MQTT control packets: their types, flags, return codes and contents.

Owns: the vocabulary of MQTT 3.1 and 3.1.1 (OASIS mqtt-v3.1.1, sections 2 and 3), as frozen structs.
Never: bytes (see `codec`); what a packet does to a session (see `session`).

The hot packets (PUBLISH, PUBACK …) have structs too, but the gateway reads and writes them without
making any.
"""

from typing import Final, TypeAlias

from msgspec import Struct

# Control packet types, the upper half of the first byte (MQTT 2.2.1).
CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

FROM_CLIENT: Final = frozenset(
    {
        PUBLISH,
        PUBACK,
        PUBREC,
        PUBREL,
        PUBCOMP,
        SUBSCRIBE,
        UNSUBSCRIBE,
        PINGREQ,
        DISCONNECT,
    }
)
"""The packet types that a client may send after its CONNECT."""

# Flags, the lower half of the first byte (MQTT 2.2.2, 3.3.1).
RETAIN_FLAG: Final = 0x01
DUP_FLAG: Final = 0x08
RESERVED_FLAGS: Final = 0x02
"""The flags that PUBREL, SUBSCRIBE and UNSUBSCRIBE must have [MQTT-2.2.2-1]."""

# Protocol levels, and the names that go with them (MQTT 3.1.2.1, MQTT 3.1 section 3.1).
LEVEL_31: Final = 3
LEVEL_311: Final = 4
PROTOCOL_NAMES: Final = {LEVEL_31: "MQIsdp", LEVEL_311: "MQTT"}
PROTOCOLS: Final = {LEVEL_31: "mqtt.3.1", LEVEL_311: "mqtt.3.1.1"}
"""Protocol level → the protocol's name in the session registry."""

# Connect return codes (MQTT 3.2.2.3).
ACCEPTED: Final = 0x00
UNACCEPTABLE_PROTOCOL_VERSION: Final = 0x01
IDENTIFIER_REJECTED: Final = 0x02
SERVER_UNAVAILABLE: Final = 0x03
BAD_USER_NAME_OR_PASSWORD: Final = 0x04
NOT_AUTHORIZED: Final = 0x05

FAILURE: Final = 0x80
"""SUBACK return code of a refused subscription (MQTT 3.9.3)."""

# First byte and remaining length of packets that hold only a packet identifier.
PUBACK_HEAD: Final = b"\x40\x02"
PUBREC_HEAD: Final = b"\x50\x02"
PUBREL_HEAD: Final = b"\x62\x02"
PUBCOMP_HEAD: Final = b"\x70\x02"

NO_PACKET_ID: Final = b"\0\0"
"""The only two bytes that are not a packet identifier [MQTT-2.3.1-1]."""

MAX_REMAINING_LENGTH: Final = 268_435_455
"""The highest number that four bytes of remaining length can express (MQTT 2.2.3)."""


class Will(Struct, frozen=True, gc=False):
    """The message that is published if the client goes without DISCONNECT (MQTT 3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Connect(Struct, frozen=True, kw_only=True):
    """The client's first packet. keep_alive: seconds, 0: none."""

    level: int = LEVEL_311
    clean_session: bool = True
    keep_alive: int = 0
    client_id: str = ""
    will: Will | None = None
    user_name: str | None = None
    password: bytes | None = None


class Connack(Struct, frozen=True, gc=False):
    """The server's answer to CONNECT."""

    code: int
    session_present: bool = False


class Publish(Struct, frozen=True, gc=False):
    """An application message. packet_id: 0 if qos is 0."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    retain: bool = False
    dup: bool = False


class Puback(Struct, frozen=True, gc=False):
    """The answer to a PUBLISH at QoS 1."""

    packet_id: int


class Pubrec(Struct, frozen=True, gc=False):
    """The answer to a PUBLISH at QoS 2."""

    packet_id: int


class Pubrel(Struct, frozen=True, gc=False):
    """The answer to a PUBREC: the sender will not send that PUBLISH again."""

    packet_id: int


class Pubcomp(Struct, frozen=True, gc=False):
    """The answer to a PUBREL."""

    packet_id: int


class Subscribe(Struct, frozen=True):
    """Topic filters, each with the highest QoS that the client wants."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Suback(Struct, frozen=True):
    """The answer to a SUBSCRIBE: for each filter, in order, the granted QoS or FAILURE."""

    packet_id: int
    codes: tuple[int, ...]


class Unsubscribe(Struct, frozen=True):
    """Topic filters that the client no longer wants."""

    packet_id: int
    filters: tuple[str, ...]


class Unsuback(Struct, frozen=True, gc=False):
    """The answer to an UNSUBSCRIBE."""

    packet_id: int


class Pingreq(Struct, frozen=True, gc=False):
    """The client says that it is alive."""


class Pingresp(Struct, frozen=True, gc=False):
    """The server's answer to PINGREQ."""


class Disconnect(Struct, frozen=True, gc=False):
    """The client says goodbye, so its will is dropped."""


Acknowledgement: TypeAlias = Puback | Pubrec | Pubrel | Pubcomp | Unsuback

Packet: TypeAlias = (
    Connect
    | Connack
    | Publish
    | Acknowledgement
    | Subscribe
    | Suback
    | Unsubscribe
    | Pingreq
    | Pingresp
    | Disconnect
)
