"""A topic's name: the two notations of it, and what a legal one is.

Owns: the swap between MQTT's and WAMP's notation, name rules, reserved first components.
Never: patterns (see `pattern`).

The canonical form is WAMP's. The swap exchanges `/` and `.`, so it is a bijection, and its own
inverse: `a/b.c` is `a.b/c`. A *component* is what stands between the dots of the canonical form.
"""

import re

from fox_shard.errors import InvalidUri, ProtocolViolation

#: First components that only the router publishes to and registers, besides those that begin with
#: `$`. In code point order, which `keytree` relies on.
RESERVED = ("fox", "wamp")

#: MQTT's bound for a topic name or filter, in bytes of UTF-8 [MQTT-4.7.3-3].
MAX_BYTES = 0xFFFF

_SWAP = str.maketrans("/.", "./")
_RESERVED_STARTS = ("$", *RESERVED)
# The "loose" rule of WAMP's section on URIs. Moreover no U+0000, which MQTT-4.7.3-2 forbids.
_LOOSE_URI = re.compile(r"[^\s.#\0]+(?:\.[^\s.#\0]+)*")


def to_wamp(mqtt: str) -> str:
    """Return the canonical form of an MQTT topic name.

    Most names hold only one of the two characters; `replace` is then ten times as fast as
    `translate` (0.08 against 0.77 µs for 25 characters).
    """
    if "." not in mqtt:
        return mqtt.replace("/", ".")
    return mqtt.translate(_SWAP)


def to_mqtt(wamp: str) -> str:
    """Return the MQTT name of a canonical topic; see `mqtt_deliverable`."""
    if "/" not in wamp:
        return wamp.replace(".", "/")
    return wamp.translate(_SWAP)


def is_reserved(uri: str) -> bool:
    """Tell whether the first component of a canonical topic is `wamp`, `fox` or begins with `$`."""
    if not uri.startswith(_RESERVED_STARTS):
        return False
    return uri[0] == "$" or uri.partition(".")[0] in RESERVED


SEQUENCE_LENGTH = 18
"""Characters that `in_sequence` adds to a topic, `.~` and 16 digits."""


def in_sequence(topic: str, publication: int) -> str:
    """Return the topic of that publication in the sequence of a topic; they sort by it."""
    return f"{topic}.~{publication:016d}"


def is_in_sequence(topic: str) -> bool:
    """Tell whether `in_sequence` has made it."""
    number = topic[2 - SEQUENCE_LENGTH :]
    return topic[-SEQUENCE_LENGTH : 2 - SEQUENCE_LENGTH] == ".~" and (
        number.isascii() and number.isdecimal() and len(topic) > SEQUENCE_LENGTH
    )


def check_topic(uri: str, *, reserved_ok: bool = False) -> None:
    """Refuse what a WAMP client may not publish to, call or register (WAMP #uris, loose rule).

    reserved_ok: let `wamp.…`, `fox.…` and `$…` pass, as for a CALL of a meta procedure.
    Raises InvalidUri.
    """
    if _LOOSE_URI.fullmatch(uri) is None:
        raise InvalidUri(
            f"{uri!r} is not a URI: components between dots must not be empty"
            " and must not contain white space, '#' or U+0000"
        )
    if not reserved_ok and is_reserved(uri):
        raise InvalidUri(f"{uri!r} begins with a reserved component (wamp, fox or $…)")


def check_mqtt_topic(name: str) -> None:
    """Refuse what is not an MQTT topic name [MQTT-3.3.2-2, MQTT-4.7.3-1 to -3].

    name: in MQTT notation. Raises ProtocolViolation with reason 0x90 (topic name invalid).
    """
    if "+" in name or "#" in name:
        raise ProtocolViolation("a topic name must not contain the wildcards '+' and '#'", 0x90)
    check_mqtt_string(name, 0x90)


def check_mqtt_string(text: str, reason: int) -> None:
    """Apply the rules that names and filters share [MQTT-4.7.3-1 to -3].

    Raises ProtocolViolation with this reason.
    """
    if not text:
        raise ProtocolViolation("a topic must have at least one character", reason)
    if "\0" in text:
        raise ProtocolViolation("a topic must not contain U+0000", reason)
    if _is_too_long(text):
        raise ProtocolViolation(f"a topic must not be longer than {MAX_BYTES} bytes", reason)


def mqtt_deliverable(uri: str) -> bool:
    """Tell whether a canonical topic may be sent to an MQTT client.

    Not with `+` or `#` in it [MQTT-3.3.2-2], nor where its length does not fit (a WAMP URI is not
    bounded).
    """
    return "+" not in uri and "#" not in uri and not _is_too_long(uri)


def _is_too_long(text: str) -> bool:
    # A character takes four bytes at most: short ones need not be encoded to know.
    return len(text) > MAX_BYTES // 4 and len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES
