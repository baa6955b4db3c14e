"""The chat's back end: the page, WAMP at /live, and what only the server may do, at one port.

    .venv/bin/uvicorn --app-dir examples/chat server:app

The whole message server runs inside (`FoxRouter`). To use several workers, run `fox run` beside
them and write `FoxRouter(attach=…)`: nothing else changes.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles

from fox_shard import FoxRouter, Refused
from fox_shard.client import CallDetails

HERE = Path(__file__).parent
WELCOME = {
    "author": "chat",
    "text": "Welcome! Open this page in a second window, and talk to yourself.",
}

# websockets logs at INFO what clients send.
logging.getLogger("websockets").setLevel(logging.WARNING)

router = FoxRouter(HERE / "conf" / "fox.toml")


@asynccontextmanager
async def lifespan(application: Starlette) -> AsyncIterator[None]:
    """Let the router run as long as the web server; give it a first thread, and a procedure."""
    async with router.lifespan(application):
        chat = router.realm("chat")

        async def remove(thread: str, message: str, *, details: CallDetails) -> None:
            """Delete a message, for the session that holds the moderator's lock."""
            moderators = [key.value["session"] async for key in chat.keys("moderator")]
            if details.caller not in moderators:
                raise Refused("chat.error.not_moderator", "Only the moderator may delete messages.")
            await chat.publish(f"message.{thread}.{message}", acknowledge=True)  # empty: deletes

        await chat.register("chat.remove", remove, details=True, disclose_caller=True)
        first = {"thread": "hall", "id": "welcome-1", "at": int(time.time() * 1000), **WELCOME}
        await chat.publish("thread.hall", [{"title": "Hall"}], retain=True, acknowledge=True)
        await chat.publish("message", kwargs=first, acknowledge=True)
        yield


app = Starlette(
    lifespan=lifespan,
    routes=[
        WebSocketRoute("/live", router.wamp),
        Mount("/", StaticFiles(directory=HERE / "dist", html=True)),
    ],
)
