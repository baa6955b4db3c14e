"""The section [realm.jwt]: whose tokens let clients into a realm.

Owns: its settings, and which of them go together. Never: the keys themselves, which gateways read.
"""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

Algorithm = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
"""The algorithms of RFC 7518 and RFC 8037 that prove something; `none` is not one of them."""

Algorithms = Annotated[tuple[Algorithm, ...], Meta(min_length=1)]
ClaimName = Annotated[str, Meta(min_length=1, max_length=256)]

HTTPS: Final = "https://"


class Jwt(Struct, frozen=True, kw_only=True):
    """Section [realm.jwt].

    key: a file with a public key (PEM) or, with HS algorithms, a secret of this file's owner. jwks:
    instead of it, a file with a JSON Web Key Set, or its https URL. algorithms: those that tokens
    may be signed with. issuer, audience: what `iss` and `aud` of a token must be; "": `iss` is
    not looked at, and a token must not have `aud`. authid, role, realm: the claims that say who the
    client is, and in which realm; realm: "": a token is good for this realm. leeway: seconds by
    which clocks may differ. max_length: characters of a token. jwks_interval: seconds between two
    requests of the key set because a token names an unknown key. jwks_refresh: seconds after which
    it is requested anyway. jwks_timeout: seconds for one request. jwks_size: bytes of a key set.
    """

    key: str = ""
    jwks: str = ""
    algorithms: Algorithms
    issuer: str = ""
    audience: str = ""
    authid: ClaimName = "sub"
    role: ClaimName = "role"
    realm: str = ""
    leeway: Annotated[int, Meta(ge=0, le=600)] = 10
    max_length: Annotated[int, Meta(ge=256, le=65536)] = 8192
    jwks_interval: Annotated[float, Meta(ge=1.0, le=3600.0)] = 30.0
    jwks_refresh: Annotated[float, Meta(ge=60.0, le=86400.0)] = 3600.0
    jwks_timeout: Annotated[float, Meta(ge=0.1, le=60.0)] = 5.0
    jwks_size: Annotated[int, Meta(ge=1024, le=1 << 24)] = 1 << 18

    @property
    def is_secret(self) -> bool:
        """Whether tokens are signed with a secret that the server has, too."""
        return all(one.startswith("HS") for one in self.algorithms)

    @property
    def is_fetched(self) -> bool:
        """Whether the keys come from an https URL."""
        return self.jwks.startswith(HTTPS)


def contradiction(jwt: Jwt) -> str:
    """Return what is wrong with the section as a whole, as the end of a sentence; "": nothing."""
    if bool(jwt.key) == bool(jwt.jwks):
        return " needs either key or jwks."
    symmetric = [one.startswith("HS") for one in jwt.algorithms]
    if any(symmetric) and not all(symmetric):
        return ".algorithms must be all HS…, of a secret, or none: one key is never of both kinds."
    if jwt.is_secret and jwt.jwks:
        return ".algorithms: HS… needs a secret in a file (key), not jwks, whose keys are public."
    if "://" in jwt.jwks and not (jwt.is_fetched and urlsplit(jwt.jwks).hostname):
        return ".jwks must be a file or an https URL: whoever changes it on the way may log in."
    return ""
