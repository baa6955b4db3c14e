"""What publishers are told whose publishes have no effect.

Owns: the sentences, and how many nobody waited for. Never: which publishes these are.
"""

from typing import final

from fox_shard.backplane.frames import ACKNOWLEDGE, Publish, Refused
from fox_shard.backplane.refusals import refused
from fox_shard.errors import ConditionFailed, Refusal, UnavailableStore
from fox_shard.shard.links.outcomes import HIDDEN

UNKNOWN = -1
"""In place of the key's publication id in `Refused`."""


@final
class Refusals:
    """Of one shard. Each returns the answer, if one is expected.

    dropped: how many were not; whoever reports it sets it back.
    """

    __slots__ = ("dropped",)

    def __init__(self) -> None:
        self.dropped = 0

    def refuse(self, publish: Publish, error: Refusal) -> list[Refused]:
        """For whatever reason."""
        if publish.flags & ACKNOWLEDGE:
            return [refused(Publish, publish.session, publish.request, error)]
        self.dropped += 1
        return []

    def unavailable(self, publish: Publish, why: str) -> list[Refused]:
        """It cannot be stored."""
        error = UnavailableStore(f"it cannot be stored ({why}): publish it again later")
        return self.refuse(publish, error)

    def condition_failed(self, publish: Publish, present: int) -> list[Refused]:
        """present: the publication id of the key, 0: there is none, or HIDDEN."""
        what = f"a key whose publication id is {present}" if present else "no key"
        then = "read the key, and decide anew"
        if present == HIDDEN:
            what, then, present = "a key of somebody else's", "it goes with his session", UNKNOWN
        error = ConditionFailed(f"the condition does not hold, there is {what}: {then}", present)
        return self.refuse(publish, error)
