"""How a client begins to prove who it is: by the first of its methods that is possible.

Owns: which method is taken, and who is let in without a proof. Never: what comes of an attempt (see
`static`, `dynamic`); WAMP's or MQTT's messages, sessions.
"""

import re
from collections.abc import Sequence
from typing import Final

from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.auth.certificates import TLS, certified_user
from fox_shard.gateway.auth.claims import ANONYMOUS, Attempt, Authenticated, Claim
from fox_shard.gateway.auth.methods import METHODS, TICKET, suits, user_of
from fox_shard.gateway.auth.refusals import AuthenticationFailed, NoMatchingAuthMethod
from fox_shard.gateway.auth.static import challenged
from fox_shard.gateway.auth.tokens import JWT
from fox_shard.users.user import NAME_LENGTH, Users

NOBODY: Final = Authenticated(ANONYMOUS, ANONYMOUS)
"""Who an anonymous client is."""

APPLICATION: Final = Authenticated(
    "fox.application", "application", "application", provider="application"
)
"""Who the application is in whose process the gateway runs. It need not prove anything."""

WEB: Final = "web"
"""The method of a client that a web application has authenticated."""

BEARERS: Final = frozenset({TICKET, JWT, ANONYMOUS})
"""Methods of a client whose token is looked at that came with its request for a WebSocket."""
OFFERED: Final = 32
"""Methods of a client that are looked at, the first ones."""

_NONCE: Final = re.compile(r"[A-Za-z0-9+/]{1,128}={0,2}")
_PUBKEY: Final = re.compile(r"[0-9a-fA-F]{64}")


def begin(authentication: Authentication, claim: Claim) -> Authenticated | Attempt:
    """Return who the client is, if that needs no proof, or the attempt to prove it.

    Raises NoMatchingAuthMethod, TooManyFailures, AuthenticationFailed.
    """
    known = _known_to_application(claim)
    if known is not None:
        return known
    methods = (*claim.methods[:OFFERED],) or (ANONYMOUS,)
    users = authentication.users_of(claim.realm)
    if users is None:
        if ANONYMOUS in methods:
            return NOBODY
        raise NoMatchingAuthMethod(f"the only authmethod here is {ANONYMOUS!r}")
    if authentication.awaited is not None and authentication.awaited.waits(claim.realm):
        return authentication.awaited.attempt(claim)
    if claim.name is not None and len(claim.name) > NAME_LENGTH:
        authentication.failed(claim.address)
        raise AuthenticationFailed()
    if claim.bearer and claim.realm in authentication.tokens and not BEARERS.isdisjoint(methods):
        authentication.check_failures(claim.address)
        # Anonymous clients are told which of our methods this is.
        method = next((one for one in methods if one in (TICKET, JWT)), TICKET)
        return authentication.bearer(claim, method, claim.bearer)
    possible = [one for one in methods if _is_possible(authentication, one, claim, users)]
    if not possible:
        raise _no_match(methods, authentication, claim.realm)
    return _begin_by(authentication, possible, claim, users)


def _known_to_application(claim: Claim) -> Authenticated | None:
    """Return who the client is, if the application in this process says so; methods do not count.

    Raises AuthenticationFailed if it says that the client is somebody else.
    """
    access = claim.access
    if access is None or access.application:
        return None if access is None else APPLICATION
    user = access.web_user
    if user is None:
        return None
    # An MQTT client may name a realm, but nobody: "@realm".
    is_other = claim.name and claim.name != user.authid
    if is_other or user.realm not in (None, claim.realm):
        raise AuthenticationFailed("the web application has handed over somebody else")
    return Authenticated(
        user.authid, user.role, WEB, user.extra, provider=APPLICATION.provider, expires=user.expires
    )


def _begin_by(
    authentication: Authentication, possible: Sequence[str], claim: Claim, users: Users
) -> Authenticated | Attempt:
    """Begin by the first of the possible methods that suits the client."""
    asked = _asked(authentication, possible, claim, users)
    method = _chosen(possible, asked, claim, users, authentication.secret)
    if method == ANONYMOUS and method not in asked:
        return NOBODY
    authentication.check_failures(claim.address)
    if method in asked:
        assert authentication.authenticators is not None
        return authentication.authenticators.begin(method, claim)
    if method == TLS:
        return _certified(authentication, claim, users)
    return challenged(authentication, method, claim, users)


def _asked(
    authentication: Authentication, possible: Sequence[str], claim: Claim, users: Users
) -> list[str]:
    """Return the methods for which the authenticator would be asked."""
    authenticators = authentication.authenticators
    if authenticators is None:
        return []
    asked = [one for one in possible if authenticators.asks(one, claim, users)]
    if ANONYMOUS in asked and authentication.is_anonymous_possible(claim.realm):
        asked.remove(ANONYMOUS)
    return asked


def _certified(authentication: Authentication, claim: Claim, users: Users) -> Authenticated:
    """Return the user whom the client's certificate names, which TLS has verified."""
    user = certified_user(users, claim.realm, claim.name, claim.access)
    if user is None:
        authentication.failed(claim.address)
        raise AuthenticationFailed()
    return Authenticated(user.name, user.role, TLS)


def _is_possible(authentication: Authentication, method: str, claim: Claim, users: Users) -> bool:
    """Whether the client may use the method, if it is the user that it says it is."""
    extra = claim.extra
    decided = authentication.authenticators is not None and authentication.authenticators.decides(
        method, claim.realm
    )
    match method:
        case "anonymous":
            return decided or authentication.is_anonymous_possible(claim.realm)
        case "ticket":
            return claim.name is not None or claim.realm in authentication.tokens
        case "jwt":
            return claim.realm in authentication.tokens
        case "wampcra":
            return claim.name is not None and (decided or users.has_wampcra(claim.realm))
        case "scram" | "wamp-scram":
            unbound = extra.get("channel_binding") is None
            return claim.name is not None and unbound and _is(_NONCE, extra.get("nonce"))
        case "cryptosign":
            return _is(_PUBKEY, extra.get("pubkey"))
        case "tls":
            return claim.access is not None and claim.access.user is not None
        case _:
            return False


def _no_match(
    methods: Sequence[str], authentication: Authentication, realm: str
) -> NoMatchingAuthMethod:
    if any(method in METHODS for method in methods):
        return NoMatchingAuthMethod(
            "no offered authmethod is possible: ticket, wampcra, scram need an authid, scram "
            "also authextra.nonce (and no channel binding), cryptosign authextra.pubkey, tls a "
            "client certificate with a name"
        )
    here = [*METHODS]
    if realm in authentication.tokens:
        here.append(JWT)
    if authentication.is_anonymous_possible(realm):
        here.append(ANONYMOUS)
        why = "no offered authmethod is known"
    else:
        why = "this realm is not open to anonymous clients"
    return NoMatchingAuthMethod(f"{why}: the authmethods here are {', '.join(here)}")


def _chosen(
    possible: Sequence[str], asked: Sequence[str], claim: Claim, users: Users, secret: bytes
) -> str:
    """Return the first method that suits the user, or for which an authenticator is asked."""
    for method in possible:
        if method in asked:
            return method
        # A user that is not in the file may be one of the authenticator's, which then has to be
        # asked: all other methods would fail.
        hopeless = asked and method != ANONYMOUS and user_of(method, claim, users) is None
        if not hopeless and suits(method, claim, users, secret):
            return method
    return possible[0]


def _is(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None
