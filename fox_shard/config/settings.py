"""Every setting: name, type, unit, range and default.

Owns: the frozen structs that configure the rest of the program, and the table made from them.
Never: TOML, the environment, files.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from fox_shard.config.address import Address
from fox_shard.config.jwt import Jwt
from fox_shard.config.listener import Listener
from fox_shard.config.metrics import Metrics
from fox_shard.config.realm_limits import OptionalBytes, OptionalNumber, RealmLimits
from fox_shard.config.tracing import Tracing
from fox_shard.config.web import Web
from fox_shard.config.webhook import Webhook

OptionalAddress = Address | None
Seconds = Annotated[float, Meta(ge=0.1, le=3600.0)]
WebOrigins = tuple[
    Annotated[str, Meta(pattern=r"^(\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/\s]+)$")], ...
]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Directory = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00]+$")]


class Gateway(Struct, frozen=True, kw_only=True):
    """Section [gateway]: the listeners (None: off), and the limits for one client.

    outbound_limit: bytes waiting to be sent to one client. outbound_total: to all clients of one
    gateway process. slow_timeout: seconds for which more
    than that may wait while the client takes next to nothing. held_limit: bytes of events and calls
    that wait in a gateway for earlier ones of their senders. max_message_size: bytes of one
    incoming message. max_containers: number of lists and maps in it. topic_length: bytes of one
    topic or URI in UTF-8. topic_components: number of its components. max_subscriptions,
    max_registrations, max_calls, max_invocations, max_abandoned_invocations, max_testaments: of one
    session at a time. interrupt_timeout: seconds after an INTERRUPT for which a callee that need
    not answer counts as busy. testament_bytes: of all its testaments together. max_consultations:
    questions of one gateway process to procedures and Python functions that decide something for
    it. max_inquiries: calls of one session for which shards are asked at once; further ones wait.
    answer_bytes: of the items in the answer to such a call. batch_messages: in one batch of a
    batched WebSocket. handshake_timeout: seconds for HELLO, CONNECT or the HTTP request.
    message_timeout: seconds for 256 KiB of a message, or its end, after its beginning.
    ping_interval: seconds of silence after which a WebSocket is pinged, and then given up; 0:
    never. rawsocket_ping_interval: the same of a RawSocket; 0 by default, as autobahn on Twisted is
    deaf after a Ping. max_handshakes: connections at a time that have not finished their TLS
    handshake, or sent their PROXY header. max_connections, max_connections_per_address,
    connects_per_second: of one gateway process. meta_event_backlog: subscriptions and registrations
    that began or ended, and of which the coordinator has not stored that, of one gateway process.
    session_backlog: sessions that began or ended while the coordinator is down, of which it is told
    later, of one gateway process. drain_timeout: seconds for writing to clients at shutdown.
    allowed_origins: of web pages that may connect, besides those of the listener itself; `*`: all.
    publish_rate, publish_burst: messages that one session may publish in a second, and after a
    pause at once; a rate of 0: no limit. slow_consumer: what becomes of a client for which more
    than outbound_limit waits: it is disconnected, or events for it are dropped.
    """

    websocket: OptionalAddress = Address("127.0.0.1", 8080)
    rawsocket: OptionalAddress = Address("127.0.0.1", 8081)
    mqtt: OptionalAddress = Address("127.0.0.1", 1883)
    outbound_limit: Annotated[int, Meta(ge=1 << 12, le=1 << 32)] = 1 << 24
    outbound_total: Annotated[int, Meta(ge=1 << 24, le=1 << 40)] = 1 << 30
    slow_timeout: Seconds = 5.0
    slow_consumer: Literal["disconnect", "drop"] = "disconnect"
    publish_rate: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    publish_burst: Count = 1_000
    held_limit: Annotated[int, Meta(ge=1 << 16, le=1 << 32)] = 1 << 26
    max_message_size: Annotated[int, Meta(ge=1 << 9, le=1 << 28)] = 1 << 24
    max_containers: Annotated[int, Meta(ge=1000, le=100_000_000)] = 100_000
    topic_length: Annotated[int, Meta(ge=64, le=65535)] = 65535
    topic_components: Annotated[int, Meta(ge=8, le=32768)] = 128
    max_subscriptions: Count = 10_000
    max_registrations: Count = 10_000
    max_calls: Count = 100_000
    max_invocations: Count = 100_000
    max_abandoned_invocations: Count = 1_000
    interrupt_timeout: Seconds = 10.0
    max_testaments: Annotated[int, Meta(ge=0, le=1000)] = 100
    testament_bytes: Annotated[int, Meta(ge=1 << 10, le=1 << 28)] = 1 << 18
    max_consultations: Count = 1_000
    max_inquiries: Annotated[int, Meta(ge=1, le=1000)] = 2
    answer_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 28)] = 1 << 22
    batch_messages: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    handshake_timeout: Seconds = 10.0
    message_timeout: Seconds = 30.0
    ping_interval: Annotated[float, Meta(ge=0.0, le=3600.0)] = 20.0
    rawsocket_ping_interval: Annotated[float, Meta(ge=0.0, le=3600.0)] = 0.0
    max_handshakes: Count = 5_000
    max_connections: Count = 100_000
    max_connections_per_address: Count = 50_000
    connects_per_second: Count = 5_000
    meta_event_backlog: Count = 100_000
    session_backlog: Count = 100_000
    drain_timeout: Seconds = 2.0
    allowed_origins: WebOrigins = ()

    @property
    def drops_events(self) -> bool:
        """Whether events for a client that reads too slowly are dropped."""
        return self.slow_consumer == "drop"


class Backplane(Struct, frozen=True, kw_only=True):
    """Section [backplane]: the links between processes.

    credit: bytes in flight on one link. work_credit: work in flight from a gateway to a shard, as
    the configuration file counts it. outbox_limit: bytes that a shard keeps for another
    shard, which may be down. heartbeat: seconds between signs of life. peer_timeout: seconds of
    silence after which a peer is gone. turn_timeout: seconds after which a process whose event loop
    is busy with one turn ends itself. attached_gateways: how many there may be, besides the
    configured ones. attached_timeout: seconds of silence after which such a one is lost, and, after
    as many again, gone; 0: see `attached_patience`. attached_buffer: bytes in flight to one of
    them, at which it is given up.
    """

    credit: Annotated[int, Meta(ge=1 << 16, le=1 << 32)] = 1 << 23
    work_credit: Annotated[int, Meta(ge=256, le=1 << 25)] = 8000
    outbox_limit: Annotated[int, Meta(ge=1 << 16, le=1 << 32)] = 1 << 26
    heartbeat: Seconds = 1.0
    peer_timeout: Seconds = 5.0
    turn_timeout: Annotated[float, Meta(ge=5.0, le=3600.0)] = 30.0
    attached_gateways: Annotated[int, Meta(ge=0, le=1000)] = 64
    attached_timeout: Annotated[float, Meta(ge=0.0, le=3600.0)] = 0.0
    attached_buffer: Annotated[int, Meta(ge=1 << 16, le=1 << 32)] = 1 << 25

    @property
    def attached_patience(self) -> float:
        """The `attached_timeout` in effect: by default half of what others get."""
        return self.attached_timeout or max(self.peer_timeout / 2, 2 * self.heartbeat)


class Rpc(Struct, frozen=True, kw_only=True):
    """Section [rpc]: the limits of calls.

    queue_limit: number of calls that may wait for one procedure. queue_bytes: of all calls that
    wait at one shard. queued_parts: number of further parts of a progressive call that wait with
    it. reroutes: how many times a call goes to another callee because one is not available.
    """

    queue_limit: Annotated[int, Meta(ge=0, le=10_000_000)] = 10_000
    queue_bytes: Annotated[int, Meta(ge=0, le=1 << 32)] = 1 << 26
    queued_parts: Annotated[int, Meta(ge=0, le=1_000_000)] = 1000
    reroutes: Annotated[int, Meta(ge=0, le=1000)] = 10


class Keys(Struct, frozen=True, kw_only=True):
    """Section [keys]: the limits of what waits at keys, and of what ends with sessions.

    conditions_per_key: number of different conditions for which publishes wait at one key.
    waiting_per_key, waiting_per_session: number of waiting publishes; those of a session at one
    shard. waiting_bytes: of all waiting publishes at one shard. owned_per_session: number of weak
    keys, and keys with a will, of one session at one shard.
    """

    conditions_per_key: Annotated[int, Meta(ge=1, le=10_000_000)] = 1000
    waiting_per_key: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    waiting_per_session: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    waiting_bytes: Annotated[int, Meta(ge=0, le=1 << 32)] = 1 << 26
    owned_per_session: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000


class Reducers(Struct, frozen=True, kw_only=True):
    """Section [reducer]: the limits of reducers and of the events that wait for them.

    max_reducers: number of the reducers of one realm that clients may register. max_durable: number
    of the durable ones among them, each of which keeps every event of its topics also while nobody
    is there. queue_limit: number of events that wait for one reducer at one shard. queue_bytes: of
    all events that wait for the reducers of one realm at one shard. timeout: seconds after which a
    reducer that has not answered is asked again. wait_for_return: seconds for which events wait for
    a reducer that is not durable and has left. concurrency: invocations that an instance gets at
    once, if its registration does not say how many.
    """

    max_reducers: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    max_durable: Annotated[int, Meta(ge=0, le=100_000)] = 100
    queue_limit: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    queue_bytes: Annotated[int, Meta(ge=1 << 12, le=1 << 32)] = 1 << 28
    timeout: Seconds = 30.0
    wait_for_return: Seconds = 60.0
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 100


class Mqtt(Struct, frozen=True, kw_only=True):
    """Section [mqtt]: settings of MQTT clients.

    realm: for clients that do not name one. max_inflight: messages with QoS 1 and 2 that may be
    unconfirmed at one client. max_filters: topic filters in one SUBSCRIBE or UNSUBSCRIBE.
    sys_interval: seconds between updates of `$SYS/broker/…`; 0: these
    topics do not exist.
    """

    realm: Annotated[str, Meta(min_length=1)] = "realm1"
    max_inflight: Annotated[int, Meta(ge=1, le=65535)] = 1024
    max_filters: Count = 1000
    sys_interval: Annotated[int, Meta(ge=0, le=3600)] = 10


class Auth(Struct, frozen=True, kw_only=True):
    """Section [auth]: the limits of clients that say who they are.

    open: listeners may be open to the network although anybody may do everything. realms_on_demand:
    realms that a gateway makes because clients want to join them, besides the configured ones.

    max_failures: failed attempts from one address in a minute, at all gateways together; as many
    may come at once. max_waiting: passwords that wait to be checked in one gateway.
    authenticator_timeout: seconds in which the authenticator of a realm has to answer.
    max_key_users, key_user_bytes: users in keys, of all realms, at one gateway, and their bytes.
    """

    open: bool = False
    realms_on_demand: Annotated[int, Meta(ge=0, le=100)] = 0
    max_failures: Annotated[int, Meta(ge=1, le=1_000_000)] = 30
    max_waiting: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    max_key_users: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    key_user_bytes: Annotated[int, Meta(ge=1 << 12, le=1 << 32)] = 1 << 24
    authenticator_timeout: Seconds = 5.0


class Statsd(Struct, frozen=True, kw_only=True):
    """Section [statsd]: the sending of metrics.

    address: of the StatsD daemon; None: no metrics are sent. interval: seconds. prefix: the
    beginning of all names.
    """

    address: OptionalAddress = None
    interval: Seconds = 1.0
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]*$")] = "fox"


class Log(Struct, frozen=True, kw_only=True):
    """Section [log]: the level and format of what processes write to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class History(Struct, frozen=True, kw_only=True):
    """One [[realm.history]], a rule by which events are recorded.

    topic, match: the events' topics, in the form of a WAMP subscription. max_events: number of
    events kept per topic. max_age: seconds; 0: no limit. max_bytes: of all events of the rule on
    one shard.
    """

    topic: str
    match: Literal["exact", "prefix", "wildcard"] = "exact"
    max_events: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10_000
    max_age: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    max_bytes: Annotated[int, Meta(ge=1 << 12, le=1 << 32)] = 1 << 26


