"""The guard of a gateway where roles have authorizers: requests wait for what nobody has decided.

Owns: which requests wait as one, and which each by itself. Never: which permission a request needs
(see `guard`); asking, and the order in which requests go on (see `authorizers`).

A request that waits is one value, the function that carries it out from its beginning. So nothing
but the guard knows what a request consists of.
"""

from typing import final

from fox_shard.backplane.frames import ACKNOWLEDGE
from fox_shard.gateway.authorizers import Authorizers
from fox_shard.gateway.guard import Guard
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session


@final
class AskingGuard:
    """The guard and the authorizers of one gateway. The requests are those of `Router`."""

    __slots__ = (
        "_publish_all",
        "call",
        "publish",
        "register",
        "register_reducer",
    )

    def __init__(self, guard: Guard, authorizers: Authorizers) -> None:
        self.publish = authorizers.asking(guard.publish)
        self._publish_all = authorizers.asking(guard.publish_all)
        self.call = authorizers.asking(guard.call)
        self.register = authorizers.asking(guard.register)
        self.register_reducer = authorizers.asking(guard.register_reducer)

    def publish_all(
        self,
        session: Session,
        route: Route,
        flags: int,
        request: int,
        encoding: int,
        payloads: list[bytes],
    ) -> None:
        """Publish all payloads, if the session may. One answer is for all of them, if it can be."""
        answers = session.answers
        if answers is None or not (answers.asks or route.table is not None):
            self._publish_all(session, route, flags, request, encoding, payloads)
            return
        # Each has its own place behind the request that waits, or is about a row of its own.
        step = 1 if flags & ACKNOWLEDGE else 0
        for number, args in enumerate(payloads):
            self.publish(session, route, flags, request + step * number, encoding, args)
