"""What one session may have at a time.

Owns: the limits, the error beyond them, and how often that was needed. Never: counting what a
session has.
"""

from typing import final

from fox_shard.config import Gateway as Settings
from fox_shard.errors import LimitExceeded

LONG = 1024
"""Characters of a pattern, with its filter, beyond which it counts as several."""


@final
class Limits:
    """The limits of each session of one gateway. exceeded: refusals since the last report."""

    __slots__ = (
        "abandoned",
        "calls",
        "exceeded",
        "invocations",
        "outbound",
        "registrations",
        "subscriptions",
    )

    def __init__(self, settings: Settings) -> None:
        self.subscriptions = settings.max_subscriptions
        self.registrations = settings.max_registrations
        self.calls = settings.max_calls
        self.invocations = settings.max_invocations
        self.abandoned = settings.max_abandoned_invocations
        # Bytes.
        self.outbound = settings.outbound_limit
        self.exceeded = 0

    @staticmethod
    def of(limit: int, size: int) -> int:
        """Return how many of that size there may be, so that long ones do not take more memory.

        size: characters of what the session decides, such as a pattern. One of more than LONG
        counts as several.
        """
        return max(1, limit // (1 + size // LONG))

    def refuse(self, what: str, limit: int) -> LimitExceeded:
        """Count a refusal, and return it. what: what there are too many of, in the plural."""
        self.exceeded += 1
        return LimitExceeded(f"a session may have {limit} {what} at a time")
