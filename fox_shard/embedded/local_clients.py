"""The clients of a gateway that have no socket to it, because they are in its process.

Owns: the application's own realms and the local connections, from the gateway's first turn to its
end. Never: what a message means; listeners (see `ClientSide`).
"""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import final

from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.failures import Unreachable
from fox_shard.client.realm import Realm
from fox_shard.client.transport import Transport
from fox_shard.embedded.local_connection import Client, LocalConnection
from fox_shard.embedded.local_transport import LocalTransport
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.core import Gateway


@final
class LocalClients:
    """The realms and connections in the process of one gateway."""

    def __init__(
        self,
        gateway: Gateway,
        schedule: Callable[[], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """schedule: lets a turn of the gateway follow, behind which `collect` must be called.

        chance: returns random numbers from 0 to 1.
        """
        self._chance = chance
        self._gateway = gateway
        self._schedule = schedule
        self._realms: dict[str, Realm] = {}
        # By the gateway's end of each.
        self._connections: dict[Connection, LocalConnection] = {}
        self._leaving = False

    def realm(self, name: str) -> Realm:
        """Return the application's realm of that name; the same one until it is over."""
        realm = self._realms.get(name)
        if realm is None or realm.over:
            realm = self._realms[name] = self.join(name)
        return realm

    def join(self, name: str) -> Realm:
        """Return a realm of that name, for one who stops it before `leave`."""

        async def dial() -> Transport:
            if self._leaving:
                raise Unreachable("The router does not run.")
            return LocalTransport(self.connect, lambda: engine.buffer.held)

        core = ClientCore(name, None, self._chance)
        # What does not fit into the buffer waits for the application, too; the gateway counts both.
        buffer = self._gateway.settings.outbound_limit // 4
        engine = Engine(core, dial, Backoff(self._chance), buffer)
        return Realm(engine)

    def connect(self, client: Client) -> LocalConnection:
        """Connect a client to the gateway."""
        connection = LocalConnection(self._gateway, client, self._schedule)
        self._connections[connection.gateway_end] = connection
        return connection

    def collect(self) -> None:
        """Take what the gateway has for each client. To be called at the end of each turn.

        Only those that the gateway has something for are looked at, as there may be many.
        """
        connections = self._connections
        if not connections:
            return
        # More are added meanwhile: a client that is slow is told so.
        for changed in self._gateway.dirty:
            connection = connections.get(changed)
            if connection is not None:
                connection.collect()
                if connection.closed:
                    del connections[changed]

    async def leave(self, *, says_goodbye: bool) -> None:
        """End the application's realms, and let it join no further ones."""
        self._leaving = True
        for realm in self._realms.values():
            await realm.stop("The router is shutting down.", leaves=says_goodbye)

    def close(self) -> None:
        """Close all connections."""
        for connection in [*self._connections.values()]:
            connection.close()

    def cut_off(self) -> None:
        """Close all connections to a gateway that cannot be trusted any more."""
        for connection in [*self._connections.values()]:
            with suppress(Exception):
                connection.close()
