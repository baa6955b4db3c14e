"""Signed requests, as Crossbar's HTTP bridge has them: the signature says who sends a request.

Owns: signatures, and that each is good once. Never: files; what the user may do.

The parameters are `key`, `timestamp`, `seq`, `nonce` and `signature`: the HMAC-SHA256 of
the other four and the body, in this order and with the key's secret, in URL-safe base64.
"""

import base64
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, final

from msgspec import Meta, Struct

from fox_shard.web.problems import AGAIN, Problem

SKEW: Final = 300.0
"""Seconds by which the clock of a client may differ; for as long, signatures are remembered."""

MOST: Final = 100_000
"""Signatures that are remembered."""

FIELDS: Final = ("key", "timestamp", "seq", "nonce")

Text = Annotated[str, Meta(min_length=1, max_length=256)]


@final
class SigningKey(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One key. user, password, realm: of the user by whom signed requests are carried out."""

    key: Text
    secret: Annotated[str, Meta(min_length=16, max_length=1024)]
    user: Text
    password: Text
    realm: Text


@final
class Signatures:
    """The keys, and the signatures that have been used."""

    def __init__(self, keys: Iterable[SigningKey] = ()) -> None:
        self._keys = {one.key: one for one in keys}
        # Signature -> until when it is remembered, in the order of arrival.
        self._used: dict[str, float] = {}

    def signer(self, query: Mapping[str, str], body: bytes, wall: float) -> SigningKey | None:
        """Return whose key has signed a request; None: it is not signed. Raises Problem.

        wall: seconds since 1970.
        """
        if not self._keys or "signature" not in query:
            return None
        for field in FIELDS:
            if not query.get(field):
                raise Problem(400, f"A signed request needs {field}.", parameter=field)
        self._check_time(query["timestamp"], wall)
        key = self._keys.get(query["key"])
        # A key that nobody has takes the same time.
        secret = key.secret if key is not None else ""
        expected = signature_of(secret, [query[field] for field in FIELDS], body)
        given = query["signature"]
        if not hmac.compare_digest(expected.encode(), given.encode()) or key is None:
            raise Problem(401, "The signature is wrong, or nobody has the key.")
        self._use(expected, wall)
        return key

    def _check_time(self, text: str, wall: float) -> None:
        try:
            at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        except ValueError:
            sentence = "timestamp must be a time in UTC such as 2011-10-14T16:59:51.123Z."
            raise Problem(400, sentence, parameter="timestamp") from None
        if abs(at.timestamp() - wall) > SKEW:
            sentence = f"timestamp differs from this server's time by more than {SKEW:g} s."
            raise Problem(401, sentence, parameter="timestamp")

    def _use(self, signature: str, wall: float) -> None:
        """Note a signature. Raises Problem if it was used before."""
        for old, until in [*self._used.items()][:2]:
            # Two at a time: so they go faster than new ones come.
            if until < wall:
                del self._used[old]
        if signature in self._used:
            raise Problem(401, "This signature has been used already.")
        if len(self._used) >= MOST:
            raise Problem(503, "There are too many signed requests.", headers=AGAIN)
        # A request from the future is good for twice as long.
        self._used[signature] = wall + 2 * SKEW


def signature_of(secret: str, fields: Iterable[str], body: bytes) -> str:
    """Return the signature of a request. fields: the values of `FIELDS`."""
    signed = "".join(fields).encode("utf-8", "surrogatepass") + body
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()
