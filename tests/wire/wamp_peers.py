"""WAMP clients: autobahn-python on asyncio.

Owns: connecting, and to which gateway. Never: what the clients send.
"""

import asyncio

import txaio

txaio.use_asyncio()

from autobahn.asyncio.rawsocket import WampRawSocketClientFactory  # noqa: E402
from autobahn.asyncio.wamp import ApplicationSession  # noqa: E402
from autobahn.asyncio.websocket import WampWebSocketClientFactory  # noqa: E402
from autobahn.wamp.serializer import (  # noqa: E402
    CBORSerializer,
    JsonSerializer,
    MsgPackSerializer,
)
from autobahn.wamp.types import ComponentConfig, SubscribeOptions  # noqa: E402
from autobahn.websocket.compress import (  # noqa: E402
    PerMessageDeflateOffer,
    PerMessageDeflateResponseAccept,
)

SERIALIZERS = {"json": JsonSerializer, "msgpack": MsgPackSerializer, "cbor": CBORSerializer}
KINDS = [
    (transport, serializer)
    for transport in ("websocket", "rawsocket")
    for serializer in SERIALIZERS
]
BIG = 1 << 24
TRIES = 64
"""Connections to try until one is at the wanted gateway; with two, all fail once in 2^64."""


class Peer(ApplicationSession):
    """A session; `joined` and `left` are futures of the details that the router sends.

    authenticator: an `IAuthenticator` of autobahn, or None.
    """

    def __init__(self, realm, authenticator=None, **hello):
        super().__init__(ComponentConfig(realm=realm))
        self.authenticator = authenticator
        if authenticator is not None:
            hello = {
                "authmethods": [authenticator.name],
                "authid": authenticator._args.get("authid"),
                "authextra": authenticator.authextra,
                **hello,
            }
        self.hello = hello
        self.left = asyncio.get_running_loop().create_future()
        self.joined = asyncio.get_running_loop().create_future()
        self.closed = asyncio.get_running_loop().create_future()
        self.gateway = None

    def onConnect(self):
        self.join(self.config.realm, **self.hello)

    def onChallenge(self, challenge):
        return self.authenticator.on_challenge(self, challenge)

    def onWelcome(self, welcome):
        if self.authenticator is not None:
            return self.authenticator.on_welcome(self, welcome.authextra)
        return None

    def onJoin(self, details):
        self.details = details
        self.joined.set_result(details)

    def onLeave(self, details):
        if not self.left.done():
            self.left.set_result(details)
        if not self.joined.done():
            self.joined.set_exception(ConnectionError(f"{details.reason}: {details.message}"))
        self.disconnect()

    def onDisconnect(self):
        if not self.closed.done():
            self.closed.set_result(None)

    def onUserError(self, failure, message):
        """Print nothing: the caller gets the errors of procedures."""

    async def events(self, topic, options=None):
        """Subscribe, and return a queue of the events: (args, kwargs, details)."""
        queue = asyncio.Queue()

        def on_event(*args, details=None, **kwargs):
            queue.put_nowait((args, kwargs, details))

        options = options or SubscribeOptions()
        options.details_arg = "details"
        queue.subscription = await self.subscribe(on_event, topic, options)
        return queue

    async def bye(self):
        """Leave the realm and wait until the connection is closed."""
        if self.is_attached():
            self.leave()
        if not self.closed.done():
            await self.closed


class WampPeers:
    """All sessions of one test."""

    def __init__(self, cluster):
        self.cluster = cluster
        self._transports = []
        self._peers = []

    async def __aenter__(self):
        txaio.config.loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_):
        for peer in self._peers:
            if peer.is_attached():
                await peer.bye()
        for transport in self._transports:
            transport.abort()

    async def join(
        self,
        transport="websocket",
        serializer="json",
        *,
        gateway=None,
        realm="realm1",
        path="/ws",
        deflate=False,
        **hello,
    ):
        """Join, at the gateway of that number unless it is None. Raises ConnectionError."""
        for _ in range(TRIES):
            peer = Peer(realm, **hello)
            socket = await self._connect(peer, transport, serializer, path, deflate)
            await peer.joined
            place = socket.get_extra_info("sockname")
            peer.gateway = self.cluster.gateway_at(place, transport)
            if gateway in (None, peer.gateway):
                self._peers.append(peer)
                return peer
            self._transports.pop().abort()
        raise AssertionError(f"no connection landed at gateway {gateway}")

    async def two(self, transport="websocket", serializer="json"):
        """Return two sessions, one at each of the two gateways."""
        return [
            await self.join(transport, serializer, gateway=0),
            await self.join(transport, serializer, gateway=1),
        ]

    async def _connect(self, peer, kind, serializer, path, deflate):
        port = self.cluster.ports[kind]
        if kind == "rawsocket":
            factory = WampRawSocketClientFactory(lambda: peer, SERIALIZERS[serializer]())
        else:
            factory = WampWebSocketClientFactory(
                lambda: peer,
                url=f"ws://127.0.0.1:{port}{path}",
                serializers=[SERIALIZERS[serializer]()],
            )
            factory.setProtocolOptions(
                maxFramePayloadSize=BIG,
                maxMessagePayloadSize=BIG,
                autoFragmentSize=65536,
                openHandshakeTimeout=10,
            )
            if deflate:
                factory.setProtocolOptions(
                    perMessageCompressionOffers=[PerMessageDeflateOffer()],
                    perMessageCompressionAccept=PerMessageDeflateResponseAccept,
                )
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(factory, "127.0.0.1", port)
        self._transports.append(transport)
        return transport
