"""The end of sessions whose users have been removed.

Owns: which sessions end, a part at a time. Never: who the users are (see `auth`).
"""

from typing import Final, final

from fox_shard.gateway.auth.authentication import ANONYMOUS, Authentication
from fox_shard.gateway.sessions.registry import SessionRegistry

USER_REMOVED: Final = "fox.close.user_removed"
"""Why a session ends whose user was removed, or has got another role."""

LOOKED_AT: Final = 200
"""Sessions that are looked at in one part."""

ENDED: Final = 10
"""Sessions that end in one part, after which the rest waits."""


@final
class RemovedUsers:
    """A chore (see `Turns`) that ends the sessions that the present users do not allow.

    Sessions that somebody else has let in go on, such as those with tokens.
    """

    __slots__ = ("_authentication", "_left", "_registry")

    def __init__(self, registry: SessionRegistry, authentication: Authentication) -> None:
        self._registry = registry
        self._authentication = authentication
        # Sessions that join later are those of the present users.
        self._left = list(registry.sessions)

    def __call__(self) -> bool:
        """Look at some sessions; return whether there are more."""
        looked_at = ended = 0
        while self._left and looked_at < LOOKED_AT and ended < ENDED:
            looked_at += 1
            ended += self._look_at(self._left.pop())
        return bool(self._left)

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
