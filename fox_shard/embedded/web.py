"""HTTP at a path of an ASGI application: what the process `web` serves, in one process.

Owns: the sessions of visitors, at the gateway in this process, and when streams end. Never: routes
(see `fox_shard.web`); HTTP itself, which the web server speaks.
"""

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from starlette.types import Receive, Scope, Send

from fox_shard.backplane.attached import is_attached
from fox_shard.client.failures import CannotConnect
from fox_shard.client.transport import Transport
from fox_shard.config import Address, Config, Listener
from fox_shard.coordinator.totals import ProcessTotals
from fox_shard.embedded.asgi import WAMP, WebSocketApplication, as_reason
from fox_shard.embedded.entrance import Clients, Closed, let_in, open_gateway
from fox_shard.embedded.handing_over import NotHandedOver, ask
from fox_shard.embedded.junction_sampler import frame_source
from fox_shard.embedded.local_transport import LocalTransport, Origin
from fox_shard.embedded.mount_paths import with_whole_path
from fox_shard.embedded.server_end import is_server_stopping
from fox_shard.gateway.clients.access import UNIX, Access, is_loopback
from fox_shard.gateway.clients.web_user import WebUser
from fox_shard.runtime.core_share import PERIOD, CoreShare
from fox_shard.runtime.health import ROUTER, process_names
from fox_shard.runtime.memory import resident_bytes
from fox_shard.runtime.metrics_token import read_token
from fox_shard.runtime.server_metrics import metrics_page
from fox_shard.runtime.signing_keys import read_signing_keys
from fox_shard.runtime.web_limits import limits_of
from fox_shard.web import WebApp, make_app
from fox_shard.web.pool import Pool
from fox_shard.web.problems import AGAIN, Problem
from fox_shard.web.room import LONG, Hold, Room
from fox_shard.web.router import Router
from fox_shard.web.sessions import Visitor

TRY_LATER: Final = 1013
"""The code with which a WebSocket is closed (IANA's list)."""

NAME: Final = "web"

LOOK: Final = 0.25
"""Seconds between two looks whether the web server is stopping, while it has requests here."""

ACCESS: Final = Access(listener=Listener(protocol="websocket", address=Address("web", 0)))


class _Served(NamedTuple):
    """What there is while the router runs."""

    app: WebApp
    pool: Pool
    sampling: "asyncio.Task[None]"


