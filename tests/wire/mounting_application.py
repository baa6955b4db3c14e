"""A web application that has a whole router in its process, to be run by uvicorn.

Its settings are those of `fox serve`: FOX_CONFIG, and the FOX_ variables.
"""

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from fox_shard import FoxRouter

router = FoxRouter()


async def block(request: Request) -> PlainTextResponse:
    """Hold the event loop, as an application should not."""
    time.sleep(float(request.query_params["seconds"]))  # noqa: ASYNC251
    return PlainTextResponse("done")


app = Starlette(
    lifespan=router.lifespan,
    routes=[
        Route("/block", block),
        WebSocketRoute("/wss", router.wamp),
        Mount("/wss", router.wamp),
        WebSocketRoute("/mqtt", router.mqtt),
        Mount("/fox", router.web),
    ],
)
