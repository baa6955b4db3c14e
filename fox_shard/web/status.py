"""How the server is: `GET /api/status`, for administrators.

Owns: who may know it, and the form of the answer. Never: how processes are asked.

An administrator is who may call `fox.status`: everybody in a realm without roles, and otherwise
whom a rule allows it. What concerns other realms is shown to administrators of the configured realm
only.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.histogram import BOUNDS
from fox_shard.version import __version__
from fox_shard.web.context import context_of
from fox_shard.web.problems import Problem
from fox_shard.web.reading import answered, parameters, visitor_of

STATUS: Final = "fox.status"


class ProcessSource(Protocol):
    """Whoever can ask the processes how they are."""

    async def processes(self) -> list[dict[str, Any]]:
        """Return the health of each process: at least `name` and `status`."""


class Process(Struct, frozen=True, omit_defaults=True):
    """One process.

    cores: the share of a core that it uses. memory: bytes. links: names of processes that it is not
    linked to. age: seconds since its metrics were reported, which are counters and histograms since
    its start (see `histogram`) and gauges, by name; those of a realm are in `realms`. about: what
    else its health says.
    """

    name: str
    status: str
    pid: int = 0
    cores: float | None = None
    memory: int = 0
    unlinked: list[str] = []
    age: float | None = None
    counters: dict[str, int] = {}
    gauges: dict[str, int] = {}
    histograms: dict[str, list[int]] = {}
    realms: dict[str, dict[str, int]] = {}
    about: dict[str, Any] = {}


class Status(Struct, frozen=True):
    """The whole server. at: seconds since 1970. bounds: of histograms (see `histogram`)."""

    version: str
    at: float
    realm: str
    processes: list[Process]
    bounds: tuple[float, ...] = BOUNDS


async def status(request: Request) -> Response:
    """Return the state of all processes."""
    context = context_of(request)
    source: ProcessSource | None = request.app.state.processes
    found = parameters(request, ("realm",))
    realm = found.get("realm") or context.limits.realm
    if source is None:
        raise Problem(404, "This server does not tell how its processes are.")
    await check_administrator(request, realm)
    only = None if realm == context.limits.realm else realm
    processes = [process_of(one, only) for one in await source.processes()]
    return answered(Status(__version__, context.wall(), realm, processes))


async def check_administrator(request: Request, realm: str) -> None:
    """Raise Refused or Problem unless the visitor is an administrator of the realm."""
    async with context_of(request).sessions.shared(await visitor_of(request, realm)) as session:
        await session.call(STATUS, [], {}, {})


def process_of(health: Mapping[str, Any], only: str | None = None) -> Process:
    """Return what is told of a process. only: the realm whose numbers are told; None: all."""
    about = dict(health)
    name = about.pop("name")
    links: dict[str, bool] = about.pop("links", {})
    metrics: dict[str, Any] = about.pop("metrics", {})
    realms: dict[str, dict[str, int]] = metrics.get("realms", {})
    if only is not None:
        realms = {realm: counters for realm, counters in realms.items() if realm == only}
    return Process(
        name=name,
        status=about.pop("status"),
        pid=about.pop("pid", 0),
        cores=about.pop("cores", None),
        memory=about.pop("memory", 0),
        unlinked=[peer for peer, up in links.items() if not up],
        age=metrics.get("age"),
        counters=metrics.get("counters", {}),
        gauges=metrics.get("gauges", {}),
        histograms=metrics.get("histograms", {}),
        realms=realms,
        about=about,
    )
