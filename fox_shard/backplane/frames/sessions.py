"""Frames: sessions, wills, and reports of processes.

Owns: the frames about sessions and about the state of processes. Never: behaviour.
"""

from typing import TypeAlias

from msgspec import Struct

from fox_shard.backplane.frames.publishing import Publish


class Join(Struct, array_like=True, tag=40, gc=False):
    """A session has begun: gateway to coordinator. Answered by `Joined` if it has a client id.

    protocol: `wamp.2.json`, `mqtt.3.1.1` …; transport: `websocket`, `rawsocket`, `tcp`.
    peer: the client's address. client: MQTT client id, empty for WAMP. began: seconds since 1970.
    replay: the session is told again in a new pair.
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


class Joined(Struct, array_like=True, tag=47, gc=False):
    """The session is the only one with its MQTT client id: coordinator to gateway.

    Earlier ones have ended, and what their ends caused has had its effects.
    """

    session: int


class Leave(Struct, array_like=True, tag=41, gc=False):
    """A session has ended: gateway to coordinator, and to the shards that keep something of it.

    graceful: wills are dropped, because the client said goodbye or (to a shard) because the gateway
    itself publishes them; otherwise they are published. Not answered. The coordinator is told of a
    session with an MQTT client id when all that the session caused has had its effects.

    wills_follow: the gateway publishes wills at that shard, one by one (`frames.WILL`). The shard
    keeps its copy of each until that has come: the gateway may be killed meanwhile.
    """

    session: int
    graceful: bool
    wills_follow: bool = False


class Will(Struct, array_like=True, tag=42, gc=False):
    """A publish that is due when its session ends: gateway to the topic's shard.

    number: 0 for the will of an MQTT session, and one from 1 on for each testament; a session's
    wills are published in the order of their numbers. request: of the call that is answered when
    the shard has stored the will, by `WillsStored`; 0: none.
    """

    publish: Publish
    number: int = 0
    request: int = 0


class DropWills(Struct, array_like=True, tag=48, gc=False):
    """Wills of a session that goes on are dropped: gateway to shard. Answered by `WillsStored`.

    numbers: see `Will`. request: of the call.
    """

    session: int
    numbers: list[int]
    request: int


class WillsStored(Struct, array_like=True, tag=49, gc=False):
    """What that call of a session said about wills is stored: shard to gateway."""

    session: int
    request: int


class SessionAlive(Struct, array_like=True, tag=46, gc=False):
    """A session lives, and may have something at that shard: gateway to shard, in its replay.

    Sessions of the gateway that are not named so before its `SyncEnd` have ended. Not answered.
    """

    session: int


class Kill(Struct, array_like=True, tag=43, gc=False):
    """A session is to end: coordinator to its gateway. reason: a URI. message: a sentence."""

    session: int
    reason: str
    message: str


class Report(Struct, array_like=True, tag=44, gc=False):
    """What a process has counted since its last report, and its gauges: to the coordinator.

    counters, gauges: by name. realms: the counters of each realm. histograms: buckets by name (see
    `histogram`).
    """

    counters: dict[str, int]
    gauges: dict[str, int]
    realms: dict[str, dict[str, int]]
    histograms: dict[str, list[int]]


class StoreFailure(Struct, array_like=True, tag=45, gc=False):
    """The shard's store fails, or (reason "") works again: shard to each gateway. Not answered."""

    reason: str


class LoginFailed(Struct, array_like=True, tag=52, gc=False):
    """A client has failed to prove who it is: gateway to coordinator, which tells other gateways.

    network: its address, or the /64 of an IPv6 address (see `FailureLimit`). Not answered.
    """

    network: str


SessionFrame: TypeAlias = (
    Join
    | Leave
    | Will
    | Kill
    | Report
    | StoreFailure
    | SessionAlive
    | Joined
    | DropWills
    | WillsStored
    | LoginFailed
)
"""The frames of this module, in the order of their tags."""
