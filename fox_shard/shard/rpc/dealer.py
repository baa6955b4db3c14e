"""The dealer: the calls that come to one shard, and where they go.

Owns: which procedure, and which shard, a call is for. Never: calls that callees of this shard
answer (see `invocations`); sockets, clocks.

A pattern registration lives at its home, the shard of the pattern's text. The other shards know
that it exists, and forward to the home the calls for which they have no better registration. The
home answers the caller's gateway directly.
"""

from collections.abc import Callable
from typing import final

from fox_shard.backplane.frames import CONTINUATION, CONTINUES, Call, Cancel, Forward
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.random_source import RandomSource
from fox_shard.config import Rpc
from fox_shard.deadline import Deadline
from fox_shard.errors import NoSuchProcedure, Unavailable
from fox_shard.shard.budget import Budget
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.queue_quota import QueueQuotas
from fox_shard.shard.rpc.forwarded_parts import ForwardedParts
from fox_shard.shard.rpc.forwarding import Forwarding
from fox_shard.shard.rpc.invocations import Invocations, refuse_call
from fox_shard.shard.rpc.left_callees import LeftCallees
from fox_shard.shard.rpc.procedures import Procedures


@final
class Dealer:
    """The calls of all realms that come to this shard."""

    __slots__ = (
        "_parts",
        "_peer",
        "_placement",
        "_shard",
        "forwarding",
        "invocations",
        "left_callees",
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
        quotas: QueueQuotas,
    ) -> None:
        """peer: finds a peer by its name. settings: the limits of calls.

        rng: chooses callees for the policy `random`. deadline: is told of timeouts. budget: the
        turn's. quotas: of the realms, for calls that wait.
        """
        self._shard = shard
        self._placement = placement
        self._peer = peer
        self.realms: dict[str, Procedures] = {}
        self.invocations = Invocations(settings, rng, deadline, quotas)
        self.left_callees = LeftCallees(self.invocations, budget)
        self.forwarding = Forwarding(shard)
        self._parts = ForwardedParts()

    def procedures(self, realm: str) -> Procedures:
        """Return the procedures of a realm."""
        procedures = self.realms.get(realm)
        if procedures is None:
            procedures = self.realms[realm] = Procedures()
        return procedures

    @property
    def idle(self) -> bool:
        """Whether no call is running, waiting or being forwarded."""
        return self.invocations.idle and self.forwarding.idle and self._parts.idle

    def call(self, peer: Peer, call: Call, now: float) -> None:
        """Invoke, queue, forward or refuse the call. now: seconds, monotonic."""
        if call.flags & CONTINUATION:
            self._continue_or_forward(peer, call, now)
            return
        procedures = self.procedures(call.realm)
        procedure = procedures.exact.get(call.procedure)
        if procedure is None:
            pattern = procedures.best_pattern(call.procedure)
            if pattern is None:
                refuse_call(peer, call, _no_callee(call))
                return
            home = self._placement.shard_of(call.realm, pattern.text)
            if home != self._shard:
                self._forward(peer, call, pattern.text, home)
                return
            procedure = procedures.by_text[pattern.text]
        if self.forwarding.parted:
            self.forwarding.fence(peer, call, self._shard)
        self.invocations.start(peer, call, procedure, None, now)

    def _continue_or_forward(self, peer: Peer, part: Call, now: float) -> None:
        """Take a further part of a progressive call the way of its first part."""
        way = self._parts.way(peer, part)
        if way is None:
            if self.forwarding.parted:
                self.forwarding.fence(peer, part, self._shard)
            self.invocations.continue_call(part, now)
            return
        shard = self._peer(f"shard-{way[0]}")
        if shard is not None and shard.link.open:
            alone = not self.invocations.calls(part.session)
            self.forwarding.forward(peer, shard, way[0], way[1], part, alone=alone)

    def _forward(self, peer: Peer, call: Call, pattern: str, home: int) -> None:
        """Send the call to the pattern's home, or refuse it if the home is down."""
        shard = self._peer(f"shard-{home}")
        if shard is None or not shard.link.open:
            refuse_call(peer, call, Unavailable(f"shard-{home} is down: call again soon"))
            return
        alone = not self.invocations.calls(call.session)
        self.forwarding.forward(peer, shard, home, pattern, call, alone=alone)
        if call.flags & CONTINUES:
            self._parts.begin(peer, call, (home, pattern))

    def forwarded(self, shard: Peer, forward: Forward, now: float) -> None:
        """Invoke, queue or refuse a call that another shard has forwarded to this home."""
        peer = self._peer(forward.gateway)
        if peer is None or not peer.link.open:
            return  # the caller's gateway answers the call itself, or has gone
        if forward.call.flags & CONTINUATION:
            self.invocations.continue_call(forward.call, now)
            return
        procedure = self.procedures(forward.call.realm).by_text.get(forward.pattern)
        if procedure is None:
            refuse_call(peer, forward.call, _no_callee(forward.call))
            return
        self.invocations.start(peer, forward.call, procedure, shard, now)

    def refuse_forwarded(self, forward: Forward, shard: str) -> None:
        """Refuse a forwarded call that waited here when the link to `shard`, its sender, broke."""
        peer = self._peer(forward.gateway)
        if peer is not None and not forward.call.flags & CONTINUATION:
            down = Unavailable(f"{shard} went down with the call: call again soon")
            refuse_call(peer, forward.call, down)

    def cancel(self, peer: Peer, cancel: Cancel) -> None:
        """Cancel a call (WAMP #rpc-call-canceling); ignore one that is over."""
        if cancel.mode != "kill":
            home = self._parts.end(peer, cancel.session, cancel.request)
            if home is not None:
                self._cancel_at(home, cancel.session, cancel.request)
        self.invocations.cancel(cancel)

    def _cancel_at(self, home: int, session: int, request: int) -> None:
        """Cancel a call that was forwarded, and of which no further parts come."""
        shard = self._peer(f"shard-{home}")
        if shard is not None and shard.link.open:
            shard.reply(Cancel(session, request, "killnowait"))

    def session_ended(self, peer: Peer, session: int) -> None:
        """Interrupt and drop the calls of a session that has ended. peer: its gateway."""
        for _, request, home in self._parts.session_ended(peer, session):
            self._cancel_at(home, session, request)
        self.invocations.session_ended(session)

    def link_broken(self, peer: Peer) -> None:
        """Fail what was on its way to or from that peer, with which the pair has ended."""
        for session, request, home in self._parts.link_broken(peer):
            self._cancel_at(home, session, request)
        self.forwarding.link_broken(peer)
        self.invocations.parts_lost(peer)


def _no_callee(call: Call) -> NoSuchProcedure:
    return NoSuchProcedure(f"no callee has registered {call.procedure}")
