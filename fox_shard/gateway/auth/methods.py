"""The authmethods that prove a user of the file, and for which of them a user has what they need.

Owns: the names of methods, who the user is that a client claims to be. Never: which methods are
possible for a client (see `login`), challenges (see `static`).
"""

from typing import Final

from fox_shard.gateway.auth.certificates import TLS, certified_user
from fox_shard.gateway.auth.claims import ANONYMOUS, Claim
from fox_shard.gateway.auth.tokens import JWT
from fox_shard.users.user import User, Users

TICKET: Final = "ticket"
METHODS: Final = (TICKET, "wampcra", "scram", "wamp-scram", "cryptosign", TLS)


def user_of(method: str, claim: Claim, users: Users) -> User | None:
    """Return the user that the client says it is; None if there is none."""
    if method == TLS:
        return certified_user(users, claim.realm, claim.name, claim.access)
    if method != "cryptosign":
        return users.find(claim.realm, claim.name or "")
    user = users.find_by_key(claim.realm, claim.extra["pubkey"].lower())
    named = user is not None and claim.name in (None, user.name)
    return user if named else None


def suits(method: str, claim: Claim, users: Users, secret: bytes) -> bool:
    """Whether the user has what the method needs; if there is none, the one that it looks like.

    secret: see `Users.profile`.
    """
    if method in (ANONYMOUS, JWT):
        return True
    if method in ("cryptosign", TLS):
        return user_of(method, claim, users) is not None
    profile = users.profile(claim.realm, claim.name or "", secret)
    if profile is None:
        return True
    match method:
        case "ticket":
            return profile.password
        case "wampcra":
            return profile.wampcra is not None
        case "scram":
            scram = profile.scram
            return scram is not None and (scram.kdf == "pbkdf2" or scram.autobahn)
        case _:
            return profile.scram is not None
