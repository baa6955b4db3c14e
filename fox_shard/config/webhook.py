"""The sections [[realm.webhook]]: where the events of a topic are posted.

Owns: their settings, what of these may be shown, what a secret is. Never: requests, files.
"""

from base64 import b64decode
from binascii import Error
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import replace

PREFIX: Final = "whsec_"
"""What a secret may begin with, as Standard Webhooks has it."""

KEY_SIZES: Final = range(24, 65)
"""Bytes that a secret may have, by Standard Webhooks."""

Headers = Annotated[dict[str, str], Meta(max_length=50)]


class Webhook(Struct, frozen=True, kw_only=True):
    """One [[realm.webhook]]: the events of topics are posted to a URL.

    name: by which the events wait, also when all else is changed; "": the topic. topic, match: the
    events' topics, in the form of a WAMP subscription. secret: signs requests, `whsec_` and base64;
    secret_file: has secrets, one a line, each of which signs; neither: requests are not signed.
    headers: further ones. timeout: seconds for a request. concurrency: requests at once.
    queue_limit, queue_bytes: events that wait at one shard, and their bytes. when_full: whether
    further events pass the webhook by, or acknowledged publishes are refused. give_up_after: age
    in seconds at which an event that was not delivered is given up. longest_delay: seconds between
    two tries at most. ca_file: certificates of those who sign the URL's one; "": those of the
    system. `load` makes the paths of files absolute.
    """

    name: Annotated[str, Meta(max_length=256)] = ""
    topic: str
    match: Literal["exact", "prefix", "wildcard"] = "exact"
    url: Annotated[str, Meta(max_length=2048)]
    secret: Annotated[str, Meta(max_length=256)] = ""
    secret_file: Annotated[str, Meta(max_length=4096)] = ""
    headers: Headers = {}
    timeout: Annotated[float, Meta(ge=0.1, le=300)] = 10.0
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 10
    queue_limit: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    queue_bytes: Annotated[int, Meta(ge=1 << 12, le=1 << 32)] = 1 << 26
    when_full: Literal["drop", "refuse"] = "drop"
    give_up_after: Annotated[int, Meta(ge=1, le=2_592_000)] = 86_400
    longest_delay: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    ca_file: Annotated[str, Meta(max_length=4096)] = ""

    @property
    def shown(self) -> "Webhook":
        """What may be printed: without secrets, of which headers and the URL's query have some."""
        parts = urlsplit(self.url)
        return replace(
            self,
            url=parts._replace(query="…" if parts.query else "").geturl(),
            secret="…" if self.secret else "",
            headers=dict.fromkeys(self.headers, "…"),
        )


def key_of(secret: str) -> bytes:
    """Return the bytes of a secret. Raises ValueError with a sentence, which does not show it."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (Error, ValueError):
        key = b""
    if len(key) not in KEY_SIZES:
        raise ValueError(
            "a secret is whsec_ and 24 to 64 random bytes in base64, such as from "
            '`echo "whsec_$(openssl rand -base64 32)"`.'
        )
    return key