@final
class _Parts:
    """A `ProcessSource`: the parts of this process. Its load and memory are those of the first."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._share = CoreShare(time.monotonic(), time.process_time())
        self._sampled = time.monotonic()

    async def processes(self) -> list[dict[str, Any]]:
        """Return the health of each part; nothing before the router has started."""
        now, used = time.monotonic(), time.process_time()
        if now - self._sampled >= PERIOD:
            self._sampled = now
            self._share.sample(now, used)
        answers = self._clients.health_answers
        parts = [{**answer(), "pid": os.getpid()} for answer in answers.values()]
        if not parts:
            return parts
        first = next((one for one in parts if one["name"] == ROUTER), parts[0])
        first.update(cores=self._share.value(now, used), memory=resident_bytes())
        return parts


@final
class _CountedTransport:
    """A `Transport` whose long messages are handed out when there is room for them."""

    def __init__(self, transport: LocalTransport, room: Room, address: str) -> None:
        self._transport = transport
        self._room = room
        self._address = address
        self._hold: Hold | None = None

    @property
    def longest(self) -> float:
        """Bytes of the longest message that the gateway takes."""
        return self._transport.longest

    async def send(self, data: bytes) -> None:
        """Send a message. Raises ConnectionLost."""
        await self._transport.send(data)

    async def receive(self) -> bytes:
        """Wait for the next message and return it. Raises ConnectionLost."""
        self._give_back()
        data = await self._transport.receive()
        if len(data) > LONG:
            self._hold = await self._room.hold(self._address, len(data))
        return data

    async def close(self) -> None:
        """Close the connection."""
        self._give_back()
        await self._transport.close()

    def _give_back(self) -> None:
        if self._hold is not None:
            self._hold.give_back()
            self._hold = None


@final
class WebApplication:
    """An ASGI application for the scope `http`, to be mounted at a path of your choice."""

    def __init__(self, clients: Clients, address: Address | None = None) -> None:
        """address: where it is served; None: the web server says so of each request."""
        self._clients = clients
        self._is_local = None if address is None else is_loopback(address.host)
        self._served: _Served | None = None
        # Requests that are under way, and whether it is looked at from time to time.
        self._requests = 0
        self._looking = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            raise NotImplementedError(f"There is only HTTP here, nothing for {scope['type']}.")
        served = self._served
        if served is None or self._clients.gateway is None:
            await _answer_absent(self._clients.absence, scope, receive, send)
            return
        self._requests += 1
        self._look_later()
        try:
            await served.app(with_whole_path(scope), receive, send)
        finally:
            self._requests -= 1

    # The life of the router

    def open(self, config: Config) -> None:
        """Begin to answer. Raises StartError."""
        web = config.web
        keys = read_signing_keys(web.keys)
        longest = config.gateway.max_message_size
        router = Router(self._dial, random.random, web.stream_bytes, longest)
        pool = Pool(router.open, most=web.max_sessions, idle=web.session_idle, age=web.session_age)
        token = read_token(config.metrics.token)
        processes = [name for name in process_names(config) if name != NAME]
        app = make_app(
            pool,
            limits_of(config, is_local=self._is_local),
            keys=keys,
            processes=_Parts(self._clients),
            frames=frame_source(self._clients.observe, Path(config.run_dir)),
            wamp=WebSocketApplication(self._clients, WAMP),
            metrics=metrics_page(config, token, processes, self._counted),
            user_of=None if self._clients.user_of is None else self._user,
        )
        assert app.recent_states is not None
        sampling = asyncio.create_task(app.recent_states.keep_on())
        self._served = _Served(app, pool, sampling)
        # A router that starts again may have another event loop.
        self._requests, self._looking = 0, False

    def end_streams(self) -> None:
        """End all event streams, and begin no others."""
        if self._served is not None:
            self._served.app.end_streams()

    async def close(self) -> None:
        """Answer no more, and end all sessions."""
        served, self._served = self._served, None
        if served is not None:
            served.sampling.cancel()
            served.app.end_streams()
            await served.pool.close()

    @property
    def room(self) -> Room | None:
        """Of the long messages of all clients; None: it does not run."""
        return None if self._served is None else self._served.app.room

    @property
    def health(self) -> dict[str, int]:
        """How many sessions and event streams there are."""
        if self._served is None:
            return {}
        return {"sessions": len(self._served.pool), "streams": self._served.app.streams}

    def _counted(self) -> dict[str, ProcessTotals]:
        """Return what there is of HTTP; nothing beside a server with a process `web` of its own."""
        gateway = self._clients.gateway
        if gateway is None or is_attached(gateway.name):
            return {}
        return {NAME: ProcessTotals(gauges=self.health)}

    async def _user(self, scope: Scope) -> WebUser | None:
        """Return the user of a request; None: nobody has logged in. Raises Problem."""
        user_of = self._clients.user_of
        if user_of is None:
            return None
        try:
            patience = open_gateway(self._clients).settings.handshake_timeout
            return await ask(user_of, scope, patience)
        except NotHandedOver as error:
            raise Problem(500, str(error)) from error
        except Closed as closed:
            raise Problem(503, str(closed), headers=AGAIN) from closed

    async def _dial(self, visitor: Visitor) -> Transport:
        """Connect to the gateway on behalf of a visitor. Raises CannotConnect."""
        host = visitor.address or UNIX
        try:
            left = let_in(open_gateway(self._clients), host)
        except Closed as closed:
            raise CannotConnect(str(closed)) from closed
        # What is read, but not taken by the visitor, is not the gateway's, as in the process `web`.
        origin = Origin(f"{host}:0", _access_of(visitor))
        local = LocalTransport(self._clients.connect, lambda: 0, origin, left)
        return (
            local if self._served is None else _CountedTransport(local, self._served.app.room, host)
        )

    # Whether the web server is stopping

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        self._looking = False
        if is_server_stopping():
            self.end_streams()
        elif self._requests:
            self._look_later()


def _access_of(visitor: Visitor) -> Access:
    if not visitor.role:
        return ACCESS
    expires = visitor.expires or None
    user = WebUser(authid=visitor.name, role=visitor.role, realm=visitor.realm, expires=expires)
    return Access(listener=ACCESS.listener, web_user=user)


async def _answer_absent(sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request while the router does not run."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": TRY_LATER, "reason": as_reason(sentence)})
    else:
        await Problem(503, sentence, headers=AGAIN).response()(scope, receive, send)
