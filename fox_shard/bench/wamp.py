"""WAMP clients of `fox bench`.

Owns: how they do what a load asks for. Never: loads.
"""

from contextlib import AsyncExitStack
from typing import Any, final

from fox_shard.bench.client import Arrived
from fox_shard.client import Event, Realm, connect
from fox_shard.remote.connecting import Target


@final
class WampClient:
    """A session in a realm."""

    def __init__(self, realm: Realm, stack: AsyncExitStack) -> None:
        """stack: is closed at the end."""
        self._realm = realm
        self._stack = stack

    async def publish(self, topic: str, args: list[Any], qos: int) -> None:
        """Publish; return when that is acknowledged, or, with qos 0, when it is on its way."""
        await self._realm.publish(topic, args, acknowledge=qos > 0)

    async def subscribe(self, pattern: str, arrived: Arrived, qos: int) -> None:
        """Subscribe. All deliveries to WAMP clients are alike, so `qos` says nothing."""

        def take(event: Event) -> None:
            arrived(event.args)

        await self._realm.subscribe(pattern, take)

    async def call(self, procedure: str, args: list[Any]) -> list[Any]:
        """Call a procedure; return the arguments of the result."""
        return list((await self._realm.call(procedure, args)).args)

    async def register_echo(self, procedure: str) -> None:
        """Answer calls with their first argument, beside others who do so, too."""
        await self._realm.register(procedure, _echo, invoke="roundrobin")

    async def close(self) -> None:
        """Leave."""
        await self._stack.aclose()


def _echo(*args: object) -> object:
    return args[0] if args else None


async def connect_wamp(target: Target) -> WampClient:
    """Connect and join. Raises Unreachable."""
    stack = AsyncExitStack()
    realm = await stack.enter_async_context(
        connect(
            target.url,
            target.realm,
            login=target.login,
            tls=target.tls,
            patience=target.patience,
        )
    )
    return WampClient(realm, stack)
