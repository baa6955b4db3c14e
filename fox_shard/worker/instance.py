"""One realm's Python reducers and webhooks, as instances of reducers at a running server.

Owns: the session, and that it is opened again. Never: what functions mean; requests.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from fox_shard.client import Failure
from fox_shard.client.backoff import Backoff
from fox_shard.client.callee import CallDetails
from fox_shard.client.handles import Registration
from fox_shard.client.realm import Realm
from fox_shard.config import Config
from fox_shard.worker.functions import Loaded, load, python_reducers
from fox_shard.worker.pool import FunctionPool
from fox_shard.worker.webhooks.delivery import State
from fox_shard.worker.webhooks.webhook import Webhook

_log = logging.getLogger("fox")

FIRST: Final = 0.5
MOST: Final = 5.0
"""Seconds until a session is opened again that could not be, or whose reducers were refused."""

LOOK: Final = 1.0
"""Seconds by which a function that hangs may be found later."""

Function = Callable[[list[Any], dict[str, Any], CallDetails], Awaitable[Any]]


class Work(NamedTuple):
    """What a worker does for one realm."""

    realm: str
    functions: list[Loaded]
    webhooks: list[Webhook]


def load_work(config: Config, folder: Path) -> list[Work]:
    """Find the functions and read the files of all realms that have some. Raises StartError.

    folder: where the functions' modules are looked for first.
    """
    timeout, longest = config.reducer.timeout, config.gateway.max_message_size
    return [
        Work(
            realm.name,
            load(realm, folder, longest),
            [Webhook(realm.name, one, timeout) for one in realm.webhook],
        )
        for realm in config.realms
        if python_reducers(realm) or realm.webhook
    ]


class Wanted(NamedTuple):
    """What is registered. options: of REGISTER, besides those that all have."""

    pattern: str
    function: Function
    options: dict[str, Any]


@final
class RealmInstance:
    """One realm's functions and webhooks, in one session after the other.

    realm: its name. registered: whether the server shows them events.
    """

    def __init__(self, work: Work, timeout: float, join: Callable[[], Realm]) -> None:
        """timeout: seconds after which the server asks again (`reducer.timeout`).

        join: returns a realm that has not begun to connect.
        """
        self.realm = work.realm
        self.webhooks = work.webhooks
        self._join = join
        self._timeout = timeout
        self._pools = [FunctionPool(one) for one in work.functions]
        self._wanted = [
            *(_of_function(pool) for pool in self._pools),
            *(_of_webhook(one) for one in work.webhooks),
        ]
        self._backoff = Backoff(random.random, FIRST, MOST)
        self._present: Realm | None = None
        self._all_registered = False

    @property
    def registered(self) -> bool:
        """Whether the server shows events."""
        present = self._present
        return self._all_registered and present is not None and present.session != 0

    @property
    def hangs(self) -> str:
        """The function that has not come to an end long after it was asked again; "": none."""
        patience = 2 * self._timeout + LOOK
        return next((pool.name for pool in self._pools if pool.hangs(patience)), "")

    @property
    def failing(self) -> list[str]:
        """The names of webhooks whose targets do not work."""
        return [one.name for one in self.webhooks if one.state is not State.WELL]

    async def run(self) -> None:
        """Serve until canceled."""
        try:
            while True:
                try:
                    await self._serve()
                except Failure as error:
                    why = {"process": "worker", "realm": self.realm, "reason": error.sentence}
                    _log.warning("not_connected", extra={"fox": why})
                await asyncio.sleep(self._backoff.next())
        finally:
            for pool in self._pools:
                pool.stop()
            for webhook in self.webhooks:
                await webhook.close()

    async def _serve(self) -> None:
        """Serve until the router ends one of the registrations. Raises Failure."""
        realm = self._present = self._join()
        try:
            await realm.start()
            registrations = [await _register(realm, one) for one in self._wanted]
            self._all_registered = True
            self._backoff.reset()
            await _any_over(realm, registrations)
        finally:
            self._all_registered = False
            await realm.stop()


def _of_function(pool: FunctionPool) -> Wanted:
    reducer = pool.reducer
    options: dict[str, Any] = {
        "match": reducer.match,
        "durable": reducer.function,
        "concurrency": reducer.concurrency,
    }
    if reducer.destination:
        options["mission"] = reducer.destination
    return Wanted(reducer.pattern, pool.reduce, options)


def _of_webhook(webhook: Webhook) -> Wanted:
    settings = webhook.settings
    options = {
        "match": settings.match,
        "webhook": settings.name,
        "concurrency": settings.concurrency,
    }
    return Wanted(settings.topic, webhook.post, options)


async def _register(realm: Realm, wanted: Wanted) -> Registration:
    return await realm.register(
        wanted.pattern, wanted.function, reducer=True, invoke="roundrobin", **wanted.options
    )


async def _any_over(realm: Realm, registrations: list[Registration]) -> None:
    """Return when a registration, or the client, has ended for good."""
    waits = [asyncio.create_task(one.is_over.wait()) for one in registrations]
    try:
        while not (realm.over or any(one.done() for one in waits)):
            await asyncio.wait(waits, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()
