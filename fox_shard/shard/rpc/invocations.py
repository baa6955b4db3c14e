"""The calls that callees of this shard answer, from their beginning to their end.

Owns: which calls are running or waiting, for how long, and which callee gets them. Never: which
procedure a call is for, and calls that another shard answers (see `dealer`); sockets, clocks; the
contents of results.
"""

from heapq import heappop, heappush
from typing import final

from fox_shard.backplane.frames import (
    CONTINUES,
    PROGRESS,
    Call,
    CallError,
    Cancel,
    Interrupt,
    Invocation,
    InvocationError,
    Result,
    Yield,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.random_source import RandomSource
from fox_shard.backplane.refusals import call_error
from fox_shard.config import Rpc
from fox_shard.deadline import NEVER, Deadline
from fox_shard.errors import (
    Canceled,
    NoAvailableCallee,
    NoSuchProcedure,
    Refusal,
    Timeout,
    Unavailable,
)
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.queue_quota import QueueQuotas
from fox_shard.shard.rpc.procedures import Callee, PendingCall, Procedure
from fox_shard.shard.rpc.waiting import KeptCalls

LIMITS = ("queue_limit", "queue_bytes", "max_queue_bytes", "queued_parts", "reroutes")
"""The limits of calls that are counted, by their settings."""


@final
class Invocations:
    """The calls of all realms that this shard has given to callees, or will."""

    __slots__ = (
        "_callers",
        "_deadline",
        "_invocations",
        "_next_invocation",
        "_rng",
        "_settings",
        "_timeouts",
        "kept",
        "limit_counts",
    )

    def __init__(
        self,
        settings: Rpc,
        rng: RandomSource,
        deadline: Deadline,
        quotas: QueueQuotas,
    ) -> None:
        """settings: the limits of calls. rng: chooses callees for the policy `random`.

        deadline: is told of timeouts. quotas: of the realms, for calls that wait.
        """
        self._settings = settings
        self._rng = rng
        self._deadline = deadline
        self.limit_counts = LimitCounts(LIMITS)
        self._next_invocation = 0
        self._timeouts: list[tuple[float, int]] = []
        # Caller -> request -> unanswered call. Invocation id -> call that waits, or keeps a callee
        # busy, even if it has been answered.
        self._callers: dict[int, dict[int, PendingCall]] = {}
        self._invocations: dict[int, PendingCall] = {}
        self.kept = KeptCalls(settings, quotas)

    @property
    def idle(self) -> bool:
        """Whether no call is running or waiting."""
        return not (self._invocations or self._callers or self.kept.queued)

    def calls(self, session: int) -> bool:
        """Whether the session has unanswered calls here."""
        return session in self._callers

    # Calls

    def start(
        self, peer: Peer, call: Call, procedure: Procedure, through: Peer | None, now: float
    ) -> None:
        """Invoke the procedure, or queue the call if no callee has room, or refuse it.

        through: the shard that has forwarded it.
        """
        callee = None if procedure.queue else procedure.choose(self._rng)
        full = None if callee is not None else self.kept.full(call, procedure)
        if full is not None:
            self.limit_counts.add(full.limit)
            refuse_call(peer, call, full)
            return
        calls = self._callers.get(call.session)
        if calls is None:
            calls = self._callers[call.session] = {}
        self._next_invocation += 1
        pending = PendingCall(self._next_invocation, peer, call, procedure, through)
        self._invocations[pending.id] = pending
        calls[call.request] = pending
        if call.timeout:
            self._time_out_at(pending, now + call.timeout / 1000)
        if callee is None:
            procedure.queue[pending.id] = pending
            self.kept.wait(call, procedure)
        else:
            pending.waiting = None
            self._invoke(pending, call, callee)

    def _time_out_at(self, pending: PendingCall, due: float) -> None:
        """Let the call time out then. It must have no entry among the timeouts."""
        pending.due = due
        heappush(self._timeouts, (due, pending.id))
        self._deadline.by(due)

    def _invoke(self, pending: PendingCall, call: Call, callee: Callee) -> None:
        """Send the call to the callee; keep its arguments only if it may go to another one."""
        pending.callee = callee
        callee.begin(pending)
        if callee.reroutes and not pending.open:
            self.kept.copy(call, pending)
        self._send_invocation(pending, call, callee)

    @staticmethod
    def _send_invocation(pending: PendingCall, call: Call, callee: Callee) -> None:
        registration = pending.procedure.registration
        callee.peer.link.outbox.append(Invocation(pending.id, callee.session, registration, call))

    def serve_queue(self, procedure: Procedure) -> None:
        """Give the procedure's waiting calls to callees that have room."""
        queue = procedure.queue
        while queue:
            callee = procedure.choose(self._rng)
            if callee is None:
                return
            pending = queue.popitem(last=False)[1]
            first, *more = self.kept.taken(pending)
            self._invoke(pending, first, callee)
            for part in more:
                self._send_invocation(pending, part, callee)

    def continue_call(self, part: Call, now: float) -> None:
        """Send a further part to the callee, or let it wait; ignore it if the call is over.

        Its timeout begins again.
        """
        pending = self._callers.get(part.session, {}).get(part.request)
        if pending is None or not pending.open:
            return
        pending.open = bool(part.flags & CONTINUES)
        if pending.timeout:
            pending.due = now + pending.timeout / 1000
        if pending.callee is not None:
            self._send_invocation(pending, part, pending.callee)
            return
        full = self.kept.full_for_more(part, pending)
        if full is None:
            self.kept.wait_for_more(part, pending)
        else:
            self.limit_counts.add(full.limit)
            self._refuse(pending, full)

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
        else:
            # Another callee would begin anew.
            self.kept.drop_copy(pending)
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
        if wanted and frame.reroute and self._reroute(pending):
            return
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

    def _reroute(self, pending: PendingCall) -> bool:
        """Give the call to another callee, as its callee is not available.

        Returns whether that is done, or the call refused because there is no other callee
        (WAMP #rpc-call-rerouting). A call that has had progress, or consists of several parts,
        stays where it is, and so gets the callee's error.
        """
        callee, procedure, call = pending.callee, pending.procedure, pending.copy
        if callee is None or (call is None and procedure.invoke != "single"):
            return False
        if call is None:
            following = None
        elif len(pending.tried) >= self._settings.reroutes:
            self.limit_counts.add("reroutes")
            following = None
        else:
            pending.tried = (*pending.tried, callee.place)
            following = procedure.choose(self._rng, pending.tried)
        if call is None or following is None:
            self._refuse(
                pending,
                NoAvailableCallee(f"no callee of {procedure.pattern.text[1:]} is available"),
            )
            self._end_invocation(pending)
            return True
        self.kept.drop_copy(pending)
        pending.callee = None
        callee.end(pending)
        self._invoke(pending, call, following)
        if procedure.queue:
            self.serve_queue(procedure)
        return True

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
        self.kept.drop_copy(pending)
        calls = self._callers[pending.session]
        del calls[pending.request]
        if not calls:
            del self._callers[pending.session]

    def _drop(self, pending: PendingCall) -> None:
        """Forget the call, but a callee that is busy with it stays busy."""
        self._mark_answered(pending)
        if pending.callee is None and pending.id in pending.procedure.queue:
            del pending.procedure.queue[pending.id]
            self.kept.taken(pending)
            del self._invocations[pending.id]

    def _refuse(self, pending: PendingCall, refusal: Refusal) -> None:
        """Answer the call with an error, unless it has been answered."""
        if not pending.answered:
            self._drop(pending)
            refuse_call(pending.peer, pending, refusal)

    # Calls that end before a result

    def cancel(self, cancel: Cancel) -> None:
        """Cancel a call (WAMP #rpc-call-canceling); ignore one that is over."""
        pending = self._callers.get(cancel.session, {}).get(cancel.request)
        if pending is None:
            return
        mode = cancel.mode
        if mode == "skip" and pending.open:
            # The callee would wait for further parts for ever.
            mode = "killnowait"
        if pending.callee is not None and mode == "kill":
            # The callee's answer is the call's answer.
            self._interrupt(pending, mode, Canceled.uri)
            self.kept.drop_copy(pending)
        else:
            self._stop(pending, mode, Canceled("the caller canceled the call"))

    def _stop(self, pending: PendingCall, mode: str, refusal: Refusal) -> None:
        """Answer the call with an error, and interrupt its callee, if it has one, in that mode."""
        callee = pending.callee
        self._interrupt(pending, mode, refusal.uri)
        self._refuse(pending, refusal)
        if callee is not None and mode == "killnowait":
            self._free(pending)

    def _free(self, pending: PendingCall) -> None:
        """Count the callee as free again if the interrupted call came in several parts.

        It need not answer (WAMP #rpc-progressive-call-invocations).
        """
        if pending.flags & CONTINUES:
            self._end_invocation(pending)

    @staticmethod
    def _interrupt(pending: PendingCall, mode: str, reason: str) -> None:
        """Tell the callee, if the call has one, to stop. mode, reason: see `Interrupt`."""
        callee = pending.callee
        if callee is not None:
            over = mode == "killnowait" and bool(pending.flags & CONTINUES)
            callee.peer.reply(Interrupt(pending.id, callee.session, mode, reason, over))

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
                late = Timeout(f"no result within {pending.timeout} ms")
                self._stop(pending, "killnowait", late)

    def next_timeout(self) -> float:
        """Return when `expire` may be due, by the clock of `now`; `NEVER`: no call can expire."""
        return self._timeouts[0][0] if self._timeouts else NEVER

    def session_ended(self, session: int) -> None:
        """Interrupt and drop the calls of a session that has ended."""
        for pending in list(self._callers.get(session, {}).values()):
            self._interrupt(pending, "killnowait", Canceled.uri)
            running = pending.callee is not None
            self._drop(pending)
            if running:
                self._free(pending)

    def parts_lost(self, peer: Peer) -> None:
        """Refuse the calls of which further parts were to come from that shard."""
        down = Unavailable(f"{peer.name} went down with a part of the call: call again soon")
        for pending in list(self._invocations.values()):
            if pending.through is peer and pending.open:
                self._stop(pending, "killnowait", down)

    def callers_of(self, peer: Peer) -> list[int]:
        """Return the sessions of that gateway that have unanswered calls here."""
        return [
            session
            for session, calls in self._callers.items()
            if next(iter(calls.values())).peer is peer
        ]

    def callee_left(self, pending: PendingCall) -> None:
        """Refuse a call with which a callee is busy: its session has ended."""
        callee = pending.callee
        assert callee is not None
        self._refuse(pending, Canceled("the callee left before it answered"))
        del self._invocations[pending.id]
        callee.end(pending)
        pending.callee = None

    def last_callee_left(self, procedure: Procedure) -> None:
        """Refuse the procedure's waiting calls: its last callee has left."""
        for pending in list(procedure.queue.values()):
            self._refuse(pending, NoSuchProcedure("the procedure's last callee has left"))


def refuse_call(peer: Peer, call: Call | PendingCall, refusal: Refusal) -> None:
    """Answer a call with an error. peer: its caller's gateway."""
    peer.reply(call_error(call.session, call.request, refusal))
