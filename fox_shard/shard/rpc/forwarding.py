"""Forwarded calls: those that this shard passes on to the homes of pattern registrations.

Owns: which forwarded calls are not known to have arrived at their homes, and which later calls need
fences because of them. Never: procedures.

The home answers the caller's gateway directly. The gateway is told so (`CallMoved`) once the home
has the call. Until then this shard is responsible for the call: if the pair with the home ends, it
answers the call with an error.
"""

from typing import final

from fox_shard.backplane.frames import CONTINUATION, Call, CallMoved, Fence, Forward
from fox_shard.backplane.refusals import call_error
from fox_shard.errors import Unavailable
from fox_shard.shard.links.peer import Peer

SEVERAL = -1
"""Stands for the home if calls of one session are on their way to several homes."""

KEPT_SESSIONS = 1000
"""Sessions per gateway; beyond it, those whose last forwarded calls have arrived are dropped."""


@final
class Forwarding:
    """The calls that one shard forwards."""

    __slots__ = ("_last_forwarded", "_shard", "_under_way")

    def __init__(self, shard: int) -> None:
        self._shard = shard
        # Home -> (caller, request) -> (sequence number of the `Forward`, the caller's gateway), of
        # the calls that are not known to have arrived.
        self._under_way: dict[Peer, dict[tuple[int, int], tuple[int, Peer]]] = {}
        # Gateway -> session -> its last forwarded call: (seq of its batch's last frame, home).
        self._last_forwarded: dict[Peer, dict[int, tuple[int, int]]] = {}

    @property
    def parted(self) -> bool:
        """Whether calls of any session may be on their way to several homes."""
        return bool(self._last_forwarded)

    @property
    def idle(self) -> bool:
        """Whether all calls are known to have arrived at their homes."""
        return not any(self._under_way.values())

    def forward(
        self, gateway: Peer, home: Peer, number: int, pattern: str, call: Call, *, alone: bool
    ) -> None:
        """Send the call to its home, whose link must be open.

        number: the home's number. alone: the caller has no unanswered calls at this shard.
        """
        link = home.link
        if alone and gateway.deliveries.is_delivered:
            self.fence(gateway, call, number)
        else:
            # Earlier invocations from this shard may not have reached the callee yet.
            self._add_fence_mark(gateway, call, gateway.link.received)
        sent = link.send(Forward(gateway.name, pattern, call))
        if not call.flags & CONTINUATION:
            # The home refuses what it has of a call whose further parts are lost.
            under_way = self._under_way.setdefault(home, {})
            under_way[call.session, call.request] = (sent, gateway)
        link.prompt = True
        sessions = self._last_forwarded.setdefault(gateway, {})
        seq = gateway.link.received
        if sessions.get(call.session, (seq, number))[1] != number:
            number = SEVERAL
        sessions[call.session] = (seq, number)
        if len(sessions) > KEPT_SESSIONS:
            reached = gateway.deliveries.effective_up_to
            self._last_forwarded[gateway] = {
                s: last for s, last in sessions.items() if last[0] > reached
            }

    def kept_sessions(self, gateway: Peer) -> int:
        """Return the number of that gateway's sessions whose last forwarded calls are kept."""
        return len(self._last_forwarded.get(gateway, ()))

    def fence(self, gateway: Peer, call: Call, to: int) -> None:
        """Add a fence if an earlier call of the session may still be on its way to another home.

        to: the shard that this call is for. The gateway cannot set the fence: it sent both calls
        to this shard, and does not know that they part here.
        """
        sessions = self._last_forwarded.get(gateway)
        if sessions is None:
            return
        seq, home = sessions.get(call.session, (0, to))
        if home == to:
            return
        if gateway.deliveries.effective_up_to >= seq:
            del sessions[call.session]
            return
        self._add_fence_mark(gateway, call, seq)

    def _add_fence_mark(self, gateway: Peer, call: Call, seq: int) -> None:
        """Fence the call behind the gateway's frames up to `seq` at this shard."""
        mark = (self._shard, gateway.link.peer_epoch, seq)
        if call.fence is None:
            call.fence = Fence(gateway.name, [mark])
        else:
            call.fence.marks.append(mark)

    def confirmed(self, home: Peer, number: int) -> None:
        """Tell the gateways which calls the home has received and thus answers.

        Called when the home has handled more frames. number: the home's number.
        """
        under_way = self._under_way.get(home)
        if not under_way:
            return
        handled = home.link.handled
        for key, (sent, gateway) in list(under_way.items()):
            if sent > handled:
                return
            del under_way[key]
            gateway.reply(CallMoved(*key, number, home.link.peer_incarnation))

    def link_broken(self, peer: Peer) -> None:
        """Fail the calls that are on their way to that peer: they may not have arrived.

        If the peer is a gateway, its sessions' calls need no fences in the next pair.
        """
        self._last_forwarded.pop(peer, None)
        down = Unavailable(f"{peer.name} went down with the call: call again soon")
        for (session, request), (_, gateway) in self._under_way.pop(peer, {}).items():
            gateway.reply(call_error(session, request, down))
