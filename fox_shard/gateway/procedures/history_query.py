"""The arguments of `wamp.subscription.get_events` (WAMP #pubsub-event-history).

Owns: the arguments, and the publication ids that they mean. Never: which shards answer.

Publication ids tell the time, so that limits of ids and of times both mean a span of ids.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from fox_shard.documents.numbers import whole
from fox_shard.errors import InvalidArgument
from fox_shard.topics.ids import EPOCH, MAX_ID, SHARDS, TICKS

GET_EVENTS: Final = "wamp.subscription.get_events"

MAX_EVENTS: Final = 1000
"""The most events in one answer."""

MICROSECONDS: Final = 1_000_000
BEGINNING: Final = datetime.fromtimestamp(EPOCH, UTC)

Time = Annotated[datetime, Meta(tz=True)]
Publication = Annotated[int, Meta(ge=1, le=MAX_ID)]


class Query(Struct, forbid_unknown_fields=True):
    """The keyword arguments. An event must meet all that are given."""

    reverse: bool = False
    limit: Annotated[int, Meta(ge=1, le=MAX_EVENTS)] = MAX_EVENTS
    from_time: Time | None = None
    after_time: Time | None = None
    before_time: Time | None = None
    until_time: Time | None = None
    topic: str | None = None
    from_publication: Publication | None = None
    after_publication: Publication | None = None
    before_publication: Publication | None = None
    until_publication: Publication | None = None

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest publication id that meet the arguments.

        If the lowest is above the highest, no id does.
        """
        first = [1, self.from_publication or 1, (self.after_publication or 0) + 1]
        last = [
            MAX_ID,
            self.until_publication or MAX_ID,
            (self.before_publication or MAX_ID + 1) - 1,
        ]
        if self.from_time is not None:
            first.append(_first_at(self.from_time, 0))
        if self.after_time is not None:
            first.append(_first_at(self.after_time, 1))
        if self.before_time is not None:
            last.append(_first_at(self.before_time, 0) - 1)
        if self.until_time is not None:
            last.append(_first_at(self.until_time, 1) - 1)
        return max(first), min(last)


def time_of(publication: int) -> str:
    """Return a publication's time (RFC 3339) to the microsecond, the precision of comparisons."""
    microseconds = publication // SHARDS * MICROSECONDS // TICKS
    at = BEGINNING + timedelta(microseconds=microseconds)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _first_at(time: datetime, later: int) -> int:
    """Return the lowest id whose `time_of` is that time plus `later` microseconds, or later."""
    microseconds = (time - BEGINNING) // timedelta(microseconds=1) + later
    return -(-microseconds * TICKS // MICROSECONDS) * SHARDS


def read_query(args: list[Any], kwargs: dict[Any, Any]) -> tuple[int, Query]:
    """Return the subscription's id, and the keyword arguments. Raises InvalidArgument."""
    id_ = whole(args[0]) if len(args) == 1 else None
    if type(id_) is not int:
        raise InvalidArgument(f"{GET_EVENTS} has one argument, the id of a subscription")
    try:
        return id_, msgspec.convert({key: whole(value) for key, value in kwargs.items()}, Query)
    except msgspec.ValidationError as error:
        what, at, where = str(error).rpartition(" - at `$.")
        name = f"the keyword argument {where.rstrip('`')}: " if at else ""
        raise InvalidArgument(f"{GET_EVENTS}: {name}{what if at else where}") from None
