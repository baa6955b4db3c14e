"""The header of the PROXY protocol, versions 1 and 2, with which a proxy begins a connection.

Owns: its bytes (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt). Never: whether the
proxy is trusted, sockets.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""Of version 2 (2.2)."""

_FIXED: Final = len(SIGNATURE) + 4
"""Bytes of version 2 before the addresses."""

LONGEST: Final = 4096
"""Bytes of addresses and further fields that are taken in version 2."""

_LONGEST_LINE: Final = 107
"""Bytes of the line of version 1 (2.1)."""

_BEGINS: Final = b"PROXY "
_PORT: Final = 65535


class MalformedHeader(ValueError):
    """Bytes that are no such header; the message says why."""


class Header(NamedTuple):
    """A header. host, port: of the client; "", 0: the proxy speaks for itself, or does not know.

    size: bytes of the header.
    """

    host: str
    port: int
    size: int


def read_header(data: bytes) -> Header | None:
    """Read the header at the beginning of the data; None: it is incomplete.

    Raises MalformedHeader as soon as the data cannot become one.
    """
    if data.startswith(SIGNATURE[: len(data)]):
        return _read_binary(data) if len(data) >= _FIXED else None
    if data.startswith(_BEGINS[: len(data)]):
        return _read_line(data)
    raise MalformedHeader("the connection does not begin with a PROXY header")


def _read_binary(data: bytes) -> Header | None:
    version, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    if version not in (0x20, 0x21):
        raise MalformedHeader(f"version and command 0x{version:02x} of a PROXY header")
    if length > LONGEST:
        raise MalformedHeader(f"a PROXY header of {length} bytes, more than {LONGEST}")
    if len(data) < _FIXED + length:
        return None
    size = _FIXED + length
    if version == 0x20:  # LOCAL: the proxy's own connection, such as a health check.
        return Header("", 0, size)
    body = data[_FIXED:size]
    match family:
        case 0x11 if length >= 12:
            return Header(str(IPv4Address(body[:4])), int.from_bytes(body[8:10], "big"), size)
        case 0x21 if length >= 36:
            return Header(_ipv6(IPv6Address(body[:16])), int.from_bytes(body[32:34], "big"), size)
        case 0x00 | 0x31:  # Unspecified, or by a UNIX socket.
            return Header("", 0, size)
    raise MalformedHeader(f"a PROXY header with family 0x{family:02x} and {length} bytes")


def _read_line(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise MalformedHeader("a PROXY line that does not end")
        return None
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header("", 0, end + 2)
    try:
        _, family, source, destination, port, other = (word.decode("ascii") for word in words)
        kind = {"TCP4": IPv4Address, "TCP6": IPv6Address}[family]
        kind(destination)
        host = kind(source)
        ports = [int(one) for one in (port, other) if one.isdigit() and len(one) <= 5]
        if len(ports) != 2 or max(ports) > _PORT:
            raise ValueError("ports")
    except (ValueError, KeyError) as error:
        raise MalformedHeader("a PROXY line that names no addresses") from error
    text = _ipv6(host) if isinstance(host, IPv6Address) else str(host)
    return Header(text, ports[0], end + 2)


def _ipv6(address: IPv6Address) -> str:
    """Return the address, or the IPv4 address in it, so that each client has one address."""
    return str(address.ipv4_mapped or address)
