"""A web application with a router that has handlers and procedures which raise, or block.

The router is attached to the server of RUN_DIR, or else the whole server. WITHOUT_LIFESPAN: it is
mounted without its lifespan.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    """Publish the body, acknowledged."""
    topic, value = await request.json()
    publication = await router.realm("realm1").publish(topic, [value], acknowledge=True)
    return PlainTextResponse(str(publication))


async def fail(_request: Request) -> PlainTextResponse:
    """Raise what no client may read."""
    raise LookupError("the secret of the application")


async def block(request: Request) -> PlainTextResponse:
    """Hold the event loop for as many seconds."""
    time.sleep(float(request.path_params["seconds"]))  # noqa: ASYNC251 - this is what it is for
    return PlainTextResponse("over")


def broken() -> None:
    """Raise what no caller may read."""
    raise LookupError("the secret of the procedure")


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
        Route("/fail", fail),
        Route("/block/{seconds:float}", block),
        WebSocketRoute("/live", router.wamp),
        Mount("/live", router.wamp),
    ],
)
