"""A WAMP client of bare messages over RawSocket: it is fast and hides nothing.

Owns: the handshake, the framing, the encoding. Never: the meaning of requests and answers.
"""

import socket

import msgspec

HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE, ERROR = 1, 2, 3, 4, 5, 6, 8
PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, EVENT = (
    16,
    17,
    32,
    33,
    34,
    35,
    36,
)
CALL, CANCEL, RESULT, REGISTER, REGISTERED, UNREGISTER, UNREGISTERED = 48, 49, 50, 64, 65, 66, 67
INVOCATION, INTERRUPT, YIELD = 68, 69, 70

PATIENCE = 40.0
READ = 1 << 18
CODECS = {"json": (1, msgspec.json), "msgpack": (2, msgspec.msgpack)}
FEATURES = {
    "publisher": {"features": {"publisher_exclusion": True}},
    "subscriber": {"features": {"pattern_based_subscription": True}},
    "caller": {"features": {"call_canceling": True, "progressive_call_results": True}},
    "callee": {"features": {"call_canceling": True, "progressive_call_results": True}},
}
TRIES = 64


class Closed(Exception):
    """The broker has closed the connection."""


class RawWamp:
    """A joined session on a blocking socket; `session` is its id."""

    def __init__(
        self, port, serializer="msgpack", *, receive_buffer=None, roles=FEATURES, login=None
    ):
        """login: (name, ticket), or None."""
        number, self.codec = CODECS[serializer]
        self.encode, self.decode = self.codec.encode, self.codec.decode
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self.sock.sendall(bytes((0x7F, 0xF0 | number, 0, 0)))
        while len(self._data) < 4:
            self._more()
        assert self._data[:2] == bytes((0x7F, 0xF0 | number)), self._data
        self._data = self._data[4:]
        self._received = []
        self.request = 0
        details = {"roles": roles}
        if login is not None:
            name, ticket = login
            details |= {"authmethods": ["ticket"], "authid": name}
            self.ask(HELLO, "realm1", details, answer=CHALLENGE)
            self.session = self.ask(AUTHENTICATE, ticket, {}, answer=WELCOME)[1]
        else:
            self.session = self.ask(HELLO, "realm1", details, answer=WELCOME)[1]

    def frame(self, *message):
        """Return the bytes of one message."""
        body = self.encode(message)
        return len(body).to_bytes(4, "big") + body

    def send(self, *message):
        """Send one message."""
        self.sock.sendall(self.frame(*message))

    def receive(self):
        """Return the next message."""
        while not self._received:
            self._received = self.receive_all()[::-1]
        return self._received.pop()

    def receive_all(self):
        """Read once; return all complete messages, perhaps none. Faster than `receive`."""
        self._more()
        data, decode, messages = self._data, self.decode, []
        at, end = 0, len(data)
        while at + 4 <= end:
            stop = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if stop > end:
                break
            messages.append(decode(data[at + 4 : stop]))
            at = stop
        self._data = data[at:]
        return messages

    def ask(self, *message, answer):
        """Send a message, and return the next one, which must be of type `answer`."""
        self.send(*message)
        reply = self.receive()
        assert reply[0] == answer, reply
        return reply

    def do(self, kind, options, *rest, answer):
        """Send `kind, id, options, *rest` with the next request id, and return the answer."""
        self.request += 1
        return self.ask(kind, self.request, options, *rest, answer=answer)

    def closed(self):
        """Read until the broker closes the connection; return the messages that came before."""
        messages = []
        try:
            while True:
                messages.append(self.receive())
        except (Closed, ConnectionError):
            return messages

    def close(self):
        self.sock.close()

    def _more(self):
        part = self.sock.recv(READ)
        if not part:
            raise Closed
        self._data = self._data + part if self._data else part


def at_gateway(cluster, number, serializer="msgpack", **options):
    """Return a session at the gateway of that number."""
    for _ in range(TRIES):
        client = RawWamp(cluster.rawsocket, serializer, **options)
        if cluster.gateway_at(client.sock.getsockname(), "rawsocket") == number:
            return client
        client.close()
    raise AssertionError(f"no connection landed at gateway {number}")
