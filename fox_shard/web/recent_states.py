"""How the server was in the last minutes: `GET /api/status/recent`, for administrators.

Owns: how many states are kept, and what of them. Never: how processes are asked; rates, which
whoever draws them computes (see `dashboard/status.js`).

So a page that has just been opened shows what was before. The states are in memory only, and
bounded in bytes, because realms may be many.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NoReturn, final

from msgspec import Struct, json
from starlette.requests import Request
from starlette.responses import Response

from fox_shard.histogram import BOUNDS
from fox_shard.web.context import context_of
from fox_shard.web.problems import Problem
from fox_shard.web.reading import answered, number, parameters
from fox_shard.web.status import Process, ProcessSource, check_administrator, process_of

PERIOD: Final = 10.0
"""Seconds between two states."""

SPAN: Final = 300.0
"""Seconds for which a state is kept: as much as the dashboard's charts show."""

MOST_BYTES: Final = 1 << 20
"""Bytes of all states, as JSON. If they are more, fewer are kept."""

LATEST_TIME: Final = 1 << 40
"""The greatest `after`."""


class State(Struct, frozen=True):
    """The processes at one time. at: seconds since 1970."""

    at: float
    processes: list[Process]


class Recent(Struct, frozen=True):
    """The states, the oldest first. bounds: of histograms (see `histogram`)."""

    states: list[State]
    bounds: tuple[float, ...] = BOUNDS


@final
class RecentStates:
    """The states of the last minutes. bytes: how long all of them are as JSON."""

    def __init__(self, source: ProcessSource, wall: Callable[[], float]) -> None:
        """wall: the time in seconds since 1970."""
        self._source = source
        self._wall = wall
        self._states: deque[tuple[State, int]] = deque()
        self.bytes = 0

    async def keep_on(self) -> NoReturn:
        """Note the state again and again."""
        while True:
            # The other processes, or parts, have just been started, too.
            await asyncio.sleep(PERIOD)
            await self.look()

    async def look(self) -> None:
        """Note how the processes are now."""
        processes = [_condensed(one) for one in await self._source.processes()]
        self._add(State(self._wall(), processes))

    def after(self, at: float, only: str | None = None) -> list[State]:
        """Return the states of later times. only: the realm whose numbers are told; None: all."""
        found = [state for state, _ in self._states if state.at > at]
        return found if only is None else [_of_realm(state, only) for state in found]

    def _add(self, state: State) -> None:
        length = len(json.encode(state))
        self._states.append((state, length))
        self.bytes += length
        while self._states and self._is_too_much(state.at):
            _, dropped = self._states.popleft()
            self.bytes -= dropped

    def _is_too_much(self, now: float) -> bool:
        oldest, _ = self._states[0]
        return self.bytes > MOST_BYTES or now - oldest.at > SPAN


def _condensed(health: dict[str, object]) -> Process:
    """Return what rates, load and events are made of."""
    whole = process_of(health)
    return Process(
        name=whole.name,
        status=whole.status,
        pid=whole.pid,
        cores=whole.cores,
        memory=whole.memory,
        age=whole.age,
        counters=whole.counters,
        histograms=whole.histograms,
        realms=whole.realms,
    )


def _of_realm(state: State, realm: str) -> State:
    def told(one: Process) -> Process:
        fields: Iterable[str] = Process.__struct_fields__
        values = {name: getattr(one, name) for name in fields}
        realms = {realm: one.realms[realm]} if realm in one.realms else {}
        return Process(**{**values, "realms": realms})

    return State(state.at, [told(one) for one in state.processes])


async def recent(request: Request) -> Response:
    """Return the states that are kept."""
    states: RecentStates | None = request.app.state.recent_states
    found = parameters(request, ("realm", "after"))
    after = number(found, "after", 0, 0, LATEST_TIME)
    if states is None:
        raise Problem(404, "This server does not tell how its processes are.")
    limits = context_of(request).limits
    realm = found.get("realm") or limits.realm
    await check_administrator(request, realm)
    return answered(Recent(states.after(after, None if realm == limits.realm else realm)))
