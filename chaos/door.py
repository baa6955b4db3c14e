"""Connecting clients while gateways die: each tries until a gateway accepts it.

Owns: connecting, the choice of the gateway, the clock of the run, the check that no session ends
but by an accident. Never: the use of sessions.
"""

import asyncio
from functools import partial
from random import Random
from typing import TypeVar

from chaos.broker import Broker
from chaos.peers import HANDSHAKE, Mqtt, Peer, Wamp

AnyPeer = TypeVar("AnyPeer", Wamp, Mqtt)

AGAIN = 0.05
"""Seconds between two attempts to connect."""

STAY = 4.0
"""Seconds that a client stays with its gateway, on average."""

IN_VAIN = 3.0
"""Seconds after which a client that its chosen gateway does not accept takes any other."""


EXCUSED = 10.0
"""Seconds for which an accident of a gateway is the reason why sessions at it end."""


class Door:
    """Opens all connections of a run. peers: the connections, also some that have ended.

    complaints: sessions that have ended although nothing had happened to their gateway.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._began = asyncio.get_running_loop().time()
        self.peers: list[Peer] = []
        self.complaints: list[str] = []

    def now(self) -> float:
        """Return the seconds since the run began."""
        return asyncio.get_running_loop().time() - self._began

    async def enter(
        self, make: type[AnyPeer], client_id: str, gateway: str | None = None
    ) -> AnyPeer:
        """Open a session, at `gateway` if that is given, trying for as long as it takes."""
        while True:
            peer = await self._try(make, client_id)
            if peer is None:
                await asyncio.sleep(AGAIN)
                continue
            found = self.broker.gateway_of(peer.kind, peer.place)
            if gateway in (None, found):
                self.peers.append(peer)
                if found is not None:
                    peer.lost.add_done_callback(partial(self._judge_loss, peer, found))
                return peer
            await self.leave(peer)

    def _judge_loss(self, peer: Peer, gateway: str, _lost: object) -> None:
        harmed = self.broker.harmed.get(gateway, float("-inf"))
        if not peer.left and asyncio.get_running_loop().time() - harmed > EXCUSED:
            self.complaints.append(
                f"{self.now():.3f}: the session of {peer.kind} client {peer.place} at {gateway} "
                "ended, and nothing had happened to the gateway"
            )

    async def move(self, make: type[AnyPeer], client_id: str, rng: Random) -> tuple[AnyPeer, float]:
        """Open a session at a random gateway, and return with it the time until which to stay.

        Sessions move, because those that only reconnect after a kill would all end up at the
        gateways that are not killed. A random gateway that is down is replaced by any other.
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
        except OSError:  # includes TimeoutError
            peer.abort()
            return None
        except asyncio.CancelledError:
            peer.abort()
            raise
        return peer

    @staticmethod
    async def leave(peer: Peer) -> None:
        """End a connection without a goodbye."""
        peer.abort()
        await peer.ended()

    def living(self) -> list[Peer]:
        """Return the connections that have not ended."""
        self.peers = [peer for peer in self.peers if not peer.lost.done()]
        return self.peers
