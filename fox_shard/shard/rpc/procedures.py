"""The procedures of one realm on one shard.

Owns: which callees have registered what, which of them is next, and which calls wait. Never:
sending frames.
"""

from collections import OrderedDict
from typing import final

from fox_shard.backplane.frames import Call
from fox_shard.backplane.random_source import RandomSource
from fox_shard.shard.links.peer import Peer
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie


@final
class Callee:
    """One session's registration for one procedure. running: its invocations by id."""

    __slots__ = ("concurrency", "peer", "procedure", "running", "session")

    def __init__(self, peer: Peer, session: int, procedure: "Procedure", concurrency: int) -> None:
        """concurrency: the most invocations that run at once; 0: no limit."""
        self.peer = peer
        self.session = session
        self.procedure = procedure
        self.concurrency = concurrency
        self.running: dict[int, PendingCall] = {}

    @property
    def has_room(self) -> bool:
        """Whether the callee may get another invocation."""
        return not self.concurrency or len(self.running) < self.concurrency


@final
class PendingCall:
    """A call that is running at a callee, or waits for one.

    waiting: the call with its arguments, until a callee has it; None from then on. due: when it
    times out, by the clock of `now`; 0: never.
    """

    __slots__ = (
        "answered",
        "callee",
        "due",
        "flags",
        "id",
        "peer",
        "procedure",
        "request",
        "session",
        "timeout",
        "waiting",
    )

    def __init__(self, id_: int, peer: Peer, call: Call, procedure: "Procedure") -> None:
        """id_: the invocation's number. peer: the caller's gateway."""
        self.id = id_
        self.peer = peer
        self.session = call.session
        self.request = call.request
        self.flags = call.flags
        self.timeout = call.timeout
        self.waiting: Call | None = call
        self.procedure = procedure
        self.callee: Callee | None = None
        self.answered = False
        self.due = 0.0


@final
class Procedure:
    """A procedure, exact or by pattern, with its callees in the order of registration."""

    __slots__ = ("_next", "callees", "invoke", "pattern", "queue", "realm", "registration")

    def __init__(self, realm: str, pattern: Pattern, registration: int, invoke: str) -> None:
        self.realm = realm
        self.pattern = pattern
        self.registration = registration
        self.invoke = invoke
        self.callees: list[Callee] = []
        # Invocation id -> waiting call, in the order of arrival.
        self.queue: OrderedDict[int, PendingCall] = OrderedDict()
        self._next = 0

    def callee(self, session: int) -> Callee | None:
        """Return the session's registration; None: it has none."""
        return next((callee for callee in self.callees if callee.session == session), None)

    def choose(self, rng: RandomSource) -> Callee | None:
        """Return the callee for the next call by the policy (WAMP #rpc-shared-registration).

        None: no callee has room.
        """
        callees = self.callees
        if len(callees) == 1:
            return callees[0] if callees[0].has_room else None
        # There may be thousands of callees, so it is not looked at all of them without need.
        match self.invoke:
            case "last":
                return next((callee for callee in reversed(callees) if callee.has_room), None)
            case "random":
                return _choose_at_random(callees, rng)
            case "roundrobin":
                return self._choose_in_turn(callees)
            case _:
                return next((callee for callee in callees if callee.has_room), None)

    def _choose_in_turn(self, callees: list[Callee]) -> Callee | None:
        """Return the next callee that has room, after the last one chosen; None: none has."""
        for _ in callees:
            callee = callees[self._next % len(callees)]
            self._next += 1
            if callee.has_room:
                return callee
        return None


def _choose_at_random(callees: list[Callee], rng: RandomSource) -> Callee | None:
    """Return one of the callees that have room, each with the same probability."""
    if not callees:
        return None
    callee = rng.choice(callees)
    if callee.has_room:
        return callee
    free = [callee for callee in callees if callee.has_room]
    return rng.choice(free) if free else None


@final
class Procedures:
    """The procedures of one realm on one shard, and the pattern registrations of all shards."""

    __slots__ = ("_announced", "_patterns", "by_id", "by_text", "exact")

    def __init__(self) -> None:
        self.exact: dict[str, Procedure] = {}
        self.by_text: dict[str, Procedure] = {}
        self.by_id: dict[int, Procedure] = {}
        # All pattern registrations of all shards, this one's included: text -> pattern.
        self._announced: dict[str, Pattern] = {}
        self._patterns: Trie[Pattern] = Trie()

    def add(self, procedure: Procedure) -> None:
        """Add a procedure of this shard."""
        pattern = procedure.pattern
        self.by_text[pattern.text] = procedure
        self.by_id[procedure.registration] = procedure
        if pattern.is_exact:
            self.exact[pattern.topic] = procedure
        else:
            self.announce(pattern)

    def discard(self, procedure: Procedure) -> None:
        """Remove a procedure of this shard."""
        pattern = procedure.pattern
        del self.by_text[pattern.text]
        del self.by_id[procedure.registration]
        if pattern.is_exact:
            del self.exact[pattern.topic]
        else:
            self.withdraw(pattern)

    def announce(self, pattern: Pattern) -> None:
        """Note that the pattern has callees, here or at another shard. Idempotent."""
        if pattern.text not in self._announced:
            self._announced[pattern.text] = pattern
            self._patterns.add(pattern, pattern)

    def withdraw(self, pattern: Pattern) -> None:
        """Note that the pattern has no callees any more. Idempotent."""
        if self._announced.pop(pattern.text, None) is not None:
            self._patterns.remove(pattern, pattern)

    def announced(self) -> list[Pattern]:
        """Return the patterns that have callees at any shard."""
        return list(self._announced.values())

    def best_pattern(self, procedure: str) -> Pattern | None:
        """Return the most specific pattern for a procedure without an exact registration.

        None: no pattern matches (WAMP #rpc-pattern-based).
        """
        if not self._announced:
            return None
        matching = self._patterns.match(procedure)
        return max(matching, key=lambda pattern: pattern.specificity, default=None)
