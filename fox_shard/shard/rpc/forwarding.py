"""Calls that another shard answers.

Owns: which calls have been forwarded and are not known to have arrived, and what must not overtake
them. Never: procedures.

The home of a pattern registration answers the caller's gateway directly, which is told so once the
home has the call (`Forwarded`). Until then this shard answers for it: it fails the call if the pair
with the home ends.
"""

from typing import final

from fox_shard.backplane.frames import Call, Fence, Forward, Forwarded
from fox_shard.backplane.refusals import call_error
from fox_shard.errors import Unavailable
from fox_shard.shard.links.peer import Peer

SEVERAL = -1
"""In place of a home: calls of that session are under way to more than one."""

REMEMBERED = 1000
"""Sessions of a gateway whose last forwarded call is looked up whether it has arrived or not."""


@final
class Forwarding:
    """What one shard forwards."""

    __slots__ = ("_last", "_shard", "_under_way")

    def __init__(self, shard: int) -> None:
        self._shard = shard
        # Home -> (caller, request) -> (number of the `Forward` there, the caller's gateway).
        self._under_way: dict[Peer, dict[tuple[int, int], tuple[int, Peer]]] = {}
        # Gateway -> session -> its last forwarded call: (number of its batch's last frame, home).
        self._last: dict[Peer, dict[int, tuple[int, int]]] = {}

    @property
    def idle(self) -> bool:
        """Every call is known to have arrived at its home."""
        return not any(self._under_way.values())

    def forward(
        self, gateway: Peer, home: Peer, number: int, pattern: str, call: Call, *, alone: bool
    ) -> None:
        """Send the call to its home, whose link is open.

        number: the home's. alone: its caller has no calls here that have not been answered.
        """
        link = home.link
        if alone and gateway.passing.passed:
            self.fence(gateway, call, number)
        else:
            # What this shard invoked for the caller may not have arrived at the callee.
            self._mark(gateway, call, gateway.link.received)
        under_way = self._under_way.setdefault(home, {})
        under_way[call.session, call.request] = (
            link.send(Forward(gateway.name, pattern, call)),
            gateway,
        )
        link.prompt = True
        sessions = self._last.setdefault(gateway, {})
        seq = gateway.link.received
        if sessions.get(call.session, (seq, number))[1] != number:
            number = SEVERAL
        sessions[call.session] = (seq, number)
        if len(sessions) > REMEMBERED:
            reached = gateway.passing.reached
            self._last[gateway] = {s: last for s, last in sessions.items() if last[0] > reached}

    def remembered(self, gateway: Peer) -> int:
        """Of how many of that gateway's sessions the last forwarded call is known."""
        return len(self._last.get(gateway, ()))

    def fence(self, gateway: Peer, call: Call, to: int) -> None:
        """Let the call not overtake an earlier one of its session that went to another home.

        to: the shard that this call is for. The gateway does not know that they part here.
        """
        sessions = self._last.get(gateway)
        if sessions is None:
            return
        seq, home = sessions.get(call.session, (0, to))
        if home == to:
            return
        if gateway.passing.reached >= seq:
            del sessions[call.session]
            return
        self._mark(gateway, call, seq)

    def _mark(self, gateway: Peer, call: Call, seq: int) -> None:
        mark = (self._shard, gateway.link.peer_epoch, seq)
        if call.fence is None:
            call.fence = Fence(gateway.name, [mark])
        else:
            call.fence.marks.append(mark)

    def settle(self, home: Peer, number: int) -> None:
        """The home has handled more: the gateways hear who answers. number: the home's."""
        under_way = self._under_way.get(home)
        if not under_way:
            return
        handled = home.link.handled
        for key, (sent, gateway) in list(under_way.items()):
            if sent > handled:
                return
            del under_way[key]
            gateway.reply(Forwarded(*key, number, home.link.peer_incarnation))

    def lost(self, peer: Peer) -> None:
        """The pair with that peer has ended.

        Nobody knows which calls have arrived that it is the home of. What its own sessions have
        forwarded fences nothing in the next pair.
        """
        self._last.pop(peer, None)
        down = Unavailable(f"{peer.name} went down with the call: call again soon")
        for (session, request), (_, gateway) in self._under_way.pop(peer, {}).items():
            gateway.reply(call_error(session, request, down))
