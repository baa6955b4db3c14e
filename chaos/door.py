"""How clients get in while gateways die: they try until one lets them.

Owns: connecting, and to which gateway; the clock of the run. Never: what is said then.
"""

import asyncio
from random import Random
from typing import TypeVar

from chaos.broker import Broker
from chaos.peers import HANDSHAKE, Mqtt, Peer, Wamp

AnyPeer = TypeVar("AnyPeer", Wamp, Mqtt)

AGAIN = 0.05
"""Seconds until the next try."""

STAY = 4.0
"""Seconds that a client stays with its gateway, on average."""

IN_VAIN = 3.0
"""Seconds until a client takes any gateway instead of one that does not let it in."""


class Door:
    """All connections are in `peers` until they have ended."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._began = asyncio.get_running_loop().time()
        self.peers: list[Peer] = []

    def now(self) -> float:
        """Seconds of the run."""
        return asyncio.get_running_loop().time() - self._began

    async def enter(
        self, make: type[AnyPeer], client_id: str, gateway: str | None = None
    ) -> AnyPeer:
        """A session, at that gateway if it is named, whatever the time it takes."""
        while True:
            peer = await self._try(make, client_id)
            if peer is None:
                await asyncio.sleep(AGAIN)
            elif gateway in (None, self.broker.gateway_of(peer.kind, peer.place)):
                self.peers.append(peer)
                return peer
            else:
                await self.leave(peer)

    async def move(self, make: type[AnyPeer], client_id: str, rng: Random) -> tuple[AnyPeer, float]:
        """A session at a gateway that chance chooses, if it is there, and until when to stay.

        Who only came back would gather at the gateways that are not killed.
        """
        wanted = rng.choice(self.broker.gateways)
        until = self.now() + rng.expovariate(1 / STAY)
        gateway = wanted if self.broker.is_well(wanted) else None
        try:
            async with asyncio.timeout(IN_VAIN):
                return await self.enter(make, client_id, gateway), until
        except TimeoutError:
            return await self.enter(make, client_id), until

    async def _try(self, make: type[AnyPeer], client_id: str) -> AnyPeer | None:
        loop = asyncio.get_running_loop()
        peer = make(client_id)
        try:
            async with asyncio.timeout(HANDSHAKE):
                port = self.broker.ports[make.kind]
                await loop.create_connection(lambda: peer, "127.0.0.1", port)
                await peer.welcomed
        except OSError:  # TimeoutError is one, too
            peer.abort()
            return None
        except asyncio.CancelledError:
            peer.abort()
            raise
        return peer

    @staticmethod
    async def leave(peer: Peer) -> None:
        peer.abort()
        await peer.ended()

    def living(self) -> list[Peer]:
        """Those that are connected."""
        self.peers = [peer for peer in self.peers if not peer.lost.done()]
        return self.peers
