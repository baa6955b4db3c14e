"""Tokens (JWT, RFC 7519): what a realm believes of them, and who they say that a client is.

Owns: the checks of one token. Never: the keys' origin (see `token_keys`), what is the same for all
failures (see `authentication`). No sentence here has a part of a token.
"""

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple, final

import msgspec
from jwt import InvalidTokenError, PyJWS
from msgspec import Meta, Struct

from fox_shard.config import Jwt
from fox_shard.gateway.auth.renewal import Renewal
from fox_shard.gateway.auth.token_keys import TokenKeys
from fox_shard.users.user import Name

JWT: Final = "jwt"
"""The authprovider of clients with a token, and an authmethod that they may name."""

HEAD: Final = 1024
"""Characters of the longest head that is looked at."""

_UNREADABLE: Final = (
    InvalidTokenError,
    RecursionError,
    TypeError,
    ValueError,
)

_BRACE: Final = "ey"
"""How the base64 text of a JSON object without leading spaces begins."""


class _Head(Struct):
    """The head of a token (RFC 7515 4.1). crit: extensions that must be understood: none are."""

    alg: str
    kid: Annotated[str, Meta(max_length=256)] | None = None
    crit: Any = None


class InvalidToken(Exception):
    """A token that proves nothing; the message is for the log."""


class KeysMissing(Exception):
    """No key has been read yet."""


class Bearer(NamedTuple):
    """Who a token says that its bearer is. expires: seconds since 1970, with the leeway."""

    authid: str
    authrole: str
    expires: float


def is_token(text: str) -> bool:
    """Return whether the text looks like a token: a head of JSON, and two more parts."""
    if not text.startswith(_BRACE) or text.count(".") != 2:
        return False
    head = text.partition(".")[0]
    if len(head) > HEAD:
        return False
    try:
        return isinstance(msgspec.json.decode(_decoded(head)), dict)
    except (ValueError, RecursionError):
        return False


def _decoded(part: str) -> bytes:
    """Return the bytes of a part of a token. Raises ValueError."""
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except Base64Error as error:
        raise ValueError from error


@final
class Tokens:
    """The tokens of one realm. keys: None: they have not been read yet."""

    __slots__ = ("_clock", "_jws", "_realm", "_wall", "keys", "renewal", "settings")

    def __init__(
        self, realm: str, settings: Jwt, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        """clock: the time in monotonic seconds. wall: the same in seconds since 1970."""
        self.settings = settings
        self.keys: TokenKeys | None = None
        self.renewal = Renewal(settings.jwks_interval, settings.jwks_refresh)
        self._realm = realm
        self._clock = clock
        self._wall = wall
        self._jws = PyJWS(algorithms=list(settings.algorithms))

    def verify(self, token: str, name: str | None) -> Bearer:
        """Return whom the token names. name: who the client says it is; "" or None: nobody.

        Raises InvalidToken, KeysMissing.
        """
        if len(token) > self.settings.max_length:
            raise InvalidToken("the token is too long")
        if self.keys is None:
            raise KeysMissing
        bearer = self._bearer(self._claims(token, self.keys))
        if name and name != bearer.authid:
            raise InvalidToken("the token is somebody else's")
        return bearer

    def _claims(self, token: str, keys: TokenKeys) -> dict[str, Any]:
        """Return the claims, whose signature is right."""
        try:
            head = msgspec.json.decode(_decoded(token.partition(".")[0]), type=_Head)
        except (ValueError, RecursionError) as error:
            raise InvalidToken("the token's head cannot be read") from error
        if head.alg not in self.settings.algorithms or head.crit is not None:
            raise InvalidToken("the token's algorithm is not allowed")
        key = keys.find(head.kid, head.alg)
        if key is None:
            self.renewal.want(self._clock())
            raise InvalidToken("the token's key is not known")
        try:
            payload = self._jws.decode(token, key.material, algorithms=[head.alg])
            claims = msgspec.json.decode(payload)
        except _UNREADABLE as error:
            raise InvalidToken("the token's signature is wrong") from error
        if not isinstance(claims, dict):
            raise InvalidToken("the token has no claims")
        return claims

    def _bearer(self, claims: dict[str, Any]) -> Bearer:
        """Return whom the claims name, if they hold here and now."""
        settings, now = self.settings, self._wall()
        expires = _time(claims, "exp")
        if expires is None:
            raise InvalidToken("the token never expires (exp)")
        expires += settings.leeway
        if now >= expires:
            raise InvalidToken("the token has expired")
        begins = _time(claims, "nbf")
        if begins is not None and now < begins - settings.leeway:
            raise InvalidToken("the token is not valid yet (nbf)")
        if settings.issuer and claims.get("iss") != settings.issuer:
            raise InvalidToken("the token has another issuer (iss)")
        audience = claims.get("aud", [])
        audiences = audience if isinstance(audience, list) else [audience]
        if settings.audience not in audiences if settings.audience else audiences:
            raise InvalidToken("the token has another audience (aud)")
        if settings.realm and claims.get(settings.realm) != self._realm:
            raise InvalidToken("the token is for another realm")
        authid, role = _name(claims, settings.authid), _name(claims, settings.role)
        return Bearer(authid, role, expires)


def _time(claims: dict[str, Any], name: str) -> float | None:
    """Return a time in seconds since 1970; None: there is none (RFC 7519 NumericDate)."""
    value = claims.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1e12:
        raise InvalidToken(f"the token's {name} is no time")
    return float(value)


def _name(claims: dict[str, Any], claim: str) -> str:
    """Return a name or a role; those that begin with `fox.` are the server's own."""
    try:
        return msgspec.convert(claims.get(claim), Name)
    except msgspec.ValidationError as error:
        raise InvalidToken(f"the token's claim {claim!r} is no name") from error
