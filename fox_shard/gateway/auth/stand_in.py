"""A stand-in: what clients are asked to prove who name a user that does not exist.

Owns: salts and costs in the challenges of such users, and of those that lack the method. Never:
which profile a user has (see `users.profile`), checking answers: none is right.
"""

import hmac
from typing import Final, final

from fox_shard.users.passwords import MEMORY_COST, PBKDF2_ITERATIONS, TIME_COST
from fox_shard.users.profile import Profile, ScramProfile, WampCraProfile
from fox_shard.users.user import Scram, WampCra

NO_KEY: Final = bytes(32)
NOBODY_SIGNS: Final = "nobody signs with this key"

_SCRAM: Final = ScramProfile("argon2id13", TIME_COST, MEMORY_COST, autobahn=True)
_WAMPCRA: Final = WampCraProfile(salted=True, iterations=PBKDF2_ITERATIONS, keylen=32)
"""What is shown if the profile has nothing for the method."""


@final
class StandIn:
    """What one name shows: the same at each try, and at each gateway."""

    __slots__ = ("_name", "_profile", "_secret")

    def __init__(self, profile: Profile | None, name: str, secret: bytes) -> None:
        """secret: of the server; whoever knew it could tell these salts from those of users."""
        self._profile = profile
        self._name = name
        self._secret = secret

    def scram(self) -> Scram:
        """Return what SCRAM needs."""
        shown = (self._profile and self._profile.scram) or _SCRAM
        return Scram(
            kdf="pbkdf2" if shown.kdf == "pbkdf2" else "argon2id13",
            salt=self._salt("scram"),
            iterations=shown.iterations,
            memory=shown.memory,
            stored_key=NO_KEY,
            server_key=NO_KEY,
        )

    def wampcra(self) -> WampCra:
        """Return what WAMP-CRA needs."""
        shown = (self._profile and self._profile.wampcra) or _WAMPCRA
        return WampCra(
            key=NOBODY_SIGNS,
            salt=self._salt("wampcra").hex() if shown.salted else "",
            iterations=shown.iterations,
            keylen=shown.keylen,
        )

    def _salt(self, method: str) -> bytes:
        text = f"{method} {self._name}".encode("utf-8", "replace")
        return hmac.digest(self._secret, text, "sha256")[:16]
