"""The dealer: the calls on one shard.

Owns: which calls are running or waiting, for how long, and which callee gets them. Never: sockets,
clocks; the contents of results.

A pattern registration lives at its home, the shard of the pattern's text. The other shards know
that it exists, and forward to the home the calls for which they have no better registration. The
home answers the caller's gateway directly.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice
from typing import final

from fox_shard.backplane.frames import (
    PROGRESS,
    Call,
    CallError,
    Cancel,
    Forward,
    Interrupt,
    Invocation,
    InvocationError,
    Result,
    Yield,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import RandomSource
from fox_shard.backplane.refusals import call_error
from fox_shard.config import Rpc
from fox_shard.deadline import NEVER, Deadline
from fox_shard.errors import (
    Canceled,
    NoSuchProcedure,
    QueueFull,
    Refusal,
    Timeout,
    Unavailable,
)
from fox_shard.shard.budget import Budget
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.rpc.forwarding import Forwarding
from fox_shard.shard.rpc.procedures import Callee, PendingCall, Procedure, Procedures


@final
class Dealer:
    """The calls of all realms on this shard.

    queued, queued_bytes: the number and the bytes of calls that wait for a callee.
    """

    __slots__ = (
        "_budget",
        "_callers",
        "_deadline",
        "_invocations",
        "_left",
        "_next_invocation",
        "_peer",
        "_placement",
        "_rng",
        "_settings",
        "_shard",
        "_timeouts",
        "forwarding",
        "limit_counts",
        "queued",
        "queued_bytes",
        "realms",
    )

    def __init__(
        self,
        shard: int,
        placement: Placement,
        peer: Callable[[str], Peer | None],
        settings: Rpc,
        rng: RandomSource,
        deadline: Deadline,
        budget: Budget,
    ) -> None:
        """peer: finds a peer by its name. settings: the limits of calls.

        rng: chooses callees for the policy `random`. deadline: is told of timeouts. budget: the
        turn's.
        """
        self._budget = budget
        # Callees that have left while they were busy, until their calls are refused.
        self._left: dict[Callee, None] = {}
        self._shard = shard
        self._placement = placement
        self._peer = peer
        self._settings = settings
        self._rng = rng
        self._deadline = deadline
        self.limit_counts = LimitCounts(("queue_limit", "queue_bytes"))
        self._next_invocation = 0
        self._timeouts: list[tuple[float, int]] = []
        self.realms: dict[str, Procedures] = {}
        # Caller -> request -> unanswered call. Invocation id -> call that waits, or keeps a callee
        # busy, even if it has been answered.
        self._callers: dict[int, dict[int, PendingCall]] = {}
        self._invocations: dict[int, PendingCall] = {}
        self.queued = self.queued_bytes = 0
        self.forwarding = Forwarding(shard)

    def procedures(self, realm: str) -> Procedures:
        """Return the procedures of a realm."""
        procedures = self.realms.get(realm)
        if procedures is None:
            procedures = self.realms[realm] = Procedures()
        return procedures

    @property
    def idle(self) -> bool:
        """Whether no call is running, waiting or being forwarded."""
        return not (self._invocations or self._callers or self.queued) and self.forwarding.idle

    # Calls

    def call(self, peer: Peer, call: Call, now: float) -> None:
        """Invoke, queue, forward or refuse the call. now: seconds, monotonic."""
        procedures = self.procedures(call.realm)
        procedure = procedures.exact.get(call.procedure)
        if procedure is None:
            pattern = procedures.best_pattern(call.procedure)
            if pattern is None:
                self._refuse_call(peer, call, _no_callee(call))
                return
            home = self._placement.shard_of(call.realm, pattern.text)
            if home != self._shard:
                self._forward(peer, call, pattern.text, home)
                return
            procedure = procedures.by_text[pattern.text]
        if self.forwarding.parted:
            self.forwarding.fence(peer, call, self._shard)
        self._start(peer, call, procedure, now)

    def _forward(self, peer: Peer, call: Call, pattern: str, home: int) -> None:
        """Send the call to the pattern's home, or refuse it if the home is down."""
        shard = self._peer(f"shard-{home}")
        if shard is None or not shard.link.open:
            self._refuse_call(peer, call, Unavailable(f"shard-{home} is down: call again soon"))
            return
        alone = call.session not in self._callers
        self.forwarding.forward(peer, shard, home, pattern, call, alone=alone)

    def forwarded(self, forward: Forward, now: float) -> None:
        """Invoke, queue or refuse a call that another shard has forwarded to this home."""
        peer = self._peer(forward.gateway)
        if peer is None or not peer.link.open:
            return  # the caller's gateway answers the call itself, or has gone
        procedure = self.procedures(forward.call.realm).by_text.get(forward.pattern)
        if procedure is None:
            self._refuse_call(peer, forward.call, _no_callee(forward.call))
            return
        self._start(peer, forward.call, procedure, now)

    def refuse_forwarded(self, forward: Forward, shard: str) -> None:
        """Refuse a forwarded call that waited here when the link to `shard`, its sender, broke."""
        peer = self._peer(forward.gateway)
        if peer is not None:
            down = Unavailable(f"{shard} went down with the call: call again soon")
            self._refuse_call(peer, forward.call, down)

    def _start(self, peer: Peer, call: Call, procedure: Procedure, now: float) -> None:
        """Invoke the procedure, or queue the call if no callee has room, or refuse it."""
        callee = None if procedure.queue else procedure.choose(self._rng)
        full = None if callee is not None else self._queue_full(call, procedure)
        if full is not None:
            self.limit_counts.add(full.limit)
            self._refuse_call(peer, call, full)
            return
        calls = self._callers.get(call.session)
        if calls is None:
            calls = self._callers[call.session] = {}
        self._next_invocation += 1
        pending = PendingCall(self._next_invocation, peer, call, procedure)
        self._invocations[pending.id] = pending
        calls[call.request] = pending
        if call.timeout:
            self._time_out_at(pending, now + call.timeout / 1000)
        if callee is None:
            procedure.queue[pending.id] = pending
            self.queued += 1
            self.queued_bytes += _size(call)
        else:
            self._invoke(pending, call, callee)

    def _time_out_at(self, pending: PendingCall, due: float) -> None:
        """Let the call time out then. It must have no entry among the timeouts."""
        pending.due = due
        heappush(self._timeouts, (due, pending.id))
        self._deadline.by(due)

    def _queue_full(self, call: Call, procedure: Procedure) -> QueueFull | None:
        """Return why the call cannot wait for a callee; None: it can."""
        if len(procedure.queue) >= self._settings.queue_limit:
            limit = "queue_limit"
            full = f"{len(procedure.queue)} calls wait for {call.procedure} already"
        elif self.queued_bytes + _size(call) > self._settings.queue_bytes:
            limit, full = "queue_bytes", f"{self.queued_bytes} bytes of calls wait already"
        else:
            return None
        hint = "call again later, or register more callees"
        refusal = QueueFull(f"{full}: {hint}")
        refusal.limit = limit
        return refusal

    @staticmethod
    def _invoke(pending: PendingCall, call: Call, callee: Callee) -> None:
        """Send the call to the callee, and do not keep its arguments."""
        pending.callee = callee
        pending.waiting = None
        callee.begin(pending)
        registration = pending.procedure.registration
        callee.peer.link.outbox.append(Invocation(pending.id, callee.session, registration, call))

    def _taken_from_queue(self, pending: PendingCall) -> Call:
        """Note that the call does not wait any more; return it."""
        call = pending.waiting
        assert call is not None
        self.queued -= 1
        self.queued_bytes -= _size(call)
        return call

    def serve_queue(self, procedure: Procedure) -> None:
        """Give the procedure's waiting calls to callees that have room."""
        queue = procedure.queue
        while queue:
            callee = procedure.choose(self._rng)
            if callee is None:
                return
            pending = queue.popitem(last=False)[1]
            self._invoke(pending, self._taken_from_queue(pending), callee)

    # Results

    def yielded(self, frame: Yield, now: float) -> None:
        """Pass a result on to the caller; ignore it if the invocation is over.

        A progressive result that the caller wants starts the call's timeout again. now: seconds.
        """
        pending = self._invocations.get(frame.invocation)
        if pending is None:
            return
        progress = frame.progress
        wanted = not pending.answered and (not progress or pending.flags & PROGRESS)
        if not progress:
            self._end_invocation(pending)
        if wanted:
            if progress and pending.timeout:
                # `expire` finds it when the earlier time comes: one entry for each call is enough.
                pending.due = now + pending.timeout / 1000
            pending.peer.reply(
                Result(
                    pending.session,
                    pending.request,
                    progress,
                    frame.encoding,
                    frame.args,
                    frame.kwargs,
                    frame.attributes,
                )
            )

    def invocation_error(self, frame: InvocationError) -> None:
        """Pass a callee's error on to the caller; ignore it if the invocation is over."""
        pending = self._invocations.get(frame.invocation)
        if pending is None:
            return
        wanted = not pending.answered
        self._end_invocation(pending)
        if wanted:
            pending.peer.reply(
                CallError(
                    pending.session,
                    pending.request,
                    frame.uri,
                    frame.encoding,
                    frame.args,
                    frame.kwargs,
                    frame.attributes,
                )
            )

    def _end_invocation(self, pending: PendingCall) -> None:
        """End the invocation: its callee has finished, and has room for another."""
        self._mark_answered(pending)
        del self._invocations[pending.id]
        if pending.callee is not None:
            pending.callee.end(pending)
            pending.callee = None
        if pending.procedure.queue:
            self.serve_queue(pending.procedure)

    def _mark_answered(self, pending: PendingCall) -> None:
        """Note that the caller gets nothing more for the call. Idempotent."""
        if pending.answered:
            return
        pending.answered = True
        calls = self._callers[pending.session]
        del calls[pending.request]
        if not calls:
            del self._callers[pending.session]

    def _drop(self, pending: PendingCall) -> None:
        """Forget the call, but a callee that is busy with it stays busy."""
        self._mark_answered(pending)
        if pending.callee is None and pending.id in pending.procedure.queue:
            del pending.procedure.queue[pending.id]
            self._taken_from_queue(pending)
            del self._invocations[pending.id]

    def _refuse(self, pending: PendingCall, refusal: Refusal) -> None:
        """Answer the call with an error, unless it has been answered."""
        if not pending.answered:
            self._drop(pending)
            self._refuse_call(pending.peer, pending, refusal)

    @staticmethod
    def _refuse_call(peer: Peer, call: Call | PendingCall, refusal: Refusal) -> None:
        peer.reply(call_error(call.session, call.request, refusal))

    # Calls that end before a result

    def cancel(self, cancel: Cancel) -> None:
        """Cancel a call (WAMP #rpc-call-canceling); ignore one that is over."""
        pending = self._callers.get(cancel.session, {}).get(cancel.request)
        if pending is None:
            return
        if pending.callee is not None:
            self._interrupt(pending, cancel.mode, Canceled.uri)
            if cancel.mode == "kill":
                return  # the callee's answer is the call's answer
        self._refuse(pending, Canceled("the caller canceled the call"))

    @staticmethod
    def _interrupt(pending: PendingCall, mode: str, reason: str) -> None:
        """Tell the callee, if the call has one, to stop. mode, reason: see `Interrupt`."""
        callee = pending.callee
        if callee is not None:
            callee.peer.reply(Interrupt(pending.id, callee.session, mode, reason))

    def expire(self, now: float) -> None:
        """Refuse and interrupt the calls whose time is over (WAMP #rpc-call-timeout)."""
        timeouts = self._timeouts
        while timeouts and timeouts[0][0] <= now:
            pending = self._invocations.get(heappop(timeouts)[1])
            if pending is None or pending.answered:
                continue
            if pending.due > now:
                self._time_out_at(pending, pending.due)
            else:
                self._interrupt(pending, "killnowait", Timeout.uri)
                self._refuse(pending, Timeout(f"no result within {pending.timeout} ms"))

    def next_timeout(self) -> float:
        """Return when `expire` may be due, by the clock of `now`; `NEVER`: no call can expire."""
        return self._timeouts[0][0] if self._timeouts else NEVER

    def session_ended(self, session: int) -> None:
        """Interrupt and drop the calls of a session that has ended."""
        for pending in list(self._callers.get(session, {}).values()):
            self._interrupt(pending, "killnowait", Canceled.uri)
            self._drop(pending)

    def callers_of(self, peer: Peer) -> list[int]:
        """Return the sessions of that gateway that have unanswered calls here."""
        return [
            session
            for session, calls in self._callers.items()
            if next(iter(calls.values())).peer is peer
        ]

    def callee_left(self, callee: Callee) -> None:
        """Refuse the calls that the callee was busy with: its session has ended.

        There may be very many, so this may happen in `go_on`. Idempotent. Not called when a callee
        merely unregisters, since it may still answer.
        """
        if callee.running:
            self._left[callee] = None
            self._go_on()

    @property
    def busy(self) -> bool:
        """Whether `go_on` has more to do in the next turn."""
        return bool(self._left)

    def go_on(self, _now: float) -> None:
        """Refuse the calls of callees that have left, as far as the turn's budget goes."""
        self._go_on()

    def _go_on(self) -> None:
        budget, left = self._budget, self._left
        while left and not budget.exhausted:
            callee = next(iter(left))
            for pending in list(islice(callee.running.values(), budget.left)):
                budget.spend(1)
                self._refuse(pending, Canceled("the callee left before it answered"))
                del self._invocations[pending.id]
                callee.end(pending)
                pending.callee = None
            if not callee.running:
                del left[callee]

    def last_callee_left(self, procedure: Procedure) -> None:
        """Refuse the procedure's waiting calls: its last callee has left."""
        for pending in list(procedure.queue.values()):
            self._refuse(pending, NoSuchProcedure("the procedure's last callee has left"))


OVERHEAD = 500
"""Bytes that each waiting call counts for in addition to what its client has sent."""


def _size(call: Call) -> int:
    """Return the bytes of a waiting call."""
    size = OVERHEAD + len(call.procedure) + len(call.args) + len(call.kwargs)
    return size + len(call.attributes or b"")


def _no_callee(call: Call) -> NoSuchProcedure:
    return NoSuchProcedure(f"no callee has registered {call.procedure}")