class Reducer(Struct, frozen=True, kw_only=True):
    """One [[realm.reducer]]: a function that folds events into keys.

    pattern, match: the events' topics, in the form of a WAMP subscription. function: a built-in
    one (`FUNCTIONS`), or `module:function` in Python. field: of the events' documents, whose value
    counts; "": the first argument. destination: the topic of the key; "": each event's own. limit:
    elements of the list that `append` keeps. concurrency: calls of a Python function at once.
    """

    pattern: str
    match: Literal["exact", "prefix", "wildcard"] = "exact"
    function: str
    field: str = ""
    destination: str = ""
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 100
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 10

    @property
    def is_built_in(self) -> bool:
        """Whether the shards have the function."""
        return self.function in FUNCTIONS


FUNCTIONS = ("sum", "count", "min", "max", "avg", "last", "merge", "append")
"""The names of the built-in functions of reducers."""


Action = Literal["publish", "subscribe", "call", "register"]
Actions = tuple[Action, ...]


class Rule(Struct, frozen=True, kw_only=True):
    """One [[realm.role.rule]]: what a role may do with the topics and procedures that match.

    uri, match: those topics and procedures, in the form of a WAMP subscription; or, with `mqtt`, an
    MQTT topic filter. allow: what may be done; all else may not. disclose: publishers and callers
    are disclosed, whether they want it or not. cache: the decision is kept for each topic.
    trustlevel: of publications and calls, which receivers are told; -1: they are told nothing.
    """

    uri: str
    match: Literal["exact", "prefix", "wildcard", "mqtt"] = "exact"
    allow: Actions = ()
    disclose: bool = False
    cache: bool = True
    trustlevel: Annotated[int, Meta(ge=-1, le=1000)] = -1


