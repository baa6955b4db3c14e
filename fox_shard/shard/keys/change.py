"""The change of a key.

Owns: what a change is. Never: what makes one, and who is told.
"""

from msgspec import Struct

from fox_shard.backplane.frames import Event
from fox_shard.shard.rows import Place

DELETED, EXPIRED, WEAK = "deleted", "expired", "weak"
"""Why a key is no more."""


class Change(Struct, gc=False):
    """A key takes another value.

    before, after: the values; not both None. event: the publication that makes it so, None: it goes
    by itself, because it is `removed`. publication: its id, and in any case greater than that of
    the change before. unsettled: the change is in the present transaction. noted: see `untold`.
    """

    place: Place
    publication: int
    event: Event | None
    before: Event | None
    after: Event | None
    removed: str = ""
    unsettled: bool = False
    noted: bool = False
