"""Calls on one shard.

Owns: which calls are out or wait, for how long, and who answers them. Never: sockets, clocks,
results' contents.

A procedure registered by a pattern lives at the pattern's home shard; every other shard knows that
it exists and forwards to the home the calls for which it has nothing better. The home answers the
caller's gateway directly.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import final

from fox_shard.backplane.frames import (
    PROGRESS,
    Call,
    CallError,
    Cancel,
    Failed,
    Forward,
    Interrupt,
    Invocation,
    Result,
    Yield,
)
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import Chance
from fox_shard.backplane.refusals import call_error
from fox_shard.deadline import NEVER, Deadline
from fox_shard.errors import Canceled, NoSuchProcedure, QueueFull, Refusal, Timeout, Unavailable
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.rpc.forwarding import Forwarding
from fox_shard.shard.rpc.procedures import Callee, Procedure, Procedures, Running


@final
class Dealer:
    """All realms' calls on this shard."""

    __slots__ = (
        "_callers",
        "_deadline",
        "_invocations",
        "_next_invocation",
        "_peer",
        "_placement",
        "_queue_limit",
        "_rng",
        "_shard",
        "_timeouts",
        "forwarding",
        "queued",
        "realms",
    )

    def __init__(
        self,
        shard: int,
        placement: Placement,
        peer: Callable[[str], Peer | None],
        queue_limit: int,
        rng: Chance,
        deadline: Deadline,
    ) -> None:
        """peer: finds a peer by its name. queue_limit: calls that may wait for one procedure."""
        self._shard = shard
        self._placement = placement
        self._peer = peer
        self._queue_limit = queue_limit
        self._rng = rng
        self._deadline = deadline
        self._next_invocation = 0
        self._timeouts: list[tuple[float, int]] = []
        self.realms: dict[str, Procedures] = {}
        # Caller -> request -> its call. Invocation id -> the call, waiting ones included.
        self._callers: dict[int, dict[int, Running]] = {}
        self._invocations: dict[int, Running] = {}
        self.queued = 0
        self.forwarding = Forwarding(shard)

    def procedures(self, realm: str) -> Procedures:
        """Those of a realm."""
        procedures = self.realms.get(realm)
        if procedures is None:
            procedures = self.realms[realm] = Procedures()
        return procedures

    @property
    def idle(self) -> bool:
        """No call is out, and none waits."""
        return not (self._invocations or self._callers or self.queued) and self.forwarding.idle

    # The way in

    def call(self, peer: Peer, call: Call, now: float) -> None:
        """Invoke, queue, forward or refuse."""
        procedures = self.procedures(call.realm)
        procedure = procedures.exact.get(call.procedure)
        if procedure is None:
            pattern = procedures.best_pattern(call.procedure)
            if pattern is None:
                self._refuse_call(peer, call, _nobody(call))
                return
            home = self._placement.shard_of(call.realm, pattern.text)
            if home != self._shard:
                self._forward(peer, call, pattern.text, home)
                return
            procedure = procedures.by_text[pattern.text]
        self.forwarding.fence(peer, call, self._shard)
        self._start(peer, call, procedure, now)

    def _forward(self, peer: Peer, call: Call, pattern: str, home: int) -> None:
        shard = self._peer(f"shard-{home}")
        if shard is None or not shard.link.open:
            self._refuse_call(peer, call, Unavailable(f"shard-{home} is down: call again soon"))
            return
        alone = call.session not in self._callers
        self.forwarding.forward(peer, shard, home, pattern, call, alone=alone)

    def forwarded(self, forward: Forward, now: float) -> None:
        """Another shard found that the call is for a pattern that lives here."""
        peer = self._peer(forward.gateway)
        if peer is None or not peer.link.open:
            return  # its gateway answers it, or has gone
        procedure = self.procedures(forward.call.realm).by_text.get(forward.pattern)
        if procedure is None:
            self._refuse_call(peer, forward.call, _nobody(forward.call))
            return
        self._start(peer, forward.call, procedure, now)

    def refuse_forwarded(self, forward: Forward, shard: str) -> None:
        """The shard that forwarded the call has gone before the call was handled here."""
        peer = self._peer(forward.gateway)
        if peer is not None:
            down = Unavailable(f"{shard} went down with the call: call again soon")
            self._refuse_call(peer, forward.call, down)

    def _start(self, peer: Peer, call: Call, procedure: Procedure, now: float) -> None:
        callee = None if procedure.queue else procedure.choose(self._rng)
        if callee is None and len(procedure.queue) >= self._queue_limit:
            waiting = f"{len(procedure.queue)} calls wait for {call.procedure} already: "
            hint = "call again later, or register more callees"
            self._refuse_call(peer, call, QueueFull(waiting + hint))
            return
        self._next_invocation += 1
        running = Running(self._next_invocation, peer, call, procedure)
        self._invocations[running.id] = running
        calls = self._callers.get(call.session)
        if calls is None:
            calls = self._callers[call.session] = {}
        calls[call.request] = running
        if call.timeout:
            due = now + call.timeout / 1000
            heappush(self._timeouts, (due, running.id))
            self._deadline.by(due)
        if callee is None:
            procedure.queue[running.id] = running
            self.queued += 1
        else:
            self._invoke(running, callee)

    def _invoke(self, running: Running, callee: Callee) -> None:
        running.callee = callee
        callee.running[running.id] = running
        registration = running.procedure.registration
        callee.peer.link.outbox.append(
            Invocation(running.id, callee.session, registration, running.call)
        )

    def pump(self, procedure: Procedure) -> None:
        """Give waiting calls to callees that have room."""
        queue = procedure.queue
        while queue:
            callee = procedure.choose(self._rng)
            if callee is None:
                return
            self.queued -= 1
            self._invoke(queue.popitem(last=False)[1], callee)

    # The way back

    def yielded(self, frame: Yield) -> None:
        """A result, perhaps the last. Of an invocation that is over: ignored."""
        running = self._invocations.get(frame.invocation)
        if running is None:
            return
        call = running.call
        progress = frame.progress
        wanted = not running.answered and (not progress or call.flags & PROGRESS)
        if not progress:
            self._over(running)
        if wanted:
            running.peer.reply(
                Result(
                    call.session, call.request, progress, frame.encoding, frame.args, frame.kwargs
                )
            )

    def failed(self, frame: Failed) -> None:
        """The callee answered with an error. Of an invocation that is over: ignored."""
        running = self._invocations.get(frame.invocation)
        if running is None:
            return
        wanted = not running.answered
        self._over(running)
        if wanted:
            call = running.call
            running.peer.reply(
                CallError(
                    call.session, call.request, frame.uri, frame.encoding, frame.args, frame.kwargs
                )
            )

    def _over(self, running: Running) -> None:
        """The callee is done with it and has room for another."""
        self._mark_answered(running)
        del self._invocations[running.id]
        if running.callee is not None:
            del running.callee.running[running.id]
            running.callee = None
        if running.procedure.queue:
            self.pump(running.procedure)

    def _mark_answered(self, running: Running) -> None:
        if running.answered:
            return
        running.answered = True
        call = running.call
        calls = self._callers[call.session]
        del calls[call.request]
        if not calls:
            del self._callers[call.session]

    def _drop(self, running: Running) -> None:
        """The caller wants nothing more of it. A callee that is busy with it stays busy."""
        self._mark_answered(running)
        if running.callee is None and running.id in running.procedure.queue:
            del running.procedure.queue[running.id]
            self.queued -= 1
            del self._invocations[running.id]

    def _refuse(self, running: Running, refusal: Refusal) -> None:
        if not running.answered:
            self._drop(running)
            self._refuse_call(running.peer, running.call, refusal)

    @staticmethod
    def _refuse_call(peer: Peer, call: Call, refusal: Refusal) -> None:
        peer.reply(call_error(call.session, call.request, refusal))

    # Ends before a result

    def cancel(self, cancel: Cancel) -> None:
        """WAMP #rpc-call-canceling. A call that is over is ignored."""
        running = self._callers.get(cancel.session, {}).get(cancel.request)
        if running is None:
            return
        if running.callee is not None and cancel.mode != "skip":
            self._interrupt(running, cancel.mode, Canceled.uri)
            if cancel.mode == "kill":
                return  # the callee's answer is the call's answer
        self._refuse(running, Canceled("the caller canceled the call"))

    @staticmethod
    def _interrupt(running: Running, mode: str, reason: str) -> None:
        callee = running.callee
        if callee is not None:
            callee.peer.reply(Interrupt(running.id, callee.session, mode, reason))

    def expire(self, now: float) -> None:
        """Answer the calls whose time is over (WAMP #rpc-call-timeout)."""
        timeouts = self._timeouts
        while timeouts and timeouts[0][0] <= now:
            running = self._invocations.get(heappop(timeouts)[1])
            if running is not None and not running.answered:
                self._interrupt(running, "killnowait", Timeout.uri)
                self._refuse(running, Timeout(f"no result within {running.call.timeout} ms"))

    def next_timeout(self) -> float:
        """When `expire` has something to do."""
        return self._timeouts[0][0] if self._timeouts else NEVER

    def caller_left(self, session: int) -> None:
        """Its calls are of no use any more."""
        for running in list(self._callers.get(session, {}).values()):
            self._interrupt(running, "killnowait", Canceled.uri)
            self._drop(running)

    def callers_of(self, peer: Peer) -> list[int]:
        """Sessions of that gateway that have calls here."""
        return [
            session
            for session, calls in self._callers.items()
            if next(iter(calls.values())).peer is peer
        ]

    def callee_left(self, callee: Callee) -> None:
        """It has left, not merely unregistered: what it was busy with gets no result."""
        for running in list(callee.running.values()):
            self._refuse(running, Canceled("the callee left before it answered"))
            del self._invocations[running.id]
            running.callee = None
        callee.running.clear()

    def without_callees(self, procedure: Procedure) -> None:
        """Nobody is registered for it any more: what waits gets an error."""
        for running in list(procedure.queue.values()):
            self._refuse(running, NoSuchProcedure("the procedure's last callee has left"))


def _nobody(call: Call) -> NoSuchProcedure:
    return NoSuchProcedure(f"no callee has registered {call.procedure}")
