"""Reducers of one gateway's sessions, and the events that are out at them.

Owns: which sessions are instances of which reducers, how many events each has at a time, and for
how long it may take. Never: a wire format; queues, which are the shards'.

A reducer is registered at every shard: first at the home, the shard of the pattern's text, which
decides whether it may be, and then at the others. Each shard sends as many events at once as the
instance may have; since there are several shards, some of them wait here.
"""

from collections import deque
from typing import Final, final

from fox_shard.backplane.frames import (
    Interrupt,
    NotReduced,
    Reduce,
    Reduced,
    Refused,
    Register,
    Registered,
    RegisterReducer,
    UnregisterReducer,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.refusals import call_error, refused
from fox_shard.config import Reducers as Settings
from fox_shard.errors import ProcedureAlreadyExists, Refusal, Timeout, Unavailable
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.host import Clock
from fox_shard.gateway.clients.limits import Limits
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.ids import reducer_id, webhook_id
from fox_shard.topics.pattern import Pattern

NOWHERE: Final = -1
"""In place of a shard's number: the answer is not awaited any more, but the instance is busy."""


@final
class Instance:
    """One session's registration of a reducer.

    awaited: shards that have not confirmed it; None: all have. running: INVOCATION ids. waiting:
    events for which there is no room, each with the shard it came from. serving: `_serve` is busy.
    """

    __slots__ = ("awaited", "frame", "running", "serving", "session", "waiting")

    def __init__(self, session: Session, frame: RegisterReducer) -> None:
        self.session = session
        self.frame = frame
        self.awaited: set[int] | None = set()
        self.running: set[int] = set()
        self.waiting: deque[tuple[Reduce, int]] = deque()
        self.serving = False


@final
class Running:
    """An event that is out at an instance. shard: where it came from, or NOWHERE."""

    __slots__ = ("due", "instance", "number", "shard")

    def __init__(self, instance: Instance, shard: int, number: int, due: float) -> None:
        self.instance = instance
        self.shard = shard
        self.number = number
        self.due = due


@final
class Reductions:
    """The reducers of one gateway's sessions."""

    __slots__ = (
        "_backpressure",
        "_clock",
        "_instances",
        "_limits",
        "_links",
        "_registering",
        "_running",
        "_sessions",
        "_settings",
        "_timers",
        "_timing",
    )

    def __init__(
        self,
        links: list[Link],
        sessions: dict[int, Session],
        limits: Limits,
        clock: Clock,
        timers: Timers,
        settings: Settings,
        backpressure: Backpressure,
    ) -> None:
        """links: to the shards, by number."""
        self._backpressure = backpressure
        self._clock = clock
        self._links = links
        self._sessions = sessions
        self._limits = limits
        self._timers = timers
        self._settings = settings
        # Session -> registration -> instance.
        self._instances: dict[int, dict[int, Instance]] = {}
        # (session, request) -> instance that is not confirmed by all shards.
        self._registering: dict[tuple[int, int], Instance] = {}
        # (session, INVOCATION id) -> event that is out, in the order of their times.
        self._running: dict[tuple[int, int], Running] = {}
        self._timing = False

    @property
    def idle(self) -> bool:
        """Whether every REGISTER is answered and no event is out."""
        return not (self._registering or self._running)

    def of(self, session: Session) -> dict[int, Instance]:
        """Return the session's instances by registration id."""
        return self._instances.get(session.id, {})

    # Registering

    def register(
        self,
        session: Session,
        request: int,
        pattern: Pattern,
        mission: str,
        durable: str,
        invoke: str,
        concurrency: int,
        *,
        force: bool,
        webhook: bool = False,
    ) -> None:
        """Register an instance. `registered` or `refused` answers. concurrency: 0: not said.

        webhook: see `RegisterReducer`.
        """
        realm = session.realm.name
        if webhook:
            registration = webhook_id(realm, durable)
        else:
            registration = reducer_id(realm, pattern.text, mission, durable)
        problem = self._problem(session, registration, pattern)
        if problem is not None:
            session.refused(refused(Register, session.id, request, problem))
            return
        frame = RegisterReducer(
            realm,
            session.id,
            request,
            pattern.text,
            registration,
            mission,
            durable,
            invoke,
            concurrency or self._settings.concurrency,
            force,
            replay=False,
            webhook=webhook,
        )
        instance = self._registering[session.id, request] = Instance(session, frame)
        self._instances.setdefault(session.id, {})[registration] = instance
        session.shards |= (1 << len(self._links)) - 1
        self._ask(instance, session.realm.shard_of(pattern.text))

    def _problem(self, session: Session, registration: int, pattern: Pattern) -> Refusal | None:
        """Return why the session cannot register the reducer; None: it can, for all we know."""
        mine = self.of(session)
        limit = self._limits.of(self._limits.registrations, len(pattern.text))
        if len(session.registrations or ()) + len(mine) >= limit:
            return self._limits.refuse(
                "max_registrations", "registrations", self._limits.registrations
            )
        if registration in mine:
            return ProcedureAlreadyExists("this session has registered the reducer already")
        for link in self._links:
            if not link.open:
                return Unavailable(f"{link.peer} is down: register again soon")
        return None

    def _ask(self, instance: Instance, shard: int) -> None:
        assert instance.awaited is not None
        instance.awaited.add(shard)
        self._links[shard].send(instance.frame)

    def registered(self, frame: Registered, shard: int) -> bool:
        """Note that the shard has confirmed an instance; return whether it is one of these."""
        instance = self._registering.get((frame.session, frame.request))
        if instance is None:
            return False
        assert instance.awaited is not None
        instance.awaited.discard(shard)
        if shard == instance.session.realm.shard_of(instance.frame.pattern):
            for other in range(len(self._links)):
                if other != shard:
                    self._ask(instance, other)
        if not instance.awaited:
            del self._registering[frame.session, frame.request]
            instance.awaited = None
            instance.frame.replay, instance.frame.force = True, False
            instance.session.registered(frame.request, frame.registration)
            self._serve(instance)
        return True

    def refused(self, frame: Refused) -> None:
        """Forget an instance that may not be."""
        instance = self._registering.pop((frame.session, frame.request), None)
        if instance is not None:
            # Other shards than the home may refuse a webhook, when it is known to some.
            self._withdraw(instance)

    def unregister(self, session: Session, registration: int) -> bool:
        """Unregister an instance, at once; return whether the session had registered it."""
        instance = self.of(session).get(registration)
        if instance is None or instance.awaited is not None:
            return False
        self._withdraw(instance)
        return True

    def revoked(self, session: Session, registration: int) -> None:
        """Forget an instance whose registration another session has taken over."""
        instance = self.of(session).get(registration)
        if instance is not None:
            self._withdraw(instance)

    def _withdraw(self, instance: Instance) -> None:
        """Unregister the instance at all shards."""
        frame = instance.frame
        for link in self._links:
            if link.open:
                link.send(UnregisterReducer(frame.realm, frame.session, frame.registration))
        self._remove(instance)

    def _remove(self, instance: Instance) -> None:
        """Forget the instance; its answers to what is out do not count any more."""
        session, registration = instance.frame.session, instance.frame.registration
        for request in instance.running:
            del self._running[session, request]
        mine = self._instances[session]
        del mine[registration]
        if not mine:
            del self._instances[session]

    # Events

    def reduce(self, frame: Reduce, shard: int) -> None:
        """Show an event to its instance, or let it wait. Without an instance the shard will know.

        The shard asks another instance about it when it hears that this one has left.
        """
        instance = self._instances.get(frame.instance, {}).get(frame.registration)
        if instance is not None:
            instance.waiting.append((frame, shard))
            self._serve(instance)

    def _serve(self, instance: Instance) -> None:
        """Show the instance events that wait, as many as it may have at once."""
        waiting, running = instance.waiting, instance.running
        if instance.awaited is not None or instance.serving:
            return
        instance.serving = True
        session, concurrency = instance.session, instance.frame.concurrency
        while waiting and len(running) < concurrency:
            frame, shard = waiting.popleft()
            session.next_invocation += 1
            request = session.next_invocation
            due = self._clock.now + self._settings.timeout
            running.add(request)
            self._running[session.id, request] = Running(instance, shard, frame.invocation, due)
            # An event that cannot be shown ends at once, in `error`.
            session.reduction(request, frame)
        instance.serving = False
        self._plan_timeout()

    def _plan_timeout(self) -> None:
        if self._running and not self._timing:
            self._timing = True
            self._timers.at(next(iter(self._running.values())).due, self._time_out)

    def _end(self, session: Session, request: int) -> Running | None:
        """End an event that is out; return it if its shard waits for the answer."""
        running = self._running.pop((session.id, request), None)
        if running is None:
            return None
        running.instance.running.discard(request)
        return None if running.shard == NOWHERE else running

    def yield_(
        self, session: Session, request: int, encoding: int, args: bytes, *, progress: bool
    ) -> None:
        """Pass on a result, unless it is not awaited. Progressive results are ignored."""
        running = self._running.get((session.id, request))
        if running is None or progress:
            return
        if self._end(session, request) is not None:
            self._links[running.shard].outbox.append(Reduced(running.number, encoding, args))
            self._backpressure.sent(session.connection, running.shard)
        self._serve(running.instance)

    def error(
        self, session: Session, request: int, uri: str, encoding: int, args: bytes, kwargs: bytes
    ) -> None:
        """Pass on an error, unless it is not awaited."""
        running = self._running.get((session.id, request))
        if running is None:
            return
        if self._end(session, request) is not None:
            frame = NotReduced(running.number, uri, encoding, args, kwargs)
            self._links[running.shard].send(frame)
            self._backpressure.sent(session.connection, running.shard)
        self._serve(running.instance)

    def _time_out(self, now: float) -> None:
        """Tell the shards of events that have been out for too long."""
        self._timing = False
        for (_, request), running in list(self._running.items()):
            if running.due > now:
                break
            instance = running.instance
            session = instance.session
            self._end(session, request)
            if running.shard != NOWHERE:
                why = f"no result within {self._settings.timeout:g} s (reducer.timeout)"
                error = call_error(0, 0, Timeout(why))
                frame = NotReduced(
                    running.number, error.uri, error.encoding, error.args, timed_out=True
                )
                self._links[running.shard].send(frame)
            session.interrupt(
                request, Interrupt(running.number, session.id, "killnowait", Timeout.uri)
            )
            self._serve(instance)
        self._plan_timeout()

    # Ends

    def session_ended(self, session: Session) -> None:
        """Forget what concerns a session that has ended. `SessionRegistry` tells the shards."""
        for instance in list(self.of(session).values()):
            self._remove(instance)
        for key in [key for key in self._registering if key[0] == session.id]:
            del self._registering[key]

    def link_broken(self, shard: int) -> None:
        """Expect nothing more of that shard, and answer the registrations: the pair has ended."""
        for running in self._running.values():
            if running.shard == shard:
                running.shard = NOWHERE
        down = Unavailable(f"shard-{shard} went down: register again soon")
        for mine in list(self._instances.values()):
            for instance in list(mine.values()):
                instance.waiting = deque(one for one in instance.waiting if one[1] != shard)
        for (_, request), instance in list(self._registering.items()):
            session = instance.session
            self._withdraw(instance)
            session.refused(refused(Register, session.id, request, down))
        self._registering.clear()

    def replay(self) -> list[RegisterReducer]:
        """Return the instances that a shard must know, when a pair with it begins."""
        return [
            instance.frame
            for mine in self._instances.values()
            for instance in mine.values()
            if instance.awaited is None
        ]
