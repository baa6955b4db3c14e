"""All metrics: their names, labels and meanings.

Owns: the table from which the answers at `/metrics` and docs/metrics.md are made. Never: values.
"""

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

Owner = Literal["realm", "gateway", "shard", "coordinator", "web", "process", "server"]
"""Of what there is one value: of each realm, of each process of the kind, of each process, or of
the server."""


class Metric(NamedTuple):
    """One metric.

    name: as Prometheus has it, but counters without `_total`. key: its name in reports; "": it is
    no number of a report. divisor: by which the report's number is divided. by_protocol: the key
    is behind `wamp.` or `mqtt.`. statsd: the names under which StatsD gets it, if they are not the
    owner and the key.
    """

    name: str
    kind: Kind
    owner: Owner
    key: str
    about: str
    divisor: int = 1
    by_protocol: bool = False
    statsd: tuple[str, ...] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels."""
        more = ("protocol",) if self.by_protocol else ()
        if self.name == REFUSED.name:
            return ("process", "limit")
        if self.owner == "server":
            return ("version",) if self.name == BUILD.name else ()
        return ("realm" if self.owner == "realm" else "process", *more)

    @property
    def full_name(self) -> str:
        """The name in queries, but for the suffixes of a histogram."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    @property
    def statsd_names(self) -> tuple[str, ...]:
        """The names under which StatsD gets it: `<realm>.publishes`."""
        if self.statsd is not None:
            return self.statsd
        if self.by_protocol:
            return tuple(f"<realm>.{protocol}.{self.key}" for protocol in ("wamp", "mqtt"))
        owner = {"gateway": "gateway-<n>", "shard": "shard-<n>"}.get(self.owner, f"<{self.owner}>")
        return (f"{owner}.{self.key}",)


def _sum(name: str, about: str) -> Metric:
    """Return what a gateway has of a counter that StatsD gets for realms only."""
    key = name.removeprefix("fox_gateway_")
    return Metric(name, "counter", "gateway", key, about, statsd=())


UP: Final = Metric(
    "fox_process_up",
    "gauge",
    "process",
    "",
    "1 if the process answers and is linked with the coordinator, else 0",
    statsd=(),
)

REFUSED: Final = Metric(
    "fox_refused",
    "counter",
    "process",
    "refused.",
    "requests and clients refused because of this "
    "[limit](operations.md#refused-because-of-a-limit)",
    statsd=("<process>.refused.<limit>",),
)

BUILD: Final = Metric(
    "fox_build_info",
    "gauge",
    "server",
    "",
    "always 1; its label is the version of the server",
    statsd=(),
)

SESSIONS: Final = Metric(
    "fox_realm_sessions",
    "gauge",
    "realm",
    "sessions",
    "open sessions; a protocol has a value from its first session on",
    by_protocol=True,
    statsd=("<realm>.sessions", "<realm>.wamp.sessions", "<realm>.mqtt.sessions"),
)

