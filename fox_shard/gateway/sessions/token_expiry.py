"""The end of sessions whose tokens expire.

Owns: when, and how many end at a time. Never: what a token is (see `auth.tokens`).

Tokens name times of day, and timers run by a clock that nobody sets. So a timer only says when to
look at the time of day, and `clock_set` that somebody has set it.
"""

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, final

from fox_shard.deadline import NEVER
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.sessions.session import Session

TOKEN_EXPIRED: Final = "fox.close.token_expired"
"""Why a session ends whose token has expired."""

ENDED: Final = 10
"""Sessions that end in one turn, as many tokens may expire together."""

SLACK: Final = 100
"""Sessions that have ended before their tokens and are remembered, besides as many as are open."""


@final
class TokenExpiry:
    """The sessions of one gateway that a token has let in."""

    __slots__ = ("_add_chore", "_clock", "_ending", "_heap", "_sessions", "_timer", "_timers")

    def __init__(
        self,
        sessions: Mapping[int, Session],
        timers: Timers,
        add_chore: Callable[[Callable[[], bool]], None],
        clock: Clock,
    ) -> None:
        """sessions: the open ones, by id."""
        self._sessions = sessions
        self._timers = timers
        self._add_chore = add_chore
        self._clock = clock
        # When each token expires, in seconds since 1970, and its session.
        self._heap: list[tuple[float, int]] = []
        # When the next timer is due, in monotonic seconds; and whether sessions are being ended.
        self._timer = NEVER
        self._ending = False

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, session: Session, expires: float) -> None:
        """End the session at that time, in seconds since 1970, unless it ends before."""
        if len(self._heap) > 2 * len(self._sessions) + SLACK:
            # As many have been added since the last time.
            self._heap = [one for one in self._heap if one[1] in self._sessions]
            heapify(self._heap)
        heappush(self._heap, (expires, session.id))
        self._set_timer()

    def clock_set(self) -> None:
        """Note that the time of day has made a step."""
        self._set_timer()

    def _set_timer(self) -> None:
        if self._heap and not self._ending:
            due = self._clock.now + self._heap[0][0] - self._clock.wall
            if due < self._timer:
                self._timer = due
                self._timers.at(due, self._due)

    def _due(self, now: float) -> None:
        if now >= self._timer:
            self._timer = NEVER
        if not self._ending:
            self._ending = True
            self._add_chore(self._end_some)

    def _end_some(self) -> bool:
        """End some of the sessions that are due; return whether there are more."""
        wall, ended = self._clock.wall, 0
        while self._heap and self._heap[0][0] <= wall:
            if ended == ENDED:
                return True
            session = self._sessions.get(heappop(self._heap)[1])
            if session is not None:
                ended += 1
                session.end(TOKEN_EXPIRED, "the token has expired")
        self._ending = False
        self._set_timer()
        return False
