"""A web application with a router that has handlers and procedures which raise, or block.

The router is attached to the server of RUN_DIR, or else the whole server. WITHOUT_LIFESPAN: it is
mounted without its lifespan. RELEASE: a file that ends what blocks.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.from_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from fox_shard import FoxRouter

router = FoxRouter(attach=os.environ.get("RUN_DIR"))


async def home(_request: Request) -> PlainTextResponse:
    """Say which worker answers."""
    return PlainTextResponse(str(os.getpid()))


async def say(request: Request) -> PlainTextResponse:
    """Publish [topic, value, options]."""
    topic, value, options = await request.json()
    publication = await router.realm("realm1").publish(topic, [value], **options)
    return PlainTextResponse(str(publication))


def say_in_thread(request: Request) -> PlainTextResponse:
    """Publish the path's value, from a thread."""
    value = request.path_params["value"]
    anyio.from_thread.run(router.realm("realm1").publish, "live.threads", [value])
    return PlainTextResponse(value)


async def fail(_request: Request) -> PlainTextResponse:
    """Raise what no client may read."""
    raise LookupError("the secret of the application")


def hold() -> None:
    """Wait until there is the file."""
    release = Path(os.environ["RELEASE"])
    release.with_suffix(".blocked").touch()
    while not release.exists():
        time.sleep(0.01)


async def block(_request: Request) -> PlainTextResponse:
    """Hold the event loop until there is the file."""
    hold()
    return PlainTextResponse("over")


def broken() -> None:
    """Raise what the caller is told."""
    raise LookupError("there is none")


@asynccontextmanager
async def lifespan(_application: Starlette) -> AsyncIterator[None]:
    """Let the router run, with its procedures, as long as the worker."""
    if "WITHOUT_LIFESPAN" in os.environ:
        yield
        return
    async with router:
        realm = router.realm("realm1")
        await realm.register("live.broken", broken, invoke="roundrobin")
        await realm.register(f"live.p{os.getpid()}.echo", lambda value: value)
        yield


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", home),
        Route("/say", say, methods=["POST"]),
        Route("/say/{value}", say_in_thread, methods=["POST"]),
        Route("/fail", fail),
        Route("/block", block),
        WebSocketRoute("/wss", router.wamp),
        Mount("/wss", router.wamp),
    ],
)