class Role(Struct, frozen=True, kw_only=True):
    """One [[realm.role]]. rule: the most specific one that matches decides; if none does, the
    authorizer, and without one, nothing is allowed.

    authorizer: `module:function`, or a procedure; "": none. authorizer_timeout: seconds that it may
    take. authorizer_cache: seconds for which an answer is kept that allows this.
    """

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    rule: tuple[Rule, ...] = ()
    authorizer: Annotated[str, Meta(max_length=256)] = ""
    authorizer_timeout: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    authorizer_cache: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


AuthenticatorMethods = tuple[Literal["ticket", "wampcra", "cryptosign", "tls", "anonymous"], ...]


class Realm(Struct, frozen=True, kw_only=True):
    """One [[realm]]: a topic space of its own.

    anonymous: whether clients that do not say who they are may join, although there are users.
    users: the pattern of keys that have users' documents, `prefix.*`; "": there are none such.
    store: where keys and history are kept; in memory they last until their shard ends. schema: a
    file with the definitions of tables, read when the server starts; "": none. `load` makes the
    path absolute. kwargs_are_headers: keyword arguments are transported, but are not part of an
    event's document. history: the rules for recording events; the first rule that matches a topic
    applies. reducer: the reducers that the server runs itself. webhook: where events are posted.
    role: what each role may do; without any, all may do everything. jwt: whose tokens let clients
    in; None: nobody's. authenticator: says who clients are that are not in the file with the users:
    a Python function (`module:function`) or a procedure; "": nobody. authenticator_realm: of the
    procedure; "": this one. authenticator_methods: for which it is asked. max_…: instead of those
    of [limits].
    """

    name: str
    store: Literal["sqlite", "memory"] = "sqlite"
    schema: str = ""
    kwargs_are_headers: bool = False
    anonymous: bool = False
    users: str = ""
    authenticator: str = ""
    authenticator_realm: str = ""
    authenticator_methods: AuthenticatorMethods = ("ticket",)
    max_keys: OptionalNumber = None
    max_key_bytes: OptionalBytes = None
    max_subscriptions: OptionalNumber = None
    max_queue_bytes: OptionalBytes = None
    history: tuple[History, ...] = ()
    reducer: tuple[Reducer, ...] = ()
    webhook: tuple[Webhook, ...] = ()
    role: tuple[Role, ...] = ()
    jwt: Jwt | None = None

    def limits(self, others: RealmLimits) -> RealmLimits:
        """Return the realm's limits. others: those of [limits]."""
        own = {name: getattr(self, name) for name in others.__struct_fields__}
        return msgspec.structs.replace(
            others, **{name: limit for name, limit in own.items() if limit is not None}
        )


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration. `parse` makes data_dir, run_dir and users absolute.

    users: the file with the users; without it, and without [realm.jwt], all clients are anonymous.
    listeners: besides the three of the section [gateway].
    """

    gateways: Annotated[int, Meta(ge=1, le=256)] = 2
    shards: Annotated[int, Meta(ge=1, le=64)] = 2
    data_dir: Directory = "data"
    run_dir: Directory = "run"
    users: Directory = "conf/users.toml"
    gateway: Gateway = Gateway()
    backplane: Backplane = Backplane()
    rpc: Rpc = Rpc()
    keys: Keys = Keys()
    reducer: Reducers = Reducers()
    limits: RealmLimits = RealmLimits()
    mqtt: Mqtt = Mqtt()
    auth: Auth = Auth()
    web: Web = Web()
    metrics: Metrics = Metrics()
    statsd: Statsd = Statsd()
    tracing: Tracing = Tracing()
    log: Log = Log()
    realms: tuple[Realm, ...] = (Realm(name="realm1"),)
    listeners: tuple[Listener, ...] = ()


def asks_for_proof(realms: Iterable[Realm]) -> bool:
    """Return whether clients must say who they are although there is no file with users."""
    return any(realm.jwt is not None or realm.authenticator for realm in realms)


class Setting(NamedTuple):
    """One setting: its section ("" at the top level), key, annotated type and default."""

    section: str
    key: str
    kind: Any
    default: object

    @property
    def path(self) -> str:
        """The name in the file and in errors, as `gateway.mqtt`."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def variable(self) -> str:
        """The name of the environment variable, as `FOX_GATEWAY_MQTT`."""
        return f"FOX_{self.path.replace('.', '_').upper()}"


def _settings() -> Iterator[Setting]:
    for field in msgspec.structs.fields(Config):
        if field.name in ("realms", "listeners"):
            continue
        if not isinstance(field.default, Struct):
            yield Setting("", field.name, field.type, field.default)
            continue
        for inner in msgspec.structs.fields(field.default):
            yield Setting(field.name, inner.name, inner.type, inner.default)


SETTINGS = {setting.path: setting for setting in _settings()}
"""Path, such as `gateway.mqtt` → setting, in the order of the structs' fields."""
