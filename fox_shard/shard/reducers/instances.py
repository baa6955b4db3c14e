"""The instances of reducers: which sessions have registered them, and are there.

Owns: whether a session may register a reducer; what follows when instances come and go. Never:
events.

The shard of the pattern's text, the home, decides whether a registration is allowed; gateways ask
the other shards afterwards.
"""

from typing import final

from fox_shard.backplane.frames import (
    Frame,
    Register,
    Registered,
    RegisterReducer,
    Revoked,
    UnregisterReducer,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.refusals import refused
from fox_shard.config import Reducers as Limits
from fox_shard.deadline import NEVER, Deadline
from fox_shard.errors import (
    LimitExceeded,
    ProcedureAlreadyExists,
    ProcedureExistsWithDifferentPolicy,
    Refusal,
    Unavailable,
)
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.invocations import Invocations
from fox_shard.shard.reducers.queues import Queues
from fox_shard.shard.reducers.reducer import Instance, Reducer

REVOKED = "wamp.registration.revoked"


@final
class Instances:
    """The instances of all reducers on one shard."""

    __slots__ = (
        "_abandoned",
        "_catalog",
        "_deadline",
        "_invocations",
        "_limits",
        "_placement",
        "_queues",
        "_sessions",
        "_shard",
        "limit_counts",
    )

    def __init__(
        self,
        shard: int,
        placement: Placement,
        catalog: Catalog,
        queues: Queues,
        invocations: Invocations,
        limits: Limits,
        deadline: Deadline,
    ) -> None:
        self._shard = shard
        self._placement = placement
        self._catalog = catalog
        self._queues = queues
        self._invocations = invocations
        self._limits = limits
        self._deadline = deadline
        self.limit_counts = LimitCounts(("max_reducers", "max_durable"))
        # Session -> the reducers that it has registered.
        self._sessions: dict[int, list[Reducer]] = {}
        # Reducers whose events are dropped at a certain time, unless an instance comes.
        self._abandoned: dict[int, Reducer] = {}

    # Instances come

    def register(self, peer: Peer, frame: RegisterReducer) -> Frame | None:
        """Add an instance, or take it back; return the answer. None: a replay needs none."""
        is_new = frame.registration not in self._catalog.by_id
        if frame.webhook and is_new:
            return self._unknown_webhook(frame)
        reducer = self._catalog.get(
            frame.registration, frame.realm, frame.pattern, frame.mission, frame.durable
        )
        instance = reducer.instances.get(frame.session)
        if instance is not None and frame.replay:
            instance.away = False
        else:
            try:
                self._check(reducer, frame, is_new=is_new)
            except Refusal as refusal:
                self.limit_counts.add(refusal.limit)
                if is_new:
                    self._catalog.remove(reducer)
                    self._catalog.refresh(reducer)
                self._catalog.discard_unused(reducer)
                if frame.replay:
                    return Revoked(frame.session, frame.registration, REVOKED)
                return refused(Register, frame.session, frame.request, refusal)
            reducer.invoke = frame.invoke
            if reducer.removed:
                self._catalog.take_back(reducer)
            reducer.instances[frame.session] = Instance(peer, frame.session, frame.concurrency)
            self._sessions.setdefault(frame.session, []).append(reducer)
        self.changed(reducer)
        if frame.replay:
            return None
        return Registered(frame.session, frame.request, frame.registration)

    @staticmethod
    def _unknown_webhook(frame: RegisterReducer) -> Frame:
        """Refuse to let anybody post events of which this shard keeps none."""
        if frame.replay:
            return Revoked(frame.session, frame.registration, REVOKED)
        why = f'a shard has no webhook "{frame.durable}": start all processes anew'
        return refused(Register, frame.session, frame.request, Unavailable(why))

    def _check(self, reducer: Reducer, frame: RegisterReducer, *, is_new: bool) -> None:
        """Raise Refusal if the session may not be an instance of the reducer.

        is_new: nobody has registered it before.
        """
        if self._placement.shard_of(frame.realm, frame.pattern) != self._shard:
            return  # The home has decided.
        if not reducer.instances:
            self._check_number(reducer)
            is_back = reducer.removed and reducer.id not in self._catalog.configured
            if reducer.durable and (is_new or is_back):
                self._check_durable(reducer)
            return
        if frame.force:
            for instance in list(reducer.instances.values()):
                instance.peer.reply(Revoked(instance.session, reducer.id, REVOKED))
                self._remove(reducer, instance, died=False)
        elif reducer.invoke != frame.invoke:
            raise ProcedureExistsWithDifferentPolicy(
                f"the reducer is registered with invoke={reducer.invoke!r}, not {frame.invoke!r}: "
                "use the same policy, or force_reregister"
            )
        elif reducer.invoke == "single" or frame.session in reducer.instances:
            raise ProcedureAlreadyExists(
                "the reducer is registered already: unregister it first, register all its "
                "instances with a sharing policy such as invoke='roundrobin', or force_reregister"
            )

    def _check_number(self, reducer: Reducer) -> None:
        """Raise LimitExceeded if the realm has more reducers than it may have."""
        limit = self._limits.max_reducers
        if not reducer.queues and self._catalog.of_clients(reducer.realm) > limit:
            raise LimitExceeded(
                f"the realm has {limit} reducers (reducer.max_reducers): remove those that are not "
                "needed any more (fox reducers)"
            ).beyond("max_reducers")

    def _check_durable(self, reducer: Reducer) -> None:
        """Raise LimitExceeded if the realm has as many durable reducers as it may have."""
        limit = self._limits.max_durable
        others = self._catalog.durable(reducer.realm) - (not reducer.removed)
        if others >= limit:
            raise LimitExceeded(
                f"the realm has {limit} durable reducers (reducer.max_durable): remove those that "
                "are not needed any more (fox reducers remove)"
            ).beyond("max_durable")

    def changed(self, reducer: Reducer) -> None:
        """Choose anew whom to ask, since an instance has come or gone."""
        self._catalog.refresh(reducer)
        self._queues.awake.extend(reducer.instances_changed())
        if reducer.takes_events:
            self._abandoned.pop(reducer.id, None)
            reducer.abandoned = 0.0
        elif not reducer.queues:
            self._catalog.discard_unused(reducer)
        elif not reducer.abandoned:
            self._abandon(reducer)

    def _abandon(self, reducer: Reducer) -> None:
        patience = 0.0 if reducer.removed else self._limits.wait_for_return
        reducer.abandoned = self._invocations.now + patience
        self._abandoned[reducer.id] = reducer
        self._deadline.by(reducer.abandoned)

    # Instances go

    def unregister(self, frame: UnregisterReducer) -> None:
        """Remove an instance; another one is asked about what is out at it."""
        reducer = self._catalog.by_id.get(frame.registration)
        instance = reducer and reducer.instances.get(frame.session)
        if reducer and instance:
            self._remove(reducer, instance, died=False)

    def _remove(self, reducer: Reducer, instance: Instance, *, died: bool) -> None:
        del reducer.instances[instance.session]
        reducers = self._sessions[instance.session]
        reducers.remove(reducer)
        if not reducers:
            del self._sessions[instance.session]
        self._invocations.take_back(instance, died=died)
        self._queues.awake.extend(instance.waiting)
        instance.waiting.clear()
        self.changed(reducer)

    def session_ended(self, session: int) -> None:
        """Remove the instances of a session that has ended."""
        for reducer in list(self._sessions.get(session, ())):
            self._remove(reducer, reducer.instances[session], died=True)

    def _of(self, peer: Peer) -> list[tuple[Reducer, Instance]]:
        return [
            (reducer, reducer.instances[session])
            for session, reducers in self._sessions.items()
            for reducer in reducers
            if reducer.instances[session].peer is peer
        ]

    def link_broken(self, peer: Peer) -> None:
        """Ask others about what is out at the gateway's sessions, which may come back."""
        for reducer, instance in self._of(peer):
            if not instance.away:
                instance.away = True
                self._invocations.take_back(instance, died=False)
                self.changed(reducer)

    def sync_ended(self, peer: Peer) -> None:
        """Remove the instances that the gateway has not replayed."""
        for reducer, instance in self._of(peer):
            if instance.away:
                self._remove(reducer, instance, died=True)

    def peer_gone(self, peer: Peer) -> None:
        """Remove all instances of the gateway, whose sessions have ended."""
        for reducer, instance in self._of(peer):
            self._remove(reducer, instance, died=True)

    # Time

    @property
    def next_due(self) -> float:
        """When `expire` is due, by the clock of `now`."""
        return min((one.abandoned for one in self._abandoned.values()), default=NEVER)

    def expire(self, now: float, most: int) -> None:
        """Drop events of reducers that have not come back, at most so many in one call."""
        for reducer in list(self._abandoned.values()):
            if most <= 0 or reducer.abandoned > now:
                continue
            most -= max(1, self._queues.drop(reducer, most))
            if not reducer.queues:
                del self._abandoned[reducer.id]
                self._catalog.discard_unused(reducer)

    def loaded(self) -> None:
        """Plan the end of the loaded reducers that are not durable, unless instances come."""
        for reducer in self._catalog:
            if not reducer.takes_events:
                self.changed(reducer)
