"""What one session may have at a time, and what all sessions may leave to be told.

Owns: the limits, the error beyond them, and the names under which a gateway counts all its limits.
Never: counting what a session has.
"""

from typing import final

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.config import Gateway as Settings
from fox_shard.errors import LimitExceeded

LONG = 1024
"""Characters of a pattern, with its filter, beyond which it counts as several."""


NAMES = (
    "max_message_size",
    "max_containers",
    "topic_length",
    "topic_components",
    "max_subscriptions",
    # Of all sessions of a realm (section [limits]).
    "realm_max_subscriptions",
    "max_registrations",
    "max_calls",
    "max_invocations",
    "max_testaments",
    "testament_bytes",
    "max_consultations",
    "answer_bytes",
    "batch_messages",
    "max_filters",
    "outbound_limit",
    # Clients that were disconnected because too much waited for all together.
    "outbound_total",
    # Events that were dropped because their receivers read too slowly.
    "slow_consumer",
    # How often sessions were not read because they published too fast.
    "publish_rate",
    "handshake_timeout",
    "message_timeout",
    "ping_interval",
    "max_handshakes",
    "max_connections",
    "max_connections_per_address",
    "connects_per_second",
    "meta_event_backlog",
    "session_backlog",
    "max_failures",
    "max_waiting",
    "realms_on_demand",
    "max_key_users",
    # Keys whose documents are not those of users.
    "invalid_key_users",
    # These are no settings: levels of lists and maps, bytes and elements of options.
    "nesting",
    "option_size",
    # Requests that a role does not allow, and those about which its authorizer gave no answer.
    "not_authorized",
    "authorization_failed",
)
"""The limits that a gateway counts, by their settings."""


@final
class Limits:
    """The limits of one gateway, most of them of each session."""

    __slots__ = (
        "_counts",
        "abandoned",
        "calls",
        "interrupt_timeout",
        "invocations",
        "meta_events",
        "outbound",
        "registrations",
        "subscriptions",
    )

    def __init__(self, settings: Settings, counts: LimitCounts) -> None:
        self.subscriptions = settings.max_subscriptions
        self.registrations = settings.max_registrations
        self.calls = settings.max_calls
        self.invocations = settings.max_invocations
        self.meta_events = settings.meta_event_backlog
        self.abandoned = settings.max_abandoned_invocations
        # Seconds.
        self.interrupt_timeout = settings.interrupt_timeout
        # Bytes.
        self.outbound = settings.outbound_limit
        self._counts = counts

    @staticmethod
    def of(limit: int, size: int) -> int:
        """Return how many of that size there may be, so that long ones do not take more memory.

        size: characters of what the session decides, such as a pattern. One of more than LONG
        counts as several.
        """
        return max(1, limit // (1 + size // LONG))

    def refuse(self, setting: str, what: str, limit: int) -> LimitExceeded:
        """Count a refusal, and return it. what: what there are too many of, in the plural."""
        self._counts.add(setting)
        return LimitExceeded(f"a session may have {limit} {what} at a time")

    def refuse_in_realm(self, share: int) -> LimitExceeded:
        """Count a refusal because the realm has too many subscriptions, and return it."""
        self._counts.add("realm_max_subscriptions")
        return LimitExceeded(
            f"the realm has {share} subscriptions at this gateway, its share of max_subscriptions: "
            "unsubscribe from some first"
        )

    def refuse_change(self) -> LimitExceeded:
        """Count a refusal because of `meta_event_backlog`, and return it."""
        self._counts.add("meta_event_backlog")
        return LimitExceeded(
            f"the coordinator is down or slow, and {self.meta_events} changes wait to be told to "
            "those who subscribe to meta events: try again later"
        )