CATALOG: Final = (
    UP,
    Metric(
        "fox_process_cpu_seconds",
        "counter",
        "process",
        "cpu_milliseconds",
        "processor time of the process, of all its threads",
        divisor=1000,
        statsd=("<process>.cpu_milliseconds",),
    ),
    Metric(
        "fox_process_resident_memory_bytes",
        "gauge",
        "process",
        "memory_bytes",
        "memory of the process that is not swapped out",
        statsd=("<process>.memory_bytes",),
    ),
    REFUSED,
    # Realms
    Metric("fox_realm_publishes", "counter", "realm", "publishes", "accepted publishes"),
    Metric("fox_realm_deliveries", "counter", "realm", "deliveries", "events handed to sessions"),
    Metric(
        "fox_realm_dropped_events",
        "counter",
        "realm",
        "dropped_events",
        "events not delivered because their subscribers were too slow",
    ),
    Metric("fox_realm_calls", "counter", "realm", "calls", "calls"),
    SESSIONS,
    Metric(
        "fox_realm_received_messages",
        "counter",
        "realm",
        "messages_in",
        "messages from clients, except WAMP PUBLISHes and CALLs that were refused at once",
        by_protocol=True,
    ),
    Metric(
        "fox_realm_sent_messages",
        "counter",
        "realm",
        "messages_out",
        "messages to clients",
        by_protocol=True,
    ),
    Metric(
        "fox_realm_received_bytes",
        "counter",
        "realm",
        "bytes_in",
        "bytes from clients, including framing but not TCP's",
        by_protocol=True,
    ),
    Metric(
        "fox_realm_sent_bytes",
        "counter",
        "realm",
        "bytes_out",
        "bytes to clients, including framing but not TCP's",
        by_protocol=True,
    ),
    # Gateways
    Metric("fox_gateway_sessions", "gauge", "gateway", "sessions", "open sessions of the gateway"),
    Metric(
        "fox_gateway_subscriptions",
        "gauge",
        "gateway",
        "subscriptions",
        "subscriptions of the gateway's sessions",
    ),
    _sum("fox_gateway_publishes", "accepted publishes, of all realms"),
    _sum("fox_gateway_deliveries", "events handed to sessions, of all realms"),
    _sum(
        "fox_gateway_dropped_events",
        "events not delivered because their subscribers were too slow, of all realms",
    ),
    _sum("fox_gateway_calls", "calls, of all realms"),
    Metric(
        "fox_gateway_client_buffer_bytes",
        "gauge",
        "gateway",
        "client_buffers",
        "bytes that wait for slow clients",
    ),
    Metric(
        "fox_gateway_link_buffer_bytes",
        "gauge",
        "gateway",
        "link_buffers",
        "bytes sent to other processes that have not handled them yet",
    ),
    Metric(
        "fox_gateway_slow_consumers",
        "counter",
        "gateway",
        "slow_consumers",
        "clients disconnected because they read too slowly",
    ),
    Metric(
        "fox_gateway_authentication_failures",
        "counter",
        "gateway",
        "authentication_failures",
        "failed logins",
    ),
    Metric(
        "fox_gateway_dropped_publishes",
        "counter",
        "gateway",
        "dropped",
        "MQTT publishes that were acknowledged and dropped",
    ),
    Metric(
        "fox_gateway_delivery_seconds",
        "histogram",
        "gateway",
        "delivery_seconds",
        "from the moment at which a shard has accepted a publish until its event is written to "
        "the subscribers; of samples: of a turn of a gateway, the event that has waited longest",
        statsd=(),
    ),
    Metric(
        "fox_gateway_call_seconds",
        "histogram",
        "gateway",
        "call_seconds",
        "from sending a call to its shard until the final answer, the callee's time included; of "
        "samples: of a turn of a gateway, the first call",
        statsd=(),
    ),
    # Shards
    Metric("fox_shard_keys", "gauge", "shard", "keys", "retained keys, without those under `$SYS`"),
    Metric(
        "fox_shard_queued_calls", "gauge", "shard", "queue_depth", "calls that wait for a callee"
    ),
    Metric(
        "fox_shard_waiting_publishes",
        "gauge",
        "shard",
        "waiting_publishes",
        "publishes that wait for their conditions",
    ),
    Metric(
        "fox_shard_outbox_bytes",
        "gauge",
        "shard",
        "outbox_bytes",
        "bytes that wait for other shards to have them in their stores",
    ),
    Metric(
        "fox_shard_reducer_queue_events",
        "gauge",
        "shard",
        "reducer_queue",
        "events that wait for reducers",
    ),
    Metric(
        "fox_shard_folded_events",
        "counter",
        "shard",
        "folded",
        "events that reducers have folded",
    ),
    Metric(
        "fox_shard_reducer_failures",
        "counter",
        "shard",
        "reducer_failures",
        "events that were skipped because a reducer failed",
    ),
    Metric(
        "fox_shard_reducer_dropped_events",
        "counter",
        "shard",
        "reducer_dropped",
        "events that were not reduced because the queue was full or the reducer did not return",
    ),
    Metric(
        "fox_shard_webhook_queue_events",
        "gauge",
        "shard",
        "webhook_queue",
        "events that wait for [webhooks](webhooks.md)",
    ),
    Metric(
        "fox_shard_webhook_delivered_events",
        "counter",
        "shard",
        "webhook_delivered",
        "events that webhooks have posted",
    ),
    Metric(
        "fox_shard_webhook_retries",
        "counter",
        "shard",
        "webhook_retries",
        "how often a webhook postponed posting an event",
    ),
    Metric(
        "fox_shard_webhook_given_up_events",
        "counter",
        "shard",
        "webhook_given_up",
        "events that a webhook gave up: the target refused them, or failed for too long",
    ),
    Metric(
        "fox_shard_webhook_dropped_events",
        "counter",
        "shard",
        "webhook_dropped",
        "events that webhooks did not post because the queue was full",
    ),
    Metric(
        "fox_shard_results_left_out",
        "counter",
        "shard",
        "results_left_out",
        "changes of rows of aggregates that cannot contribute to another aggregate; `fox tables "
        "verify` names the rows",
    ),
    Metric(
        "fox_shard_commit_seconds",
        "histogram",
        "shard",
        "commit_seconds",
        "from the turn that caused a transaction until it was durable; every transaction counts. "
        "StatsD gets their number and their average",
        statsd=("shard-<n>.commits", "shard-<n>.commit_microseconds"),
    ),
    Metric(
        "fox_shard_store_failing",
        "gauge",
        "shard",
        "store_failing",
        "1 while the shard cannot store: the disk is full, or fails",
    ),
    Metric(
        "fox_shard_dropped_publishes",
        "counter",
        "shard",
        "dropped",
        "publishes without acknowledgement that were dropped because the store failed or their "
        "condition did not hold",
    ),
    Metric(
        "fox_shard_limit_exceeded",
        "counter",
        "shard",
        "limit_exceeded",
        "publishes refused because of a limit (`fox.error.limit_exceeded`)",
    ),
    Metric("fox_shard_batches", "counter", "shard", "batches", "handled batches"),
    Metric(
        "fox_shard_frames",
        "counter",
        "shard",
        "frames",
        "handled frames; frames divided by batches is the size of a batch, which grows with the "
        "load",
    ),
    # The web process
    Metric(
        "fox_web_connections",
        "gauge",
        "web",
        "connections",
        "connections to the HTTP server",
        statsd=(),
    ),
    Metric(
        "fox_web_sessions",
        "gauge",
        "web",
        "sessions",
        "WAMP sessions by which requests are carried out",
        statsd=(),
    ),
    Metric("fox_web_streams", "gauge", "web", "streams", "open event streams", statsd=()),
    Metric("fox_web_requests", "counter", "web", "requests", "HTTP requests", statsd=()),
    # The server
    Metric(
        "fox_uptime_seconds",
        "gauge",
        "server",
        "uptime",
        "time since the start of the coordinator, when all counters were 0",
        statsd=("coordinator.uptime",),
    ),
    Metric(
        "fox_data_filesystem_size_bytes",
        "gauge",
        "server",
        "size",
        "size of the filesystem that has the data directory",
        statsd=(),
    ),
    Metric(
        "fox_data_filesystem_free_bytes",
        "gauge",
        "server",
        "free",
        "space that the server can still use on the filesystem that has the data directory",
        statsd=(),
    ),
    BUILD,
)
"""All metrics, in the order of the answers."""


def as_markdown() -> str:
    """Return the table of docs/metrics.md."""
    lines = ["| name | labels | kind | StatsD | meaning |", "|---|---|---|---|---|"]
    for one in CATALOG:
        cells = (
            f"`{one.full_name}`",
            ", ".join(f"`{label}`" for label in one.labels),
            one.kind,
            ", ".join(f"`{name}`" for name in one.statsd_names),
            one.about,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
