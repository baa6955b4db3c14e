"""The thinnest relay of MQTT messages over ZeroMQ in Python: the floor of brokers of this shape.

One process ends connections, as a gateway does, the other one gives back what it gets, as a shard
does. Between them is one ZeroMQ socket pair. Nothing is matched, stored, checked, limited or told,
and a message is not even decoded. The relay knows as much of MQTT as the benchmark's clients send.

    python -m bench.relay gateway PORT PATH
    python -m bench.relay shard PATH
"""

import asyncio
import struct
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import cast

import uvloop
import zmq

_CONNECT, _PUBLISH, _SUBSCRIBE, _PINGREQ = 1, 3, 8, 12
_CLIENT = struct.Struct("<I")


class Junction:
    """One end of the pair of sockets between the two processes, in an event loop."""

    def __init__(self, path: str, *, binds: bool, receive: Callable[[bytes], None]) -> None:
        self._receive = receive
        self._working = False
        self._socket = zmq.Context().socket(zmq.PAIR)
        self._socket.set_hwm(0)
        if binds:
            self._socket.bind(f"ipc://{path}")
        else:
            self._socket.connect(f"ipc://{path}")
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._work)

    def send(self, message: bytes) -> None:
        """Send one message. What has come in meanwhile is read too: ZeroMQ wakes only once."""
        self._socket.send(message, zmq.DONTWAIT)
        if not self._working:
            self._work()

    def _work(self) -> None:
        self._working = True
        while True:
            try:
                message = self._socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                break
            self._receive(message)
        self._working = False


def packets(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (kind, start of the body, end) of each whole MQTT packet."""
    at = 0
    while at + 2 <= len(data):
        length, shift, body = 0, 0, at + 1
        while True:
            if body == len(data):
                return
            byte = data[body]
            body += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if body + length > len(data):
            return
        yield data[at] >> 4, body, body + length
        at = body + length


class Client(asyncio.Protocol):
    """A connection of the benchmark."""

    def __init__(self, relay: "Relay") -> None:
        self._relay = relay
        self._number = relay.add(self)
        self._rest = b""
        self.write: Callable[[bytes], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.write = cast(asyncio.WriteTransport, transport).write

    def connection_lost(self, _error: Exception | None) -> None:
        """Let others have its number, and publishers go on without it."""
        self._relay.remove(self._number, self)

    def data_received(self, data: bytes) -> None:
        """Answer what the gateway answers, and send publishes to the shard as they are."""
        data = self._rest + data if self._rest else data
        begin = end = 0
        for kind, body, end in packets(data):
            if kind == _PUBLISH:
                continue
            if kind == _SUBSCRIBE:
                length = int.from_bytes(data[body + 2 : body + 4])
                self._relay.subscribe(data[body + 4 : body + 4 + length], self)
                self.write(b"\x90\x03" + data[body : body + 2] + data[end - 1 : end])
            elif kind == _CONNECT:
                self.write(b"\x20\x02\x00\x00")
            elif kind == _PINGREQ:
                self.write(b"\xd0\x00")
            begin = end
        if end > begin:
            self._relay.publish(_CLIENT.pack(self._number) + data[begin:end])
        self._rest = data[end:]


class Relay:
    """The clients of the gateway."""

    def __init__(self, path: str) -> None:
        self._clients: dict[int, Client] = {}
        self._added = 0
        self._subscribers: dict[bytes, list[Client]] = defaultdict(list)
        self.publish = Junction(path, binds=False, receive=self._deliver).send

    def add(self, client: Client) -> int:
        """Return the number of a new client."""
        self._added += 1
        self._clients[self._added] = client
        return self._added

    def remove(self, number: int, client: Client) -> None:
        """Forget a client that has gone."""
        self._clients.pop(number, None)
        for subscribers in self._subscribers.values():
            if client in subscribers:
                subscribers.remove(client)

    def subscribe(self, topic: bytes, client: Client) -> None:
        """Let a client have what is published to that topic."""
        self._subscribers[topic].append(client)

    def _deliver(self, message: bytes) -> None:
        """Give publishes of one topic, which the shard has sent back, to all who want them."""
        data = message[_CLIENT.size :]
        acknowledgements = bytearray()
        topic = b""
        for _, body, _ in packets(data):
            length = int.from_bytes(data[body : body + 2])
            topic = data[body + 2 : body + 2 + length]
            if data[0] & 6:
                acknowledgements += b"\x40\x02" + data[body + 2 + length : body + 4 + length]
        for subscriber in self._subscribers[topic]:
            subscriber.write(data)
        (number,) = _CLIENT.unpack_from(message)
        if acknowledgements and number in self._clients:
            self._clients[number].write(bytes(acknowledgements))


async def _gateway(port: int, path: str) -> None:
    relay = Relay(path)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(relay), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


async def _shard(path: str) -> None:
    junction = Junction(path, binds=True, receive=lambda message: junction.send(message))
    await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gateway", port, path]:
            uvloop.run(_gateway(int(port), path))
        case ["shard", path]:
            uvloop.run(_shard(path))
