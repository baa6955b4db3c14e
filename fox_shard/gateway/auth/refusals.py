"""Why a client is not let in.

Owns: the error URIs and reason codes of that. Never: deciding (see `authentication`, `login`).
"""

from fox_shard.errors import Refusal


class NoMatchingAuthMethod(Refusal):
    """The client accepts none of the authentication methods that are possible here."""

    uri = "wamp.error.no_matching_auth_method"
    reason = 0x8C


class AuthenticationFailed(Refusal):
    """The client has not proved to be the user that it says it is."""

    uri = "wamp.error.authentication_failed"
    reason = 0x86

    def __init__(self, about: str = "") -> None:
        """about: more for the log; clients are told nothing else."""
        super().__init__("the authentication failed")
        self.about = about


class TooManyFailures(Refusal):
    """Too many clients of this address have failed (`auth.max_failures`)."""

    uri = "wamp.error.authentication_failed"
    reason = 0x9F


class Busy(Refusal):
    """Nobody can be let in for now: too many passwords wait (`auth.max_waiting`)."""

    uri = "wamp.error.unavailable"
    reason = 0x89


class KeysNotRead(Refusal):
    """The keys that verify tokens have not been read yet."""

    uri = "wamp.error.unavailable"
    reason = 0x88
