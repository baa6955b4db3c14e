"""The procedures of one realm on one shard.

Owns: which callees have registered what, which of them is next, and which calls wait. Never:
sending frames.
"""

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from typing import final

from fox_shard.backplane.frames import CONTINUES, Call
from fox_shard.backplane.random_source import RandomSource
from fox_shard.shard.links.peer import Peer
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie


@final
class Callee:
    """One session's registration for one procedure.

    place: its number in the order of registration. running: its invocations by id. retired: once
    the registration has ended, the callees of the session that may still answer; None: it lasts.
    """

    __slots__ = (
        "concurrency",
        "peer",
        "place",
        "procedure",
        "reroutes",
        "retired",
        "running",
        "session",
    )

    def __init__(
        self,
        peer: Peer,
        session: int,
        procedure: "Procedure",
        concurrency: int,
        *,
        reroutes: bool = False,
    ) -> None:
        """concurrency: the most invocations that run at once; 0: no limit. reroutes: it may answer
        that it is not available, so that another callee is asked.
        """
        self.reroutes = reroutes
        self.peer = peer
        self.session = session
        self.procedure = procedure
        self.concurrency = concurrency
        self.place = 0
        self.running: dict[int, PendingCall] = {}
        self.retired: dict[Callee, None] | None = None

    def begin(self, pending: "PendingCall") -> None:
        """Note that the invocation runs here."""
        self.running[pending.id] = pending
        if len(self.running) == self.concurrency:
            self.procedure.callees.is_full(self)

    def end(self, pending: "PendingCall") -> None:
        """Note that the invocation is over."""
        del self.running[pending.id]
        if self.retired is not None:
            if not self.running:
                del self.retired[self]
        elif len(self.running) == self.concurrency - 1:
            self.procedure.callees.has_room(self)


@final
class Callees:
    """The callees of one procedure, in the order of registration.

    There may be many thousands, most of them busy, so those with room are kept apart.
    """

    __slots__ = ("_by_place", "_by_session", "_free", "_last", "_places")

    def __init__(self) -> None:
        self._by_session: dict[int, Callee] = {}
        self._by_place: dict[int, Callee] = {}
        # Places of the callees that have room, ascending.
        self._free: list[int] = []
        # The place of the callee that was chosen last, and the highest place ever given.
        self._last = self._places = 0

    def __len__(self) -> int:
        return len(self._by_place)

    def __iter__(self) -> Iterator[Callee]:
        return iter(self._by_place.values())

    def of(self, session: int) -> Callee | None:
        """Return the session's callee; None: it has none."""
        return self._by_session.get(session)

    def add(self, callee: Callee) -> None:
        """Add a callee without invocations, of a session that has none here."""
        self._places += 1
        callee.place = self._places
        self._by_place[callee.place] = callee
        self._by_session[callee.session] = callee
        self._free.append(callee.place)

    def remove(self, callee: Callee) -> None:
        """Remove a callee, whose invocations may go on."""
        del self._by_place[callee.place]
        del self._by_session[callee.session]
        if not callee.concurrency or len(callee.running) < callee.concurrency:
            self.is_full(callee)

    def is_full(self, callee: Callee) -> None:
        """Note that the callee, which had room, has none any more."""
        del self._free[bisect_left(self._free, callee.place)]

    def has_room(self, callee: Callee) -> None:
        """Note that the callee, which had no room, has some again."""
        insort(self._free, callee.place)

    def choose(self, invoke: str, rng: RandomSource, tried: tuple[int, ...] = ()) -> Callee | None:
        """Return the callee for the next call by the policy (WAMP #rpc-shared-registration).

        tried: places of callees that count as absent (WAMP #rpc-call-rerouting). None: no callee
        has room.
        """
        free = self._free
        skipped = self._indexes(tried)
        count = len(free) - len(skipped)
        if not count:
            return None
        match invoke:
            case "last":
                index = count - 1
            case "random":
                index = rng.randrange(0, count)
            case "roundrobin":
                following = bisect_right(free, self._last)
                index = (following - sum(one < following for one in skipped)) % count
            case _:
                index = 0
        for one in skipped:
            if one <= index:
                index += 1
        place = free[index]
        if invoke == "roundrobin":
            self._last = place
        return self._by_place[place]

    def _indexes(self, places: tuple[int, ...]) -> list[int]:
        """Return at which indexes of `_free` these places are, ascending, as far as they are."""
        free = self._free
        found = ((bisect_left(free, place), place) for place in sorted(places))
        return [index for index, place in found if free[index : index + 1] == [place]]


@final
class PendingCall:
    """A call that is running at a callee, or waits for one.

    waiting: the call with its arguments, until a callee has it; None from then on. more: further
    parts of a progressive call that wait behind it. open: further parts follow. through: the shard
    through which they come; None: from the gateway. copy: the call, if it may go to another callee.
    tried: places of callees that were not available. due: when it times out, by the clock of `now`;
    0: never.
    """

    __slots__ = (
        "answered",
        "callee",
        "copy",
        "due",
        "flags",
        "id",
        "more",
        "open",
        "peer",
        "procedure",
        "request",
        "session",
        "through",
        "timeout",
        "tried",
        "waiting",
    )

    def __init__(
        self,
        id_: int,
        peer: Peer,
        call: Call,
        procedure: "Procedure",
        through: Peer | None = None,
    ) -> None:
        """id_: the invocation's number. peer: the caller's gateway."""
        self.id = id_
        self.peer = peer
        self.session = call.session
        self.request = call.request
        self.flags = call.flags
        self.timeout = call.timeout
        self.waiting: Call | None = call
        self.more: list[Call] | None = None
        self.open = bool(call.flags & CONTINUES)
        self.through = through
        self.copy: Call | None = None
        self.tried: tuple[int, ...] = ()
        self.procedure = procedure
        self.callee: Callee | None = None
        self.answered = False
        self.due = 0.0


@final
class Procedure:
    """A procedure, exact or by pattern, with its callees.

    number: its place in the order in which the realm's procedures were added. created: seconds
    since 1970.
    """

    __slots__ = (
        "callees",
        "created",
        "invoke",
        "number",
        "pattern",
        "queue",
        "realm",
        "registration",
    )

    def __init__(
        self, realm: str, pattern: Pattern, registration: int, invoke: str, created: float
    ) -> None:
        self.number = 0
        self.created = created
        self.realm = realm
        self.pattern = pattern
        self.registration = registration
        self.invoke = invoke
        self.callees = Callees()
        # Invocation id -> waiting call, in the order of arrival.
        self.queue: OrderedDict[int, PendingCall] = OrderedDict()

    def choose(self, rng: RandomSource, tried: tuple[int, ...] = ()) -> Callee | None:
        """Return the callee for the next call; None: no callee has room. See `Callees.choose`."""
        return self.callees.choose(self.invoke, rng, tried)


@final
class Procedures:
    """The procedures of one realm on one shard, and the pattern registrations of all shards."""

    __slots__ = ("_added", "_announced", "_patterns", "by_id", "by_text", "exact")

    def __init__(self) -> None:
        self.exact: dict[str, Procedure] = {}
        self.by_text: dict[str, Procedure] = {}
        # In the order of `Procedure.number`.
        self.by_id: dict[int, Procedure] = {}
        self._added = 0
        # All pattern registrations of all shards, this one's included: text -> pattern.
        self._announced: dict[str, Pattern] = {}
        self._patterns: Trie[Pattern] = Trie()

    def add(self, procedure: Procedure) -> None:
        """Add a procedure of this shard."""
        pattern = procedure.pattern
        self._added += 1
        procedure.number = self._added
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
