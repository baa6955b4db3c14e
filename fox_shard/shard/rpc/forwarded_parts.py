"""The ways of progressive calls that a shard forwards (WAMP #rpc-progressive-call-invocations).

Owns: to which pattern's home the further parts of a call go. Never: calls that are answered here.

All parts of a call take one way, so that they come in order: through the shard to which its
gateway sent the first one, even if a better registration has come since. The way is forgotten with
the last part, or when the call ends. The home is told, as the gateway may not know that home, or
may have no link to it at the moment.
"""

from typing import final

from fox_shard.backplane.frames import CONTINUES, Call
from fox_shard.shard.links.peer import Peer

Way = tuple[int, str]
"""(number of the home, text of the pattern)."""


@final
class ForwardedParts:
    """The progressive calls that one shard forwards, until their last part."""

    __slots__ = ("_ways",)

    def __init__(self) -> None:
        # Gateway -> caller -> request -> way.
        self._ways: dict[Peer, dict[int, dict[int, Way]]] = {}

    @property
    def idle(self) -> bool:
        """Whether there are none."""
        return not self._ways

    def begin(self, gateway: Peer, call: Call, way: Way) -> None:
        """Note the way of a call of which further parts follow."""
        of_session = self._ways.setdefault(gateway, {}).setdefault(call.session, {})
        of_session[call.request] = way

    def way(self, gateway: Peer, part: Call) -> Way | None:
        """Return the way of a further part; None: the call is over, or was never forwarded here."""
        way = self._ways.get(gateway, {}).get(part.session, {}).get(part.request)
        if way is not None and not part.flags & CONTINUES:
            self.end(gateway, part.session, part.request)
        return way

    def end(self, gateway: Peer, session: int, request: int) -> int | None:
        """Forget the way of a call; return the number of its home, if there was a way."""
        of_session = self._ways.get(gateway, {}).get(session, {})
        way = of_session.pop(request, None)
        if way is None:
            return None
        if not of_session:
            self.session_ended(gateway, session)
        return way[0]

    def session_ended(self, gateway: Peer, session: int) -> list[tuple[int, int, int]]:
        """Forget the calls of a session that has ended; return (session, request, home) of each."""
        of_gateway = self._ways.get(gateway, {})
        of_session = of_gateway.pop(session, {})
        if not of_gateway:
            self._ways.pop(gateway, None)
        return [(session, request, home) for request, (home, _) in of_session.items()]

    def link_broken(self, gateway: Peer) -> list[tuple[int, int, int]]:
        """Forget the calls of a gateway's sessions; return (session, request, home) of each."""
        return [
            one
            for session in list(self._ways.get(gateway, ()))
            for one in self.session_ended(gateway, session)
        ]
