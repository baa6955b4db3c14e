"""The token in the head of a request for a WebSocket (RFC 6750 2.1).

Owns: reading the header. Never: what the token is good for (see `auth`).
"""

from collections.abc import Sequence

_SCHEME = "bearer "


class SeveralAuthorizations(ValueError):
    """A request says several times who it is from."""


def bearer_of(headers: Sequence[str]) -> str:
    """Return the token of the headers Authorization; "": there is none, or another scheme.

    Raises SeveralAuthorizations.
    """
    if len(headers) > 1:
        raise SeveralAuthorizations("There are several headers Authorization")
    header = headers[0] if headers else ""
    is_bearer = header[: len(_SCHEME)].lower() == _SCHEME
    return header[len(_SCHEME) :].strip() if is_bearer else ""
