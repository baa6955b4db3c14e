"""The ASGI application.

Owns: its routes, and what stands before and behind them. Never: sockets, processes, where sessions
come from.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from fox_shard.client.failures import Failure
from fox_shard.web import openapi
from fox_shard.web.bodies import Endpoint, releasing
from fox_shard.web.context import Context, Limits, UserOf
from fox_shard.web.dashboard import dashboard_routes
from fox_shard.web.events import Streams
from fox_shard.web.frames import FrameSource
from fox_shard.web.metrics import MetricsPage
from fox_shard.web.operations import OPERATIONS
from fox_shard.web.origins import OriginCheck
from fox_shard.web.problems import Problem, answer, root_of
from fox_shard.web.reading import answered
from fox_shard.web.recent_states import RecentStates
from fox_shard.web.room import Room
from fox_shard.web.sessions import Sessions
from fox_shard.web.signatures import Signatures, SigningKey
from fox_shard.web.status import ProcessSource

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
"""Of the page: it loads nothing."""


@final
class WebApp:
    """The application, whose streams can be ended."""

    def __init__(self, app: Starlette, limits: Limits) -> None:
        self._app = OriginCheck(app, limits.origins, is_local=limits.is_local)
        self._streams: Streams = app.state.streams
        # None: nobody is told how the processes are.
        self.recent_states: RecentStates | None = app.state.recent_states
        self.room: Room = app.state.context.room
        """Of the long messages of all its clients."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    @property
    def streams(self) -> int:
        """How many event streams there are."""
        return len(self._streams)

    def end_streams(self) -> None:
        """End all event streams, and begin no others."""
        self._streams.ending.set()


def make_app(
    sessions: Sessions,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
    keys: Iterable[SigningKey] = (),
    processes: ProcessSource | None = None,
    frames: FrameSource | None = None,
    wamp: ASGIApp | None = None,
    metrics: MetricsPage | None = None,
    user_of: UserOf | None = None,
) -> WebApp:
    """Return the application. wall: the time in seconds since 1970. keys: of signed requests.

    processes: tells how they are; None: nobody is told. frames: looks at what they send each other;
    None: nobody can. wamp: serves WebSockets at `/ws`; None: there are none, and the dashboard
    cannot connect. metrics: the answers at `/metrics`; None: there are none. user_of: tells who the
    web application has authenticated; None: nobody does.
    """
    limits = limits or Limits()
    context = Context(sessions, limits, wall, Signatures(keys), user_of)
    app = Starlette(
        routes=[
            *_routes(context),
            Route("/api/openapi.json", _openapi),
            Route("/api/docs", _docs),
            *dashboard_routes(limits.realm),
            *_websocket(wamp),
            *([Route("/metrics", metrics.answer)] if metrics is not None else []),
        ],
        exception_handlers={
            Problem: answer,
            Failure: answer,
            HTTPException: answer,
            Exception: answer,
        },
    )
    app.router.redirect_slashes = False
    app.state.context = context
    app.state.processes = processes
    app.state.recent_states = RecentStates(processes, wall) if processes is not None else None
    app.state.frames = frames
    app.state.streams = Streams(limits.streams, limits.streams_per_address)
    return WebApp(app, limits)


def _routes(context: Context) -> list[Route]:
    """Return a route for each path, whose methods the answer 405 has to name all of."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for one in OPERATIONS:
        endpoint = releasing(context.bodies, context.limits.slow_timeout, one.carry_out)
        paths.setdefault(one.path, {})[one.method] = endpoint
    return [
        Route(_pattern(path), _by_method(endpoints), methods=[*endpoints])
        for path, endpoints in paths.items()
    ]


def _by_method(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    async def carry_out(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request)

    return carry_out


def _websocket(wamp: ASGIApp | None) -> list[BaseRoute]:
    return [] if wamp is None else [WebSocketRoute("/ws", wamp)]


def _pattern(path: str) -> str:
    """Return the path as a route; the last parameter takes all that follows."""
    return path.replace("{topic}", "{topic:path}").replace("{key}", "{key:path}")


async def _openapi(request: Request) -> Response:
    return answered(openapi.description(root_of(request)))


async def _docs(request: Request) -> Response:
    page = openapi.page(root_of(request))
    return HTMLResponse(page, headers={"content-security-policy": POLICY})
