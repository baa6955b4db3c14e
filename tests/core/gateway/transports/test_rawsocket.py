"""The RawSocket transport: WAMP #rawsocket."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wamp_client import ALL, DECODE, ENCODE, ROLES, FakeGateway

from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.transports.factories import makers
from fox_shard.gateway.transports.rawsocket import LONGEST, frame
from fox_shard.gateway.transports.receivers import BEFORE_SESSION

HELLO = [1, "realm1", {"roles": ROLES}]
NUMBER = {name: number for number, name in enumerate(ALL, 1)}
CLIENT_LIMIT = 0xF
VIOLATION = "wamp.error.protocol_violation"


class Peer:
    def __init__(self, **settings):
        self.gateway = FakeGateway(**settings)
        self.connection = Connection([], "peer")
        self.socket = makers(self.gateway, self.gateway)["rawsocket"](self.connection)

    def send(self, data):
        self.socket.receive(data, self.gateway.now)
        out = b"".join(self.connection.out)
        self.connection.out.clear()
        return out

    def shake_hands(self, name="wamp.2.json", length=CLIENT_LIMIT):
        answer = self.send(bytes((0x7F, length << 4 | NUMBER[name], 0, 0)))
        assert answer[:1] == b"\x7f"
        return self


def messages(data, name="wamp.2.json"):
    """Return the messages in what the router sent."""
    found = []
    while data:
        head = int.from_bytes(data[:4], "big")
        found.append(DECODE[name](data[4 : 4 + head]))
        data = data[4 + head :]
    return found


@pytest.mark.parametrize(
    ("request_", "settings", "answer", "closed", "source"),
    [
        (b"\x7f\xf1\0\0", {}, b"\x7f\xf1\0\0", False, "JSON, 2^24 both ways"),
        (b"\x7f\x02\0\0", {}, b"\x7f\xf2\0\0", False, "MessagePack, the client takes 2^9"),
        (b"\x7f\x53\0\0", {"max_message_size": 512}, b"\x7f\x03\0\0", False, "CBOR, we take 2^9"),
        (b"\x7f\xf1\0\0", {"max_message_size": 1023}, b"\x7f\x01\0\0", False, "rounded down"),
        (b"\x7f\xf1\0\0", {"max_message_size": 1024}, b"\x7f\x11\0\0", False, "2^10"),
        (b"\x7f\xf1\0\0", {"max_message_size": 1 << 26}, b"\x7f\xf1\0\0", False, "2^24 at most"),
        (b"\x7f\xf0\0\0", {}, b"\x7f\x10\0\0", True, "serializer unsupported"),
        (b"\x7f\xf4\0\0", {}, b"\x7f\x10\0\0", True, "serializer unsupported"),
        (b"\x7f\xff\0\0", {}, b"\x7f\x10\0\0", True, "serializer unsupported"),
        (b"\x7f\xf1\1\0", {}, b"\x7f\x30\0\0", True, "use of reserved bits"),
        (b"\x7f\xf1\0\1", {}, b"\x7f\x30\0\0", True, "use of reserved bits"),
        (b"GET / HTTP/1.1\r\n", {}, b"", True, "no RawSocket request: fail the connection"),
        (b"G", {}, b"", True, "no RawSocket request: fail the connection"),
    ],
)
@pytest.mark.cites(
    "advanced.transport_rawsocket.2",
    "advanced.transport_rawsocket.3",
    "advanced.transport_rawsocket.4",
    "advanced.transport_rawsocket.5",
    "advanced.transport_rawsocket.6",
    "advanced.transport_rawsocket.9",
    "advanced.transport_rawsocket.10",
)
def test_the_handshake_is_answered_as_specified(request_, settings, answer, closed, source):
    peer = Peer(**settings)
    assert peer.send(request_) == answer
    assert peer.connection.closing is closed
    if closed:
        assert peer.send(b"\x7f\xf1\0\0") == b""


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_session_may_come_in_pieces_of_any_size(name, size):
    peer = Peer()
    sent = bytes((0x7F, 0xF0 | NUMBER[name], 0, 0))
    for message in (HELLO, [16, 1, {}, "com.topic", ["x"]], [6, {}, "wamp.close.normal"]):
        sent += frame(ENCODE[name](message))
    answer = b"".join(peer.send(sent[at : at + size]) for at in range(0, len(sent), size))
    welcome, goodbye = messages(answer[4:], name)
    assert (welcome[0], goodbye[0]) == (2, 6)
    assert [asked[0] for asked in peer.gateway.asked] == [
        "session_opened",
        "publish",
        "session_ended",
    ]
    assert peer.gateway.asked[0][1]["transport"] == "rawsocket"
    assert peer.gateway.asked[0][1]["protocol"] == name
    assert peer.connection.closing


def test_no_buffer_is_kept_between_messages():
    peer = Peer().shake_hands()
    whole = frame(ENCODE["wamp.2.json"](HELLO))
    assert peer.send(whole[:9]) == b""
    assert peer.socket._partial is not None
    assert messages(peer.send(whole[9:]))[0][0] == 2
    assert peer.socket._partial is None


@pytest.mark.parametrize("payload", [b"", b"hello", b"\0" * 300])
@pytest.mark.cites("advanced.transport_rawsocket.13")
def test_a_ping_is_echoed_as_a_pong(payload):
    peer = Peer().shake_hands()
    ping = (1 << 24 | len(payload)).to_bytes(4, "big") + payload
    pong = (2 << 24 | len(payload)).to_bytes(4, "big") + payload
    assert peer.send(ping + pong + ping) == pong + pong
    assert not peer.connection.closing


def test_the_longest_message_has_a_bit_of_its_own():
    """The bit X is set when the length is exactly 16M, with the other bits cleared."""
    assert frame(b"x" * (LONGEST - 1))[:4] == b"\x00\xff\xff\xff"
    assert frame(b"x" * LONGEST)[:4] == b"\x08\0\0\0"
    peer = Peer().shake_hands()
    assert messages(peer.send(frame(ENCODE["wamp.2.json"](HELLO))))[0][0] == 2
    body = b"x" * LONGEST
    assert peer.send(b"\x09\0\0\0" + body) == b"\x0a\0\0\0" + body
    publish = ENCODE["wamp.2.json"]([16, 1, {}, "a.b"])
    peer.send(b"\x08\0\0\0" + publish + b" " * (LONGEST - len(publish)))
    assert [name for name, *_ in peer.gateway.asked] == ["session_opened", "publish"]


@pytest.mark.parametrize(
    ("head", "says", "source"),
    [
        (b"\x10\0\0\1", "0x10000001", "RRRR must be zeros"),
        (b"\x80\0\0\1", "0x80000001", "RRRR must be zeros"),
        (b"\x03\0\0\1", "0x03000001", "TTT 3 to 7 are reserved"),
        (b"\x07\0\0\1", "0x07000001", "TTT 3 to 7 are reserved"),
        (b"\x08\0\0\1", "0x08000001", "X only with a length of 0"),
        (b"\x09\0\0\1", "0x09000001", "X only with a length of 0"),
        (b"\0\0\4\1", "1025 bytes, where 1024", "the limit of the handshake"),
        (b"\1\0\4\1", "1025 bytes, where 1024", "the limit of the handshake"),
        (b"\x08\0\0\0", "16777216 bytes, where 1024", "the limit of the handshake"),
    ],
)
@pytest.mark.parametrize("open_", [False, True])
@pytest.mark.cites(
    "advanced.transport_rawsocket.7",
    "advanced.transport_rawsocket.8",
    "advanced.transport_rawsocket.12",
)
def test_an_invalid_header_fails_the_connection(head, says, source, open_):
    """The connection fails at the header, without waiting for the body."""
    peer = Peer(max_message_size=1024).shake_hands()
    if open_:
        peer.send(frame(ENCODE["wamp.2.json"](HELLO)))
        peer.gateway.asked.clear()
    ((kind, details, uri),) = messages(peer.send(head))
    assert (kind, uri) == (3, VIOLATION)
    assert says in details["message"]
    assert peer.connection.closing
    assert peer.gateway.asked == ([("session_ended", False)] if open_ else [])
    assert peer.send(frame(ENCODE["wamp.2.json"](HELLO))) == b""


def test_a_client_without_a_session_gets_little_memory():
    """Anybody may connect: a thousand clients must not make the server keep 16 MiB for each."""
    peer = Peer().shake_hands()
    ((_, details, uri),) = messages(peer.send((BEFORE_SESSION + 1).to_bytes(4, "big")))
    assert (uri, details["message"]) == (
        VIOLATION,
        "a message of 131073 bytes, where 131072 are allowed before there is a session",
    )
    assert peer.connection.closing
    assert peer.gateway.limit_counts.totals() == {"max_message_size": 1}


def test_with_a_session_messages_may_be_as_long_as_was_agreed():
    peer = Peer().shake_hands()
    hello = ENCODE["wamp.2.json"](HELLO)
    long = ENCODE["wamp.2.json"]([16, 1, {}, "a.b", ["x" * (BEFORE_SESSION + 1)]])
    answer = peer.send(frame(hello + b" " * (BEFORE_SESSION - len(hello))) + frame(long))
    assert [message[0] for message in messages(answer)] == [2]
    assert [name for name, *_ in peer.gateway.asked] == ["session_opened", "publish"]


def test_a_message_exactly_at_the_limit_is_accepted():
    peer = Peer(max_message_size=1024).shake_hands()
    hello = ENCODE["wamp.2.json"](HELLO)
    answer = peer.send(frame(hello + b" " * (1024 - len(hello))))
    assert messages(answer)[0][0] == 2


@pytest.mark.cites(
    "advanced.transport_rawsocket.1",
    "advanced.transport_rawsocket.7",
    "advanced.transport_rawsocket.11",
)
def test_no_message_longer_than_the_client_accepts_is_sent():
    """WELCOME with all features is longer than 512 bytes, so it only names the roles."""
    peer = Peer().shake_hands(length=0)
    answer = peer.send(frame(ENCODE["wamp.2.json"](HELLO)))
    ((kind, _, details),) = messages(answer)
    assert (kind, details["roles"]) == (2, {"broker": {}, "dealer": {}})
    ((kind, details, _),) = messages(peer.send(b'\0\0\0\x10["' + b"x" * 12 + b'"]'))
    assert (kind, list(details)) == (3, ["message"])


def test_a_realm_too_long_for_welcome_cannot_be_joined():
    peer = Peer().shake_hands(length=0)
    name = "r" * 600
    peer.gateway.realms[name] = peer.gateway.realms["realm1"]
    peer.gateway.realms[name].name = name
    answer = peer.send(frame(ENCODE["wamp.2.json"]([1, name, HELLO[2]])))
    assert messages(answer)[0][2] == "wamp.error.payload_size_exceeded"
    assert [asked[0] for asked in peer.gateway.asked] == ["session_opened", "session_ended"]


def test_a_long_reason_is_left_out_where_it_does_not_fit():
    peer = Peer().shake_hands(length=0)
    name = "ä" * 300
    answer = peer.send(frame(ENCODE["wamp.2.json"]([1, name, HELLO[2]])))
    assert messages(answer) == [[3, {}, "wamp.error.no_such_realm"]]


def test_messages_after_the_end_of_the_session_are_not_read():
    peer = Peer().shake_hands()
    data = frame(ENCODE["wamp.2.json"](HELLO)) + frame(b"[]")
    data += frame(ENCODE["wamp.2.json"]([16, 1, {}, "com.topic"]))
    kinds = [message[0] for message in messages(peer.send(data))]
    assert kinds == [2, 3]
    assert [asked[0] for asked in peer.gateway.asked] == ["session_opened", "session_ended"]


def test_a_handshake_that_never_ends_times_out():
    peer = Peer(handshake_timeout=2.0)
    peer.send(b"\x7f\xf1")
    peer.gateway.pass_time(1.9)
    assert not peer.connection.closing
    peer.gateway.pass_time(0.2)
    assert peer.connection.closing
    assert peer.send(b"\0\0") == b""


def test_a_session_has_its_own_timeout_after_the_handshake():
    peer = Peer(handshake_timeout=2.0)
    peer.gateway.pass_time(1.9)
    peer.shake_hands()
    peer.gateway.pass_time(1.9)
    assert not peer.connection.closing
    assert messages(peer.send(frame(ENCODE["wamp.2.json"](HELLO))))[0][0] == 2


def test_a_lost_connection_ends_the_session():
    peer = Peer().shake_hands()
    peer.send(frame(ENCODE["wamp.2.json"](HELLO)))
    peer.socket.connection_lost(0.0)
    assert peer.gateway.asked[-1] == ("session_ended", False)
    Peer().socket.connection_lost(0.0)


@given(st.binary(max_size=40), st.sampled_from(sorted(NUMBER.values())))
def test_random_bytes_never_raise(data, number):
    peer = Peer(max_message_size=512)
    peer.send(data)
    peer = Peer(max_message_size=512)
    peer.send(bytes((0x7F, 0xF0 | number, 0, 0)))
    peer.send(data)
    peer.send(frame(msgspec.json.encode(HELLO)))
