"""What may be asked of a history (WAMP #pubsub-event-history).

Owns: the arguments of `wamp.subscription.get_events`, and which publication ids they mean. Never:
who answers.

Publication ids tell the time, so all that is said about publications and about times is a span of
ids.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from fox_shard.errors import InvalidArgument
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS

GET_EVENTS: Final = "wamp.subscription.get_events"

MOST: Final = 1000
"""Events of one answer."""

LAST: Final = (1 << 53) - 1
"""An id that is beyond any publication's."""

MICROSECONDS: Final = 1_000_000
BEGINNING: Final = datetime.fromtimestamp(EPOCH, UTC)

Time = Annotated[datetime, Meta(tz=True)]
Publication = Annotated[int, Meta(ge=1, le=LAST)]


class Query(Struct, forbid_unknown_fields=True):
    """The keyword arguments; all that are given must hold."""

    reverse: bool = False
    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST
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
        """The lowest and the highest id that may be meant."""
        first = [1, self.from_publication or 1, (self.after_publication or 0) + 1]
        last = [LAST, self.until_publication or LAST, (self.before_publication or LAST + 1) - 1]
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
    """When it was published (RFC 3339), to the microsecond, as precise as times are compared."""
    microseconds = publication // SHARDS * MICROSECONDS // TICKS
    at = BEGINNING + timedelta(microseconds=microseconds)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _first_at(time: datetime, later: int) -> int:
    """The lowest id that `time_of` shows as that time, so many microseconds later, or later yet."""
    microseconds = (time - BEGINNING) // timedelta(microseconds=1) + later
    return -(-microseconds * TICKS // MICROSECONDS) * SHARDS


def read_query(args: list[Any], kwargs: dict[Any, Any]) -> tuple[int, Query]:
    """The subscription's id, and the rest. Raises InvalidArgument."""
    if len(args) != 1 or type(args[0]) is not int:
        raise InvalidArgument(f"{GET_EVENTS} has one argument, the id of a subscription")
    try:
        return args[0], msgspec.convert(kwargs, Query)
    except msgspec.ValidationError as error:
        what, at, where = str(error).rpartition(" - at `$.")
        name = f"the keyword argument {where.rstrip('`')}: " if at else ""
        raise InvalidArgument(f"{GET_EVENTS}: {name}{what if at else where}") from None
