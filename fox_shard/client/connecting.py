"""Connecting a program with asyncio to a router.

Owns: what `connect` is told. Never: what happens in the realm.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fox_shard.client.backoff import Backoff
from fox_shard.client.core import ClientCore
from fox_shard.client.engine import Engine
from fox_shard.client.login import Certificate, Login
from fox_shard.client.password import login_at
from fox_shard.client.realm import Realm
from fox_shard.client.tls import SYSTEM, Tls
from fox_shard.client.websocket import dial_of

PATIENCE: Final = 20.0
"""Seconds of silence after which a connection counts as lost."""

BUFFER: Final = 1 << 20
"""Bytes that may wait for the readers of a client."""


@asynccontextmanager
async def connect(
    url: str,
    realm: str,
    *,
    user: str | None = None,
    password: str = "",
    login: Login | None = None,
    tls: Tls = SYSTEM,
    patience: float = PATIENCE,
    buffer: int = BUFFER,
) -> AsyncIterator[Realm]:
    """Be in a realm during a block: `async with connect("ws://…/ws", "realm1") as realm:`.

    url: ws://…, wss://… or unix:/path. user, password: who logs in, without telling the password
    if there is no TLS (see `login_at`); login: another way to do so (see `login`, `password`);
    neither: the user of the certificate in `tls`, or else an anonymous client.
    patience: seconds of silence after which the connection counts as lost. buffer: bytes that may
    wait for the program's readers, before no more is read from the connection.

    Raises Unreachable if the first connection fails. Later ones are tried until the block ends.
    """
    if user is not None:
        login = login_at(url, user, password)
    elif login is None and tls.certificate:
        login = Certificate()
    core = ClientCore(realm, login, random.random)
    engine = Engine(core, dial_of(url, tls, patience), Backoff(random.random), buffer)
    joined = Realm(engine)
    await joined.start()
    try:
        yield joined
    finally:
        await joined.stop()
