"""Frames: sessions, wills, and reports of processes.

Owns: the frames about sessions and about the state of processes. Never: behaviour.
"""

from msgspec import Struct

from fox_shard.backplane.frames.publishing import Publish


class Join(Struct, array_like=True, tag=40, gc=False):
    """A session began: gateway to coordinator.

    protocol: `wamp.2.json`, `mqtt.3.1.1` …; transport: `websocket`, `rawsocket`, `tcp`.
    client: MQTT client id, empty for WAMP. began: seconds since 1970. replay: told again; no news.
    """

    session: int
    realm: str
    authid: str
    authrole: str
    authmethod: str
    authprovider: str
    protocol: str
    transport: str
    peer: str
    client: str
    began: float
    replay: bool


class Leave(Struct, array_like=True, tag=41, gc=False):
    """A session ended: gateway to coordinator and to the shards that keep something of it.

    graceful: the client said goodbye (an MQTT will is dropped then, else published).
    """

    session: int
    graceful: bool


class Will(Struct, array_like=True, tag=42, gc=False):
    """What to publish when the session ends ungracefully: gateway to the shard of the topic."""

    publish: Publish


class Present(Struct, array_like=True, tag=46, gc=False):
    """The session lives, and may have something at that shard: gateway to shard, when it returns.

    Sessions of that gateway that are not told so by its `SyncEnd` have ended. Not answered.
    """

    session: int


class Kill(Struct, array_like=True, tag=43, gc=False):
    """End that session: coordinator to its gateway."""

    session: int
    reason: str
    message: str


class Report(Struct, array_like=True, tag=44, gc=False):
    """Counters (since the last report) and gauges of a process: to the coordinator."""

    counters: dict[str, int]
    gauges: dict[str, int]


class Trouble(Struct, array_like=True, tag=45, gc=False):
    """The shard's store does not work, or ("") works again: to each gateway. Not answered."""

    reason: str
