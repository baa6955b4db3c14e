"""Invocations that come before their registration is confirmed.

Owns: which they are, how many there may be. Never: what becomes of them (see `registrations`).
"""

from collections import Counter
from typing import final

from fox_shard.backplane.frames import Invocation, Revoked
from fox_shard.errors import Refusal
from fox_shard.gateway.clients.limits import Limits


@final
class PendingRegistrations:
    """One session's unanswered registrations of one procedure, and what came before the answers.

    requests: the number of registrations. invocations: each with the shard it came from. size:
    their bytes. revoked: each revokes the first of the registrations that is then confirmed.
    """

    __slots__ = ("invocations", "requests", "revoked", "size")

    def __init__(self) -> None:
        self.requests = 0
        self.invocations: list[tuple[Invocation, int]] = []
        self.size = 0
        self.revoked: list[Revoked] = []


@final
class EarlyInvocations:
    """The early invocations of one gateway's sessions.

    kept: (shard, its number for the invocation) -> how many of its parts there are.
    """

    __slots__ = ("_limits", "_of_session", "kept")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Session id -> registration id -> what came before it was confirmed.
        self._of_session: dict[int, dict[int, PendingRegistrations]] = {}
        self.kept: Counter[tuple[int, int]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._of_session)

    def asked(self, session: int, registration: int) -> None:
        """Note a request to register."""
        of_session = self._of_session.setdefault(session, {})
        of_session.setdefault(registration, PendingRegistrations()).requests += 1

    def answered(self, session: int, registration: int) -> PendingRegistrations | None:
        """Note the answer to a request; return what came before it."""
        early = self.of(session, registration)
        if early is not None:
            early.requests -= 1
            if not early.requests:
                of_session = self._of_session[session]
                del of_session[registration]
                if not of_session:
                    del self._of_session[session]
        return early

    def of(self, session: int, registration: int) -> PendingRegistrations | None:
        """Return the unanswered registrations of a procedure, if there are any."""
        return self._of_session.get(session, {}).get(registration)

    def keep(self, early: PendingRegistrations, frame: Invocation, shard: int) -> Refusal | None:
        """Keep an invocation, or return why it cannot be kept."""
        limits = self._limits
        if len(early.invocations) >= limits.invocations:
            return limits.refuse("max_invocations", "unanswered invocations", limits.invocations)
        if early.size > limits.outbound:
            what = "bytes of calls that wait for its registration"
            return limits.refuse("outbound_limit", what, limits.outbound)
        self._add(early, frame, shard)
        return None

    def _add(self, early: PendingRegistrations, frame: Invocation, shard: int) -> None:
        early.invocations.append((frame, shard))
        early.size += len(frame.call.args) + len(frame.call.kwargs)
        self.kept[shard, frame.invocation] += 1

    def take(self, early: PendingRegistrations) -> list[tuple[Invocation, int]]:
        """Take out the invocations, each with its shard."""
        taken, early.invocations, early.size = early.invocations, [], 0
        for frame, shard in taken:
            self.kept[shard, frame.invocation] -= 1
            if not self.kept[shard, frame.invocation]:
                del self.kept[shard, frame.invocation]
        return taken

    def session_ended(self, session: int) -> list[tuple[Invocation, int]]:
        """Forget the session; return its invocations, each with its shard."""
        ended = self._of_session.pop(session, {}).values()
        return [one for early in ended for one in self.take(early)]

    def link_broken(self, shard: int) -> None:
        """Drop the invocations of that shard."""
        for of_session in self._of_session.values():
            for early in of_session.values():
                for frame, source in self.take(early):
                    if source != shard:
                        self._add(early, frame, source)
