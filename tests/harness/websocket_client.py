"""A fake gateway with one WebSocket connection, its client, and frames made by hand."""

from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limits import NAMES
from fox_shard.gateway.transports.websocket import WebSocket

LIMIT = 1024


class Timers(list):
    def at(self, when, callback):
        self.append((when, callback))

    gathered = at


class Session:
    """A session that records its messages and answers with `reply(message)` unless that is None."""

    def __init__(self, connection, frame, hangup):
        self.connection, self.frame, self.hangup = connection, frame, hangup
        self.got, self.losses, self.told = [], 0, {}
        self.reply = lambda message: None

    def message(self, data, now):
        assert type(data) is bytes
        self.got.append(data)
        answer = self.reply(data)
        if answer is not None:
            self.connection.write(self.frame(answer))

    receive = message

    def connection_lost(self, now):
        self.losses += 1


class Server:
    """A fake gateway with one WebSocket connection."""

    def __init__(self, settings=None, *, limit=LIMIT, **options):
        self.settings = Settings(
            **{"max_message_size": limit, "handshake_timeout": 10.0, **(settings or {})}
        )
        self.timers = Timers()
        self.limit_counts = LimitCounts(NAMES)
        self.now = 100.0
        self.status = {"status": "ok"}
        self.linked = True
        self.session = None
        self.dirty = []
        self.connection = Connection(self.dirty, "peer")
        self.connection.receiver = WebSocket(self, self.connection, self.wamp, self.mqtt, **options)

    def health(self):
        return self.status

    def wamp(self, connection, serializer, frame, hangup, encoder):
        self.session = Session(connection, frame, hangup)
        self.session.told = {"serializer": serializer, "encoder": encoder}
        return self.session

    def mqtt(self, connection, frame, hangup):
        self.session = Session(connection, frame, hangup)
        return self.session

    def feed(self, data):
        """Let the connection read data; return the bytes that are written in answer."""
        self.connection.receiver.receive(data, self.now)
        return self.written()

    def written(self):
        data = b"".join(self.connection.out)
        self.connection.out.clear()
        return data

    def advance(self, seconds):
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers[:] = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback in due:
            callback(self.now)


def request(path="/ws", subprotocols=("wamp.2.json",), extra=""):
    offered = f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}\r\n" if subprotocols else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: fox\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"{offered}{extra}\r\n"
    ).encode()


def connected(path="/ws", subprotocols=("wamp.2.json",), offer=None, **options):
    """Return a server and a client that have completed the opening handshake."""
    server = Server(**options)
    client = ClientProtocol(
        parse_uri(f"ws://fox{path}"),
        subprotocols=list(subprotocols),
        extensions=[offer] if offer else None,
        max_size=None,
    )
    client.send_request(client.connect())
    exchange(server, client)
    assert client.handshake_exc is None
    client.events_received()
    return server, client


def exchange(server, client):
    """Carry bytes both ways until there are no more; return the frames that the client got."""
    while True:
        answer = server.written()
        if outgoing := b"".join(client.data_to_send()):
            answer += server.feed(outgoing)
        if answer:
            client.receive_data(answer)
        elif not outgoing:
            break
    return [event for event in client.events_received() if isinstance(event, Frame)]


def masked(payload, opcode=0x1, fin=True, rsv=0, mask=b"\x11\x22\x33\x44", length=None):
    length = len(payload) if length is None else length
    data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 65536:
        head += b"\xfe" + length.to_bytes(2, "big")
    else:
        head += b"\xff" + length.to_bytes(8, "big")
    return head + mask + data


def frames_of(data):
    """Return the server's frames in data, each as (first byte, payload)."""
    frames = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        assert len(data) >= start + size
        frames.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return frames


def close_code(data):
    """Return the code of the Close frame at the end of data (RFC 6455, 5.5.1: the last frame)."""
    first, payload = frames_of(data)[-1]
    assert first == 0x88
    return int.from_bytes(payload[:2], "big")
