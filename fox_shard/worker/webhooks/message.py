"""The request by which an event is posted, in the form of Standard Webhooks 1.0.

Owns: its body and its headers, with the signature. Never: sending it.

The specification: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from msgspec import Raw, json

from fox_shard.documents.payloads import JSON, encode
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS


def body_of(
    realm: str, topic: str, publication: int, args: list[Any], kwargs: dict[str, Any]
) -> bytes:
    """Return the body: the same for each try. Raises InvalidPayload if JSON cannot have it."""
    written, named = encode(args, kwargs, JSON)
    data = {"args": Raw(written or b"[]"), "kwargs": Raw(named or b"{}")}
    published = datetime.fromtimestamp(published_at(publication), UTC)
    return json.encode(
        {
            "type": topic,
            "timestamp": published.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "id": publication,
            "realm": realm,
            "data": data,
        }
    )


def published_at(publication: int) -> float:
    """Return when an event was published, in seconds since 1970, from its publication id."""
    return EPOCH + publication / SHARDS / TICKS


def headers_of(
    publication: int, wall: float, body: bytes, keys: Sequence[bytes]
) -> list[tuple[str, str]]:
    """Return the headers of one try. wall: seconds since 1970. keys: each of which signs."""
    seconds = int(wall)
    found = [
        ("Content-Type", "application/json"),
        ("webhook-id", str(publication)),
        ("webhook-timestamp", str(seconds)),
    ]
    if keys:
        signed = b"%d.%d.%b" % (publication, seconds, body)
        signatures = (b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys)
        found.append(("webhook-signature", " ".join(f"{VERSION},{one}" for one in signatures)))
    return found


VERSION: Final = "v1"
"""The kind of signature: HMAC-SHA256."""
