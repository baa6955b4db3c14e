"""Clients of this project with asyncio, each at the gateway that the test wants.

Owns: connecting, which gateway it is, cutting the line. Never: what the clients send.
"""

import asyncio
import random
from contextlib import asynccontextmanager

from wamp_peers import TRIES

from fox_shard.client import Tls
from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.realm import Realm
from fox_shard.client.websocket import dial_of


class Line:
    """The way to the gateways. gateway: where the next connection goes; None: anywhere."""

    def __init__(self, cluster, gateway, patience=20.0):
        self.cluster, self.gateway = cluster, gateway
        self._dial = dial_of(f"ws://127.0.0.1:{cluster.websocket}/ws", Tls(), patience)
        self.connection = None
        self.opened = 0

    async def dial(self):
        for _ in range(TRIES):
            transport = await self._dial()
            self.connection = transport._connection
            if self.gateway is None or self.gateway == self._present_gateway():
                self.opened += 1
                return transport
            await transport.close()
        raise AssertionError(f"no connection to gateway {self.gateway}")

    def _present_gateway(self):
        return self.cluster.gateway_at(self.connection.local_address[:2], "websocket")

    def cut(self):
        """Cut the present connection, without a word."""
        self.connection.transport.abort()


@asynccontextmanager
async def joined(cluster, gateway=None, buffer=1 << 20, patience=20.0):
    """Be in realm1 during a block; yields the realm and its line."""
    line = Line(cluster, gateway, patience)
    core = ClientCore("realm1", None, random.random)
    realm = Realm(Engine(core, line.dial, Backoff(random.random), buffer))
    await realm.start()
    try:
        yield realm, line
    finally:
        await realm.stop()


async def eventually(condition):
    """Wait until the condition is true; the test's own patience ends the wait."""
    while not condition():  # noqa: ASYNC110 - whatever it is
        await asyncio.sleep(0.01)
