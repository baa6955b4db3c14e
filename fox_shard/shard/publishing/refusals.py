"""Refusals of publishes that have no effect.

Owns: the sentences that publishers are told, and the count of publishes that were refused silently.
Never: which publishes are refused.
"""

from typing import final

from fox_shard.backplane.frames import ACKNOWLEDGE, Publish, Refused
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.refusals import refused
from fox_shard.errors import ConditionFailed, LimitExceeded, Refusal, UnavailableStore
from fox_shard.shard.links.outcomes import HIDDEN_KEY

LIMITS = (
    "waiting_per_session",
    "waiting_per_key",
    "conditions_per_key",
    "waiting_bytes",
    "owned_per_session",
    "max_keys",
    "max_key_bytes",
    "max_queue_bytes",
    "max_message_size",
    "outbox_limit",
    "reducer_queue_limit",
    "webhook_queue_limit",
    "webhook_queue_bytes",
    "reducer_queue_bytes",
)
"""The limits of publishes that are counted, by their settings.

max_message_size: of patched keys. reducer_…: of the section [reducer].
"""

UNKNOWN = -1
"""In place of the key's publication id in `Refused`: the publisher is not told it."""


@final
class Refusals:
    """The refusals of one shard. Each method returns the answer, if the publisher expects one.

    dropped: publishes refused without an answer since the last report, which sets this to 0.
    limit_exceeded: those refused because of a limit, answered or not.
    """

    __slots__ = ("dropped", "limit_counts", "limit_exceeded")

    def __init__(self) -> None:
        self.limit_counts = LimitCounts(LIMITS)
        self.dropped = self.limit_exceeded = 0

    def count(self, error: Refusal) -> None:
        """Count a publish that is refused with that error, if a limit is the reason."""
        self.limit_exceeded += isinstance(error, LimitExceeded)
        self.limit_counts.add(error.limit)

    def refuse(self, publish: Publish, error: Refusal) -> list[Refused]:
        """Refuse the publish with that error."""
        self.count(error)
        if publish.flags & ACKNOWLEDGE:
            return [refused(Publish, publish.session, publish.request, error)]
        self.dropped += 1
        return []

    def unavailable(self, publish: Publish, why: str) -> list[Refused]:
        """Refuse a publish that cannot be stored. why: what is wrong with the store."""
        error = UnavailableStore(f"the publish cannot be stored ({why}): publish again later")
        return self.refuse(publish, error)

    def condition_failed(self, publish: Publish, present: int) -> list[Refused]:
        """Refuse a publish whose condition does not hold.

        present: the publication id of the key; 0: there is no key; HIDDEN_KEY: there is a key that
        the publisher is not shown.
        """
        what = f"a key whose publication id is {present}" if present else "no key"
        then = "read the key, and decide anew"
        if present == HIDDEN_KEY:
            what, present = "a private key of another session", UNKNOWN
            then = "it is erased when that session ends"
        error = ConditionFailed(f"the condition does not hold, there is {what}: {then}", present)
        return self.refuse(publish, error)
