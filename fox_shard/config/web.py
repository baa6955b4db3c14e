"""Section [web]: HTTP.

Owns: the struct. Never: reading it (see `reader`).
"""

from typing import Annotated

from msgspec import Meta, Struct

from fox_shard.config.address import Address

OptionalAddress = Address | None
Networks = tuple[Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$")], ...]
Patience = Annotated[float, Meta(ge=0.1, le=3600.0)]
Path = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
Sessions = Annotated[int, Meta(ge=1, le=100_000)]


class Web(Struct, frozen=True, kw_only=True):
    """Section [web]: HTTP (address None: off), and the limits for its clients.

    realm: of requests that name none; "": mqtt.realm. keys: a file with the keys of signed
    requests; "": there are none. trusted_proxies: networks whose header
    X-Forwarded-For is believed. max_sessions: WAMP sessions by which requests are carried out,
    those of event streams included. session_idle: seconds for which one without requests is kept.
    session_age: seconds after which a user has to log in anew. max_streams,
    max_streams_per_address: event streams at a time. stream_bytes: of events that wait for one
    reader. slow_timeout: seconds in which a reader has to take one event. answer_timeout: seconds
    for the answer to a publish or call. max_connections, max_connections_per_address: at a time.
    body_bytes: of the bodies of all requests and answers under way, of which one address may have a
    quarter. message_bytes: the same of messages of more than 64 KiB between clients and gateways.
    """

    address: OptionalAddress = Address("127.0.0.1", 8088)
    realm: str = ""
    keys: Path = ""
    trusted_proxies: Networks = ()
    max_connections: Sessions = 10_000
    max_connections_per_address: Sessions = 1_000
    body_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 36)] = 1 << 28
    message_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 36)] = 1 << 28
    max_sessions: Sessions = 2_000
    session_idle: Patience = 60.0
    session_age: Patience = 300.0
    max_streams: Sessions = 1_000
    max_streams_per_address: Sessions = 100
    stream_bytes: Annotated[int, Meta(ge=1 << 12, le=1 << 28)] = 1 << 18
    slow_timeout: Patience = 30.0
    answer_timeout: Patience = 30.0
