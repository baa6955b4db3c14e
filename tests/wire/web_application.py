"""A web application that has a router attached to a server, to be run by uvicorn in workers.

Each worker says in a weak key that it runs, and publishes what it is called for.
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

router = FoxRouter(attach=os.environ["RUN_DIR"])


@asynccontextmanager
async def lifespan(application: Starlette) -> AsyncIterator[None]:
    """Let the router run as long as the worker."""
    async with router.lifespan(application):
        realm, pid = router.realm("realm1"), os.getpid()

        async def publish(topic: str, value: object) -> None:
            await realm.publish(topic, [value], acknowledge=True)

        await realm.register(f"workers.p{pid}.publish", publish)
        key = f"workers.p{pid}"
        await realm.publish(key, [pid], acknowledge=True, retain=True, weak=True)
        yield


async def home(_request: Request) -> PlainTextResponse:
    """Say which worker answers."""
    return PlainTextResponse(str(os.getpid()))


async def block(request: Request) -> PlainTextResponse:
    """Hold the event loop, as an application should not."""
    time.sleep(float(request.query_params["seconds"]))  # noqa: ASYNC251
    return PlainTextResponse(str(os.getpid()))


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", home),
        Route("/block", block),
        WebSocketRoute("/live", router.wamp),
        WebSocketRoute("/mqtt", router.mqtt),
        Mount("/fox", router.web),
    ],
)
