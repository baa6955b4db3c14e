"""The dashboard: one page, whose files are part of this package.

Owns: the files, and what browsers are told to let them do. Never: what the page shows, which it
gets by WAMP at `ws` and from `api/status`. All addresses in the page are relative, so the page also
works where the application is mounted below a path.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from fox_shard.version import __version__
from fox_shard.web.problems import root_of

Endpoint = Callable[[Request], Awaitable[Response]]

PAGE: Final = "index.html"

MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""By the ends of names; other files of the folder are not served."""

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    # An updated server has an updated page: browsers ask each time, and mostly get 304.
    "cache-control": "no-cache",
}
"""Of each file: nothing inline, nothing from elsewhere, in no frame."""


def dashboard_routes(realm: str) -> list[BaseRoute]:
    """Return the routes of the page, at `/`, and of its files, below `/dashboard`.

    realm: that the page joins, unless somebody chooses another one.
    """
    settings = msgspec.json.encode({"realm": realm, "version": __version__})
    routes: list[BaseRoute] = [
        Route("/dashboard/settings.json", _endpoint(settings, "application/json"))
    ]
    for path, file in _files(files(__name__), ""):
        media_type = MEDIA_TYPES.get(path.rpartition(".")[2])
        if media_type is not None:
            endpoint = _endpoint(file.read_bytes(), media_type)
            is_page = path == PAGE
            address = "/" if is_page else f"/dashboard/{path}"
            routes.append(Route(address, _with_slash(endpoint) if is_page else endpoint))
    return routes


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def _with_slash(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint of the page, whose relative addresses need a slash at the end of its own.

    Litestar's mounts are for their path without the slash, too.
    """

    async def serve(request: Request) -> Response:
        sent: bytes = request.scope.get("raw_path") or b"/"
        if not sent.partition(b"?")[0].endswith(b"/"):
            return RedirectResponse(f"{root_of(request)}/")
        return await endpoint(request)

    return serve


def _endpoint(content: bytes, media_type: str) -> Endpoint:
    headers = {**HEADERS, "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def serve(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return serve
