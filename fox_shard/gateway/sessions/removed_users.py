"""The end of sessions whose users have been removed.

Owns: which sessions end, a part at a time. Never: who the users are (see `auth`).
"""

from collections.abc import Callable
from typing import Final, final

from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.auth.claims import ANONYMOUS
from fox_shard.gateway.sessions.registry import SessionRegistry

USER_REMOVED: Final = "fox.close.user_removed"
"""Why a session ends whose user was removed, or has got another role."""

LOOKED_AT: Final = 200
"""Sessions that are looked at in one part."""

ENDED: Final = 10
"""Sessions that end in one part, after which the rest waits."""


@final
class RemovedUsers:
    """Ends the sessions that the present users do not allow, as a chore (see `Turns`).

    However often users are removed, there is one chore, which goes over all sessions once more.
    Sessions that somebody else has let in go on, such as those with tokens.
    """

    __slots__ = ("_add_chore", "_again", "_authentication", "_left", "_registry", "_running")

    def __init__(
        self,
        registry: SessionRegistry,
        authentication: Authentication,
        add_chore: Callable[[Callable[[], bool]], None],
    ) -> None:
        self._registry = registry
        self._authentication = authentication
        self._add_chore = add_chore
        self._left: list[int] = []
        self._again = False
        self._running = False

    def look(self) -> None:
        """Look at all sessions in the next turns, because users have been removed."""
        self._again = True
        if not self._running:
            self._running = True
            self._add_chore(self._go_on)

    def _go_on(self) -> bool:
        """Look at some sessions; return whether there are more."""
        if self._again and not self._left:
            # Sessions that join later are those of the present users.
            self._again = False
            self._left = list(self._registry.sessions)
        looked_at = ended = 0
        while self._left and looked_at < LOOKED_AT and ended < ENDED:
            looked_at += 1
            ended += self._look_at(self._left.pop())
        self._running = self._again or bool(self._left)
        return self._running

    def _look_at(self, number: int) -> bool:
        """End the session if its user is not there any more. Returns whether it has ended."""
        join = self._registry.join_of(number)
        if join is None or self._authentication.lets_in(
            join.realm, join.authid, join.authrole, join.authmethod, join.authprovider
        ):
            return False
        if join.authmethod == ANONYMOUS:
            sentence = "this realm is not open to anonymous clients any more"
        else:
            sentence = "the user was removed, or has got another role"
        self._registry.sessions[number].end(USER_REMOVED, sentence)
        return True
