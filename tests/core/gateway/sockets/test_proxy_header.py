"""The header of the PROXY protocol, versions 1 and 2 (proxy-protocol.txt)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.gateway.sockets.proxy_header import SIGNATURE, MalformedHeader, read_header


def v2(command, family, body, length=None):
    size = len(body) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + body


IPV4 = v2(0x21, 0x11, bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 50412, 1883))
IPV6 = v2(0x21, 0x21, bytes(15) + b"\x01" + bytes(16) + struct.pack("!HH", 7, 8))
MAPPED = v2(
    0x21, 0x21, bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7]) + bytes(16) + bytes([0, 9, 0, 8])
)
TLVS = v2(0x21, 0x11, bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 1, 2) + b"x" * 4000)

HEADERS = [
    (IPV4, "192.0.2.7", 50412),
    (IPV6, "::1", 7),
    (MAPPED, "192.0.2.7", 9),
    (TLVS, "192.0.2.7", 1),
    (v2(0x20, 0x00, b""), "", 0),
    (v2(0x20, 0x11, b"whatever it is"), "", 0),
    (v2(0x21, 0x00, b""), "", 0),
    (v2(0x21, 0x31, bytes(216)), "", 0),
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 50412 1883\r\n", "192.0.2.7", 50412),
    (b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", "2001:db8::7", 1),
    (b"PROXY UNKNOWN\r\n", "", 0),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", 0),
]


@pytest.mark.parametrize(("header", "host", "port"), HEADERS)
def test_a_header_names_the_client_and_ends_where_it_ends(header, host, port):
    assert read_header(header + b"\x10\x0crest") == (host, port, len(header))
    assert read_header(header) == (host, port, len(header))


@pytest.mark.parametrize("header", [header for header, _, _ in HEADERS])
def test_the_beginning_of_a_header_is_incomplete(header):
    assert [read_header(header[:end]) for end in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize(
    "data",
    [
        b"h",
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\n\x01",
        v2(0x11, 0x11, bytes(12)),
        v2(0x22, 0x11, bytes(12)),
        v2(0x21, 0x11, bytes(11)),
        v2(0x21, 0x12, bytes(12)),
        v2(0x21, 0x21, bytes(35)),
        v2(0x21, 0x41, bytes(36)),
        v2(0x21, 0x11, b"", length=4097),
        v2(0x21, 0x11, b"", length=65535),
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50412\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50412 65536\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 2\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
        b"PROXY TCP4 ::1 10.0.0.1 1 2\r\n",
        b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 \xff 10.0.0.1 1 2\r\n",
        b"PROXY " + b"x" * 200,
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(MalformedHeader):
        read_header(data)


@given(
    st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP4 ", SIGNATURE + b"\x21"]), st.binary()
)
def test_nothing_else_is_raised(begin, rest):
    try:
        header = read_header(begin + rest)
    except MalformedHeader:
        return
    assert header is None or 0 < header.size <= len(begin + rest)
