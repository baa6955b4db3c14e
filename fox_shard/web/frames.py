"""A short look at the frames between the processes: `GET /api/frames`, for administrators.

Owns: who may look, and what is told: kinds and numbers, topics and sessions, but no payloads.
Never: how it is looked (see `fox_shard.tap.sampling`).

The frames are those of all realms, so only administrators of the configured realm may look, as for
`web.status`.
"""

from typing import Protocol

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.web.context import context_of
from fox_shard.web.problems import Problem
from fox_shard.web.reading import answered, parameters
from fox_shard.web.status import check_administrator


class FrameCount(Struct, frozen=True):
    """How many frames of one kind a process has sent to another one."""

    process: str
    peer: str
    kind: str
    count: int


class FrameSeen(Struct, frozen=True):
    """One frame. time: seconds since 1970. problem: what cannot be read of it; "": nothing."""

    time: float
    process: str
    peer: str
    kind: str
    realm: str
    topic: str
    sessions: list[int]
    problem: str


class FrameLook(Struct, frozen=True):
    """What was seen in so many seconds. frames: the latest ones, the latest first."""

    seconds: float
    counts: list[FrameCount]
    frames: list[FrameSeen]


class FrameSource(Protocol):
    """Whoever can look at the frames."""

    async def look(self) -> FrameLook:
        """Look for a moment."""


async def look(request: Request) -> Response:
    """Return what was seen."""
    context = context_of(request)
    source: FrameSource | None = request.app.state.frames
    realm = parameters(request, ("realm",)).get("realm") or context.limits.realm
    if source is None:
        raise Problem(404, "This server does not show its frames.")
    await check_administrator(request, realm)
    if realm != context.limits.realm:
        raise Problem(403, f"Frames are those of all realms: log in to {context.limits.realm}.")
    return answered(await source.look())
