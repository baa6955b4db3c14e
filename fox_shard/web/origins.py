"""Which web pages may send requests: Origin (RFC 6454), Host, CORS.

Owns: the check of both headers, and what pages of other origins are told. Never: users.

Every page on the web can send requests to the servers at 127.0.0.1 of whoever looks at it. Its
browser says by Origin which page it is, except for GETs of the server's own pages. A name on the
web may lead to 127.0.0.1, too, so a server that only this machine reaches must be called by a name
that always means this machine.
"""

from typing import Final, final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fox_shard.gateway.clients.access import is_loopback
from fox_shard.gateway.transports.origins import hostname, is_allowed, is_local_server
from fox_shard.web.problems import Problem

SAFE: Final = ("GET", "HEAD", "OPTIONS")

POLICY: Final = 1008
"""The code with which a WebSocket is closed (RFC 6455 7.4.1)."""

PREFLIGHT: Final = {
    "access-control-allow-methods": "GET, POST, PUT, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, If-Match, If-None-Match, "
    "Last-Event-ID",
    "access-control-max-age": "600",
}

ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "vary": "Origin",
}


@final
class OriginCheck:
    """The application behind the check.

    allowed: `gateway.allowed_origins`. is_local: see `Limits`.
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...], *, is_local: bool | None) -> None:
        self._app = app
        self._allowed = allowed
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, send)
            case "websocket" if self._problem("GET", scope) is not None:
                await send({"type": "websocket.close", "code": POLICY})  # the answer is 403
            case _:
                await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                of_answer = MutableHeaders(scope=message)
                of_answer.update(ALWAYS)
                if origin:
                    of_answer["access-control-allow-origin"] = origin
                    of_answer["access-control-expose-headers"] = "ETag, Retry-After"
            await send(message)

        if (problem := self._problem(scope["method"], scope)) is not None:
            origin = ""
            await problem.response()(scope, receive, send_with_headers)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204, headers=PREFLIGHT)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _problem(self, method: str, scope: Scope) -> Problem | None:
        """Return why the request is not answered, if it is not."""
        is_local = is_local_server(scope) if self._is_local is None else self._is_local
        headers = Headers(scope=scope)
        # Two origins are none that is allowed.
        host, origin = headers.get("host", ""), ",".join(headers.getlist("origin"))
        if is_local and not self._is_called_right(host):
            sentence = "The server is not called by this name: see gateway.allowed_origins."
            return Problem(421, sentence, parameter="Host")
        if not origin:
            # A form of another page, in a browser that keeps its origin to itself.
            crosses = headers.get("sec-fetch-site", "") in ("cross-site", "same-site")
            is_refused = crosses and method not in SAFE
        else:
            is_refused = not is_allowed(origin, host, self._allowed, is_local=is_local)
        if not is_refused:
            return None
        sentence = "Pages of this origin may not send requests: see gateway.allowed_origins."
        return Problem(403, sentence, parameter="Origin")

    def _is_called_right(self, host: str) -> bool:
        """Whether this is the name of a server that only this machine reaches."""
        if "*" in self._allowed:
            return True
        authorities = (one.partition("://")[2] for one in self._allowed)
        return is_loopback(hostname(host)) or host.lower() in (one.lower() for one in authorities)
